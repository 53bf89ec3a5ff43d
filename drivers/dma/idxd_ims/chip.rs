// SPDX-License-Identifier: GPL-2.0

//! The irq chip of the message store.

use crate::regs::{
    SlotControl,
    SlotRegisters, //
};
use kernel::{
    ims::{
        self,
        MmioArray,
        State, //
    },
    io::{
        io_read,
        io_write, //
    },
    msi::Message,
    prelude::*, //
};

/// The slots, and the control word that unmasks one.
#[derive(Clone, Copy)]
pub(crate) struct Chip<'a> {
    pub(crate) slots: MmioArray<'a, SlotRegisters>,
    pub(crate) control: u32,
}

#[vtable]
impl ims::Chip for Chip<'_> {
    const NAME: &'static CStr = c"IDXD-IMS";

    #[inline(always)]
    fn mask(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            io_write!(slot, .control, self.control | SlotControl::MASK_MASK);
        }
    }

    #[inline(always)]
    fn unmask(&self, slot: usize) {
        if let Some(slot) = self.slots.get(slot) {
            io_write!(slot, .control, self.control);
        }
    }

    #[inline(always)]
    fn state(&self, slot: usize) -> Option<State> {
        let slot = self.slots.get(slot)?;
        let control = io_read!(slot, .control);
        // Reserved bits read as zero: all ones mean that the device does not respond.
        if control == u32::MAX {
            return None;
        }

        let control = SlotControl::from_raw(control);
        Some(State {
            masked: control.mask(),
            pending: control.pending(),
        })
    }

    #[inline(always)]
    fn write_message(&self, slot: usize, message: Message) {
        if let Some(slot) = self.slots.get(slot) {
            // CAST: The address has two registers.
            io_write!(slot, .address_lo, message.address as u32);
            io_write!(slot, .address_hi, (message.address >> 32) as u32);
            io_write!(slot, .data, message.data);
        }
    }
}
