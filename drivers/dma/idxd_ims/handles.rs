// SPDX-License-Identifier: GPL-2.0

//! Interrupt handles, by which descriptors name slots. The device can revoke all of them at any
//! time.

use crate::{
    command::CommandError,
    device::Device,
    gate::Pass,
    regs::*, //
};
use core::num::Wrapping;
use kernel::{
    num::Bounded,
    prelude::*,
    sync::MutexGuard,
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// A handle. It is valid until the epoch changes.
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    pub(crate) value: u16,
    epoch: Wrapping<u32>,
}

/// Attempts at a handle that the device does not revoke before it is used: 32 at most. None begins
/// later than 300 ms after the first failure, so that a slow device does not take too long.
pub(crate) fn handle_tries() -> impl Iterator<Item = u32> {
    let mut failed: Option<Instant<Monotonic>> = None;

    (0..32).take_while(move |&tries| {
        tries == 0 || failed.get_or_insert_with(Instant::now).elapsed() < Delta::from_millis(300)
    })
}

impl Device<'_> {
    /// Returns the handle of `slot`. The device does not give its value to another slot as long as
    /// the pass exists, with which no command may be run.
    pub(crate) fn request_handle(&self, slot: u16) -> Result<(Handle, Pass<'_>)> {
        if !self.caps.has(Command::RequestIntHandle) {
            let handle = Handle {
                epoch: self.epoch(),
                value: slot,
            };
            return Ok((handle, self.handles.enter()));
        }
        let guard = self.command.lock();
        self.handles.close();
        let handle = self.try_handles(&guard, slot);
        let pass = self.handles.open_and_enter();
        Ok((handle?, pass))
    }

    /// As [`Self::request_handle`], when no descriptor is in flight.
    fn try_handles(&self, guard: &MutexGuard<'_, ()>, slot: u16) -> Result<Handle> {
        self.events.poll_revocation();
        for _ in handle_tries() {
            let handle = Handle {
                // Read first: a handle that is revoked before the next check has an old epoch.
                epoch: self.epoch(),
                value: self
                    .run(guard, Command::RequestIntHandle, operand(slot))
                    .map_err(|error| self.command_failed(error))?,
            };
            // Another slot may have had the same value until it was revoked.
            self.events.poll_revocation();
            if self.is_valid(handle) {
                return Ok(handle);
            }
        }
        Err(self.report(fmt!("revokes each interrupt handle that it gives")))
    }

    /// Requests a new `handle` for `slot` if it is not valid any more. The result is as that of
    /// [`Self::request_handle`].
    pub(crate) fn use_handle(&self, handle: &mut Handle, slot: u16) -> Result<Pass<'_>> {
        let pass = self.handles.enter();
        if self.is_valid(*handle) {
            return Ok(pass);
        }
        drop(pass);

        let (new, pass) = self.request_handle(slot)?;
        *handle = new;
        Ok(pass)
    }

    /// Notes that the device refused `handle` as invalid.
    pub(crate) fn invalidate(&self, handle: Handle) {
        let mut epoch = self.events.epoch.lock();

        // If the revocation was noted, the handle has an older epoch already.
        if *epoch == handle.epoch {
            *epoch += 1;
        }
    }

    /// Returns `handle` of `slot` to the device, which does not raise the slot any more.
    pub(crate) fn release_handle(&self, handle: Handle, slot: u16) -> Result {
        if !self.caps.has(Command::ReleaseIntHandle) {
            return Ok(());
        }
        let guard = self.command.lock();
        self.events.poll_revocation();
        if !self.is_valid(handle) {
            return Ok(());
        }
        let Err(error) = self.run(&guard, Command::ReleaseIntHandle, operand(slot)) else {
            return Ok(());
        };
        if matches!(error, CommandError::Refused(..)) {
            self.events.poll_revocation();
            if !self.is_valid(handle) {
                // It was revoked just before the command.
                return Ok(());
            }
        }
        Err(self.command_failed(error))
    }

    fn epoch(&self) -> Wrapping<u32> {
        *self.events.epoch.lock()
    }

    fn is_valid(&self, handle: Handle) -> bool {
        handle.epoch == self.epoch()
    }
}

/// Returns the operand for `slot` of the message store (9.2.12 of the specification).
#[inline(always)]
fn operand(slot: u16) -> Bounded<u32, 20> {
    Bounded::from_expr(INT_HANDLE_IMS | u32::from(slot))
}
