// SPDX-License-Identifier: GPL-2.0

//! The message store's irq chip.

use crate::regs::{
    SlotControl,
    SlotRegisters, //
};
use kernel::{
    ims::{
        self,
        MmioArray,
        Pasid,
        State,
        View, //
    },
    io::{
        io_read,
        io_write, //
    },
    msi::Message,
    prelude::*, //
};

pub(crate) struct Chip;

impl ims::Chip for Chip {
    const NAME: &'static CStr = c"IDXD-IMS";
    type Store<'a> = MmioArray<'a, SlotRegisters>;

    fn control(pasid: Option<Pasid>) -> u32 {
        match pasid {
            Some(pasid) => SlotControl::zeroed().with_pasid_en(true).with_pasid(pasid),
            None => SlotControl::zeroed(),
        }
        .into_raw()
    }

    #[inline(always)]
    fn mask(slot: View<'_, Self>, control: u32) {
        io_write!(slot, .control, control | SlotControl::MASK_MASK);
    }

    #[inline(always)]
    fn unmask(slot: View<'_, Self>, control: u32) {
        io_write!(slot, .control, control);
    }

    #[inline(always)]
    fn state(slot: View<'_, Self>) -> Option<State> {
        let control = io_read!(slot, .control);
        // Reserved bits are never set: all ones come from a device that is gone.
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
    fn write_message(slot: View<'_, Self>, message: Message) {
        // CAST: The address takes two registers.
        io_write!(slot, .address_lo, message.address as u32);
        io_write!(slot, .address_hi, (message.address >> 32) as u32);
        io_write!(slot, .data, message.data);
    }
}
