# SPDX-License-Identifier: GPL-2.0
"""The guests that measure, and what they said."""

import re

from .. import boot, machine, paths, say

SLOTS, VECTORS = 16128, 2048
LARGE = ("--slots", str(SLOTS), "--msix-vectors", str(VECTORS))
# Eight work queues and a ninth that is always there, each with as many entries as the driver uses.
WORK = ("--slots", "256", "--wqs", "9", "--wq-size-total", "576")
SMALL = ("--slots", "256", "--msix-vectors", "64")

# QEMU 11.1 cannot count instructions with an x2APIC: its registers are MSRs, and writing one of them in
# the middle of a block of code ends QEMU ("Bad icount read").
MACHINE = "vtd"

# Time is instructions: one a nanosecond, while the guest does anything. Nothing else moves it.
ICOUNT = ("-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm", "-seed", "1")
CLOCK = "kunit.enable=0 nokaslr tsc=reliable clocksource=tsc tsc_early_khz=1000000 nowatchdog"

# Accesses to the device's BARs, to the MSI-X table, which QEMU keeps, and what the remapping unit is told.
TRACE = (
    *("vfio_region_read", "vfio_region_write", "vtd_inv_desc_iec"),
    *("memory_region_ops_read", "memory_region_ops_write"),
)


def measuring(job, model=SMALL, **fields):
    run = (machine.check("dsa"), f"sh guest/bench.sh {job}")
    return boot.Boot(f"bench-{job}", MACHINE, run, model, deadline=900, **fields)


def instructions(job, model=LARGE):
    return measuring(job, model, append=CLOCK, qemu=ICOUNT, accel="tcg", cpus=1)


def traced(job="trace", model=SMALL, cpus=2):
    return measuring(job, model, accel="tcg", cpus=cpus, trace=TRACE, append="kunit.enable=0 nokaslr")


def work():
    return instructions("work", WORK)


def work_traced():
    return traced("work-trace", WORK, cpus=1)


def contended():
    return measuring("contend", accel="tcg", cpus=4, append="kunit.enable=0 nokaslr")


def timed():
    """Where there is KVM: the same as for instructions, in time."""
    return measuring("short", LARGE, accel="kvm", cpus=1, append="kunit.enable=0 nokaslr")


def run(one):
    """Boot it; return {contestant: {file: [(words...)]}} and the lines of QEMU's trace."""
    outcome = boot.run(one)
    bad = [command.text for command in outcome.commands if command.status]
    if outcome.problems or bad:
        raise say.Failure(f"{one.name} failed; log: {outcome.log}", [*outcome.problems, *bad])
    said, lines = {}, []
    for line in outcome.commands[-1].lines:
        if heading := re.fullmatch(r"@ (\w+) (\w+)", line):
            lines = said.setdefault(heading[1], {}).setdefault(heading[2], [])
        else:
            lines.append(tuple(line.split()))
    return said, outcome.qemu
