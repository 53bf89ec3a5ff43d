# SPDX-License-Identifier: GPL-2.0
"""Configure and build the kernels, their modules and the selftests; hand them to the clone's out/."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import paths, sync, tree
from .say import Failure, Step

TEST_MODULES = paths.BENCH / "modules"
DRIVER = paths.REPO / "drivers/dma/idxd_ims"
SELFTESTS = "tools/testing/selftests/ims"
# What the kernel's own collection `vfio` is built with.
EIGHT_STORES = paths.BENCH / "vfio/eight-stores.h"

# rustc's, so that C helpers can be inlined into Rust code. The host has what it has.
LLVM = "-22" if paths.TOOLCHAIN == "root" else ""
# bindgen takes libclang up to 20, which does not know each of clang 22's warnings.
BINDGEN = {
    "LIBCLANG_PATH": "/usr/lib/llvm-19/lib",
    "BINDGEN_EXTRA_CLANG_ARGS": "-Wno-unknown-warning-option",
}

OBJECT = r"^  (CC|AS|LD|AR|RUSTC|CLIPPY|HOSTCC|HOSTRUSTC|BINDGEN|RUSTDOC)\b"
OBJECTS = 2000  # of a first build, about


def make(source, directory, *words):
    # By its link: `ccache clang` is two words, which the packages' makefiles take for two arguments.
    cached = Path(f"/usr/lib/ccache/clang{LLVM}")
    compiler = cached if cached.exists() else f"clang{LLVM}"
    return [
        *("make", "-C", source, f"O={directory}", f"LLVM={LLVM or 1}", "CLIPPY=1"),
        *(f"CC={compiler}", f"HOSTCC={compiler}"),
        *("--output-sync=target", f"-j{os.cpu_count()}"),
        *words,
    ]


def environment():
    # Time, user, host and number would else change in every object that holds them.
    fixed = {
        "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
        "KBUILD_BUILD_USER": "ims",
        "KBUILD_BUILD_HOST": "bench",
        "KBUILD_BUILD_VERSION": "1",
        "CCACHE_DIR": str(paths.CACHE / "ccache"),
        "CCACHE_BASEDIR": str(paths.CACHE),
        "CCACHE_NOHASHDIR": "1",
        # Objects of another configuration never match: do not preprocess each file to look for them.
        "CCACHE_DEPEND": "1",
        **(BINDGEN if LLVM else {}),
    }
    return {**os.environ, **fixed}


def captured(*command):
    """The result of a command that may fail, with what it printed."""
    return subprocess.run(
        command,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


class Build:
    """Something built from the kernel tree, in a directory of the cache."""

    def __init__(self, source_tree, name):
        self.tree = source_tree
        self.dir = paths.CACHE / "build" / f"{source_tree.key}-{paths.TOOLCHAIN}{name}"
        self.current = self.dir / "ims-current"

    def key(self):
        """All that a build is made from; a KERNEL_SRC may change in any file, so make has to look."""
        if self.tree.own:
            return ""
        made_of = self.made_of()
        text = [p.read_bytes() for p in made_of if p.is_file()] + [os.environ.get("IMS_ROOT", "").encode()]
        words = repr([made_of, self.make()])
        return hashlib.sha256(b"\0".join(text) + words.encode()).hexdigest()

    def ours(self, selftests):
        """The tree's files that come from this repo: those of the selftests, or the others."""
        names = [name for name in sorted(tree.ours()) if name.startswith(SELFTESTS) == selftests]
        return [self.tree.source / name for name in names]

    def is_current(self):
        return self.current.exists() and self.current.read_text() == self.key() != ""

    def outdate(self):
        self.current.unlink(missing_ok=True)

    def mark_current(self):
        self.current.write_text(self.key())

    def make(self, *words):
        return make(self.tree.source, self.dir, *words)

    def merge(self, step, base, fragments):
        """Configure it as the file `base` says, and the fragments on top."""
        env = environment()
        merge = self.tree.source / "scripts/kconfig/merge_config.sh"
        step.run([merge, "-m", "-O", self.dir, base, *fragments], env=env)
        step.run(self.make("olddefconfig"), env=env, what="make olddefconfig")
        check_config((self.dir / ".config").read_text(), fragments)


