// SPDX-License-Identifier: GPL-2.0

//! An interrupt of the message store in the states that it can have.

use crate::{
    chip::Chip,
    device::Device, //
};
use kernel::{
    ims::{
        Interrupt,
        Pasid, //
    },
    irq::{
        self,
        Flags,
        IrqReturn, //
    },
    msi,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Counts the interrupts that were handled.
pub(crate) struct Hits(Atomic<u64>);

impl irq::Handler for Hits {
    fn handle(&self) -> IrqReturn {
        self.0.fetch_add(1, Relaxed);
        IrqReturn::Handled
    }
}

type Requested<'a> = msi::Requested<'a, Interrupt<'a, Chip>, Hits>;

/// An interrupt, with or without handler and the device's handle.
pub(crate) enum Line<'a> {
    Allocated(Interrupt<'a, Chip>),
    Requested {
        interrupt: Requested<'a>,
        handle: u16,
    },
}

impl<'a> Line<'a> {
    pub(crate) fn alloc(device: &Device<'a>, pasid: Option<Pasid>) -> Result<Self> {
        device.domain.alloc(pasid).map(Self::Allocated)
    }

    pub(crate) fn interrupt(&self) -> &Interrupt<'a, Chip> {
        match self {
            Self::Allocated(interrupt) => interrupt,
            Self::Requested { interrupt, .. } => interrupt.source(),
        }
    }

    pub(crate) fn handled(&self) -> u64 {
        match self {
            Self::Allocated(_) => 0,
            Self::Requested { interrupt, .. } => interrupt.handler().0.load(Relaxed),
        }
    }

    /// Returns whether the interrupt, when raised, is handled.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Requested { interrupt, .. } if !interrupt.is_masked())
    }

    pub(crate) fn handle(&self) -> Result<u16> {
        match self {
            Self::Allocated(_) => Err(EINVAL),
            Self::Requested { handle, .. } => Ok(*handle),
        }
    }

    /// Requests the interrupt, and a handle for it. If that fails it stays as it was.
    pub(crate) fn request(self, device: &Device<'a>) -> (Self, Result) {
        let Self::Allocated(interrupt) = self else {
            return (self, Err(EBUSY));
        };
        let requested = match msi::request(
            interrupt,
            Flags::TRIGGER_NONE,
            c"idxd-ims",
            Ok(Hits(Atomic::new(0))),
        ) {
            Ok(requested) => requested,
            Err((error, interrupt)) => return (Self::Allocated(interrupt), Err(error)),
        };
        match device.request_handle(requested.source().slot().index) {
            Ok(handle) => (
                Self::Requested {
                    interrupt: requested,
                    handle,
                },
                Ok(()),
            ),
            Err(error) => (Self::Allocated(requested.release()), Err(error)),
        }
    }

    /// The opposite of [`Self::request`]. The interrupt is masked before the handle goes back to
    /// the device, and keeps its vector until then, for what is still on its way.
    pub(crate) fn release(self, device: &Device<'a>) -> (Self, Result) {
        match self {
            Self::Allocated(_) => (self, Err(EINVAL)),
            Self::Requested {
                mut interrupt,
                handle,
            } => {
                interrupt.mask();
                let result = device.release_handle(handle);
                (Self::Allocated(interrupt.release()), result)
            }
        }
    }

    pub(crate) fn set_masked(&mut self, masked: bool) -> Result {
        match self {
            Self::Allocated(_) => Err(EINVAL),
            Self::Requested { interrupt, .. } => {
                if masked {
                    interrupt.mask();
                } else {
                    interrupt.unmask();
                }
                Ok(())
            }
        }
    }
}
