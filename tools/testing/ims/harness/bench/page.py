# SPDX-License-Identifier: GPL-2.0
"""The figures as tables of the documentation's page."""

import re

from . import committed, table, targets, work
from .figures import CONTESTANTS

PATH = committed.FOLDER / "message-store-bench.rst"
BETWEEN = re.compile(r"(?<=^\.\. figures begin\n\n).*?(?=^\.\. figures end$)", re.M | re.S)

CAPTIONS = {
    "operations": "Instructions of each operation.",
    "slots": "Instructions by the number of interrupts that there are.",
}


def write(figures):
    page = PATH.read_text()
    text = "\n".join(lines(figures)) + "\n\n"
    PATH.write_text(BETWEEN.sub(lambda _: text, page))


def lines(figures):
    for name, caption in CAPTIONS.items():
        yield from (f".. kernel-figure:: message-store-bench-{name}.svg", f"   :alt: {caption}", "")
        yield from (f"   {caption}", "")
    yield from csv(
        "Targets",
        ("figure", "measured", "at most", ""),
        (table.target_cells(target, figures) for target in targets.TARGETS),
    )
    for group, heading in table.GROUPS:
        if figures.get(group) and group not in committed.VOLATILE:
            yield from csv_table(heading, figures[group])
    for title, headings, rows in work.tables(figures):
        yield from csv(title, headings, rows)
    for store, instructions in figures["masks"].items():
        yield from (f"Masking in Rust, message store {store}::", "")
        yield from (f"    {line}" for line in instructions)
        yield ""
    yield "Measured with:"
    yield ""
    yield from (f"- {name}: {value}" for name, value in sorted(figures["versions"].items()))


def csv_table(heading, group):
    rows = (
        [
            operation.replace("_", " "),
            *(table.cell(row.get(who)) for who in CONTESTANTS),
            table.quotient(row, "c"),
            table.quotient(row, "msix"),
        ]
        for operation, row in group.items()
    )
    return csv(heading[0].upper() + heading[1:], ("", *table.HEADINGS, "Rust : C", "Rust : MSI-X"), rows)


def csv(title, headings, rows):
    yield from (f".. csv-table:: {title}", f"   :header: {quoted(headings)}", "")
    yield from (f"   {quoted(row)}" for row in rows)
    yield ""


def quoted(words):
    return ",".join(f'"{word}"' for word in words)
