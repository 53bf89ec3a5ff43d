// SPDX-License-Identifier: GPL-2.0

//! A message store in the device: an array of slots in a BAR.

use crate::{
    io::{
        Io,
        IoBackend,
        IoBase,
        Mmio,
        MmioBackend,
        MmioRaw, //
    },
    pci::Window,
    prelude::*, //
};
use core::marker::PhantomData;

/// An array of slots of type `S`. A slot has the registers of one message.
///
/// # Invariants
///
/// From `base`, `slots` values of type `S` are mapped and aligned for `'a`.
#[derive(Clone, Copy)]
pub struct MmioArray<'a, S> {
    base: usize,
    slots: usize,
    _slots: PhantomData<&'a [S]>,
}

impl<'a, S> MmioArray<'a, S> {
    /// Creates an array of `slots` slots at `offset` in `window`, in bytes.
    ///
    /// # Errors
    ///
    /// [`ERANGE`] if the slots do not fit, [`EINVAL`] if `offset` is not aligned for `S`.
    pub fn new<const SIZE: usize>(
        window: Window<'a, SIZE>,
        offset: usize,
        slots: u32,
    ) -> Result<Self> {
        const { assert!(size_of::<S>() > 0) };

        let view = window.as_view();
        let base = MmioBackend::as_ptr(view).addr().wrapping_add(offset);
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
            _slots: PhantomData,
        })
    }

    /// Returns a view of the registers of `slot`, or `None` if there is no such slot.
    #[inline(always)]
    pub fn get(&self, slot: usize) -> Option<Mmio<'a, S>> {
        if slot >= self.slots {
            return None;
        }
        // Neither wraps, as the mapping contains the slot.
        let offset = slot.wrapping_mul(size_of::<S>());
        let slot = MmioRaw::new(self.base.wrapping_add(offset));

        // SAFETY: The slot is mapped per the type invariant.
        Some(unsafe { Mmio::from_raw(slot) })
    }
}

/// A table of slots in memory instead of a device, for tests.
#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
impl<'a, S> MmioArray<'a, S> {
    pub(super) fn fake(table: &'a mut [S]) -> Self {
        // INVARIANT: The memory is borrowed for `'a`; x86 accesses it like MMIO.
        Self {
            base: table.as_mut_ptr().expose_provenance(),
            slots: table.len(),
            _slots: PhantomData,
        }
    }
}
