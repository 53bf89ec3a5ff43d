// SPDX-License-Identifier: GPL-2.0

//! Resets, system sleep and shutdown of PCI devices.
//!
//! C headers: [`include/linux/pm.h`](srctree/include/linux/pm.h),
//! [`include/linux/pci.h`](srctree/include/linux/pci.h)

use super::{
    Device,
    Driver, //
};
use crate::{
    bindings,
    container_of,
    device::{
        Bound,
        Core,
        CoreInternal, //
    },
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};

/// Sets the callbacks of `pdrv` that `T` implements. The others stay `NULL`: the PCI core behaves
/// differently if they are set.
pub(super) fn set_callbacks<T: Driver>(pdrv: &mut bindings::pci_driver) {
    if T::HAS_RESET_PREPARE || T::HAS_RESET_DONE {
        pdrv.err_handler = Callbacks::<T>::RESET;
    }
    if T::HAS_SUSPEND || T::HAS_RESUME {
        pdrv.driver.pm = Callbacks::<T>::SLEEP;
    }
    if T::HAS_SHUTDOWN {
        pdrv.shutdown = Some(Callbacks::<T>::shutdown);
    }
}

/// The C callbacks of the driver `T`.
///
/// The PCI core, the PM core and the driver core call them with the device locked and bound to `T`:
/// after `probe()` has succeeded, and never concurrently with each other or `remove()`.
struct Callbacks<T>(T);

impl<T: Driver> Callbacks<T> {
    const RESET: &'static bindings::pci_error_handlers = &{
        let mut handlers: bindings::pci_error_handlers = pin_init::zeroed();
        if T::HAS_RESET_PREPARE {
            handlers.reset_prepare = Some(Self::reset_prepare);
        }
        if T::HAS_RESET_DONE {
            handlers.reset_done = Some(Self::reset_done);
        }
        handlers
    };

    /// As `SYSTEM_SLEEP_PM_OPS()` in C.
    const SLEEP: &'static bindings::dev_pm_ops = &{
        let mut ops: bindings::dev_pm_ops = pin_init::zeroed();
        if T::HAS_SUSPEND {
            ops.suspend = Some(Self::suspend);
            ops.freeze = Some(Self::suspend);
            ops.poweroff = Some(Self::suspend);
        }
        if T::HAS_RESUME {
            ops.resume = Some(Self::resume);
            ops.thaw = Some(Self::resume);
            ops.restore = Some(Self::resume);
        }
        ops
    };

    /// # Safety
    ///
    /// `pdev` must be locked and bound to `T` during the call.
    unsafe fn call<R>(
        pdev: *mut bindings::pci_dev,
        callback: impl for<'b, 'c> FnOnce(&'b Device<Core<'c>>, Pin<&T::Data<'b>>) -> R,
    ) -> R {
        // SAFETY: By the safety requirements, `pdev` is valid during the call.
        let pdev = unsafe { &*pdev.cast::<Device<CoreInternal<'_>>>() };

        // SAFETY: By the safety requirements, `probe_callback()` has set the driver data, of type
        // `T::Data`, and the device is not unbound during the call.
        let data = unsafe { pdev.as_ref().drvdata_borrow::<T::Data<'_>>() };
        callback(pdev, data)
    }

    /// # Safety
    ///
    /// Must only be called by the PCI core.
    unsafe extern "C" fn reset_prepare(pdev: *mut bindings::pci_dev) {
        // SAFETY: The PCI core holds the lock of the device, which is bound to `T`.
        unsafe { Self::call(pdev, T::reset_prepare) }
    }

    /// # Safety
    ///
    /// Must only be called by the PCI core.
    unsafe extern "C" fn reset_done(pdev: *mut bindings::pci_dev) {
        // SAFETY: The PCI core holds the lock of the device, which is bound to `T`.
        unsafe { Self::call(pdev, T::reset_done) }
    }

    /// # Safety
    ///
    /// Must only be called by the PM core.
    unsafe extern "C" fn suspend(dev: *mut bindings::device) -> c_int {
        // SAFETY: The PM core holds the lock of the device, which is bound to `T`.
        from_result(|| unsafe { Self::call(to_pci_dev(dev), T::suspend) }.map(|()| 0))
    }

    /// # Safety
    ///
    /// Must only be called by the PM core.
    unsafe extern "C" fn resume(dev: *mut bindings::device) -> c_int {
        // SAFETY: The PM core holds the lock of the device, which is bound to `T`.
        from_result(|| unsafe { Self::call(to_pci_dev(dev), T::resume) }.map(|()| 0))
    }

    /// # Safety
    ///
    /// Must only be called by the PCI core.
    unsafe extern "C" fn shutdown(pdev: *mut bindings::pci_dev) {
        // SAFETY: The driver core holds the lock of the device, which is bound to `T`.
        unsafe { Self::call(pdev, T::shutdown) }
    }
}

/// # Safety
///
/// `dev` must be the device of a `struct pci_dev`.
unsafe fn to_pci_dev(dev: *mut bindings::device) -> *mut bindings::pci_dev {
    // SAFETY: By the safety requirements.
    unsafe { container_of!(dev, bindings::pci_dev, dev) }
}

impl Device<Core<'_>> {
    /// Enables the device until it is unbound, and enables bus mastering. Should be called first in
    /// probe, so that the device is disabled last.
    ///
    /// # Errors
    ///
    /// The error of enabling the device, or [`ENOMEM`].
    #[inline]
    pub fn enable_managed(&self) -> Result {
        // SAFETY: `self` is a valid PCI device, which is bound.
        to_result(unsafe { bindings::pcim_enable_device(self.as_raw()) })?;
        self.set_master();
        Ok(())
    }
}

impl Device<Bound> {
    /// Resets the function and restores its configuration space. The driver's
    /// [`Driver::reset_prepare`] and [`Driver::reset_done`] are called before and after.
    ///
    /// Tries to lock the device, which is locked in all callbacks of the driver. May sleep.
    ///
    /// # Errors
    ///
    /// [`EAGAIN`] if the device is locked, [`ENOTTY`] if the function cannot be reset, or the error
    /// of the reset.
    #[inline]
    pub fn try_reset(&self) -> Result {
        // SAFETY: `self` is a valid PCI device.
        to_result(unsafe { bindings::pci_try_reset_function(self.as_raw()) })
    }

    /// Enables bus mastering again, after [`Self::clear_master`].
    #[inline]
    pub fn restore_master(&self) {
        // SAFETY: `self` is a valid PCI device.
        unsafe { bindings::pci_set_master(self.as_raw()) };
    }

    /// Disables bus mastering: the device stops accessing memory and sending messages.
    ///
    /// May be called in any context: it only locks the raw spinlock of configuration accesses. A
    /// reset that is in progress restores the old state when it ends.
    #[inline]
    pub fn clear_master(&self) {
        // SAFETY: `self` is a valid PCI device.
        unsafe { bindings::pci_clear_master(self.as_raw()) };
    }

    /// Resets the function and restores its configuration space, without calling the driver.
    ///
    /// # Safety
    ///
    /// The device must be locked, as it is in probe.
    pub unsafe fn reset_locked(&self) -> Result {
        let pdev = self.as_raw();

        // SAFETY: It is a valid PCI device, and locked by the safety requirements.
        unsafe {
            to_result(bindings::pci_save_state(pdev))?;
            let reset = to_result(bindings::__pci_reset_function_locked(pdev));
            bindings::pci_restore_state(pdev);
            reset
        }
    }
}
