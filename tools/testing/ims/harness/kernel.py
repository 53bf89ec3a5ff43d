# SPDX-License-Identifier: GPL-2.0
"""Configure and build the kernel, its modules and the selftests; hand them to the clone's out/."""

import hashlib
import json
import os
import re
import shutil
import subprocess

from . import paths, sync, tree
from .say import Failure, Step

FRAGMENT = paths.BENCH / "kernel.config"
DRIVER = paths.REPO / "drivers/dma/idxd_ims"
SELFTESTS = "tools/testing/selftests/ims"
OBJECT = r"^  (CC|AS|LD|AR|RUSTC|CLIPPY|HOSTCC|HOSTRUSTC|BINDGEN|RUSTDOC)\b"


class Build:
    def __init__(self, source_tree):
        self.tree = source_tree
        self.dir = paths.CACHE / "build" / f"{source_tree.key}-{paths.TOOLCHAIN}"
        self.warnings = self.dir / "ims-warnings.json"

        self.current = self.dir / "ims-current"

    def key(self):
        """All that a build is made from; a KERNEL_SRC may change in any file, so make has to look."""
        if self.tree.own:
            return ""
        made_of = [self.tree.source / name for name in sorted(tree.ours())] + [FRAGMENT]
        text = [p.read_bytes() for p in made_of if p.is_file()] + [os.environ.get("IMS_ROOT", "").encode()]
        return hashlib.sha256(b"\0".join(text) + repr(made_of).encode()).hexdigest()

    def is_current(self):
        return self.current.exists() and self.current.read_text() == self.key() != ""

    def outdate(self):
        self.current.unlink(missing_ok=True)

    def mark_current(self):
        self.current.write_text(self.key())

    def make(self, *words):
        ccache = shutil.which("ccache")
        return [
            *("make", "-C", self.tree.source, f"O={self.dir}", "LLVM=1", "CLIPPY=1"),
            f"CC={'ccache ' if ccache else ''}clang",
            *("--output-sync=target", f"-j{os.cpu_count()}"),
            *words,
        ]

    def environment(self):
        # Time, user and host would else change in every object that holds them.
        fixed = {
            "KBUILD_BUILD_TIMESTAMP": "1970-01-01",
            "KBUILD_BUILD_USER": "ims",
            "KBUILD_BUILD_HOST": "bench",
            "CCACHE_DIR": str(paths.CACHE / "ccache"),
            "CCACHE_BASEDIR": str(paths.CACHE),
            "CCACHE_NOHASHDIR": "1",
        }
        return {**os.environ, **fixed}

    def configure(self, step):
        stamp = self.dir / "ims-config"
        kconfigs = [self.tree.source / n for n in sorted(tree.ours()) if "Kconfig" in n]
        made_of = [FRAGMENT, *kconfigs]
        key = hashlib.sha256(b"\0".join(p.read_bytes() for p in made_of if p.exists())).hexdigest()
        if stamp.exists() and stamp.read_text() == key:
            return
        self.dir.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        env = self.environment()
        # Three passes of Kconfig for what never changes: keep it.
        tiny = self.dir / "ims-tinyconfig"
        if not tiny.exists():
            step.run(self.make("tinyconfig"), env=env, what="make tinyconfig")
            sync.copy(self.dir / ".config", tiny)
        merge = self.tree.source / "scripts/kconfig/merge_config.sh"
        step.run([merge, "-m", "-O", self.dir, tiny, FRAGMENT], env=env)
        step.run(self.make("olddefconfig"), env=env, what="make olddefconfig")
        check_config((self.dir / ".config").read_text())
        stamp.write_text(key)

    def build(self, step):
        env = self.environment()
        log_start = step.log.stat().st_size
        try:
            step.run(
                self.make("bzImage", "modules"),
                env=env,
                count=OBJECT,
                unit="objects",
                what="the kernel build",
            )
        finally:
            self.note_warnings(step.log.read_text(errors="replace")[log_start:])
        if (self.tree.source / SELFTESTS).exists():
            self.selftests(step, env)

    def selftests(self, step, env):
        install = self.dir / "ims-selftests"
        shutil.rmtree(install, ignore_errors=True)
        step.run(self.make("headers"), env=env, what="make headers")
        step.run(
            [
                *("make", "-C", self.tree.source / "tools/testing/selftests", "TARGETS=ims"),
                *("LLVM=1", f"O={self.dir}", f"INSTALL_PATH={install}", "FORCE_TARGETS=1"),
                *(f"KHDR_INCLUDES=-isystem {self.dir}/usr/include", "install"),
            ],
            env=env,
            what="building the selftests",
        )

    def note_warnings(self, log):
        """Remember warnings in our files until what they came from is built again."""
        noted = json.loads(self.warnings.read_text()) if self.warnings.exists() else {}
        names = tree.ours()
        for target, text in targets(log):
            noted.pop(target, None)
            found = [name for name in names if re.search(rf"warning.*\b{name}|{name}:\d+", text, re.S)]
            # What failed is built again, and warns again.
            if "warning" in text and found and not re.search(r"^error(\[|:)", text, re.M):
                noted[target] = text
        self.warnings.write_text(json.dumps(noted, indent=1))

    def deliver(self):
        """Copy what guests need into the clone, so that another build may go on meanwhile."""
        sync.copy(self.dir / "arch/x86/boot/bzImage", paths.OUT / "bzImage")
        modules = {}
        for line in (self.dir / "modules.order").read_text().split():
            module = self.dir / re.sub(r"\.o$", ".ko", line)
            modules[module.name] = module.read_bytes()
        for name, data in modules.items():
            sync.write(paths.OUT / "modules" / name, data)
        for name in sync.files_of(paths.OUT / "modules"):
            if name.name not in modules:
                sync.remove(paths.OUT / "modules" / name)
        install = self.dir / "ims-selftests"
        sync.mirror(install, paths.OUT / "selftests", sync.files_of(install))
        for name in ("kunit_parser.py", "kunit_printer.py"):
            sync.copy(self.tree.source / "tools/testing/kunit" / name, paths.OUT / "kunit" / name)
        if self.warnings.exists():
            sync.copy(self.warnings, paths.OUT / "warnings.json")


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


def check_config(config):
    """Every line of the fragment must have survived olddefconfig."""
    have = set(config.splitlines())
    for line in FRAGMENT.read_text().splitlines():
        symbol = re.match(r"(?:# )?(CONFIG_\w+)(=| is not set)", line)
        if not symbol or line in have:
            continue
        if line.startswith("#") and f"{symbol[1]}=" not in config:
            continue
        if symbol[1] == "CONFIG_INTEL_IDXD_IMS" and not DRIVER.exists():
            continue
        now = next((have_line for have_line in have if have_line.startswith(symbol[1] + "=")), "unset")
        raise Failure(
            f"{FRAGMENT.relative_to(paths.REPO)} asks for {line}, but the kernel's configuration has "
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
