# SPDX-License-Identifier: GPL-2.0
"""The build steps: kernel tree, kernels with their modules, selftests, device models."""

import shutil
from pathlib import Path

from . import crate, kernel, paths, sync, tree, variant
from .say import Failure, Step


def kernels_and_selftests():
    need_space(1000 + 1000 * len(paths.KERNELS))
    source = tree.Tree()
    with source.locked():
        prepare(source)
        kernel.check_tools(source.source)
        for one in variant.chosen():
            make(f"{one.label('kernel')} and modules", kernel.Kernel(source, one))
        make("selftests", kernel.Selftests(source))
    (paths.OUT / "modules").mkdir(exist_ok=True)  # a guest's init puts those of its kernel there
    for scripts in ("guest", "hardware"):
        sync.mirror(paths.BENCH / scripts, paths.OUT / scripts, sync.walk(paths.BENCH / scripts))


def prepare(source):
    if paths.KERNEL_SRC:
        kernel.check_series(Path(paths.KERNEL_SRC))
    with Step("kernel source", log="tree.log") as step:
        changed = source.prepare(step)
        step.result = f"{changed} files changed" if changed else "up to date"


def make(what, build):
    """What a guest needs, in the clone's out/; only built if what it is made from has changed."""
    with Step(what, log=build.log) as step:
        if build.is_current():
            step.result = "up to date"
        else:
            build.outdate()
            build.build(step)
            build.mark_current()
        build.deliver()


def models():
    with Step("device models", log="model.log") as step:
        crate.build(step)


def need_space(megabytes):
    paths.CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(paths.CACHE).free >> 20
    if free < megabytes:
        raise Failure(
            f"{paths.CACHE} has {free} MB free, a build needs {megabytes}: "
            "free some, or point XDG_CACHE_HOME at a larger disk"
        )
