# SPDX-License-Identifier: GPL-2.0
"""make deb: Debian packages of the patched kernel, made by the kernel's own bindeb-pkg."""

import lzma
import os
import re
from pathlib import Path

from . import build, kernel, paths, sync, tree
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

    def build(self, step):
        """Build what is left to build, and the packages; they are the result."""
        step.run(
            # It would want g++ and gcc, for which clang stands.
            self.make("bindeb-pkg", "DPKG_FLAGS=--no-check-builddeps"),
            env=self.environment(),
            count=kernel.OBJECT,
            unit="objects",
            what="make bindeb-pkg",
        )
        names = [line.split()[0] for line in (self.dir / "debian/files").read_text().splitlines()]
        made = [self.dir.parent / name for name in names]
        kept = []
        for path in made:
            if path.suffix == ".deb" and DELIVERED.match(path.name):
                sync.copy(path, OUT / path.name)
                kept.append(OUT / path.name)
        # dpkg-buildpackage puts its results beside the build directory.
        for path in [*made, *self.dir.parent.glob("linux-upstream_*")]:
            path.unlink(missing_ok=True)
        return kept


def kconfig():
    """The text of KCONFIG, or of Debian's configuration of the series."""
    own = os.environ.get("KCONFIG", "")
    try:
        if own:
            return Path(own).read_text()
        return lzma.decompress(DEBIANS.read_bytes()).decode()
    except (OSError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise Failure(f"{own or DEBIANS} is no kernel configuration: {error}") from None


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
            made = packages.build(step)
    print()
    for path in made:
        print(f"  {path.relative_to(paths.REPO)}  {path.stat().st_size >> 20} MB")
    print(f"\n  sudo apt install {' '.join('./' + str(p.relative_to(paths.REPO)) for p in made)}")
    return 0
