// SPDX-License-Identifier: GPL-2.0

//! An irq chip cannot mask its messages.

use kernel::{
    ims::{
        Chip,
        Message,
        State, //
    },
    prelude::*, //
};

struct Unmaskable;

#[rustfmt::skip] // The error is at the first line.
#[vtable]
impl Chip for Unmaskable { //~ E0046
    const NAME: &'static CStr = c"UNMASKABLE";

    fn unmask(&self, _slot: usize) {}

    fn state(&self, _slot: usize) -> Option<State> {
        None
    }

    fn write_message(&self, _slot: usize, _message: Message) {}
}

include!("module.inc");
