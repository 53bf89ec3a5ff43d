// SPDX-License-Identifier: GPL-2.0

//! A structure with padding, which would show kernel memory, is copied to user space.

use kernel::{
    prelude::*,
    uaccess::UserPtr, //
};

#[derive(FromBytes)]
#[repr(C)]
struct Padded {
    size: u32,
    value: u64,
}

fn answer(argument: UserPtr) -> Result {
    let padded: Padded = argument.read_struct()?; //~ E0277

    argument.write_struct(&padded) //~ E0277
}

include!("module.inc");
