// SPDX-License-Identifier: GPL-2.0

//! An interrupt of the message store that signals an eventfd.

use crate::{
    buffer::{
        Use,
        Used, //
    },
    chip::Chip,
    entries::Entries,
    gate::Pass,
    handles::Handle,
    limit::RateLimit,
    workqueue::WorkQueue, //
};
use kernel::{
    eventfd::EventFd,
    held::{
        Handler,
        Handlers,
        Line,
        Registration, //
    },
    ims,
    irq::{
        Flags,
        IrqReturn, //
    },
    new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic, //
        },
        Arc,
        SpinLockIrq, //
    }, //
};

type Source<'a> = ims::Interrupt<'a, Chip<'a>>;

/// The eventfd of an interrupt.
#[pin_data]
pub(crate) struct Target {
    /// The eventfd, and the number of its signals.
    #[pin]
    eventfd: SpinLockIrq<(EventFd, u64)>,
    /// Items in flight that raise the interrupt.
    items: Atomic<u32>,
}

impl Target {
    /// Signals the eventfd, and counts that.
    pub(crate) fn signal(&self) {
        let (eventfd, count) = &mut *self.eventfd.lock();

        *count += 1;
        eventfd.signal();
    }
}

impl Used for Target {
    fn uses(&self) -> &Atomic<u32> {
        &self.items
    }
}

/// The handler: ends items of the work queue, and signals an eventfd.
pub(crate) struct Signal<'a> {
    target: Arc<Target>,
    entries: &'a Entries<'a>,
    limit: RateLimit<'a>,
}

impl Handler for Signal<'_> {
    fn handle(&self, line: &Line) -> IrqReturn {
        self.entries.reap();
        self.target.signal();
        self.limit.count(line);
        IrqReturn::Handled
    }
}

/// An interrupt, with or without an eventfd. With an eventfd it has a vector, and the handle by
/// which descriptors name it.
pub(crate) enum Interrupt<'a> {
    Unbound(Source<'a>),
    Bound {
        registration: Registration<'a, Source<'a>, Signal<'a>>,
        handle: Handle,
    },
}

impl<'a> Interrupt<'a> {
    pub(crate) fn source(&self) -> &Source<'a> {
        match self {
            Self::Unbound(source) => source,
            Self::Bound { registration, .. } => registration.source(),
        }
    }

    /// Binds the interrupt to `eventfd`. If that fails it stays as it was.
    pub(crate) fn bind(
        self,
        wq: &WorkQueue<'a>,
        handlers: &'a Handlers<'a>,
        eventfd: EventFd,
    ) -> (Self, Result) {
        let source = match self {
            Self::Unbound(source) => source,
            Self::Bound {
                ref registration, ..
            } => {
                let old = {
                    let mut target = registration.handler().target.eventfd.lock();
                    core::mem::replace(&mut *target, (eventfd, 0))
                };
                // Not with the lock held: this may free the eventfd.
                drop(old);
                return (self, Ok(()));
            }
        };

        let target = pin_init!(Target {
            eventfd <- new_spinlock_irq!((eventfd, 0)),
            items: Atomic::new(0),
        });
        let target = match Arc::pin_init(target, GFP_KERNEL) {
            Ok(target) => target,
            Err(error) => return (Self::Unbound(source), Err(error)),
        };
        let signal = Ok(Signal {
            target,
            entries: wq.entries,
            limit: RateLimit::new(wq.storm_limit, wq.name),
        });
        let registration = match handlers.request(source, Flags::TRIGGER_NONE, wq.name, signal) {
            Ok(registration) => registration,
            Err((error, source)) => return (Self::Unbound(source), Err(error)),
        };
        match wq.device.request_handle(registration.source().slot()) {
            Ok((handle, _)) => (
                Self::Bound {
                    registration,
                    handle,
                },
                Ok(()),
            ),
            Err(error) => (Self::Unbound(registration.release()), Err(error)),
        }
    }

    /// Unbinds the interrupt from its eventfd. It keeps its slot, which is masked and becomes
    /// pending when it is raised. An interrupt that was sent before is delivered to the next
    /// eventfd.
    pub(crate) fn unbind(self, wq: &WorkQueue<'a>) -> Self {
        match self {
            Self::Unbound(_) => self,
            Self::Bound {
                mut registration,
                handle,
            } => {
                // The vector and the handle must not be reused before interrupts in flight have
                // arrived. Failures of the device have been reported.
                let _ = registration.mask();
                let slot = registration.source().slot();
                let _ = wq.device.release_handle(handle, slot);
                Self::Unbound(registration.release())
            }
        }
    }

    pub(crate) fn set_masked(&mut self, masked: bool) -> Result {
        match self {
            Self::Unbound(_) => Err(EINVAL),
            Self::Bound { registration, .. } if masked => registration.mask(),
            Self::Bound { registration, .. } => registration.unmask(),
        }
    }

    /// Returns the handle of the interrupt, which is valid as long as the pass exists.
    pub(crate) fn handle(&mut self, wq: &WorkQueue<'a>) -> Result<(Handle, Pass<'a>)> {
        let Self::Bound {
            registration,
            handle,
        } = self
        else {
            return Err(EINVAL);
        };
        let pass = wq.device.use_handle(handle, registration.source().slot())?;
        Ok((*handle, pass))
    }

    /// Returns the number of signals of the eventfd.
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Unbound(_) => 0,
            Self::Bound { registration, .. } => registration.handler().target.eventfd.lock().1,
        }
    }

    /// Returns whether items in flight raise the interrupt.
    pub(crate) fn is_used(&self) -> bool {
        match self {
            Self::Unbound(_) => false,
            Self::Bound { registration, .. } => {
                registration.handler().target.items.load(Acquire) != 0
            }
        }
    }

    /// Returns what an item in flight needs to raise the interrupt.
    pub(crate) fn target(&self) -> Option<(Use<Target>, u16)> {
        match self {
            Self::Unbound(_) => None,
            Self::Bound { registration, .. } => Some((
                Use::new(registration.handler().target.clone()),
                registration.source().slot(),
            )),
        }
    }
}
