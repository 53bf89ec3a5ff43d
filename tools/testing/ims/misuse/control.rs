// SPDX-License-Identifier: GPL-2.0

//! What the other programs do wrong, done right: if this does not compile, their errors prove
//! nothing.

use kernel::{
    device::{
        Bound,
        Core, //
    },
    held::{
        Held,
        Publisher, //
    },
    pci,
    prelude::*,
    session::{
        Call,
        OpenFile,
        Sessions, //
    },
    str::CString,
    types::ForLt, //
};

type State = Held<ForLt!(&'_ u32)>;

struct Kind;

#[vtable]
impl Sessions for Kind {
    type Shared<'a> = &'a u32;
    type Session<'a> = &'a u32;
    type FileData = ();

    fn open<'a>(shared: &Self::Shared<'a>) -> Result<(&'a u32, ())> {
        Ok((shared, ()))
    }

    fn ioctl(file: &OpenFile<Self>, call: Call) -> Result {
        let value: [u32; 2] = call.argument.read_struct()?;

        call.argument
            .write_struct(&[value[0], file.with(|session| Ok(**session))?])
    }
}

fn publish<'s, 'b>(state: &'s &'b u32, publisher: &Publisher<'_, 's, State>) -> Result {
    publisher.character_device::<Kind>(CString::try_from(c"kind")?, *state)
}

fn probe<'a>(pdev: &'a pci::Device<Core<'_>>) -> Result<&'a State> {
    pdev.enable_managed()?;
    State::probe(pdev, |_| Ok(KBox::pin(&0, GFP_KERNEL)?), publish)
}

fn reset(pdev: &pci::Device<Bound>) -> Result {
    pdev.clear_master();
    pdev.try_reset()
}

include!("module.inc");
