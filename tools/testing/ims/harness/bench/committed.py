# SPDX-License-Identifier: GPL-2.0
"""The figures that the documentation shows, and where new ones differ."""

import json

from .. import paths

FOLDER = paths.REPO / "Documentation/core-api/irq"
PATH = FOLDER / "message-store-bench.json"

# Relative differences that are told of.
TOLD = 0.02
# Those of a ratio that fail `make check`.
REGRESSION = 0.05

# Times, and not instructions: they differ each time.
VOLATILE = ("contended", "time")


def load():
    return json.loads(PATH.read_text()) if PATH.exists() else {}


def dump(figures):
    return json.dumps(figures, indent=1, sort_keys=True) + "\n"


def leaves(figures):
    """(group, operation, contestant): number."""
    for group, operations in figures.items():
        if group in VOLATILE or group in ("versions", "masks"):
            continue
        for operation, row in operations.items():
            for who, value in row.items():
                values = value if isinstance(value, (list, tuple)) else [value]
                for index, number in enumerate(values):
                    yield (group, operation, who, index), number


def differences(old, new):
    """Lines on what differs by more than is tolerated."""
    was = dict(leaves(old))
    for key, number in leaves(new):
        before = was.get(key)
        if before is None:
            yield f"{' '.join(key[:3])}: {number:g}, not among the committed figures"
        elif abs(number - before) > TOLD * abs(before):
            yield f"{' '.join(key[:3])}: {number:g}, committed {before:g}"


def comparable(old, new):
    """Instructions can be compared: the kernel and the tools are the same. Ratios always can."""
    return old["versions"] == new["versions"]


def regressions(old, new):
    """(name, number, committed number) of what is to get no worse: the ratios Rust : C and Rust : MSI-X, and
    the instructions of an item of work."""
    for operation, row in new["instructions"].items():
        before = old["instructions"].get(operation, {})
        for under in ("c", "msix"):
            if row.get(under) and before.get(under):
                ratio, was = row["rust"] / row[under], before["rust"] / before[under]
                yield f"{operation}, Rust : {under}", ratio, was
    if not comparable(old, new):
        return
    for group, unit in (("work", "in a batch"), ("files", "files")):
        for operation, row in new[group].items():
            for column, number in row.items():
                if was := old.get(group, {}).get(operation, {}).get(column):
                    yield f"work, {operation}, {column} {unit}", number, was
