// SPDX-License-Identifier: GPL-2.0

//! Interfaces for users of a state.

use super::{
    until_unbind,
    Handlers, //
};
use crate::{
    auxiliary,
    debugfs::{
        Scope,
        ScopedDir, //
    },
    device::{
        Bound,
        Device, //
    },
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    types::CovariantForLt, //
};
use core::marker::PhantomData;

/// Registers interfaces that are torn down before the state.
///
/// `'s` is the lifetime of the state, which `H` holds.
pub struct Publisher<'c, 's, H> {
    pub(super) dev: &'c Device<Bound>,
    pub(super) held: &'s H,
    pub(super) handlers: &'s Handlers<'s>,
    pub(super) _brand: PhantomData<fn(&'s ()) -> &'s ()>,
}

impl<'s, H: Send + Sync + 'static> Publisher<'_, 's, H> {
    /// Registers `value`, which has no references to it.
    ///
    /// `value` may borrow for `'s`: from the state, and from older objects.
    pub(crate) fn hold<T: Send + 's>(&self, value: T) -> Result {
        // SAFETY: Values with the lifetime of the state are dropped later.
        unsafe { until_unbind(self.dev, value) }.map(|_| ())
    }

    /// Returns the device. It is bound while the registered values exist.
    pub(crate) fn device(&self) -> &'s Device<Bound> {
        // SAFETY: The device is unbound after `'s` has ended.
        unsafe { &*core::ptr::from_ref(self.dev) }
    }

    /// Returns the interrupt handlers of the interfaces, which may borrow the state.
    #[inline]
    pub fn handlers(&self) -> &'s Handlers<'s> {
        self.handlers
    }

    /// Adds the directory `<prefix>-<device>` to debugfs. `files` adds files to it.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]. debugfs does not report other errors.
    pub fn debugfs(
        &self,
        prefix: &str,
        files: impl for<'data, 'dir> FnOnce(&'data H, &'dir ScopedDir<'data, 'dir>),
    ) -> Result {
        // SAFETY: `'s` ends after the directory is removed.
        let held: &'static H = unsafe { &*core::ptr::from_ref(self.held) };
        let name = CString::try_from_fmt(fmt!("{prefix}-{}", self.dev.name()))?;
        let dir = Scope::dir(held, &name, |held, dir| files(held, dir));

        self.hold(KBox::pin_init(dir, GFP_KERNEL)?)
    }

    /// Registers subdevice `<module>.<name>.<id>` on the auxiliary bus, with `data` for its driver:
    /// see [`Holder::registration_data`](super::Holder::registration_data).
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if there is a subdevice of that name, [`ENOMEM`], or the error of `data`.
    pub fn subdevice<T: CovariantForLt + 'static>(
        &self,
        module: &'static CStr,
        name: &'static CStr,
        id: u32,
        data: impl PinInit<T::Of<'s>, Error>,
    ) -> Result
    where
        for<'x> T::Of<'x>: Send + Sync,
        T::Of<'s>: 's,
    {
        // SAFETY: The device holds the registration, and drops it before `'s` ends.
        self.hold(unsafe {
            auxiliary::Registration::<'s, T>::new_with_lt(self.device(), name, id, module, data)?
        })
    }
}
