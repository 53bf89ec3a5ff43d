// SPDX-License-Identifier: GPL-2.0

//! Drivers whose devices lose their state, by a reset or by sleep, and get it back.
//!
//! C header: [`include/linux/pm.h`](srctree/include/linux/pm.h)

use super::{
    Device,
    Driver, //
};
use crate::{
    bindings,
    device,
    error::from_result,
    prelude::*, //
};

/// What the PCI core and the PM core call for the devices of `T`.
pub(super) struct Callbacks<T>(T);

impl<T: Driver> Callbacks<T> {
    pub(super) const RESET: &'static bindings::pci_error_handlers = &bindings::pci_error_handlers {
        reset_prepare: Some(Self::reset_prepare),
        reset_done: Some(Self::reset_done),
        ..pin_init::zeroed()
    };

    pub(super) const POWER: &'static bindings::dev_pm_ops = &bindings::dev_pm_ops {
        suspend: Some(Self::suspend),
        resume_noirq: Some(Self::resume_early),
        resume: Some(Self::resume),
        freeze: Some(Self::suspend),
        thaw_noirq: Some(Self::resume_early),
        thaw: Some(Self::resume),
        poweroff: Some(Self::suspend),
        restore_noirq: Some(Self::resume_early),
        restore: Some(Self::resume),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `dev` must be that of a PCI device which is bound to `T`, and stay so meanwhile.
    unsafe fn with<R>(
        pdev: *mut bindings::pci_dev,
        f: impl for<'b> FnOnce(&'b Device<device::Bound>, Pin<&T::Data<'b>>) -> R,
    ) -> R {
        // SAFETY: Per the safety requirements. The driver data is there while the device is bound.
        unsafe {
            let pdev = &*pdev.cast::<Device<device::CoreInternal<'_>>>();
            f(pdev, pdev.as_ref().drvdata_borrow::<T::Data<'_>>())
        }
    }

    /// # Safety
    ///
    /// Only for the PCI core to call, with the device locked.
    unsafe extern "C" fn reset_prepare(pdev: *mut bindings::pci_dev) {
        // SAFETY: The device is bound, see above.
        unsafe { Self::with(pdev, T::suspend) };
    }

    /// # Safety
    ///
    /// Only for the PCI core to call, with the device locked.
    unsafe extern "C" fn reset_done(pdev: *mut bindings::pci_dev) {
        // SAFETY: The device is bound, see above.
        unsafe {
            Self::with(pdev, |pdev, this| {
                // There is nobody to tell, and the driver has to end what it began.
                let _ = T::resume_early(pdev, this);
                let _ = T::resume(pdev, this);
            })
        };
    }

    /// # Safety
    ///
    /// Only for the PM core to call.
    unsafe extern "C" fn suspend(dev: *mut bindings::device) -> c_int {
        // SAFETY: The device is bound to `T`, and not unbound before all is resumed.
        unsafe { Self::with(to_pci_dev(dev), T::suspend) };
        0
    }

    /// # Safety
    ///
    /// Only for the PM core to call.
    unsafe extern "C" fn resume_early(dev: *mut bindings::device) -> c_int {
        // SAFETY: The device is bound to `T`, and not unbound before all is resumed.
        from_result(|| unsafe { Self::with(to_pci_dev(dev), T::resume_early).map(|()| 0) })
    }

    /// # Safety
    ///
    /// Only for the PM core to call.
    unsafe extern "C" fn resume(dev: *mut bindings::device) -> c_int {
        // SAFETY: The device is bound to `T`, and not unbound before all is resumed.
        from_result(|| unsafe { Self::with(to_pci_dev(dev), T::resume).map(|()| 0) })
    }
}

/// # Safety
///
/// `dev` must be that of a PCI device.
unsafe fn to_pci_dev(dev: *mut bindings::device) -> *mut bindings::pci_dev {
    // SAFETY: Per the safety requirements.
    unsafe { crate::container_of!(dev, bindings::pci_dev, dev) }
}

impl Device<device::Core<'_>> {
    /// Enables the device until it is unbound, and has it be a bus master. To be called first in
    /// probe, so that it is undone last.
    ///
    /// # Errors
    ///
    /// What enabling the device fails with, or [`ENOMEM`].
    #[inline]
    pub fn enable_managed(&self) -> Result {
        // SAFETY: `self` is a valid PCI device, which is being probed.
        crate::error::to_result(unsafe { bindings::pcim_enable_device(self.as_raw()) })?;
        self.set_master();
        Ok(())
    }
}

impl Device<device::Bound> {
    /// Resets the function, without its driver.
    ///
    /// # Safety
    ///
    /// The device must be locked, as it is in probe.
    pub(crate) unsafe fn reset_locked(&self) -> Result {
        let pdev = self.as_raw();

        // SAFETY: It is a valid PCI device, and locked per the safety requirements.
        unsafe {
            crate::error::to_result(bindings::pci_save_state(pdev))?;
            let reset = crate::error::to_result(bindings::__pci_reset_function_locked(pdev));
            bindings::pci_restore_state(pdev);
            reset
        }
    }
}

impl Device {
    /// Resets the function, unless somebody is at work on it. Its driver is asked to
    /// [`Driver::suspend`] and to resume. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if the device is locked, [`ENOTTY`] if it cannot be reset, or what resetting it
    /// fails with.
    #[inline]
    pub fn try_reset(&self) -> Result {
        // SAFETY: `self` is a valid PCI device.
        crate::error::to_result(unsafe { bindings::pci_try_reset_function(self.as_raw()) })
    }

    /// Disables bus mastering: the device does not access memory any more.
    #[inline]
    pub fn clear_master(&self) {
        // SAFETY: `self` is a valid PCI device.
        unsafe { bindings::pci_clear_master(self.as_raw()) };
    }
}
