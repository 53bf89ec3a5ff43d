# SPDX-License-Identifier: GPL-2.0
"""The packages of make deb, of the plain kernel: installed in a copy of the root, booted, and removed."""

import shutil
import tempfile
from pathlib import Path

from . import boot, deb, kernel, machine, paths, say, tree, variant, verdict
from .tap import SKIP, Result, failed

OUT = paths.OUT / "package"

# What apt and dpkg write for themselves, and what apt() adds.
KEPT = ("var/lib/dpkg", "var/lib/apt", "var/cache/apt", "var/cache/debconf", "var/log", "dev/null")


def run():
    if variant.PLAIN not in variant.chosen():
        yield Result("the plain kernel is not among those that are tested", SKIP)
        return
    if paths.TOOLCHAIN != "root":
        yield Result("the packages are installed in the build root", SKIP, reason="TOOLCHAIN=host has none")
        return
    try:
        packages = make()
    except say.Failure as error:
        yield failed("bindeb-pkg makes them", *error.excerpt, str(error))
        return
    yield Result("bindeb-pkg makes them")
    root, upper, problem = copy_of_root()
    if problem:
        yield Result("apt installs them", SKIP, reason=problem)
        return
    yield from installed(root, upper, packages)


def make():
    source = tree.Tree()
    plain = kernel.Kernel(source, variant.PLAIN)
    packages = deb.Packages(source, "", revision=1)
    with source.locked():
        quiet = say.Quiet("packages", log="package.log")
        with quiet:
            # Another clone may have used both since.
            source.prepare(quiet)
            if not plain.is_current():
                plain.outdate()
                plain.build(quiet)
                plain.mark_current()
            return packages.build(quiet, OUT)


def copy_of_root():
    """The guests' root, and what is written to it: /tmp, which has both, ends with this run."""
    scratch = Path(tempfile.mkdtemp(prefix="ims-package-"))
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir()
    root, upper = scratch / "root", scratch / "upper"
    options = f"lowerdir={paths.GUEST_ROOT},upperdir={upper},workdir={scratch / 'work'}"
    problem = mount("-t", "overlay", "-o", options, "overlay", root)
    if not problem:
        # Only the file: whatever goes wrong, nothing here may remove files of the machine.
        (root / "dev/null").touch()
        problem = mount("-o", "bind", "/dev/null", root / "dev/null")
    return root, upper, problem


def mount(*words):
    done = kernel.captured("busybox", "mount", *words)
    return f"mount fails: {done.stdout.strip()}" if done.returncode else ""


def installed(root, upper, packages):
    names = [path.name.partition("_")[0] for path in packages]
    release = next(name.removeprefix("linux-image-") for name in names if name.startswith("linux-image-"))
    for path in packages:
        shutil.copy(path, root / "tmp")
    yield apt("apt installs them", root, "install", *(f"/tmp/{path.name}" for path in packages))
    lines = (machine.check("dsa"), f"sh guest/package.sh {release}")
    image = str(root / f"boot/vmlinuz-{release}")
    guest = boot.Boot("package", run=lines, model=(), root=str(root), image=image, deadline=240)
    yield verdict.judge(boot.run(guest))
    for path in packages:
        (root / "tmp" / path.name).unlink()
    yield apt("apt removes them", root, "purge", *names)
    left = [str(path.relative_to(upper)) for path in sorted(upper.rglob("*")) if is_left(path, upper)]
    yield failed("no file of them is left", *left) if left else Result("no file of them is left")


def apt(name, root, *words):
    """As on a machine without network."""
    command = ["chroot", root, "apt-get", "-y", "-o", "APT::Sandbox::User=root", "-o", "Dpkg::Use-Pty=0", *words]
    done = kernel.captured("nice", "-n", "19", *command)
    return failed(name, *done.stdout.splitlines()[-20:]) if done.returncode else Result(name)


def is_left(path, upper):
    """Returns whether a package left this file behind."""
    is_directory = path.is_dir() and not path.is_symlink()
    return not is_directory and not str(path.relative_to(upper)).startswith(KEPT)
