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


def regressions(old, new):
    """(operation, ratio, committed ratio) of the ratios Rust : C and Rust : MSI-X that are worse."""
    for operation, row in new["instructions"].items():
        before = old["instructions"].get(operation, {})
        for under in ("c", "msix"):
            if row.get(under) and before.get(under):
                ratio, was = row["rust"] / row[under], before["rust"] / before[under]
                yield f"{operation}, Rust : {under}", ratio, was
