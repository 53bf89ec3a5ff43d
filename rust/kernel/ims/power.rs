// SPDX-License-Identifier: GPL-2.0

//! Whether the slots of a domain may be accessed: not while its device is reset or asleep.
//!
//! The slots are lost then, and nothing else is: a slot is a copy of what the interrupt core has.

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
    /// Fails with the error with which the device did not take a change.
    pub(super) fn check(&self) -> Result {
        to_result(self.failed.load(Relaxed))
    }

    #[inline(always)]
    pub(super) fn is_kept(&self, slot: usize) -> bool {
        self.any_kept.load(Relaxed) && self.kept.next_bit(slot) == Some(slot)
    }

    /// Returns whether `slot` was pending when the domain was suspended, once.
    pub(super) fn take_kept(&self, slot: usize) -> bool {
        let kept = self.is_kept(slot);

        if kept {
            self.kept.clear_bit_atomic(slot);
        }
        kept
    }

    /// Waits until no callback accesses the device, and keeps others from doing so.
    pub(super) fn close(&self) {
        self.awake.store(0, Relaxed);
        self.writable.store(0, Relaxed);
        // SAFETY: The caller may sleep. Callbacks run with interrupts off, which holds up RCU's
        // grace period as its read side does.
        unsafe { bindings::synchronize_rcu_expedited() };
    }

    /// Lets the core write messages, or mask and unmask slots, and restores its state of them.
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
    /// Returns the chip, if there is such a slot and the device may be accessed.
    #[inline(always)]
    pub(super) fn awake(&self, slot: usize) -> Option<&C> {
        if slot < self.base.awake.load(Relaxed) {
            Some(&self.chip)
        } else {
            None
        }
    }

    /// Calls `read` with the chip, to read from `slot`. `None` if there is no such slot or the
    /// domain is suspended, or as `read` returns. `read` must not sleep.
    #[inline(always)]
    pub fn read<T>(&self, slot: usize, read: impl FnOnce(&C) -> Option<T>) -> Option<T> {
        // `close()` waits for it.
        let _guard = rcu::read_lock();

        read(self.awake(slot)?)
    }

    /// Flushes later that a slot was changed, as that may be in atomic context.
    #[inline(always)]
    pub(super) fn changed(&self) {
        const CPU: c_int = bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int;

        if C::HAS_FLUSH {
            let work = self.base.work.get();
            // SAFETY: The work is initialised per the type invariant.
            unsafe { bindings::queue_work_on(CPU, bindings::system_dfl_wq, work) };
        }
    }

    /// Makes the device use what was written to its slots. Sleeps.
    pub(super) fn flush(&self) {
        let _access = self.base.access.lock();

        if self.awake(0).is_some() {
            // Whoever needs to know calls `check()`.
            let _ = self.flush_alone();
        }
    }

    /// As [`Self::flush`], for a task that has the lock or no other task to fear.
    pub(super) fn flush_alone(&self) -> Result {
        let base = &self.base;

        if !C::HAS_FLUSH {
            return Ok(());
        }
        base.check()?;
        let flushed = self.chip.flush();
        flushed.inspect_err(|error| base.failed.store(error.to_errno(), Relaxed))
    }

    /// Masks all slots, and then makes them visible to the device. The gates are closed.
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

    /// Stops using the device, which is about to be reset or to lose power. Interrupts stay, and
    /// can still be requested, masked and freed; none is allocated. What is pending is kept.
    /// Not for two tasks at a time. Sleeps.
    pub fn suspend(&self) {
        let base = &self.base;
        if self.awake(0).is_none() {
            return;
        }

        let access = base.access.lock();
        base.close();
        // From here on no other task accesses the device. To wait for the lock of the descriptors
        // with this one held could deadlock.
        drop(access);
        self.for_each(|slot, _, _| self.chip.mask(slot.into()));
        // A device that fails has nothing more to lose.
        let _ = self.flush_alone();
        self.for_each_pending(|slot| {
            base.kept.set_bit_atomic(slot);
            base.any_kept.store(true, Relaxed);
        });
    }

    /// Uses the device again after [`Self::suspend`]: masks all slots, makes them visible to the
    /// device, restores the message and then the mask of each from the interrupt core's state, and
    /// delivers what was pending. Not for two tasks at a time. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EIO`] if a slot does not respond or does not stay masked, or those of [`Chip::enable`] and
    /// [`Chip::flush`]. The domain stays suspended then.
    pub fn resume(&self) -> Result {
        let base = &self.base;
        if self.awake(0).is_some() || !base.exists() {
            return Ok(());
        }

        self.enable_masked()?;
        // The device sends what it has kept when the slot is unmasked.
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
