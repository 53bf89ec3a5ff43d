// SPDX-License-Identifier: GPL-2.0

//! The contexts of a message store in memory have interior mutability: the device and safe code
//! would race for them.

use core::cell::Cell;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    ims::MemoryQueue,
    prelude::*, //
};

#[derive(FromBytes, IntoBytes)]
#[repr(C)]
struct Context {
    mask: Cell<u32>,
}

fn contexts(dev: &Device<Bound>) -> Result<MemoryQueue<Context>> {
    MemoryQueue::new(dev, 4) //~ E0277
}

include!("module.inc");
