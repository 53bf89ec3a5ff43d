# SPDX-License-Identifier: GPL-2.0
"""Style and static checks over what this repo holds."""

import json
import os
import re
import shutil
import subprocess

from . import crate, paths, series, sync, tree, variant
from .bench import modules
from .say import Failure
from .tap import FAIL, SKIP, Result, failed

# Every file here is new; one_patch() checks that MAINTAINERS has it.
CHECKPATCH = ["--strict", "--no-summary", "--terse", "--show-types", "--ignore", "FILE_PATH_CHANGES"]


def repo_files():
    tops = [*tree.OVERLAY, "tools/testing/ims", ".ci", "patches"]
    for top in tops:
        for name in sync.walk(paths.REPO / top):
            yield paths.REPO / top / name


def call(name, command, env=None, silent=False, **options):
    """Passes if the command succeeds, and if it is to be silent, prints nothing."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env={**(env or os.environ), "TERM": "dumb"},
        **options,
    )
    if done.returncode or silent and done.stdout:
        return failed(name, *done.stdout.splitlines()[-40:])
    return Result(name)


def is_of_host(path):
    return crate.MODEL in path.parents or crate.LOOM in path.parents


def for_kernel(path):
    return any(paths.REPO / top in path.parents for top in tree.OVERLAY)


def is_shell(path):
    if path.suffix == ".sh":
        return True
    with open(path, "rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and (b"bash" in first or first.rstrip().endswith(b"/sh"))


def shellcheck():
    scripts = [path for path in repo_files() if is_shell(path)]
    return call("shellcheck", ["shellcheck", "-x", *scripts], cwd=paths.REPO)


def rustfmt(source):
    files = [path for path in repo_files() if path.suffix == ".rs"]
    of_host = [path for path in files if is_of_host(path)]
    of_kernel = [path for path in files if path not in of_host]
    # Settings must be named: rustfmt looks for them beside a file, and the kernel's are elsewhere.
    yield rustfmt_all("rustfmt, kernel code", of_kernel, source / ".rustfmt.toml")
    yield rustfmt_all("rustfmt, device models and model checks", of_host, crate.MODEL / "Cargo.toml")


def rustfmt_all(name, files, settings):
    """File by file on stdin, for a named file drags in the modules that it declares.

    Of stdin, rustfmt prints what differs, and succeeds."""
    config = ["--config-path", settings] if settings.name == ".rustfmt.toml" else []
    notes = []
    for path in files:
        with open(path, "rb") as file:
            command = ["rustfmt", "--check", "--edition", "2021", *config]
            done = call(name, command, silent=True, stdin=file)
        if done.status == FAIL:
            notes += [str(path.relative_to(paths.REPO)), *done.notes]
    if not files:
        return Result(name, SKIP)
    return failed(name, *notes[:60]) if notes else Result(name)


def checkpatch(source):
    """One test a file: new files as files, patches as patches."""
    tool = source / "scripts/checkpatch.pl"
    for path in repo_files():
        name = f"checkpatch {path.relative_to(paths.REPO)}"
        if path.suffix == ".patch":
            yield call(name, [tool, "--root", source, *CHECKPATCH, path], cwd=source)
        elif for_kernel(path) or path.suffix in (".c", ".h", ".rs", ".S") or path.name == "Kbuild":
            if not is_of_host(path):
                yield call(name, [tool, "--root", source, *CHECKPATCH, "-f", path], cwd=source)


def readme_example():
    """The driver in the README is the sample, which is built and tested."""
    name = "README's driver is the tested sample"
    tested = (paths.REPO / "samples/rust/rust_driver_ims.rs").read_text()
    tested = {line.strip() for line in tested.splitlines()}
    blocks = re.findall(r"^```rust\n(.*?)^```", (paths.REPO / "README.md").read_text(), re.M | re.S)
    other = [line for block in blocks for line in block.splitlines() if line.strip() not in tested]
    if other or not blocks:
        return failed(name, *(other or ["no example"]))
    return Result(name)


def one_patch():
    name = "each new file is of one patch of the series"
    try:
        series.new_files()
    except Failure as error:
        return failed(name, *error.excerpt)
    return Result(name)


def no_unsafe():
    """Only the kernel crate has unsafe code."""
    name = "no unsafe in drivers"
    code = re.compile(r"\bunsafe\s*(\{|impl|fn|extern)")
    files = [path.relative_to(paths.REPO) for path in repo_files() if path.suffix == ".rs"]
    files = [path for path in files if path.parts[0] != "rust"]
    found = [str(path) for path in files if code.search((paths.REPO / path).read_text())]
    return failed(name, *found) if found or not files else Result(name)


FUNCTION = re.compile(r"( {4})?(?:pub\S* )?(?:const )?(?:unsafe )?(?:extern \S+ )?fn (\w+)")
OWNER = re.compile(r"(?:pub\S* )?(?:unsafe )?(impl|trait)\b(.*)")
ANGLES = re.compile(r"<[^<>]*>")


def without_tests(path):
    return re.split(r"#\[cfg\(CONFIG_RUST_\w+_KUNIT_TEST\)\]", path.read_text())[0]


def unsafe_items(path):
    """What of a file has unsafe code: functions, methods, impls and traits. rustfmt has laid it out."""
    owner = item = None
    for line in without_tests(path).splitlines():
        code = line.partition("//")[0]
        if found := OWNER.match(code):
            # `impl<T> Trait for Type<T>`
            head = found[2]
            while ANGLES.search(head):
                head = ANGLES.sub("", head)
            words = re.findall(r"(?:\w|::)+", head.partition("where")[0])
            words = words[:3] if "for" in words[1:2] else words[:1]
            owner = words[-1]
            item = " ".join([found[1], *words])
        elif (found := FUNCTION.match(code)) and (owner or not found[1]):
            # Functions inside of functions are part of them.
            owner = found[1] and owner
            item = f"{owner}::{found[2]}" if owner else found[2]
        if re.search(r"\bunsafe\b", code):
            yield item


def audited():
    """The audit page has all unsafe code, and no other, and all that is atomic."""
    name = "the audit page names all unsafe code and all atomics"
    top = paths.REPO / "rust/kernel"
    page = (paths.REPO / "Documentation/core-api/irq/message-store-audit.rst").read_text()
    named = set(re.findall(r"``([\w/]+\.rs: [^`]+)``", page))
    files = [path for path in sync.walk(top) if path.suffix == ".rs"]
    unsafe = {f"{path}: {item}" for path in files for item in unsafe_items(top / path)}
    missing = [f"not in the page: {item}" for item in sorted(unsafe - named)]
    missing += [f"not in the page: {item}" for item in atomics() if not re.search(rf"\b{item}``", page)]
    gone = [f"not in the code: {item}" for item in sorted(named - unsafe)]
    return failed(name, *missing, *gone) if missing or gone or not unsafe else Result(name)


def atomics():
    """Fields and statics, but for the benchmark's."""
    for path in repo_files():
        if path.suffix == ".rs" and not is_of_host(path) and modules.SOURCE not in path.parents:
            code = re.sub(r"//.*", "", without_tests(path))
            yield from re.findall(r"(\w+)(?:: |\()Atomic<", code)


