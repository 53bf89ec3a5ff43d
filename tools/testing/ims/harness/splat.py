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


# A hostile device sends messages though they are masked, and can do so while the core takes its interrupt
# down. The core says so, of any kind of MSI, and nobody's handler runs.
HOSTILE = re.compile(r"unexpected IRQ trap")


def find(lines, is_hostile=False):
    """The offending lines, without those that a hostile device provokes if there `is_hostile` one."""
    offending = [line for line in without_pciehp(lines) if SPLATS.search(line)]
    return [line for line in offending if not (is_hostile and HOSTILE.search(line))]


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
