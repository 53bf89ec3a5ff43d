// SPDX-License-Identifier: GPL-2.0

//! A driver registers the files of a session as a character device of its own: opening it would
//! read beyond the structure that the driver registered.

use kernel::{
    miscdevice::{
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
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
    type Shared<'a> = ();
    type Session<'a> = ();
    type FileData = ();

    fn open<'a>(_shared: &Self::Shared<'a>) -> Result<(Self::Session<'a>, Self::FileData)> {
        Ok(((), ()))
    }

    fn ioctl(_file: &OpenFile<Self>, _call: Call) -> Result {
        Ok(())
    }
}

type Registration = MiscDeviceRegistration<OpenFile<Kind>>;

fn register() -> impl PinInit<Registration, Error> {
    Registration::register(MiscDeviceOptions { name: c"kind" }) //~ trait bounds were not satisfied
}

include!("module.inc");
