// SPDX-License-Identifier: GPL-2.0

//! Reset, sleep and removal of the device.

use crate::{
    command::{
        reset,
        CommandError, //
    },
    device::Device,
    events::health,
    gate::Pass,
    regs::*, //
};
use kernel::{
    io::Io,
    num::Bounded,
    prelude::*,
    sync::atomic::Relaxed, //
};

impl Device<'_> {
    /// Keeps the device from being reset or suspended as long as the result exists. Waits until it
    /// is neither.
    pub(crate) fn enter(&self) -> Pass<'_> {
        self.gate.enter()
    }

    fn health(&self) -> u32 {
        self.events.health.load(Relaxed)
    }

    pub(crate) fn is_working(&self) -> bool {
        self.health() == health::WORKING
    }

    /// Returns whether a reset did not help.
    pub(crate) fn is_dead(&self) -> bool {
        self.health() == health::DEAD
    }

    /// Notes that the device works only after a reset.
    pub(crate) fn mark_broken(&self) {
        self.events.mark_broken();
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.regs.read(GENSTS).state().get() == STATE_HALTED
    }

    /// Resets the device if it is broken. The caller must not have a pass.
    ///
    /// Errors: [`EAGAIN`] if it is being unbound or reset, [`EIO`] if a reset does not help.
    pub(crate) fn recover(&self) -> Result {
        if self.is_working() {
            return Ok(());
        }
        // Another task may have reset it before this one has the lock.
        let _guard = self.recovery.lock();
        match self.health() {
            health::WORKING => return Ok(()),
            health::DEAD => return Err(EIO),
            _ => (),
        }

        let status = {
            let _pass = self.enter();

            if self.is_working() {
                return Ok(());
            }
            self.regs.read(GENSTS)
        };
        let needs_more =
            status.state().get() == STATE_HALTED && status.reset_type().get() > RESET_FLR;
        if !needs_more {
            let done = self.dev.try_reset();
            if done == Err(EAGAIN) {
                return done;
            }
            if self.recoveries.fetch_add(1, Relaxed) == 0 {
                dev_warn!(
                    self.dev,
                    "it was broken, and was reset; later resets are only counted\n"
                );
            }
            // It may have broken again since. The next call finds out.
            if done.is_ok() && self.resumed.load(Relaxed) {
                return Ok(());
            }
        }
        let health = &self.events.health;
        if health.cmpxchg(health::BROKEN, health::DEAD, Relaxed) == Err(health::WORKING) {
            // Another reset has helped.
            return Ok(());
        }
        dev_err!(self.dev, "broken, and a reset does not help\n");
        self.give_up_unless_reset();
        Err(EIO)
    }

    /// Gives up the device, unless another task has reset it. The caller must not have a pass.
    pub(crate) fn give_up_unless_reset(&self) {
        let _pass = self.enter();

        if !self.is_working() {
            self.give_up();
        }
    }

    /// Gives up the device: it accesses no memory any more, and all items are aborted. It is not
    /// being reset.
    fn give_up(&self) {
        self.events.health.store(health::DEAD, Relaxed);
        for entries in self.queues.iter() {
            entries.close();
        }
        if self.queues.iter().any(|entries| entries.is_busy()) {
            self.dev.clear_master();
        }
        for entries in self.queues.iter() {
            entries.abort_all();
        }
    }

    /// Stops using the device, before it is reset or suspended.
    pub(crate) fn suspend(&self) {
        self.gate.close();
        self.suspended.store(true, Relaxed);
        for entries in self.queues.iter() {
            entries.close();
        }
        // Raises what descriptors that have completed have to raise. A device that is enabled halts
        // when it loses bus mastering or power. If this fails, `resume()` says so.
        let _ = self.run(
            &self.command.lock(),
            Command::DisableDevice,
            Bounded::<u32, _>::new::<0>(),
        );
        self.domain.suspend();
    }

    /// Restores the message store after a reset or suspend, and uses the device again. `configure`
    /// configures it.
    pub(crate) fn resume(&self, configure: impl FnOnce() -> Result) -> Result {
        let resumed = match self.restore() {
            Ok(()) => {
                // It may have been given up before.
                self.dev.restore_master();
                self.events.health.store(health::WORKING, Relaxed);
                configure().inspect_err(|_| {
                    self.mark_broken();
                    for entries in self.queues.iter() {
                        entries.wake_all();
                    }
                })
            }
            Err(error) => {
                self.give_up();
                Err(error)
            }
        };

        self.suspended.store(false, Relaxed);
        self.resumed.store(resumed.is_ok(), Relaxed);
        *self.events.epoch.lock() += 1;
        self.gate.open();
        resumed
    }

    fn restore(&self) -> Result {
        reset(self.regs, self.timeout)
            .map_err(|error| error.report(&self.dev))
            .and_then(|()| self.domain.resume())
            .inspect_err(|e| dev_err!(self.dev, "cannot restore the message store: {e:?}\n"))
    }

    /// Ends waiting for a device that is unbound while it is suspended.
    pub(crate) fn unbind(&self) {
        if self.suspended.load(Relaxed) {
            self.events.health.store(health::DEAD, Relaxed);
        }
        self.gate.open();
    }

    /// Resets the device, unless it is broken.
    pub(crate) fn reset(&self) -> Result<(), CommandError> {
        match self.health() {
            health::WORKING => reset(self.regs, self.timeout),
            _ => Err(CommandError::Broken),
        }
    }
}
