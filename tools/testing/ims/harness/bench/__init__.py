# SPDX-License-Identifier: GPL-2.0
"""make bench: Rust, C, layered C and MSI-X, measured side by side."""

import os

from . import committed, measure, page, table
from .. import paths, sync, variant
from ..tap import SKIP, Result, failed

UPDATE = os.environ.get("UPDATE") == "1"


def main():
    """Measure all, print the table, and say where the committed figures differ."""
    figures = measure.everything()
    sync.write(paths.OUT / "bench/bench.json", committed.dump(figures).encode())
    draw(figures, paths.OUT / "bench")
    print("\n".join(table.lines(figures)), flush=True)
    print(f"-- all of it: {paths.OUT / 'bench'}")
    if UPDATE:
        sync.write(committed.PATH, committed.dump(figures).encode())
        draw(figures, committed.FOLDER)
        page.write(figures)
        print(f"-- written anew: {committed.PATH.relative_to(paths.REPO)} and what is beside it")
        return
    different = list(committed.differences(committed.load(), figures))
    print(f"-- {len(different)} figures differ from the committed ones by more than {committed.TOLD:.0%}")
    for line in different:
        print(f"   {line}")


def draw(figures, folder):
    # Only here is there need of the library.
    from . import plot  # pylint: disable=import-outside-toplevel

    plot.all_of(figures, folder)


def check():
    """The short form, for make check: nothing has got worse."""
    if variant.PLAIN not in variant.chosen():
        yield Result("the plain kernel is not among those that are tested", SKIP)
        return
    old, new = committed.load(), measure.short()
    if not old:
        yield failed("there are committed figures", "make bench UPDATE=1")
        return
    if not committed.comparable(old, new):
        yield Result("work: the committed figures are of another kernel or other tools", SKIP)
    for name, number, was in committed.regressions(old, new):
        line = f"{number:.3f}, committed {was:.3f}"
        if number > was * (1 + committed.REGRESSION):
            yield failed(name, line)
        else:
            yield Result(name, notes=[line])
