// SPDX-License-Identifier: GPL-2.0

//! Offsets in the test page (BAR4). `doc/test-page.md` describes it.

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
