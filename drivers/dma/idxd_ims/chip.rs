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
        Slot,
        State, //
    },
    io::{
        io_read,
        io_write, //
    },
    msi::Message,
    prelude::*, //
};

pub(crate) struct Chip;

/// The control word of `slot`: masking must keep the PASID that it is bound to.
#[inline(always)]
fn control(slot: Slot, mask: bool) -> u32 {
    let control = SlotControl::zeroed().with_mask(mask);
    match slot.pasid {
        Some(pasid) => control.with_pasid_en(true).with_pasid(pasid),
        None => control,
    }
    .into_raw()
}

impl ims::Chip for Chip {
    const NAME: &'static CStr = c"IDXD-IMS";
    type Store<'a> = MmioArray<'a, SlotRegisters>;

    #[inline(always)]
    fn mask(store: &Self::Store<'_>, slot: Slot) {
        if let Some(regs) = store.slot(slot.index) {
            io_write!(regs, .control, control(slot, true));
        }
    }

    #[inline(always)]
    fn unmask(store: &Self::Store<'_>, slot: Slot) {
        if let Some(regs) = store.slot(slot.index) {
            io_write!(regs, .control, control(slot, false));
        }
    }

    #[inline(always)]
    fn state(store: &Self::Store<'_>, slot: Slot) -> Option<State> {
        let control = io_read!(store.slot(slot.index)?, .control);
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
    fn write_message(store: &Self::Store<'_>, slot: Slot, message: Message) {
        if let Some(regs) = store.slot(slot.index) {
            // CAST: The address takes two registers.
            io_write!(regs, .address_lo, message.address as u32);
            io_write!(regs, .address_hi, (message.address >> 32) as u32);
            io_write!(regs, .data, message.data);
        }
    }
}
