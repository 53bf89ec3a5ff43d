# SPDX-License-Identifier: GPL-2.0
"""Figures of items of work, from the lines of the kselftests' program `cost`."""

from .figures import ACCESS, MARKER, TEST_PAGE

BATCHES, FILES = ("1", "8", "32", "63"), ("1", "8", "256", "2048")
WAYS = ("CPU", "item", "item, scattered")
# Entries of the 8 work queues.
ENTRIES = 8 * 63
PORTALS = "2"
STEPS = ("submit", "interrupt and wake-up", "collect")

# (group, its rows, headings of its columns, title)
TABLES = (
    ("work", "an item in a batch of so many", BATCHES, "Work: instructions of an item; system calls; registers"),
    ("files", "an item, of so many files", FILES, "Work: instructions of an item by the number of files"),
    ("sizes", "KiB", WAYS, "Work: instructions of a copy by the CPU, and of an item in a batch of one"),
    ("pays", "from so many KiB on", ("1", "32"), "Work: items in batches that take fewer instructions than copies by the CPU"),
)


def measured(said, trace=None):
    """{group: {operation: {column: number}}}"""
    lines = {tuple(words[:2]): float(words[2]) for words in said["work"]["cost"]}
    clock = lines["clock_submit", "1000"]
    # See figures.instructions().
    if lines["clock_collect", "1000"] - clock != 2001:
        raise ValueError("the clock does not count instructions")

    def figure(name, parameter):
        return lines[name, parameter] - clock

    def steps(name, parameter):
        """Instructions to submit, of all interrupts with one wake-up, and to collect."""
        interrupts = lines[f"{name}_interrupts", parameter] + figure(f"{name}_wake", parameter)
        return figure(f"{name}_submit", parameter), interrupts, figure(f"{name}_collect", parameter)

    work, files = {}, {}
    for column in BATCHES:
        count = int(column)
        parts = steps("batch", column)
        for operation, number in (*zip(STEPS, parts), ("all", sum(parts))):
            add(work, operation, column, number / count)
        if count > 1:
            add(work, "interrupt alone", column, lines["batch_interrupts", column] / (count - 1))
        add(work, "system calls", column, 3 / count)
    if trace:
        accesses(work, trace)
    for column in FILES:
        add(files, "submit", column, figure("files_submit", column))
        if ("files_refused", column) in lines:
            add(files, "submit, refused", column, figure("files_refused", column))
        add(files, "interrupt", column, lines["files_interrupts", column] / min(int(column), ENTRIES))
        add(files, "collect", column, figure("files_collect", column))
    sizes = {
        size: {
            "CPU": figure(name, size),
            "item": sum(steps("whole", size)),
            "item, scattered": sum(steps("scattered", size)),
        }
        for name, size in lines
        if name == "memcpy_collect"
    }
    return {"work": work, "files": files, "sizes": sizes, "pays": pays(work["all"], sizes)}


def add(group, operation, column, number):
    group.setdefault(operation, {})[column] = number


def accesses(work, trace):
    """Adds stores to portals, each of which is eight under emulation, and other accesses of an item."""
    now, counts = [0, 0], {}
    for line in trace:
        found = ACCESS.search(line)
        if not found or found["queued"] or (found["memory"] and found["name"] != "msix-table"):
            continue
        if found["region"] != TEST_PAGE:
            now[found["region"] != PORTALS] += 1
        elif int(found["offset"], 16) == MARKER:
            now = counts.setdefault(str(int(found["value"], 16)), [0, 0])
    for column in BATCHES:
        portals, others = counts[column]
        add(work, "stores of 64 bytes to a portal", column, portals / 8 / int(column))
        add(work, "other accesses of registers", column, others / int(column))


def pays(items, sizes):
    """Sizes in KiB from which on the CPU's copy takes more instructions than an item."""
    points = sorted((int(size), row["CPU"]) for size, row in sizes.items())
    found = {}
    for column in ("1", "32"):
        for (low, less), (high, more) in zip(points, points[1:]):
            if less < items[column] <= more:
                found[column] = low + (high - low) * (items[column] - less) / (more - less)
    return {"KiB": found}


def tables(figures):
    """(title, headings, rows) of each."""
    for group, what, columns, title in TABLES:
        rows = (
            [operation, *(cell(row.get(column)) for column in columns)]
            for operation, row in figures.get(group, {}).items()
        )
        yield title, (what, *columns), list(rows)


def cell(value):
    if value is None:
        return ""
    return f"{value:.3f}".rstrip("0").rstrip(".") if value < 10 else f"{value:.0f}"
