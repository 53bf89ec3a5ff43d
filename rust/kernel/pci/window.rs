// SPDX-License-Identifier: GPL-2.0

//! BARs that a device holds until it is unbound.

use super::{
    Bar,
    DevresBar, //
};
use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    held::Holder,
    io::{
        Io,
        IoBackend,
        IoBase,
        Mmio,
        MmioBackend,
        Region, //
    },
    prelude::*,
    str::CStr,
    sync::Arc, //
};

/// A mapped BAR that its device holds until it is unbound, so that other objects can borrow it.
///
/// # Invariants
///
/// The BAR has at least `SIZE` bytes.
#[derive(Clone, Copy)]
pub struct Window<'a, const SIZE: usize = 0> {
    bar: &'a Bar<'a>,
    devres: &'a Arc<DevresBar>,
}

impl<'a, const SIZE: usize> Window<'a, SIZE> {
    /// Maps BAR number `bar`, of at least `SIZE` bytes, until the device is unbound.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the BAR is smaller, or those of [`super::Device::iomap_region`].
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

    /// Writes 64 bytes at `offset` as one store (`MOVDIR64B`), ordered after all earlier memory
    /// writes.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `offset` is not a multiple of 64 or the bytes do not fit.
    /// [`EOPNOTSUPP`] if the CPU does not support such a store, see [`can_write512`].
    pub fn write512(self, offset: usize, value: &[u64; 8]) -> Result {
        let dst = self.line(offset)?;
        if !can_write512() {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: The BAR is mapped for `'a`, the range was checked, and the CPU supports it.
        unsafe { bindings::pci_write512(dst, value.as_ptr()) };
        Ok(())
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
        // SAFETY: The device outlives `'a`. It is bound until the BAR is revoked, which is older
        // than the objects that are built with `holder`.
        let dev: &'a Device<Bound> = unsafe { &*core::ptr::from_ref(holder.device().as_ref()) };
        // INVARIANT: Any BAR has at least 0 bytes.
        Ok(Self {
            bar: devres.access(dev)?,
            devres,
        })
    }
}

/// Returns `true` if the CPU supports [`Window::write512`].
pub fn can_write512() -> bool {
    // SAFETY: Safe to call.
    unsafe { bindings::pci_can_write512() }
}

impl<'a, const SIZE: usize> IoBase<'a> for Window<'a, SIZE> {
    type Backend = MmioBackend;
    type Target = Region<SIZE>;

    #[inline]
    fn as_view(self) -> Mmio<'a, Self::Target> {
        let view = self.bar.as_view();
        let all = MmioBackend::as_ptr(view) as *mut Region<SIZE>;

        // SAFETY: The same bytes, at least `SIZE` per the type invariant.
        unsafe { MmioBackend::project_view(view, all) }
    }
}
