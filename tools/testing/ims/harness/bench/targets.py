# SPDX-License-Identifier: GPL-2.0
"""What the figures are to be."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Target:
    name: str
    figure: Callable  # of all figures; None or KeyError: not measured
    limit: float | tuple | None  # at most that; None: only reported

    def of(self, figures):
        try:
            return self.figure(figures)
        except (KeyError, TypeError):
            return None

    def met(self, figures):
        """None if there is nothing to tell."""
        value = self.of(figures)
        if value is None or self.limit is None:
            return None
        if isinstance(self.limit, tuple):
            return all(one <= most for one, most in zip(value, self.limit))
        return value <= self.limit


def ratio(operation, under, over="rust", group="instructions"):
    return lambda figures: figures[group][operation][over] / figures[group][operation][under]


def accesses(operation):
    """Writes and reads."""
    return lambda figures: tuple(figures["accesses"][operation]["rust"][:2])


def growth(figures):
    grow = figures["grow"]
    return grow["16128"]["rust"] / grow["16"]["rust"]


def growth_without_library(figures):
    """The same of what is left without the slot allocator, which is measured alone."""
    return figures["core_growth"]["growth"]["rust"]


def worst(group):
    """The largest ratio of the slot allocator alone, however full it is."""
    return lambda figures: max(row["rust"] / row["c"] for row in figures[group].values())


C, MSIX = "c", "msix"
IN_FLIGHT = ("submit", "interrupt alone", "collect")
TARGETS = (
    Target("mask, Rust : C", ratio("mask", C), 1.00),
    Target("unmask, Rust : C", ratio("unmask", C), 1.00),
    Target("write message, Rust : C", ratio("write_message", C), 1.00),
    Target("handler, Rust : C", ratio("handler", C), 1.00),
    Target("delivery, Rust : C", ratio("delivery", C), 1.00),
    Target("alloc+free, Rust : C", ratio("alloc_free", C), 1.00),
    Target("whole life, Rust : C", ratio("whole_life", C), 1.02),
    Target("slot allocator, take, Rust : C", worst("reserve"), 1.10),
    Target("slot allocator, free, Rust : C", worst("release"), 1.10),
    Target("mask+unmask, Rust : MSI-X", ratio("mask_unmask", MSIX), 1.00),
    Target("alloc+free, Rust : MSI-X", ratio("alloc_free", MSIX), 0.82),
    Target("whole life, Rust : MSI-X", ratio("whole_life", MSIX), 1.02),
    Target("accesses, whole life", accesses("whole_life"), (8, 1)),
    Target("accesses, alloc", accesses("alloc"), (0, 0)),
    Target("accesses, unmask", accesses("unmask"), (1, 0)),
    Target("accesses, mask", accesses("mask"), (1, 1)),
    Target("accesses, set_affinity", accesses("set_affinity"), (0, 0)),
    Target("growth, allocation 16128 : 16", growth, 1.2),
    Target("growth without the slot allocator", growth_without_library, None),
    Target("mask+unmask, layered C : Rust", ratio("mask_unmask", "rust", "layered"), None),
    Target("bytes of an idle slot", lambda f: f["memory"]["idle_slot"]["rust"], 1),
    Target("bytes of an interrupt", lambda f: f["memory"]["interrupt_value"]["rust"], 16),
    Target("module text, Rust : C", ratio("driver", C, group="text"), 1.5),
    *(Target(f"work, {step}, 63 : 8 in flight", ratio(step, "8", "63", "work"), 1.2) for step in IN_FLIGHT),
    *(
        Target(f"work, {step}, {files} : 8 files", ratio(step, "8", files, "files"), 1.2)
        for files in ("256", "2048")
        for step in ("submit", "interrupt", "collect")
    ),
    Target("work, stores to a portal", lambda f: max(f["work"]["stores of 64 bytes to a portal"].values()), 1),
    Target("work, other accesses", lambda f: max(f["work"]["other accesses of registers"].values()), 0),
)
