# SPDX-License-Identifier: GPL-2.0
"""make series-check: applies the series patch by patch to a pristine tree, and builds each step.

The tree is a copy of the cache's own, with a build directory of its own. W=1 and clippy are on.
"""

import email
import re
import shutil
import time

from . import build, check, kernel, lint, lock, paths, series, stages, sync, tree, variant
from .say import Failure, Quiet, Step
from .tap import Result, failed

CHECKPATCH = ("--strict", "--no-signoff", "--no-summary", "--terse", "--show-types")

# Where files change, and who uses what is changed. The whole kernel is for make check.
DIRECTORIES = (
    *("rust/", "kernel/irq/", "arch/x86/kernel/apic/", "drivers/iommu/", "drivers/pci/", "drivers/dma/"),
    *("drivers/gpu/nova-core/", "samples/rust/"),
)
FRAGMENT = paths.BENCH / "kernel-series.config"


def main():
    build.need_space(3000)
    source = Pristine()
    with lock.held(paths.CACHE / "src" / f"{source.key}-series.lock", "the tree of series-check"):
        with source.locked():
            build.prepare(tree.Tree())
            last = series.make(tree.Tree())
            with Step("pristine tree", log="series-tree.log") as step:
                source.copy(step)
        steps = Steps(source, last)
        return check.main("series", [stages.Stage("series", results=steps.results)])


class Pristine(tree.Tree):
    """A copy of the cache's tree, with the kernel's own files; git has those that the series changes."""

    def __init__(self):
        super().__init__()
        self.prepared = self.source
        self.source = self.home / "series"

    def copy(self, step):
        """Hard links will do: whoever changes a file of a tree writes another one in its place."""
        shutil.rmtree(self.source, ignore_errors=True)
        step.run(["cp", "-al", self.prepared, self.source])
        for name in self.managed():
            if self.pristine(name) is None:
                sync.remove(self.source / name)
        series.Repo(self.source, step).start(self)


class Steps(kernel.Build):
    def __init__(self, source, last):
        super().__init__(source, "-series")
        self.last = last
        self.ours = tree.ours()

    def make(self, *words):
        return super().make("W=1", *words)

    def results(self):
        patches = sorted(series.SERIES.glob("*.patch"))[1:]
        for number, patch in enumerate(patches, 1):
            yield self.result(subject(patch), f"{number} of {len(patches)}", self.take, patch, number == 1)
        yield self.result("all of it was configured", "at the end", self.configured)
        yield self.result("rustdoc", "at the end", self.rustdoc)
        yield self.result("the tree is the one that make build has", "at the end", self.compare)

    def result(self, name, where, function, *arguments):
        """Runs one step. It returns what is wrong, or fails."""
        start = time.monotonic()
        with Quiet("", log=f"series-{where.replace(' ', '-')}.log") as step:
            try:
                problems = function(*arguments, step)
            except Failure as error:
                problems = [*error.excerpt, str(error)]
        result = failed(name, *problems[:60], f"log: {step.log}") if problems else Result(name)
        result.notes.append(f"{where}: {time.monotonic() - start:.0f} s")
        return result

    def take(self, patch, first, step):
        names = tree.touched(patch)
        before = self.kernel_doc(names)
        series.Repo(self.tree.source, step).git("am", "-q", patch)
        problems = self.checkpatch(patch) + sorted(self.kernel_doc(names) - before)
        if first or any("Kconfig" in name for name in names):
            self.configure(step)
        problems += self.run(step, "prepare") + self.run(step, *DIRECTORIES)
        if any(name.startswith(kernel.SELFTESTS) for name in names):
            kernel.Selftests(self.tree, "-series").build(step)
        return problems

    def checkpatch(self, patch):
        # In a git tree it needs modules of Python that the build root has not.
        top = self.tree.prepared
        command = [top / "scripts/checkpatch.pl", "--root", top, *CHECKPATCH, patch]
        return lint.call("checkpatch", command, silent=True, cwd=top).notes

    def kernel_doc(self, names):
        """The warnings of kernel-doc about C files, without line numbers."""
        files = [self.tree.source / name for name in names if name.endswith((".c", ".h"))]
        exist = [path for path in files if path.exists() and kernel.SELFTESTS not in str(path)]
        if not exist:
            return set()
        done = kernel.captured(self.tree.source / "scripts/kernel-doc", "-none", "-Wall", *exist)
        return {re.sub(r":\d+", "", line) for line in done.stdout.splitlines()}

    def configure(self, step):
        env = kernel.environment()
        merge = self.tree.source / "scripts/kconfig/merge_config.sh"
        step.run(self.make("tinyconfig"), env=env)
        step.run([merge, "-m", "-O", self.dir, self.dir / ".config", *variant.PLAIN.config, FRAGMENT], env=env)
        step.run(self.make("olddefconfig"), env=env)

    def configured(self, _):
        kernel.check_config((self.dir / ".config").read_text(), [*variant.PLAIN.config, FRAGMENT])

    def run(self, step, *words):
        """Builds, and returns the warnings that are in our files."""
        lines, _ = step.run(self.make(*words), env=kernel.environment(), what=f"make {' '.join(words)}")
        outputs = [text for _, text in kernel.targets("".join(lines))]
        return [text for text in outputs if kernel.warns_in(self.ours, text)]

    def rustdoc(self, step):
        return self.run(step, "rustdoc")

    def compare(self, step):
        last = series.Repo(self.tree.source, step).last()
        return [] if last == self.last else [f"git has {last} for it, and {self.last} for that of make build"]


def subject(patch):
    text = email.message_from_bytes(patch.read_bytes())["Subject"]
    return "".join(text.partition("] ")[2].splitlines())
