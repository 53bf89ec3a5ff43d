// SPDX-License-Identifier: GPL-2.0

//! Interrupts in a message store, and their owners.

use super::{
    base::{
        Base,
        DOMAIN_ID, //
    },
    Chip,
    Domain,
    Quota, //
};
use crate::{
    bindings,
    cpu::CpuId,
    cpumask::CpumaskVar,
    error::to_result,
    held::Source,
    io::poll::read_poll_timeout,
    prelude::*,
    sync::atomic::Relaxed,
    time::Delta, //
};

/// An owner of interrupts in a domain, for example a subdevice. It has a quota of slots.
#[derive(Clone, Copy)]
pub struct Owner<'a, C: Chip> {
    pub(super) domain: &'a Domain<C>,
    pub(super) index: u16,
}

impl<'a, C: Chip> Owner<'a, C> {
    /// Allocates an interrupt, which has a masked slot. It gets a vector when a handler is
    /// requested. Sleeps.
    ///
    /// # Errors
    ///
    /// - [`EDQUOT`] if the owner has its maximum.
    /// - [`ENOSPC`] if all free slots are reserved for other owners or stay pending, if there are
    ///   none, or if the parent domain has no entry left.
    /// - [`EIO`] if the slot does not respond, [`EAGAIN`] while the domain is suspended or being
    ///   removed.
    /// - The error of an earlier [`Chip::flush`], and [`ENOMEM`].
    pub fn alloc(self) -> Result<Interrupt<'a, C>> {
        Interrupt::new(self.domain, self.index)
    }

    /// Returns the number of slots that the owner has.
    pub fn used(self) -> u32 {
        self.domain.base.slots.used_by(self.index)
    }

    /// Returns the owner's quota.
    pub fn quota(self) -> Quota {
        self.domain.base.slots.quota(self.index)
    }

    /// Changes the owner's quota with `change`. The owner keeps the slots that it has.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the maximum is zero or below the minimum.
    /// - [`ERANGE`] if the maximum is above the number of slots.
    /// - [`ENOSPC`] if there are not enough slots left to reserve the minimum.
    pub fn change_quota(self, change: impl FnOnce(&mut Quota)) -> Result {
        self.domain.base.slots.change_quota(self.index, change)
    }
}

/// An interrupt in a message store. Dropping it frees it, and sleeps.
///
/// # Invariants
///
/// `virq` is the interrupt of `slot` in `domain`, allocated by `owner` for this object alone.
pub struct Interrupt<'a, C: Chip> {
    domain: &'a Domain<C>,
    virq: u32,
    slot: u16,
    owner: u16,
}

impl<'a, C: Chip> Interrupt<'a, C> {
    pub(super) fn new(domain: &'a Domain<C>, owner: u16) -> Result<Self> {
        let base = &domain.base;
        let (slot, virq) = base.alloc(owner, &|slot, drain| domain.is_clean(slot, drain))?;

        // INVARIANT: Just allocated for this object.
        Ok(Self {
            domain,
            virq,
            slot,
            owner,
        })
    }

    /// Sets the affinity of the interrupt to `cpu`, from the next request on, while `cpu` is online
    /// and until user space changes the affinity. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the device is being unbound, [`ENOMEM`].
    pub fn set_affinity(&self, cpu: CpuId) -> Result {
        let mut mask = CpumaskVar::new_zero(GFP_KERNEL)?;
        if !self.domain.base.exists() {
            return Err(ENODEV);
        }

        mask.set(cpu);
        // SAFETY: The interrupt is this object's, and the mask is valid.
        to_result(unsafe { bindings::irq_set_affinity(self.virq, mask.as_raw()) })
    }

    /// Returns the index of the slot.
    pub fn slot(&self) -> u16 {
        self.slot
    }
}

impl<C: Chip> Drop for Interrupt<'_, C> {
    fn drop(&mut self) {
        self.domain.base.free(self.owner, self.slot);
    }
}

// SAFETY: The interrupt is this object's. If the object is leaked, the domain frees the interrupt.
unsafe impl<C: Chip> Source for Interrupt<'_, C> {
    fn virq(&self) -> u32 {
        self.virq
    }

    fn check(&self) -> Result {
        if C::HAS_FLUSH {
            self.domain.flush();
        }
        self.domain.base.check()
    }
}

impl Base {
    fn free(&self, owner: u16, slot: u16) {
        if !self.exists() {
            // The domain has freed it.
            return;
        }
        let (dev, index) = (self.dev.as_raw(), slot.into());

        // SAFETY: The device has MSI data, and the domain exists. The interrupt has no handler: a
        // `Registration` drops that first.
        unsafe { bindings::msi_domain_free_irqs_range(dev, DOMAIN_ID, index, index) };
        self.take_kept(slot.into());
        self.slots.free(owner, slot);
    }
}

impl<C: Chip> Domain<C> {
    /// Drains a stale pending interrupt if `may_drain`, and clears `may_drain`. Returns `true` if
    /// the slot can be reused.
    #[inline(never)]
    fn is_clean(&self, slot: usize, may_drain: &mut bool) -> Result<bool> {
        match self.read(slot, |chip| chip.is_pending(slot)) {
            Some(false) => Ok(true),
            Some(true) if core::mem::take(may_drain) => self.drain(slot),
            Some(true) => Ok(false),
            None if self.awake(slot).is_none() => Err(EAGAIN),
            None => Err(EIO),
        }
    }

    /// Makes the device send the pending interrupt of `slot` to the sink. Returns `true` if it has,
    /// and the slot can be reused.
    #[cold]
    fn drain(&self, slot: usize) -> Result<bool> {
        let _access = self.base.access.lock();
        let chip = self.awake(slot).ok_or(EAGAIN)?;
        let (address, data) = self.base.sink.copy().ok_or(EIO)?;
        chip.write_message(slot, address, data);
        chip.unmask(slot);
        // The read of the masked slot below shows whether this failed.
        let _ = self.flush_alone().and_then(|()| {
            read_poll_timeout(
                || chip.is_pending(slot).ok_or(EIO),
                |&pending| !pending,
                Delta::from_micros(20),
                Delta::from_millis(100),
            )
        });
        // In any case, the slot is read again when it is masked.
        chip.mask(slot);
        self.flush_alone()?;
        let stuck = chip.is_pending(slot).ok_or(EIO)?;
        self.base.stuck.add(stuck.into(), Relaxed);
        Ok(!stuck)
    }
}
