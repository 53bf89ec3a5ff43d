# SPDX-License-Identifier: GPL-2.0
"""make deb: Debian packages of the patched kernel, made by the kernel's own bindeb-pkg."""

import lzma
import os
import re
from pathlib import Path

from . import build, kernel, lock, paths, sync, tree
from .say import Failure, Step

FRAGMENT = paths.BENCH / "kernel-deb.config"
DEBIANS = Path(f"/usr/src/linux-config-{paths.SERIES}/config.amd64_none_amd64.xz")
OUT = paths.OUT / "deb"

# linux-libc-dev would replace the distribution's.
DELIVERED = re.compile(r"linux-(image|headers)-")


class Packages(kernel.Build):
    """Packages of a kernel that has this build directory."""

    log = "deb.log"

    def __init__(self, source_tree, name="-deb", revision=None):
        super().__init__(source_tree, name)
        self.revision = revision

    def environment(self):
        fixed = kernel.environment()
        # The package's revision is the number of the build; the date tells owners their kernels apart.
        for name in ("KBUILD_BUILD_VERSION", "KBUILD_BUILD_TIMESTAMP"):
            if not self.revision:
                del fixed[name]
        fixed |= {
            "DEBFULLNAME": "rust-ims maintainers",
            "DEBEMAIL": "maintainers@rust-ims.example",
            "DPKG_DEB_COMPRESSOR_TYPE": "zstd",
            "KDEB_CHANGELOG_DIST": "unstable",
        }
        if self.revision:
            fixed["KDEB_PKGVERSION"] = f"{self.version()}-{self.revision}"
        return fixed

    def version(self):
        return kernel.captured("make", "-s", "-C", self.tree.source, "kernelversion").stdout.strip()

    def configure(self, step):
        """As the owner's configuration says, and the fragment on top."""
        self.dir.mkdir(parents=True, exist_ok=True)
        base = self.dir / "ims-kconfig"
        # Keys that only the distribution has.
        text = re.sub(r"^(CONFIG_SYSTEM_(TRUSTED|REVOCATION)_KEYS)=.*$", r'\1=""', kconfig(), flags=re.M)
        sync.write(base, text.encode())
        self.merge(step, base, [FRAGMENT])

    def build(self, step, out):
        """Build what is left to build, and the packages, which are the result and all that `out` has."""
        # dpkg-buildpackage puts its results beside the build directory.
        beside = self.dir.parent
        with lock.held(beside / "packages.lock", "the packages of another kernel"):
            clean(beside)
            try:
                step.run(
                    # Behind what else runs. It would want build-essential, for which clang stands.
                    ["nice", "-n", "19", *self.make("bindeb-pkg", "DPKG_FLAGS=--no-check-builddeps")],
                    env=self.environment(),
                    count=kernel.OBJECT,
                    unit="objects",
                    what="make bindeb-pkg",
                )
                made = [path for path in sorted(beside.glob("*.deb")) if DELIVERED.match(path.name)]
                sync.mirror(beside, out, [path.relative_to(beside) for path in made])
            finally:
                clean(beside)
        return [out / path.name for path in made]


def clean(beside):
    for path in [*beside.glob("*.deb"), *beside.glob("linux-upstream_*")]:
        path.unlink()


def kconfig():
    """The text of KCONFIG, or of Debian's configuration of the series."""
    own = os.environ.get("KCONFIG", "")
    try:
        if own:
            text = Path(own).read_text()
        else:
            text = lzma.decompress(DEBIANS.read_bytes()).decode()
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise Failure(f"{own or DEBIANS} is no kernel configuration: {error}") from None
    if "CONFIG_X86_64=y" not in text.splitlines():
        raise Failure("KCONFIG is no kernel configuration for x86-64: it lacks CONFIG_X86_64=y")
    return text


def main():
    build.need_space(10000)
    source = tree.Tree()
    with source.locked():
        build.prepare(source)
        kernel.check_tools(source.source)
        packages = Packages(source)
        with Step("configuration", log="deb-config.log") as step:
            packages.configure(step)
        with Step("kernel, modules and packages", log=packages.log) as step:
            made = packages.build(step, OUT)
        build.make("selftests", kernel.Selftests(source))
    print()
    for path in made:
        print(f"  {path.relative_to(paths.REPO)}  {path.stat().st_size >> 20} MB")
    print(f"\n  sudo apt install {' '.join('./' + str(p.relative_to(paths.REPO)) for p in made)}")
    return 0
