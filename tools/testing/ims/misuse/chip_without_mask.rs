// SPDX-License-Identifier: GPL-2.0

//! An irq chip cannot mask its messages.

use kernel::{
    ims::Chip,
    prelude::*, //
};

struct Unmaskable;

#[rustfmt::skip] // The error is at the first line.
#[vtable]
impl Chip for Unmaskable { //~ E0046
    const NAME: &'static CStr = c"UNMASKABLE";

    fn unmask(&self, _slot: usize) {}

    fn is_masked(&self, _slot: usize) -> Option<bool> {
        None
    }

    fn is_pending(&self, _slot: usize) -> Option<bool> {
        None
    }

    fn write_message(&self, _slot: usize, _address: u64, _data: u32) {}
}

include!("module.inc");