def kernel_warnings():
    """rustc's, clippy's and clang's, from the builds that compiled what now stands in out/."""
    name = "kernel build without warnings in our files"
    noted = [kernel.out / "warnings.json" for kernel in variant.chosen()]
    found = [text for path in noted if path.exists() for text in json.loads(path.read_text()).values()]
    lines = "\n".join(found).splitlines()
    return failed(name, *lines[:60]) if found else Result(name)


def clippy():
    with crate.locked():
        crate.lay()
        command = ["cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings"]
        for name, source in (("device models", crate.SOURCE), ("model checks", crate.LOOM_SOURCE)):
            yield call(f"clippy, {name}", command, cwd=source, env=crate.environment())


def rustdoc():
    """Links of the device models' documentation, also to what is private, and what is not documented."""
    with crate.locked():
        crate.lay()
        command = ["cargo", "doc", "--locked", "--no-deps", "--document-private-items"]
        env = {**crate.environment(), "RUSTDOCFLAGS": "-D warnings"}
        return call("rustdoc, device models", command, cwd=crate.SOURCE, env=env)


def run():
    source = tree.Tree().source
    yield shellcheck() if shutil.which("shellcheck") else Result("shellcheck", SKIP)
    yield from rustfmt(source)
    results = list(checkpatch(source))
    bad = [result for result in results if result.status == FAIL]
    yield from bad
    if not bad:
        yield Result(f"checkpatch --strict, {len(results)} files and patches")
    yield readme_example()
    yield one_patch()
    yield no_unsafe()
    yield audited()
    yield kernel_warnings()
    yield from clippy()
    yield rustdoc()
