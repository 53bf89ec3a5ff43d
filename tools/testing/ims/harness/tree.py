# SPDX-License-Identifier: GPL-2.0
"""The kernel tree in the cache: pristine source, `patches/` applied, the clone's files laid over.

Every file that differs from the pristine source is "managed": its pristine copy is kept aside (or
read from KERNEL_SRC), what it should hold is worked out anew each time, and it is written only if
it holds something else. Other clones' leavings and interrupted runs sort themselves out that way.
"""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

from . import lock, paths, sync
from .say import Failure

OVERLAY = ("rust", "drivers", "include", "Documentation", "samples", "tools/testing/selftests/ims")

# Build products in a KERNEL_SRC that was built in place.
PRODUCTS = (
    ".git *.o *.a *.ko *.so *.mod *.mod.c .*.cmd *.rmeta *.order *.orig *.rej .tmp_* "
    "/.config /.config.old /Module.symvers /System.map /vmlinux /vmlinux.* /modules.* "
    "/include/config/ /include/generated/ /arch/x86/include/generated/ /usr/include/ "
    "/rust/*_generated.rs /rust/*/*_generated.rs /rust/*_generated.h /rust/doc/ /rust/test/"
).split()


class Tree:
    def __init__(self):
        self.own = paths.KERNEL_SRC
        if self.own:
            self.key = "own-" + digest(self.own)
        else:
            self.tarball = Path(f"/usr/src/linux-source-{paths.SERIES}.tar.xz")
            self.key = "deb-" + digest(self.package_version())
        self.home = paths.CACHE / "src" / self.key
        self.source = self.home / "linux"
        self.state = self.home / "managed.json"

    def package_version(self):
        if not self.tarball.exists():
            raise Failure(
                f"{self.tarball} is missing: install linux-source-{paths.SERIES}, or give KERNEL_SRC="
            )
        package = f"linux-source-{paths.SERIES}"
        query = ["dpkg-query", "-W", "-f", "${Version}", package]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout

    def locked(self):
        return lock.held(paths.CACHE / "src" / f"{self.key}.lock", "this kernel tree")

    def prepare(self, step):
        """Bring the tree up to date; tell how many files changed."""
        if self.own:
            changed = self.copy_own(step)
        else:
            changed = self.unpack(step)
        return changed + self.lay(step)

    def unpack(self, step):
        if self.source.exists():
            return 0
        step.last = 0
        step.show("unpacking")
        part = self.home.with_name(self.key + ".part")
        shutil.rmtree(part, ignore_errors=True)
        (part / "linux").mkdir(parents=True)
        command = ["tar", "-x", "-I", "xz -T0 -d", "--strip-components=1", "-C", part / "linux"]
        step.run([*command, "-f", self.tarball], what="unpacking the kernel source")
        part.rename(self.home)
        return 1

    def copy_own(self, step):
        """A copy of KERNEL_SRC, which itself is only read."""
        self.source.mkdir(parents=True, exist_ok=True)
        managed = self.home / "managed.list"
        managed.write_text("".join(f"/{name}\n" for name in self.managed()))
        command = ["rsync", "-a", "--delete", "--itemize-changes", f"--exclude-from={managed}"]
        command += [f"--exclude={name}" for name in PRODUCTS]
        _, changed = step.run(
            [*command, f"{self.own}/", f"{self.source}/"],
            count=r"^([<>ch]f|\*deleting)",
            unit="files copied",
            what=f"copying {self.own}",
        )
        return changed

    def managed(self):
        try:
            return set(json.loads(self.state.read_text()))
        except FileNotFoundError:
            return set()

    def pristine(self, name):
        """What the kernel itself has under this name, or None."""
        if self.own:
            path = Path(self.own) / name
            return path.read_bytes() if path.is_file() else None
        kept = self.home / "pristine" / name
        if kept.is_file():
            return kept.read_bytes()
        path = self.source / name
        if name in self.managed() or not path.is_file():
            return None
        sync.write(kept, path.read_bytes())
        return path.read_bytes()

    def lay(self, step):
        wanted = self.patched(step)
        for top in OVERLAY:
            for name in sync.walk(paths.REPO / top):
                name = f"{top}/{name}"
                if not self.own and self.pristine(name) is not None:
                    raise Failure(f"{name} is a file of the kernel's own: change it with a patch")
                wanted[name] = (paths.REPO / name).read_bytes()
        for name in self.managed() - set(wanted):
            wanted[name] = self.pristine(name)

        # Known as managed before it is touched: an interrupted run is finished by the next one.
        self.state.write_text(json.dumps(sorted(wanted)))
        changed = 0
        for name, data in sorted(wanted.items()):
            path = self.source / name
            if data is None:
                changed += sync.remove(path)
            else:
                mode = (paths.REPO / name).stat().st_mode if (paths.REPO / name).is_file() else None
                if mode is None:
                    mode = path.stat().st_mode if path.exists() else 0o644
                changed += sync.write(path, data, mode)
        keep = [name for name, data in wanted.items() if data != self.pristine(name)]
        self.state.write_text(json.dumps(sorted(keep)))
        return changed

    def patched(self, step):
        """What the files that patches touch should hold: {name: bytes, or None if removed}."""
        patches = series_of_patches()
        names = sorted({name for patch in patches for name in touched(patch)})
        scratch = self.home / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        for name in names:
            data = self.pristine(name)
            if data is not None:
                sync.write(scratch / name, data)
        for patch in patches:
            step.run(
                ["patch", "-p1", "--fuzz=0", "--force", "--no-backup-if-mismatch", "-i", patch],
                cwd=scratch,
                what=f"applying {patch.relative_to(paths.REPO)}",
            )
        wanted = {}
        for name in names:
            path = scratch / name
            wanted[name] = path.read_bytes() if path.is_file() else None
        shutil.rmtree(scratch, ignore_errors=True)
        return wanted


def series_of_patches():
    top = paths.REPO / "patches"
    return sorted(top.glob("*.patch")) + sorted((top / "hooks").glob("*.patch"))


def touched(patch):
    """The files that a patch names."""
    text = patch.read_text(errors="replace")
    found = re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", text, re.M)
    return set(found) | set(re.findall(r"^rename (?:from|to) (\S+)", text, re.M))


def ours():
    """The names, in the kernel tree, of all files that come from this repo or that it patches."""
    names = {f"{top}/{name}" for top in OVERLAY for name in sync.walk(paths.REPO / top)}
    return names | {name for patch in series_of_patches() for name in touched(patch)}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]
