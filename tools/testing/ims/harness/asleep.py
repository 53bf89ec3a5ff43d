# SPDX-License-Identifier: GPL-2.0
"""Who speaks to a device that is not in D0: judged from QEMU's log of accesses to nothing.

In D3hot QEMU has no BARs, so that the device's model does not see them.
"""

import re

from . import machine

# What QEMU is to print: accesses to addresses where nothing is.
LOG = ("-d", "invalid_mem")

INVALID = re.compile(r"Invalid (read|write) at addr 0x([0-9A-F]+)")
DEVICE = re.compile(r"pci (\S+): \[([0-9a-f:]{9})\]")
# The test page, BAR 4, is not the driver's: tests read it at any time.
BAR = re.compile(r"pci (\S+): (BAR [02]) \[mem 0x([0-9a-f]+)-0x([0-9a-f]+)")


def bars(console, device):
    """Name, first and last address of each BAR of each device that is modelled."""
    modelled = {found[1] for line in console if (found := DEVICE.search(line)) and found[2] == device}
    for found in filter(None, map(BAR.search, console)):
        if found[1] in modelled:
            yield f"{found[2]} of {found[1]}", int(found[3], 16), int(found[4], 16)


def problems(outcome):
    """Accesses of the device's BARs while there were none."""
    known = list(bars(outcome.console, machine.DEVICES[outcome.boot.device][1]))
    if not known:
        yield "the kernel's log does not say where the device's BARs are"
    for line in outcome.qemu:
        found = INVALID.search(line)
        address = int(found[2], 16) if found else -1
        for name, first, last in known:
            if first <= address <= last:
                yield f"{found[1]} of {name} at {address - first:#x}, which was not in D0"
