# SPDX-License-Identifier: GPL-2.0
"""Who may send the interrupts of the message store: judged from QEMU's trace of remapping entries.

VT-d only: AMD-Vi has no source id in an entry, but a table of entries for each device.
"""

import dataclasses
import re

# What QEMU is to print: an entry each time that it is looked up for a message.
TRACE = ("-trace", "vtd_ir_irte_get")

# What QEMU calls low is the upper half.
LOOKED_UP = re.compile(r"vtd_ir_irte_get index (\d+) low 0x(?P<high>[0-9a-f]+) high 0x(?P<low>[0-9a-f]+)")

# What guest/isolation.sh prints of an interrupt that it raised.
RAISED = re.compile(r"# raised by (\S+): slot (\d+) address 0x([0-9a-f]+) data ([0-9a-f]+)")

# SVT: the entry says who may use it. SQ: all 16 bits of the source id count.
VERIFY_SOURCE, ALL_BITS = 1, 0


@dataclasses.dataclass
class Entry:
    """An interrupt remapping table entry of VT-d."""

    low: int
    high: int

    def __str__(self):
        return (
            f"present {self.low & 1}, SID {self.high & 0xFFFF:04x}, SQ {self.high >> 16 & 3}, "
            f"SVT {self.high >> 18 & 3}"
        )

    def verifies(self, source):
        return self.low & 1 and self.high & 0xFFFFF == VERIFY_SOURCE << 18 | ALL_BITS << 16 | source


def source_id(name):
    """The id of 0000:BB:DD.F as the bus has it."""
    _, bus, device, function = re.split("[:.]", name)
    return int(bus, 16) << 8 | int(device, 16) << 3 | int(function, 16)


def handle(address, data):
    """The index of the entry that a message in the remappable format names."""
    index = address >> 5 & 0x7FFF | (address >> 2 & 1) << 15
    with_subhandle = address >> 3 & 1
    return index + (data & 0xFFFF if with_subhandle else 0)


def problems(outcome):
    """What is wrong with the entries of the interrupts that the guest raised."""
    entries = {}
    for line in outcome.qemu:
        found = LOOKED_UP.search(line)
        if found:
            halves = int(found["low"], 16), int(found["high"], 16)
            entries.setdefault(int(found[1]), set()).add(halves)
    lines = [line for command in outcome.commands for line in command.lines]
    raised = [found for line in lines if (found := RAISED.match(line))]
    if not raised:
        yield "the guest raised no interrupt of the message store"
    for device, slot, *message in (found.groups() for found in raised):
        address, data = (int(word, 16) for word in message)
        index = handle(address, data)
        if not address >> 4 & 1:
            yield f"slot {slot}: message {address:#x} is not remapped"
        elif index not in entries:
            yield f"slot {slot}: remapping entry {index} was not used"
        for entry in (Entry(*words) for words in entries.get(index, ())):
            if not entry.verifies(source_id(device)):
                yield f"slot {slot}: remapping entry {index} is open to others than {device}: {entry}"