class Kernel(Build):
    """One of the kernels, with its modules."""

    def __init__(self, source_tree, variant):
        super().__init__(source_tree, "" if variant.name == "plain" else f"-{variant.name}")
        self.variant = variant
        self.log = f"{variant.label('kernel')}.log"
        self.warnings = self.dir / "ims-warnings.json"

    def made_of(self):
        tests = [TEST_MODULES / name for name in sync.walk(TEST_MODULES)]
        return self.ours(selftests=False) + self.variant.config + tests

    def configure(self, step):
        stamp = self.dir / "ims-config"
        made_of = self.variant.config + [p for p in self.ours(selftests=False) if "Kconfig" in p.name]
        key = hashlib.sha256(b"\0".join(p.read_bytes() for p in made_of if p.exists())).hexdigest()
        if stamp.exists() and stamp.read_text() == key:
            return
        self.dir.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        # Three passes of Kconfig for what never changes: keep it.
        tiny = self.dir / "ims-tinyconfig"
        if not tiny.exists():
            step.run(self.make("tinyconfig"), env=environment(), what="make tinyconfig")
            sync.copy(self.dir / ".config", tiny)
        self.merge(step, tiny, self.variant.config)
        stamp.write_text(key)

    def build(self, step):
        self.configure(step)
        total = 0 if (self.dir / "vmlinux").exists() else OBJECTS
        log_start = step.log.stat().st_size
        try:
            self.run(step, "bzImage", "modules", total=total, what="the kernel build")
        finally:
            self.note_warnings(step.log.read_text(errors="replace")[log_start:])
        sync.mirror(TEST_MODULES, self.dir / "ims-modules", sync.walk(TEST_MODULES))
        self.run(step, f"M={self.dir / 'ims-modules'}", "modules", what="building the test modules")

    def run(self, step, *words, what, total=0):
        options = {"count": OBJECT, "unit": "objects", "total": total}
        step.run(self.make(*words), env=environment(), what=what, **options)

    def note_warnings(self, log):
        """Remember warnings in our files until what they came from is built again."""
        noted = json.loads(self.warnings.read_text()) if self.warnings.exists() else {}
        names = tree.ours()
        for target, text in targets(log):
            noted.pop(target, None)
            # What failed is built again, and warns again.
            if warns_in(names, text) and not re.search(r"^error(\[|:)", text, re.M):
                noted[target] = text
        self.warnings.write_text(json.dumps(noted, indent=1))

    def deliver(self):
        """Copy what guests need into the clone, so that another build may go on meanwhile."""
        out = self.variant.out
        sync.copy(self.dir / "arch/x86/boot/bzImage", out / "bzImage")
        modules = {}
        for line in (self.dir / "modules.order").read_text().split():
            module = self.dir / re.sub(r"\.o$", ".ko", line)
            modules[module.name] = module.read_bytes()
        for module in (self.dir / "ims-modules").glob("*.ko"):
            modules[module.name] = module.read_bytes()
        for name, data in modules.items():
            sync.write(out / "modules" / name, data)
        for name in sync.files_of(out / "modules"):
            if name.name not in modules:
                sync.remove(out / "modules" / name)
        if self.warnings.exists():
            sync.copy(self.warnings, out / "warnings.json")


class Selftests(Build):
    """The collections `ims` and `vfio`: the same programs for all kernels."""

    log = "selftests.log"

    def __init__(self, source_tree, name="-selftests"):
        super().__init__(source_tree, name)
        self.install = self.dir / "install"

    def made_of(self):
        headers = [p for p in self.ours(selftests=False) if p.suffix == ".h"]
        return self.ours(selftests=True) + headers + [EIGHT_STORES]

    def build(self, step):
        env = environment()
        self.dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.install, ignore_errors=True)
        if not (self.tree.source / SELFTESTS).exists():
            return
        # At one path for all clones: the objects depend on it.
        include = self.dir / EIGHT_STORES.name
        sync.copy(EIGHT_STORES, include)
        step.run(self.make("headers"), env=env, what="make headers")
        step.run(
            [
                *("make", "-C", self.tree.source / "tools/testing/selftests", "TARGETS=ims vfio"),
                *(f"LLVM={LLVM or 1}", f"O={self.dir}", f"INSTALL_PATH={self.install}", "FORCE_TARGETS=1"),
                *(f"KHDR_INCLUDES=-isystem {self.dir}/usr/include", f"EXTRA_CFLAGS=-include {include}"),
                "install",
            ],
            env=env,
            what="building the selftests",
        )

    def deliver(self):
        sync.mirror(self.install, paths.OUT / "selftests", sync.files_of(self.install))
        for name in ("kunit_parser.py", "kunit_printer.py"):
            sync.copy(self.tree.source / "tools/testing/kunit" / name, paths.OUT / "kunit" / name)


