// SPDX-License-Identifier: GPL-2.0

//! Objects between a state and the resources that it was built from.

use crate::prelude::*;
use core::cell::RefCell;

/// An object that may contain values of the driver. It is dropped after the state, and before the
/// resources that the device holds.
pub(crate) trait Late: Send + Sync {
    /// Stops all use of the object by the core. Called while other late objects still exist.
    fn shutdown(&self);
}

/// # Invariants
///
/// `object` owns an object that the functions accept, until `free` is called.
struct LateObject {
    object: *const c_void,
    shutdown: unsafe fn(*const c_void),
    free: unsafe fn(*const c_void),
}

/// Late objects, in the order of their registration.
#[derive(Default)]
pub(crate) struct LateObjects(RefCell<KVec<LateObject>>);

// SAFETY: The objects are `Send` and `Sync`.
unsafe impl Send for LateObjects {}
// SAFETY: A `Holder`, which cannot be shared with another task, makes all accesses but `drop()`.
unsafe impl Sync for LateObjects {}

impl LateObjects {
    /// Adds `object`, which may contain values of the driver. For those of a
    /// [`Holder`](super::Holder), it is dropped after the state, and before the objects of
    /// [`Holder::hold`](super::Holder::hold), in whichever order they were registered.
    ///
    /// # Safety
    ///
    /// - Values that the object borrows must outlive `self`. References to the object must not.
    /// - There must be no other such object with values of the driver: dropping one runs code of
    ///   the driver, which may have a reference to the other.
    /// - Methods of the object must not access values of the driver after [`Late::shutdown`]: that
    ///   code may have a reference to the object itself.
    pub(crate) unsafe fn add<'a, T: Late>(&self, object: Pin<KBox<T>>) -> Result<&'a T> {
        /// # Safety
        ///
        /// `object` must come from `into_raw()` below.
        unsafe fn shutdown<T: Late>(object: *const c_void) {
            // SAFETY: Per the safety requirements.
            unsafe { &*object.cast::<T>() }.shutdown();
        }

        /// # Safety
        ///
        /// As for `shutdown()`, and `object` must not be used afterwards.
        unsafe fn free<T>(object: *const c_void) {
            // SAFETY: Per the safety requirements. The object does not move.
            drop(unsafe { Pin::new_unchecked(KBox::from_raw(object.cast_mut().cast::<T>())) });
        }

        // SAFETY: The object is not moved before `free()`.
        let object = KBox::into_raw(unsafe { Pin::into_inner_unchecked(object) }).cast_const();

        // INVARIANT: Both functions are for objects of this type.
        self.push(LateObject {
            object: object.cast(),
            shutdown: shutdown::<T>,
            free: free::<T>,
        })?;
        // SAFETY: The object is valid until `self` is dropped.
        Ok(unsafe { &*object })
    }

    #[inline(never)]
    fn push(&self, late: LateObject) -> Result {
        let LateObject { object, free, .. } = late;

        self.0.borrow_mut().push(late, GFP_KERNEL).map_err(|error| {
            // SAFETY: Per the type invariant. It is not used afterwards.
            unsafe { free(object) };
            error.into()
        })
    }

    /// Returns the number of objects.
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Drop for LateObjects {
    fn drop(&mut self) {
        let objects = self.0.get_mut();

        // The handlers first, before their interrupts are freed with a domain.
        for late in objects.iter() {
            // SAFETY: Per the type invariant.
            unsafe { (late.shutdown)(late.object) };
        }
        while let Some(late) = objects.pop() {
            // SAFETY: Per the type invariant. It is not used afterwards.
            unsafe { (late.free)(late.object) };
        }
    }
}
