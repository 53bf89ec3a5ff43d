# SPDX-License-Identifier: GPL-2.0
"""The packages of make deb, of the plain kernel: installed in a copy of the root, booted, and removed."""

import contextlib
import shutil
import tempfile
from pathlib import Path

from . import boot, deb, kernel, machine, paths, say, tree, variant, verdict
from .tap import SKIP, Result, failed

# What apt and dpkg write for themselves.
KEPT = ("var/lib/dpkg", "var/lib/apt", "var/cache/apt", "var/cache/debconf", "var/log")


def run():
    if variant.PLAIN not in variant.chosen():
        yield Result("the plain kernel is not among those that are tested", SKIP)
        return
    if paths.TOOLCHAIN != "root":
        yield Result("the packages are installed in the build root", SKIP, reason="TOOLCHAIN=host has none")
        return
    with contextlib.ExitStack() as stack:
        try:
            packages = make()
        except say.Failure as error:
            yield failed("bindeb-pkg makes them", *error.excerpt, str(error))
            return
        yield Result("bindeb-pkg makes them")
        root, upper, problem = copy_of_root(stack)
        if problem:
            yield Result("the rest", SKIP, reason=problem)
            return
        yield from installed(root, upper, packages)


def make():
    source = tree.Tree()
    packages = deb.Packages(source, "", revision=1)
    with source.locked():
        return packages.build(say.Quiet("packages", log="package.log"))


def copy_of_root(stack):
    """The guests' root, and what is written to it: nothing of that lasts."""
    scratch = Path(tempfile.mkdtemp(prefix="ims-package-"))
    stack.callback(shutil.rmtree, scratch, ignore_errors=True)
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir()
    root, upper = scratch / "root", scratch / "upper"
    options = f"lowerdir={paths.GUEST_ROOT},upperdir={upper},workdir={scratch / 'work'}"
    mounted = kernel.captured("busybox", "mount", "-t", "overlay", "-o", options, "overlay", root)
    if mounted.returncode:
        return root, upper, f"no overlay can be mounted: {mounted.stdout.strip()}"
    stack.callback(kernel.captured, "busybox", "umount", root)
    return root, upper, ""


def installed(root, upper, packages):
    names = [path.name.partition("_")[0] for path in packages]
    release = next(name.removeprefix("linux-image-") for name in names if name.startswith("linux-image-"))
    for path in packages:
        shutil.copy(path, root / "tmp")
    yield apt("apt installs them", root, "install", *(f"/tmp/{path.name}" for path in packages))
    image = root / f"boot/vmlinuz-{release}"
    if image.exists():
        run_lines = (machine.check("dsa"), f"sh guest/package.sh {release}")
        guest = boot.Boot("package", run=run_lines, model=(), root=str(root), image=str(image))
        yield verdict.judge(boot.run(guest))
    for path in packages:
        (root / "tmp" / path.name).unlink()
    yield apt("apt removes them", root, "purge", *names)
    left = [str(path.relative_to(upper)) for path in sorted(upper.rglob("*")) if is_left(path, upper)]
    yield failed("nothing is left of them", *left) if left else Result("nothing is left of them")


def apt(name, root, *words):
    """As on a machine without network."""
    kernel.captured("busybox", "mount", "-o", "bind", "/dev", root / "dev")
    command = ["chroot", root, "apt-get", "-y", "-o", "APT::Sandbox::User=root", "-o", "Dpkg::Use-Pty=0", *words]
    done = kernel.captured(*command)
    kernel.captured("busybox", "umount", root / "dev")
    return failed(name, *done.stdout.splitlines()[-20:]) if done.returncode else Result(name)


def is_left(path, upper):
    """A file that is neither there before nor the package manager's own."""
    name = str(path.relative_to(upper))
    return not path.is_dir() and not name.startswith(KEPT)
