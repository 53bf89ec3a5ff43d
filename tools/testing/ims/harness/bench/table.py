# SPDX-License-Identifier: GPL-2.0
"""The figures as a table for a terminal."""

from . import targets, work
from .figures import CONTESTANTS

HEADINGS = ("Rust", "C", "layered C", "MSI-X")

# (group, heading)
GROUPS = (
    ("instructions", "instructions, median"),
    ("up", "instructions to allocate so many"),
    ("down", "instructions to free them"),
    ("grow", "instructions of the allocation of that number"),
    ("reserve", "slot allocator alone: instructions to take one, by % full"),
    ("release", "slot allocator alone: instructions to free it"),
    ("accesses", "register writes, reads; invalidations"),
    ("contended", "time of an allocation with so many CPUs at it, times that with one"),
    ("time", "time under KVM: only the ratios tell"),
    ("memory", "bytes"),
    ("text", "bytes of code"),
)


def cell(value):
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "{}W {}R".format(*value) + (f" {value[2]}QI" if len(value) > 2 else "")
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def exactly(value):
    """With what a target is met or missed by."""
    return f"{value:.3f}" if isinstance(value, float) else cell(value)


def quotient(row, under):
    over, under = row.get("rust"), row.get(under)
    if isinstance(over, (int, float)) and isinstance(under, (int, float)) and under:
        return f"{over / under:.3f}"
    return ""


def lines(figures):
    """The table, with what became of the targets below it."""
    head = ["operation", *HEADINGS, "Rust:C", "Rust:MSI-X"]
    yield "{:<22}".format(head[0]) + "".join(f"{word:>14}" for word in head[1:])
    for group, heading in GROUPS:
        if not figures.get(group):
            continue
        yield f"-- {heading}"
        for operation, row in figures[group].items():
            cells = [cell(row.get(who)) for who in CONTESTANTS]
            cells += [quotient(row, "c"), quotient(row, "msix")]
            yield f"{operation:<22}" + "".join(f"{word:>14}" for word in cells).rstrip()
    for title, headings, rows in work.tables(figures):
        yield f"-- {title}"
        for words in (headings, *rows):
            yield f"{words[0]:<34}" + "".join(f"{word:>16}" for word in words[1:]).rstrip()
    yield "-- targets: measured, at most"
    for target in targets.TARGETS:
        yield "{:<36}{:>14}  {:<10}{}".format(*target_cells(target, figures)).rstrip()


def target_cells(target, figures):
    value, met = target.of(figures), target.met(figures)
    said = "not measured" if value is None else exactly(value)
    limit = "" if target.limit is None else exactly(target.limit)
    return target.name, said, limit, {True: "met", False: "missed", None: ""}[met]