def targets(log):
    """(target, its output) for each line `  CC  target` of a log made with --output-sync."""
    target, text = None, []
    for line in log.splitlines():
        command = re.match(r"  [A-Z][A-Z0-9]+ +(?:\[M\] |[LPTUH]+ )*(\S+)", line)
        if command:
            if target:
                yield target, "\n".join(text)
            target, text = command[1], []
        else:
            text.append(line)
    if target:
        yield target, "\n".join(text)


def warns_in(names, text):
    """Whether a compiler warns of something in one of these files."""
    return "warning" in text and any(re.search(rf"warning.*\b{name}|{name}:\d+", text, re.S) for name in names)


def check_config(config, fragments):
    """Every line of the fragments, but for those that a later one takes back, must have survived."""
    wanted = {}
    for fragment in fragments:
        for line in fragment.read_text().splitlines():
            symbol = re.match(r"(?:# )?(CONFIG_\w+)(=| is not set)", line)
            if symbol:
                wanted[symbol[1]] = (line, fragment)
    have = set(config.splitlines())
    for symbol, (line, fragment) in wanted.items():
        if line in have or line.startswith("#") and f"{symbol}=" not in config:
            continue
        if symbol == "CONFIG_INTEL_IDXD_IMS" and not DRIVER.exists():
            continue
        if symbol == "CONFIG_RUST_INLINE_HELPERS" and paths.TOOLCHAIN == "host":
            continue  # it takes a clang and a rustc of the same LLVM
        now = next((have_line for have_line in have if have_line.startswith(symbol + "=")), "unset")
        raise Failure(
            f"{fragment.relative_to(paths.REPO)} asks for {line}, but the kernel's configuration has "
            f"it {now}: a dependency is missing, or the symbol does not exist in this tree"
        )


def check_series(source):
    """A kernel of another series has other Rust APIs: refuse it before a long build does."""
    try:
        makefile = (source / "Makefile").read_text(errors="replace")
    except OSError:
        raise Failure(f"KERNEL_SRC={source} is not a kernel tree: it has no Makefile") from None
    found = [re.search(rf"^{w} = (\d+)$", makefile, re.M) for w in ("VERSION", "PATCHLEVEL")]
    if not all(found):
        raise Failure(f"KERNEL_SRC={source} is not a kernel tree: its Makefile states no version")
    version = ".".join(word[1] for word in found)
    if version != paths.SERIES:
        raise Failure(f"KERNEL_SRC={source} is of series {version}; this project is for {paths.SERIES}")


def check_tools(source):
    """TOOLCHAIN=host: what the host lacks, before it matters."""
    if paths.TOOLCHAIN != "host":
        return
    missing = [tool for tool in ("clang", "ld.lld", "rustc", "bindgen", "clippy-driver", "cargo", "rsync")
               if not shutil.which(tool)]
    if missing:
        raise Failure(f"TOOLCHAIN=host: this machine has no {', '.join(missing)}; TOOLCHAIN=root needs none")
    step = Step("host toolchain", log="rustavailable.log")
    with step:
        step.run(["make", "-C", source, "LLVM=1", "rustavailable"], what="make LLVM=1 rustavailable on the host")
    try:
        text = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    except OSError:
        raise Failure("TOOLCHAIN=host: this machine has no qemu-system-x86_64") from None
    version = tuple(map(int, re.search(r"version (\d+)\.(\d+)", text).groups()))
    if version < (10, 1):
        raise Failure(f"TOOLCHAIN=host: QEMU {'.'.join(map(str, version))} is too old; vfio-user-pci came with 10.1")
