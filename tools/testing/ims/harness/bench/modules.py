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

# What the kernel crate calls, which is built in, and modules cannot. The kernel lies where its map says.
UNEXPORTED = (
    "msi_create_device_irq_domain",
    "msi_domain_alloc_irq_at",
    "msi_domain_free_irqs_range",
    "msi_remove_device_irq_domain",
    "msi_setup_device_data",
    "schedule_on_each_cpu",
)


def build(step, built):
    """Build them against the kernel `built`, and put them into the clone's out/."""
    top = OUT / "build"
    here = top / SOURCE.relative_to(paths.REPO)
    for source in [*(SOURCE / name for name in sync.walk(SOURCE)), *PRODUCT]:
        sync.copy(source, top / source.relative_to(paths.REPO))
    sync.copy(SOURCE / "bench_rust.rs", here / "bare_rust.rs")
    sync.write(here / "unexported.h", unexported(built).encode())
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


def unexported(built):
    """Their addresses, as assembler symbols, so that C calls them as directly as the kernel crate does."""
    addresses = dict(
        (name, address)
        for address, name in re.findall(r"^(\w+) T (\w+)$", (built.dir / "System.map").read_text(), re.M)
    )
    lines = [f'asm(".globl {name}\\n.set {name}, 0x{addresses[name]}");' for name in UNEXPORTED]
    return "\n".join(["/* SPDX-License-Identifier: GPL-2.0 */", *lines, ""])


def tools(name):
    """The programs of that name, with or without a version."""
    return [path for path in Path("/usr/bin").glob(f"{name}*") if re.fullmatch(rf"{name}(-\d+)?", path.name)]
