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
    /// Makes the device hold `value`, to which there are no references.
    ///
    /// `value` may borrow for `'s`: the state, and what the device was handed before that.
    pub(crate) fn hold<T: Send + 's>(&self, value: T) -> Result {
        // SAFETY: What has the lifetime of the state is dropped later.
        unsafe { until_unbind(self.dev, value) }.map(|_| ())
    }

    /// Returns the device. It is bound as long as what is held here.
    pub(crate) fn device(&self) -> &'s Device<Bound> {
        // SAFETY: The device is unbound after `'s` has ended.
        unsafe { &*core::ptr::from_ref(self.dev) }
    }

    /// Returns the interrupt handlers of the interfaces: they may borrow the state.
    #[inline]
    pub fn handlers(&self) -> &'s Handlers<'s> {
        self.handlers
    }

    /// Adds the directory `<prefix>-<device>` to debugfs, filled by `files`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]. What debugfs cannot do it does not report.
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

    /// Registers subdevice `<module>.<name>.<id>` on the auxiliary bus. Its driver finds `data`.
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if there is a subdevice of that name, [`ENOMEM`], or what `data` fails with.
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
        // SAFETY: The device holds the registration, and drops it while `'s` lasts.
        self.hold(unsafe {
            auxiliary::Registration::<'s, T>::new_with_lt(self.device(), name, id, module, data)?
        })
    }
}
