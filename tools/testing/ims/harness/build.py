# SPDX-License-Identifier: GPL-2.0
"""The build steps: kernel tree, kernel with modules and selftests, device models."""

import shutil
from pathlib import Path

from . import crate, kernel, paths, sync, tree
from .say import Failure, Step


def kernel_and_selftests():
    need_space(2000)
    if paths.KERNEL_SRC:
        kernel.check_series(Path(paths.KERNEL_SRC))
    source = tree.Tree()
    build = kernel.Build(source)
    with source.locked():
        with Step("kernel source", log="tree.log") as step:
            changed = source.prepare(step)
            step.result = f"{changed} files changed" if changed else "up to date"
        kernel.check_tools(source.source)
        with Step("kernel, modules, selftests", log="kernel.log") as step:
            if build.is_current():
                step.result = "up to date"
            else:
                build.outdate()
                build.configure(step)
                build.build(step)
                build.mark_current()
            build.deliver()
    scripts = paths.BENCH / "guest"
    sync.mirror(scripts, paths.OUT / "guest", sync.walk(scripts))


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
