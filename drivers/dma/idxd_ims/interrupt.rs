// SPDX-License-Identifier: GPL-2.0

//! An interrupt of the message store that signals an eventfd.

use crate::{
    chip::Chip,
    device::Handle,
    gate::Pass,
    workqueue::WorkQueue, //
};
use kernel::{
    eventfd::EventFd,
    ims::{
        self,
        State, //
    },
    irq::{
        self,
        Flags,
        IrqReturn, //
    },
    msi,
    new_spinlock_irq,
    prelude::*,
    sync::SpinLockIrq, //
};

/// The handler: signals an eventfd, and counts how often.
#[pin_data]
pub(crate) struct Signal {
    #[pin]
    target: SpinLockIrq<(EventFd, u64)>,
}

impl irq::Handler for Signal {
    fn handle(&self) -> IrqReturn {
        let (eventfd, count) = &mut *self.target.lock();

        *count += 1;
        eventfd.signal();
        IrqReturn::Handled
    }
}

/// An interrupt, with or without an eventfd. With one it has a vector, and the device's handle that
/// descriptors name it by.
pub(crate) enum Interrupt<'a> {
    Unbound(ims::Interrupt<'a, Chip>),
    Bound {
        requested: msi::Requested<'a, ims::Interrupt<'a, Chip>, Signal>,
        handle: Handle,
    },
}

impl<'a> Interrupt<'a> {
    pub(crate) fn interrupt(&self) -> &ims::Interrupt<'a, Chip> {
        match self {
            Self::Unbound(interrupt) => interrupt,
            Self::Bound { requested, .. } => requested.source(),
        }
    }

    /// Binds the interrupt to `eventfd`. If that fails it stays as it was.
    pub(crate) fn bind(self, wq: &WorkQueue<'a>, eventfd: EventFd) -> (Self, Result) {
        let interrupt = match self {
            Self::Unbound(interrupt) => interrupt,
            Self::Bound { ref requested, .. } => {
                let old = {
                    let mut target = requested.handler().target.lock();
                    core::mem::replace(&mut *target, (eventfd, 0))
                };
                drop(old);
                return (self, Ok(()));
            }
        };

        let signal = try_pin_init!(Signal {
            target <- new_spinlock_irq!((eventfd, 0)),
        }? Error);
        let (flags, name) = (Flags::TRIGGER_NONE, wq.name.clone());
        let requested = match msi::request(interrupt, flags, name, wq.storm_limit, signal) {
            Ok(requested) => requested,
            Err((error, interrupt)) => return (Self::Unbound(interrupt), Err(error)),
        };
        match wq.device.request_handle(requested.source().index()) {
            Ok((handle, _)) => (Self::Bound { requested, handle }, Ok(())),
            Err(error) => (Self::Unbound(requested.release()), Err(error)),
        }
    }

    /// Takes the eventfd from the interrupt, which then has a slot only: masked, and pending when
    /// it is raised. What was sent before is kept, for another eventfd.
    pub(crate) fn unbind(self, wq: &WorkQueue<'a>) -> Self {
        match self {
            Self::Unbound(_) => self,
            Self::Bound {
                mut requested,
                handle,
            } => {
                // What is on its way has a vector and a handle until it has come. A device that
                // fails here has been reported.
                let _ = requested.mask();
                let _ = wq.device.release_handle(handle);
                Self::Unbound(requested.release())
            }
        }
    }

    pub(crate) fn set_masked(&mut self, masked: bool) -> Result {
        match self {
            Self::Unbound(_) => Err(EINVAL),
            Self::Bound { requested, .. } if masked => requested.mask(),
            Self::Bound { requested, .. } => requested.unmask(),
        }
    }

    /// Returns what descriptors name the interrupt by as long as the pass exists.
    pub(crate) fn handle(&mut self, wq: &WorkQueue<'a>) -> Result<(Handle, Pass<'a>)> {
        let Self::Bound { requested, handle } = self else {
            return Err(EINVAL);
        };
        let pass = wq.device.use_handle(handle, requested.source().index())?;
        Ok((*handle, pass))
    }

    /// Returns the slot's state and how often the eventfd was signalled.
    pub(crate) fn state(&self) -> Result<(State, u64)> {
        let count = match self {
            Self::Unbound(_) => 0,
            Self::Bound { requested, .. } => requested.handler().target.lock().1,
        };
        Ok((self.interrupt().state().ok_or(EIO)?, count))
    }
}
