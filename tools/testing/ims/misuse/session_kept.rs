// SPDX-License-Identifier: GPL-2.0

//! What an open file borrows from its device is kept beyond the call that it is lent to.

use kernel::{
    prelude::*,
    session::{
        Call,
        OpenFile,
        Sessions, //
    }, //
};

struct Kind;

#[vtable]
impl Sessions for Kind {
    type Shared<'a> = &'a u32;
    type Session<'a> = &'a u32;
    type FileData = ();

    fn open<'a>(shared: &Self::Shared<'a>) -> Result<(&'a u32, ())> {
        Ok((shared, ()))
    }

    fn ioctl(file: &OpenFile<Self>, _call: Call) -> Result {
        let mut kept = None;

        file.with(|session| {
            kept = Some(*session); //~ E0521
            Ok(())
        })?;
        pr_info!("{:?}\n", kept);
        Ok(())
    }
}

include!("module.inc");
