# SPDX-License-Identifier: GPL-2.0
"""From what the guests said to figures: {group: {operation: {contestant: number}}}."""

import re
import statistics

CONTESTANTS = ("rust", "c", "layered", "msix")

# Markers of bench_paths and of the contestants' files "trace", by what follows them.
MARKED = {
    1: "alloc",
    2: "request",
    3: "free_irq",
    4: "free",
    5: "mask",
    6: "unmask",
    7: "set_affinity",
    8: "disable_enable",
}
LIFE = ("alloc", "request", "free_irq", "free")


def by_name(lines):
    """{first word: number} of lines of two words."""
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}


def add(group, operation, contestant, number):
    group.setdefault(operation, {})[contestant] = number


def instructions(said):
    """Medians, without what reading the clock takes."""
    group = {}
    for who, files in said.items():
        paths = by_name(files["paths"])
        empty = paths.pop("empty")
        # LOOP rounds of two instructions each, and one before: else it is not instructions that are counted.
        if paths.pop("loop") - empty != 2001:
            raise ValueError("the clock does not count instructions")
        delivered = next(words for words in files["paths"] if words[:1] == ("delivered",))
        if delivered[1] != delivered[3]:
            raise ValueError(f"{who}: {' '.join(delivered)}: the handler was not measured")
        for name, number in paths.items():
            add(group, name, who, number - empty)
        life = by_name(files["life"])
        clock = life.pop("clock")
        for name, number in life.items():
            add(group, name, who, number - clock)
    return group


def bulk(said):
    """Instructions for many interrupts, and for the last of so many."""
    groups = {"up": {}, "down": {}, "grow": {}}
    for who, files in said.items():
        clock = by_name(files["life"])["clock"]
        for words in files.get("bulk", ()):
            name, count, number = words[0], int(words[1]), int(words[2])
            add(groups[name], str(count), who, number - clock * (1 if name == "grow" else count))
    return groups


def allocator(said):
    """Instructions of the allocator alone, by how full it is."""
    groups = {"reserve": {}, "release": {}}
    for who, files in said.items():
        clock = by_name(files["life"])["clock"]
        for name, fill, number in files.get("slots", ()):
            if fill == "100":  # there is none to take
                if name == "release":
                    continue
                fill = "100, refused"
            add(groups[name], fill, who, int(number) - clock)
    return groups


def memory(said):
    """Bytes: what the system has less of, and what an interrupt is as a value."""
    group = {}
    for who, files in said.items():
        add(group, "interrupt_value", who, int(files["size"][0][0]))
        if "keep" in files:
            words, (_, taken) = files["keep"]
            add(group, "idle_slot", who, int(taken) * 1024 / (int(words[1]) * int(words[3])))
    return group


ACCESS = re.compile(
    r"vfio_region_(?P<vfio>read|write)\s+\(.*?:region(?P<region>\d)\+0x(?P<offset>[0-9a-f]+), "
    r"(?:0x(?P<value>[0-9a-f]+))?"
    r"|memory_region_ops_(?P<memory>read|write) .* name '(?P<name>.*)'"
    r"|(?P<queued>vtd_inv_desc_iec) "
)
TEST_PAGE, MARKER = "4", 0xC4


def accesses(trace):
    """[writes, reads, invalidations] of each operation: {operation: {contestant: [W, R, QI]}}."""
    group, seen = {}, dict.fromkeys(MARKED, 0)
    now = None
    for line in trace:
        found = ACCESS.search(line)
        if not found:
            continue
        if found["region"] == TEST_PAGE and int(found["offset"], 16) == MARKER:
            number = int(found["value"], 16)
            now = None
            if number in MARKED:
                who = CONTESTANTS[seen[number]]
                seen[number] += 1
                now = group.setdefault(MARKED[number], {}).setdefault(who, [0, 0, 0])
        elif now is None:
            continue
        elif found["queued"]:
            now[2] += 1
        elif found["name"] == "msix-table" or found["vfio"]:
            now[(found["memory"] or found["vfio"]) == "read"] += 1
    for who in CONTESTANTS:
        parts = [group[name][who] for name in LIFE]
        group.setdefault("whole_life", {})[who] = [sum(column) for column in zip(*parts)]
    return group


def on_the_model(said):
    """Contestants whose times compare: MSI-X's table is in QEMU itself, and not behind a socket."""
    return ((who, files) for who, files in said.items() if who != "msix")


def contended(said):
    """How many times as long as alone an allocation takes with so many CPUs at it."""
    group = {}
    for who, files in on_the_model(said):
        alone = None
        for cpus in (1, 2, 4):
            mean = statistics.mean(by_name([words])["contend"] for words in files[f"contend{cpus}"])
            alone = alone or mean
            add(group, str(cpus), who, mean / alone)
    return group


def times(said):
    """Medians in nanoseconds, whose ratios tell; paths are in cycles."""
    group = {}
    for who, files in on_the_model(said):
        for file, zero in (("paths", "empty"), ("life", "clock")):
            numbers = by_name(files[file])
            nothing = numbers.pop(zero)
            for name, number in numbers.items():
                if name != "loop":
                    add(group, name, who, number - nothing)
    return group


def core_growth(figures):
    """Growth of an allocation without the slot allocator: the core's. A store that fills up is as one of 0 %
    for allocation 16, and as one of 99 % for the last."""
    growth = {
        who: (figures["grow"]["16128"][who] - figures["reserve"]["99"][who])
        / (figures["grow"]["16"][who] - figures["reserve"]["0"][who])
        for who in ("rust", "c")
    }
    return {"growth": growth}
