// SPDX-License-Identifier: GPL-2.0

//! Suspend and resume of a domain, around a reset or system sleep of its device.
//!
//! The device can lose its slots, which must not be accessed in between. They are restored from the
//! irq core's state.

use super::{
    base::{
        Base,
        DOMAIN_ID, //
    },
    Chip,
    Domain, //
};
use crate::{
    bindings,
    error::to_result,
    prelude::*,
    sync::{
        atomic::Relaxed,
        rcu, //
    }, //
};

impl Base {
    /// Fails with the error of [`Chip::flush`], until the domain is resumed.
    pub(super) fn check(&self) -> Result {
        to_result(self.failed.load(Relaxed))
    }

    #[inline(always)]
    pub(super) fn is_kept(&self, slot: usize) -> bool {
        self.any_kept.load(Relaxed) && self.kept.next_bit(slot) == Some(slot)
    }

    /// Returns `true` if `slot` was pending on suspend and is not delivered yet, and clears that.
    pub(super) fn take_kept(&self, slot: usize) -> bool {
        let kept = self.is_kept(slot);

        if kept {
            self.kept.clear_bit_atomic(slot);
        }
        kept
    }

    /// Closes the gates, and waits until no callback accesses the device.
    pub(super) fn close(&self) {
        self.awake.store(0, Relaxed);
        self.writable.store(0, Relaxed);
        // SAFETY: The caller may sleep. Callbacks run with interrupts off, which delays the end of
        // the grace period like an RCU read-side section.
        unsafe { bindings::synchronize_rcu_expedited() };
    }

    /// Opens the gate for messages, or for masking, and restores the messages or masks from the irq
    /// core's state.
    pub(super) fn open(&self, unmask: bool) {
        let gate = if unmask { &self.awake } else { &self.writable };

        gate.store(self.size, Relaxed);
        if self.exists() {
            // SAFETY: The device has MSI data.
            unsafe { bindings::msi_domain_restore_irqs(self.dev.as_raw(), DOMAIN_ID, unmask) };
        }
    }
}

impl<C: Chip> Domain<C> {
    /// Returns the chip, or `None` if there is no such slot or the domain is suspended.
    #[inline(always)]
    pub(super) fn awake(&self, slot: usize) -> Option<&C> {
        if slot < self.base.awake.load(Relaxed) {
            Some(&self.chip)
        } else {
            None
        }
    }

    /// Calls `read` with the chip, to read from `slot`. Returns `None` if there is no such slot or
    /// the domain is suspended, otherwise the result of `read`. `read` must not sleep.
    #[inline(always)]
    pub fn read<T>(&self, slot: usize, read: impl FnOnce(&C) -> Option<T>) -> Option<T> {
        // `close()` waits for this section.
        let _guard = rcu::read_lock();

        read(self.awake(slot)?)
    }

    /// Queues a flush after a change, which may have been made in atomic context.
    #[inline(always)]
    pub(super) fn changed(&self) {
        const CPU: c_int = bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int;

        if C::HAS_FLUSH {
            let work = self.base.work.get();
            // SAFETY: The work is initialised per the type invariant.
            unsafe { bindings::queue_work_on(CPU, bindings::system_dfl_wq, work) };
        }
    }

    /// Flushes the changes of slots, unless the domain is suspended. Sleeps.
    pub(super) fn flush(&self) {
        let _access = self.base.access.lock();

        if self.awake(0).is_some() {
            // Callers that need the error call `check()`.
            let _ = self.flush_alone();
        }
    }

    /// Flushes the changes of slots. The caller must hold the lock, or have exclusive access.
    pub(super) fn flush_alone(&self) -> Result {
        let base = &self.base;

        if !C::HAS_FLUSH {
            return Ok(());
        }
        base.check()?;
        let flushed = self.chip.flush();
        flushed.inspect_err(|error| base.failed.store(error.to_errno(), Relaxed))
    }

    /// Masks all slots, and then makes them visible to the device. The gates must be closed.
    #[inline(never)]
    pub(super) fn enable_masked(&self) -> Result {
        let (chip, slots) = (&self.chip, 0..self.base.size);

        self.base.failed.store(0, Relaxed);
        slots.clone().for_each(|slot| chip.mask(slot));
        chip.enable()?;
        self.flush_alone()?;
        for slot in slots {
            chip.is_masked(slot).filter(|&masked| masked).ok_or(EIO)?;
        }
        Ok(())
    }

    /// Calls `f` with the slot of each allocated interrupt that is pending.
    fn for_each_pending(&self, f: impl Fn(usize)) {
        self.for_each(|slot, _, _| {
            let slot = slot.into();
            if self.chip.is_pending(slot) == Some(true) {
                f(slot);
            }
        });
    }

    /// Stops accesses to the device before a reset or system sleep, and records pending interrupts.
    /// Interrupts stay allocated. They can be requested, masked and freed, but not allocated. Must
    /// not be called by two tasks at a time. Sleeps.
    pub fn suspend(&self) {
        let base = &self.base;
        if self.awake(0).is_none() {
            return;
        }

        let access = base.access.lock();
        base.close();
        // From here on no other task accesses the device. Waiting for the lock of the descriptors
        // with this lock held could deadlock.
        drop(access);
        self.for_each(|slot, _, _| self.chip.mask(slot.into()));
        // An error does not matter: the device is about to be reset or to lose power.
        let _ = self.flush_alone();
        self.for_each_pending(|slot| {
            base.kept.set_bit_atomic(slot);
            base.any_kept.store(true, Relaxed);
        });
    }

    /// Resumes accesses after [`Self::suspend`]: masks all slots, makes them visible to the device,
    /// restores first the messages and then the masks from the irq core's state, and delivers
    /// interrupts that were pending. Must not be called by two tasks at a time. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EIO`] if a slot does not respond or does not stay masked, or those of [`Chip::enable`] and
    /// [`Chip::flush`]. The domain stays suspended on errors.
    pub fn resume(&self) -> Result {
        let base = &self.base;
        if self.awake(0).is_some() || !base.exists() {
            return Ok(());
        }

        self.enable_masked()?;
        // The device sends interrupts that are still pending there when their slots are unmasked.
        self.for_each_pending(|slot| {
            base.take_kept(slot);
        });
        base.open(false);
        self.flush_alone()?;
        base.open(true);
        let any = base.kept.next_bit(0).is_some();
        base.any_kept.store(any, Relaxed);
        self.flush();
        base.check().inspect_err(|_| self.suspend())
    }
}
