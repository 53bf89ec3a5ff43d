// SPDX-License-Identifier: GPL-2.0

//! The test page (BAR4), which real hardware does not have.
//!
//! Little endian; read and write with 4-byte accesses (a counter of 8 bytes
//! also with one of 8). No reset of the device touches it, but a reset stops
//! the source; its controls act like the hardware's own events.
//!
//! | offset | size | access | what |
//! | --- | --- | --- | --- |
//! | 0x000 | 4 | R | MAGIC, 0x494d5354 |
//! | 0x004 | 4 | R | LAYOUT, 2 |
//! | 0x008 | 4 | R | SLOTS |
//! | 0x00c | 4 | R | SLOT_ARRAY, offset of the slot counters: 0x1000 |
//! | 0x010 | 4 | R | SLOT_STRIDE, 16 |
//! | 0x014 | 4 | R | VECTORS, MSI-X table size |
//! | 0x018 | 4 | R | HANDLE_COMMANDS, 1 if there are commands for interrupt handles |
//! | 0x040 | 8 | R | messages sent |
//! | 0x048 | 8 | R | raises latched by a masked slot |
//! | 0x050 | 8 | R | messages refused |
//! | 0x058 | 8 | R | IMS table reads |
//! | 0x060 | 8 | R | IMS table writes |
//! | 0x068 | 8 | R | DMA errors |
//! | 0x070 | 8 | R | descriptors taken |
//! | 0x078 | 8 | R | descriptors completed |
//! | 0x080 | 8 | R | descriptors discarded by abort or reset |
//! | 0x088 | 8 | R | portal writes ignored, or refused by a full work queue |
//! | 0x090 | 8 | R | MSI-X vectors raised |
//! | 0x098 | 8 | R | MSI-X vectors refused |
//! | 0x0a0 | 8 | R | commands completed |
//! | 0x0a8 | 8 | R | resets (FLR, QEMU, leaving D3hot) |
//! | 0x0b0 | 8 | R | accesses of BAR0 and BAR2 while not in D0 |
//! | 0x0b8 | 8 | R | messages that the host took only after their slot was masked and read; if there are no handle commands |
//! | 0x0c0 | 4 | W | RAISE: raises the slot written |
//! | 0x0c4 | 4 | W | COUNTER_RESET: any value zeroes all counters |
//! | 0x0c8 | 4 | RW | RAISE_FIRST |
//! | 0x0cc | 4 | W | RAISE_COUNT: raises that many slots from RAISE_FIRST on |
//! | 0x0d0 | 8 | RW | FAULT_ARG |
//! | 0x0d8 | 4 | RW | FAULT: write a number to switch that fault on with FAULT_ARG, 0 to switch all off; reads bit n for fault n |
//! | 0x0dc | 4 | W | REVOKE: drops all interrupt handles, as in INTCAUSE bit 31; the next index gets them |
//! | 0x0e0 | 4 | W | HALT: the device halts; the value is GENSTATS.reset_type |
//! | 0x100 | 8 | RW | SOURCE_SEED |
//! | 0x108 | 4 | RW | SOURCE_COUNT, raises in all |
//! | 0x10c | 4 | RW | SOURCE_RATE, raises in a second; 0: all at once |
//! | 0x110 | 4 | RW | SOURCE_FIRST, first slot to choose from |
//! | 0x114 | 4 | RW | SOURCE_SLOTS, slots to choose from; 0: all from SOURCE_FIRST on |
//! | 0x118 | 4 | RW | SOURCE_CONTROL: 1 starts, 3 starts paced, 0 stops; reads the same while it runs |
//! | 0x11c | 4 | R | SOURCE_REMAINING |
//! | 0x120 | 8 | R | SOURCE_RAISES: raises by the source |
//! | 0x128 | 4 | W | ALLOW: a paced source may raise the slot written, until that has sent a message |
//! | 0x12c | 4 | W | DENY: it may not any more |
//! | 0x130 | 4 | RW | SYNC: a write begins; reads 1 once the host has all messages that were sent before |
//! | 0x140 | 8 | R | slots that were unmasked without a valid message since the reset |
//! | 0x148 | 8 | R | writes to the message of an unmasked slot |
//! | 0x150 | 8 | R | messages written to a slot after it was masked, before the device was read |
//! | 0x158 | 8 | R | handles requested or released after their slot was masked, before the device was read |
//! | 0x160 | 4 | R | slot of the last of these violations, plus 1; 0 if there is none |
//! | 0x1000 + 16 n | 4 | R | slot n: messages sent |
//! | 0x1004 + 16 n | 4 | R | slot n: raises latched |
//! | 0x1008 + 16 n | 4 | R | slot n: messages refused |
//! | 0x100c + 16 n | 4 | R | slot n: pending state replayed by an unmask |
//!
//! Raises of a slot = sent + refused - replayed + latched.

