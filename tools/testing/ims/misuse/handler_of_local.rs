// SPDX-License-Identifier: GPL-2.0

//! An interrupt handler borrows a local variable, which is gone when a leaked handler runs.

use kernel::{
    held::{
        Handler,
        Handlers,
        Line, //
    },
    irq::{
        Flags,
        IrqRequest,
        IrqReturn, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

struct Count<'a>(&'a Atomic<u32>);

impl Handler for Count<'_> {
    fn handle(&self, _line: &Line) -> IrqReturn {
        self.0.add(1, Relaxed);
        IrqReturn::Handled
    }
}

fn request<'b>(handlers: &'b Handlers<'b>, vector: IrqRequest<'b>) -> Result {
    let count = Atomic::new(0);
    let handler = Ok(Count(&count)); //~ E0597
    let request = handlers.request(vector, Flags::TRIGGER_NONE, c"count", handler);

    core::mem::forget(request.map_err(|(error, _)| error)?);
    Ok(())
}

include!("module.inc");
