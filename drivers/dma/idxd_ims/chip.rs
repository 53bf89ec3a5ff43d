// SPDX-License-Identifier: GPL-2.0

//! The irq chip of the message store.

use crate::regs::{
    SlotControl,
    SlotRegisters, //
};
use kernel::{
    ims::{
        self,
        MmioArray, //
    },
    io::{
        io_read,
        io_write, //
    },
    prelude::*, //
};

/// The slots.
#[derive(Clone, Copy)]
pub(crate) struct Chip<'a>(pub(crate) MmioArray<'a, SlotRegisters>);

impl Chip<'_> {
    /// Reads the control word of `slot`, if the device responds.
    #[inline(always)]
    fn read(&self, slot: usize) -> Option<SlotControl> {
        let slot = self.0.get(slot)?;
        let control = io_read!(slot, .control);

        // Reserved bits read as zero: all ones mean that the device does not respond.
        (control != u32::MAX).then_some(SlotControl::from_raw(control))
    }
}

#[vtable]
impl ims::Chip for Chip<'_> {
    const NAME: &'static CStr = c"IDXD-IMS";

    #[inline(always)]
    fn mask(&self, slot: usize) {
        if let Some(slot) = self.0.get(slot) {
            io_write!(slot, .control, SlotControl::MASK_MASK);
        }
    }

    #[inline(always)]
    fn unmask(&self, slot: usize) {
        if let Some(slot) = self.0.get(slot) {
            io_write!(slot, .control, 0);
        }
    }

    #[inline(always)]
    fn is_masked(&self, slot: usize) -> Option<bool> {
        Some(self.read(slot)?.mask())
    }

    #[inline(always)]
    fn is_pending(&self, slot: usize) -> Option<bool> {
        Some(self.read(slot)?.pending())
    }

    #[inline(always)]
    fn write_message(&self, slot: usize, address: u64, data: u32) {
        if let Some(slot) = self.0.get(slot) {
            // CAST: The address has two registers.
            io_write!(slot, .address_lo, address as u32);
            io_write!(slot, .address_hi, (address >> 32) as u32);
            io_write!(slot, .data, data);
        }
    }
}
