// SPDX-License-Identifier: GPL-2.0

//! The interrupt handlers that a device holds are passed on to the driver of a subdevice: a handler
//! of its module could be left behind when the module is removed.

use kernel::{
    held::{
        Handlers,
        Held,
        Publisher, //
    },
    prelude::*,
    types::{
        CovariantForLt,
        ForLt, //
    }, //
};

type State = Held<ForLt!(&'_ u32)>;

fn publish<'s>(publisher: &Publisher<'_, 's, State>) -> Result {
    publisher.subdevice::<CovariantForLt!(&'_ Handlers<'_>)>( //~ lifetime may not live long enough
        c"module",
        c"subdevice",
        0,
        Ok(publisher.handlers()),
    )
}

include!("module.inc");
