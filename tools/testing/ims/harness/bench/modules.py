# SPDX-License-Identifier: GPL-2.0
"""The contestants: kernel modules, built against a kernel that is built."""

import re
from pathlib import Path

from .. import kernel, paths, sync

SOURCE = paths.BENCH / "bench"
# The Rust contestant has these of the product driver's files.
PRODUCT = [paths.REPO / "drivers/dma/idxd_ims" / name for name in ("chip.rs", "regs.rs")]

OUT = paths.OUT / "bench"
NAMES = (
    *("bench_rust", "bench_c", "bench_layered", "bench_msix", "bench_paths"),
    *("bare_rust", "bare_c"),  # without the measuring
)


def build(step, built):
    """Build them against the kernel `built`, and put them into the clone's out/."""
    top = OUT / "build"
    here = top / SOURCE.relative_to(paths.REPO)
    for source in [*(SOURCE / name for name in sync.walk(SOURCE)), *PRODUCT]:
        sync.copy(source, top / source.relative_to(paths.REPO))
    sync.copy(SOURCE / "bench_rust.rs", here / "bare_rust.rs")
    step.run(
        # No warning is overlooked because what it is about was built before.
        [*built.make(f"M={here}", "KCFLAGS=-Werror", "KRUSTFLAGS=-Dwarnings"), "modules"],
        env=kernel.environment(),
        count=kernel.OBJECT,
        unit="objects",
        what="building the benchmark's modules",
    )
    for name in NAMES:
        sync.copy(here / f"{name}.ko", OUT / "modules" / f"{name}.ko")


def tools(name):
    """The programs of that name, with or without a version."""
    return [path for path in Path("/usr/bin").glob(f"{name}*") if re.fullmatch(rf"{name}(-\d+)?", path.name)]
