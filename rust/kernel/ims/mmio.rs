// SPDX-License-Identifier: GPL-2.0

//! A message store in the device: an array of slots in one of its BARs.

use super::Store;
use crate::{
    bindings,
    error::to_result,
    held::Holder,
    io::{
        Io,
        IoBackend,
        IoBase,
        Mmio,
        MmioBackend,
        MmioRaw,
        Region, //
    },
    pci::{
        self,
        DevresBar, //
    },
    prelude::*,
    str::CStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    }, //
};
use core::marker::PhantomData;

/// A BAR that its device holds until it is unbound, as long as a message store in it may be used.
///
/// # Invariants
///
/// The BAR has at least `SIZE` bytes.
#[derive(Clone, Copy)]
pub struct Window<'a, const SIZE: usize = 0> {
    bar: &'a pci::Bar<'a>,
    devres: &'a Arc<DevresBar>,
}

impl<'a, const SIZE: usize> Window<'a, SIZE> {
    /// Has the device of `holder` hold a mapping of its BAR number `bar`, of `SIZE` bytes at least.
    ///
    /// # Errors
    ///
    /// Those of [`pci::Device::iomap_region_sized`].
    #[inline]
    pub fn new(holder: &Holder<'_, 'a>, bar: u32, name: &'static CStr) -> Result<Self> {
        let Window { bar, devres } = Window::<'a, 0>::map(holder, bar, name)?;
        if bar.size() < SIZE {
            return Err(EINVAL);
        }
        // INVARIANT: Just checked.
        Ok(Self { bar, devres })
    }

    /// Returns a reference to the BAR that may outlive the window, for handlers.
    pub fn revocable(self) -> Arc<DevresBar> {
        self.devres.clone()
    }

    /// Writes 64 bytes at `offset` as one store where the CPU can, after all earlier memory writes.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `offset` is no multiple of 64 or the bytes do not fit.
    pub fn write512(self, offset: usize, value: &[u64; 8]) -> Result {
        let dst = self.line(offset)?;

        // SAFETY: The BAR is mapped for `'a`, and the range was checked.
        unsafe { bindings::ims_write512(dst, value.as_ptr()) };
        Ok(())
    }

    /// Like [`Self::write512`], for a device that may not take the bytes.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `offset` is no multiple of 64 or the bytes do not fit, [`EAGAIN`] if the
    /// device does not take them now, [`EOPNOTSUPP`] if the CPU cannot do that, see
    /// [`can_enqueue`].
    pub fn enqueue512(self, offset: usize, value: &[u64; 8]) -> Result {
        let dst = self.line(offset)?;
        if !can_enqueue() {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: The BAR is mapped for `'a`, the range was checked, and the CPU can do it.
        to_result(unsafe { bindings::ims_enqueue512(dst, value.as_ptr()) })
    }

    /// Returns the address of 64 bytes at `offset`.
    fn line(self, offset: usize) -> Result<*mut c_void> {
        const LINE: usize = 64;

        let view = self.as_view();
        if offset % LINE != 0 || offset.checked_add(LINE).ok_or(EINVAL)? > view.size() {
            return Err(EINVAL);
        }
        Ok((MmioBackend::as_ptr(view).addr() + offset) as *mut c_void)
    }
}

impl<'a> Window<'a> {
    #[inline(never)]
    fn map(holder: &Holder<'_, 'a>, bar: u32, name: &'static CStr) -> Result<Self> {
        let bar = holder.device().iomap_region(bar, name)?;
        let devres = Arc::new(bar.into_devres()?, GFP_KERNEL)?;

        // SAFETY: The value borrows nothing.
        let devres = unsafe { holder.hold(devres)? };
        // SAFETY: The BAR is older than what is built with `holder`, and so is revoked later.
        let dev = unsafe { holder.bound() };
        // INVARIANT: Any BAR has that.
        Ok(Self {
            bar: devres.access(dev)?,
            devres,
        })
    }
}

/// Returns whether the CPU has [`Window::enqueue512`].
pub fn can_enqueue() -> bool {
    // SAFETY: Safe to call.
    unsafe { bindings::ims_can_enqueue() }
}

impl<'a, const SIZE: usize> IoBase<'a> for Window<'a, SIZE> {
    type Backend = MmioBackend;
    type Target = Region<SIZE>;

    #[inline]
    fn as_view(self) -> Mmio<'a, Self::Target> {
        let view = self.bar.as_view();
        let all = MmioBackend::as_ptr(view) as *mut Region<SIZE>;

        // SAFETY: The same bytes, of which there are enough per the type invariant.
        unsafe { MmioBackend::project_view(view, all) }
    }
}

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
    /// [`ERANGE`] if they do not fit, [`EINVAL`] if `offset` is not aligned for `S` or `slots` is
    /// zero or more than 65536.
    pub fn new<const SIZE: usize>(
        window: Window<'a, SIZE>,
        offset: usize,
        slots: u32,
    ) -> Result<Self> {
        const { assert!(size_of::<S>() > 0) };

        if slots == 0 || slots > 1 << 16 {
            return Err(EINVAL);
        }

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
        // CAST: `new()` allows at most 65536.
        self.slots as u32
    }

    #[inline(always)]
    fn slot(&self, index: usize) -> Option<Mmio<'_, S>> {
        if index >= self.slots {
            return None;
        }
        // SAFETY: Just checked.
        Some(unsafe { self.slot_unchecked(index) })
    }

    #[inline(always)]
    fn awake_slot(&self, index: usize) -> Option<Mmio<'_, S>> {
        if index >= self.awake.load(Relaxed) {
            return None;
        }
        // SAFETY: Just checked, and `awake` is no more than `slots`.
        Some(unsafe { self.slot_unchecked(index) })
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
    /// `index` must be less than `slots`.
    #[inline(always)]
    unsafe fn slot_unchecked(&self, index: usize) -> Mmio<'_, S> {
        // The mapping has all of the slot, so that neither wraps.
        let offset = index.wrapping_mul(size_of::<S>());
        let slot = MmioRaw::new(self.base.wrapping_add(offset));

        // SAFETY: The slot is mapped per the type invariant.
        unsafe { Mmio::from_raw(slot) }
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
