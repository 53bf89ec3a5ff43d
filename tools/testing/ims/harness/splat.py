# SPDX-License-Identifier: GPL-2.0
"""Lines of a kernel log that fail a run, wherever they turn up."""

import re

SPLATS = re.compile(
    r"""
    \bWARNING: | \bBUG\b | \bOops\b | Kernel\ panic | Call\ Trace: | \bKASAN: | \bUBSAN: | \bKFENCE: | \bKCSAN:
    | general\ protection\ fault | unable\ to\ handle | invalid\ opcode | refcount_t:
    | possible\ (circular|recursive|irq\ lock)\ | inconsistent\ lock\ state | suspicious\ RCU\ usage
    | trying\ to\ register\ non-static\ key | turning\ off\ the\ locking | lockdep\ is\ turned\ off
    | Invalid\ wait\ context | bad\ unlock\ balance | held\ lock\ freed | sleeping\ function\ called
    | ODEBUG: | DEBUG_LOCKS_WARN_ON | list_(add|del)\ corruption
    | No\ irq\ handler\ for | unexpected\ IRQ\ trap | nobody\ cared | Disabling\ IRQ | do_IRQ:
    | INTR-REMAP.*(fault|Fault) | DRHD:\ handling\ fault | AMD-Vi:\ Event\ logged | IO_PAGE_FAULT
    | blocked\ for\ more\ than | (rcu|RCU).*(detected\ stall|self-detected|detected.*stalls)
    | soft\ lockup | hard\ LOCKUP | kmemleak:\ \d+\ new | Unknown\ symbol | disagrees\ about\ version
    | rust_kernel:\ panicked | unregister_netdevice: | ----\[\ cut\ here
    """,
    re.X,
)


# The kernel's own: pciehp_unconfigure_device() takes its reset_lock again while it holds the other one.
# lockdep has nothing more to say after that.
LOCKDEP = re.compile(r"possible circular locking dependency")
PCIEHP = re.compile(r"acquire lock:\n.*&ctrl->reset_lock.*\n.*\n.*holding lock:\n.*pci_rescan_remove_lock")


# A CPU can have looked up the descriptor of an interrupt, for a message that came before it was masked, and
# not yet have run the flow handler when the core takes the interrupt down. No virtual CPU is as long between
# the two as one that the host does not let run. Then the core finds no flow handler and says so, of any kind
# of MSI; no handler of a driver runs. With a hostile device, which sends although it is masked, that is common.
TRAP = re.compile(r"unexpected IRQ trap")
TAKEN_DOWN = re.compile(r"IRQ_NOREQUEST set")


# What VT-d says of an access to memory that is not mapped.
DMA_FAULT = re.compile(r"DRHD: handling fault|DMAR: \[DMA ")

# Of guest/next-kernel.sh: what a kernel says of its end when it is told to crash, and what the next one says
# of interrupts that still come until the driver resets the device.
CRASH = re.compile(r"sysrq: Trigger a crash")
NEXT = re.compile(r"\] Linux version ")
STRAY = re.compile(r"No irq handler for|INTR-REMAP|DRHD: handling fault")
BOUND = re.compile(r"message store slots$")


def find(lines, is_hostile=False):
    """The offending lines, without those that the core prints of interrupts that it takes down."""
    lines = list(without_crash(without_pciehp(lines)))
    for number, line in enumerate(lines):
        if TRAP.search(line) and (is_hostile or any(map(TAKEN_DOWN.search, lines[max(number - 6, 0) : number]))):
            continue
        if SPLATS.search(line):
            yield line


def without_pciehp(lines):
    report = []
    for line in lines:
        if report or LOCKDEP.search(line):
            report.append(line)
        else:
            yield line
        if report and "</TASK>" in line:
            if not PCIEHP.search("\n".join(report)):
                yield from report
            report = []
    yield from report


def without_crash(lines):
    left_out = None
    for line in lines:
        if CRASH.search(line):
            left_out = re.compile("")
        elif left_out and NEXT.search(line):
            left_out = STRAY
        elif BOUND.search(line):
            left_out = None
        if not (left_out and left_out.search(line)):
            yield line