use crate::counters::{Counters, SlotCounters};
use crate::regs::half;
use crate::rules::Violations;

pub const MAGIC: u32 = 0x494d_5354;
pub const LAYOUT: u32 = 2;

/// Offset of the first slot's counters, and their size. Bytes.
pub const SLOT_ARRAY: u64 = 0x1000;
pub const SLOT_STRIDE: u64 = 16;

/// Offset of the first device counter; each has 8 bytes.
pub const COUNTERS: u64 = 0x40;

pub const RAISE: u64 = 0xc0;
pub const COUNTER_RESET: u64 = 0xc4;
pub const RAISE_FIRST: u64 = 0xc8;
pub const RAISE_COUNT: u64 = 0xcc;
pub const FAULT_ARG: u64 = 0xd0;
pub const FAULT: u64 = 0xd8;
pub const REVOKE: u64 = 0xdc;
pub const HALT: u64 = 0xe0;
pub const SOURCE_SEED: u64 = 0x100;
pub const SOURCE_COUNT: u64 = 0x108;
pub const SOURCE_RATE: u64 = 0x10c;
pub const SOURCE_FIRST: u64 = 0x110;
pub const SOURCE_SLOTS: u64 = 0x114;
pub const SOURCE_CONTROL: u64 = 0x118;
pub const SOURCE_REMAINING: u64 = 0x11c;
pub const SOURCE_RAISES: u64 = 0x120;
pub const ALLOW: u64 = 0x128;
pub const DENY: u64 = 0x12c;
pub const SYNC: u64 = 0x130;

/// Offset of the first count of violations; each has 8 bytes.
pub const VIOLATIONS: u64 = 0x140;
pub const LAST_VIOLATION: u64 = 0x160;

/// The dword at `offset` of the device counters, if it is one.
pub fn counter(counters: &Counters, offset: u64) -> Option<u32> {
    let values = [
        counters.sent,
        counters.latched,
        counters.refused,
        counters.ims_reads,
        counters.ims_writes,
        counters.dma_errors,
        counters.descriptors_taken,
        counters.descriptors_completed,
        counters.descriptors_discarded,
        counters.portal_refused,
        counters.vectors_sent,
        counters.vectors_refused,
        counters.commands,
        counters.resets,
        counters.unpowered,
        counters.late,
    ];
    entry(&values, COUNTERS, offset)
}

/// The dword at `offset` of the counts of violations, if it is one.
pub fn violation(counts: &Violations, offset: u64) -> Option<u32> {
    let values = [counts.blank, counts.unmasked, counts.unread, counts.handle];
    entry(&values, VIOLATIONS, offset)
}

/// The dword at `offset` of an array of values that begins at `base`.
fn entry(values: &[u64], base: u64, offset: u64) -> Option<u32> {
    let index = offset.checked_sub(base)? / 8;
    values.get(index as usize).map(|&value| half(value, offset))
}

/// The dword at `offset` of the slot counters, if it is one.
pub fn slot_counter(slots: &[SlotCounters], offset: u64) -> Option<u32> {
    let at = offset.checked_sub(SLOT_ARRAY)?;
    let slot = slots.get((at / SLOT_STRIDE) as usize)?;
    Some(match at % SLOT_STRIDE / 4 {
        0 => slot.sent,
        1 => slot.latched,
        2 => slot.refused,
        _ => slot.replayed,
    })
}
