// SPDX-License-Identifier: GPL-2.0

//! A message store in the device: an array of slots in one of its BARs.

use super::Store;
use crate::{
    bindings,
    io::{
        Io,
        IoBackend,
        IoBase,
        Mmio,
        MmioBackend,
        MmioRaw, //
    },
    pci::Window,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use core::marker::PhantomData;

/// An array of slots of type `S`: the device's registers for one message each.
///
/// # Invariants
///
/// From `base`, `slots` values of type `S` are mapped and aligned for `'a`. `awake` is no more.
pub struct MmioArray<'a, S> {
    base: usize,
    slots: usize,
    /// As `slots`, or zero while the store is suspended.
    awake: Atomic<usize>,
    _slots: PhantomData<&'a [S]>,
}

impl<'a, S> MmioArray<'a, S> {
    /// Takes the `slots` slots that begin `offset` bytes into `window`.
    ///
    /// # Errors
    ///
    /// [`ERANGE`] if they do not fit, [`EINVAL`] if `offset` is not aligned for `S`.
    pub fn new<const SIZE: usize>(
        window: Window<'a, SIZE>,
        offset: usize,
        slots: u32,
    ) -> Result<Self> {
        const { assert!(size_of::<S>() > 0) };

        let view = window.as_view();
        let base = MmioBackend::as_ptr(view).addr();
        let base = base.checked_add(offset).ok_or(ERANGE)?;
        let room = view.size().checked_sub(offset).ok_or(ERANGE)?;
        // CAST: From 32 to 64 bits.
        let slots = slots as usize;
        if room / size_of::<S>() < slots {
            return Err(ERANGE);
        }
        if base % align_of::<S>() != 0 {
            return Err(EINVAL);
        }

        // INVARIANT: Just checked against the mapping, which lasts for `'a`.
        Ok(Self {
            base,
            slots,
            awake: Atomic::new(slots),
            _slots: PhantomData,
        })
    }
}

// SAFETY: The mapping belongs to a `Window`, hence to the device until it is unbound.
unsafe impl<S: Send + Sync + 'static> Store for MmioArray<'_, S> {
    type View<'x>
        = Mmio<'x, S>
    where
        Self: 'x;

    #[inline]
    fn slots(&self) -> u32 {
        // CAST: `new()` has it from 32 bits.
        self.slots as u32
    }

    #[inline(always)]
    fn slot(&self, index: usize) -> Option<Mmio<'_, S>> {
        // SAFETY: There are as many slots.
        unsafe { self.slot_below(self.slots, index) }
    }

    #[inline(always)]
    fn awake_slot(&self, index: usize) -> Option<Mmio<'_, S>> {
        // SAFETY: `awake` is no more than `slots`, per the type invariant.
        unsafe { self.slot_below(self.awake.load(Relaxed), index) }
    }

    fn suspend(&self) {
        self.awake.store(0, Relaxed);
        // Callbacks run with interrupts off, which holds up RCU's grace period.
        // SAFETY: The caller may sleep.
        unsafe { bindings::synchronize_rcu_expedited() };
    }

    fn resume(&self) {
        self.awake.store(self.slots, Relaxed);
    }
}

impl<S> MmioArray<'_, S> {
    /// # Safety
    ///
    /// `end` must be no more than `slots`.
    #[inline(always)]
    unsafe fn slot_below(&self, end: usize, index: usize) -> Option<Mmio<'_, S>> {
        if index >= end {
            return None;
        }
        // The mapping has all of the slot, so that neither wraps.
        let offset = index.wrapping_mul(size_of::<S>());
        let slot = MmioRaw::new(self.base.wrapping_add(offset));

        // SAFETY: The slot is mapped per the type invariant.
        Some(unsafe { Mmio::from_raw(slot) })
    }
}

/// A table of slots in plain memory that stands for a device's, for tests.
#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
impl<'a, S> MmioArray<'a, S> {
    pub(super) fn fake(table: &'a mut [S]) -> Self {
        // INVARIANT: The memory is borrowed for `'a`; x86 accesses it like MMIO.
        Self {
            base: table.as_mut_ptr().expose_provenance(),
            slots: table.len(),
            awake: Atomic::new(table.len()),
            _slots: PhantomData,
        }
    }
}
