// SPDX-License-Identifier: GPL-2.0

//! Objects that a device holds until it is unbound.
//!
//! What a driver builds out of a device's resources borrows from them: handlers from interrupts,
//! interrupts from an irq domain, the domain from a BAR. One structure cannot hold both ends of a
//! borrow. A device can: what it holds is dropped when it is unbound, in reverse order of being
//! handed over, and cannot be leaked by safe code.
//!
//! ```text
//! resources            what a driver builds its state with         Holder
//!   ^
//! state                one object of the driver                     Held
//!   ^
//! users of the state   subdevices, attributes, character devices    Publisher
//! ```

use crate::{
    auxiliary,
    bindings,
    debugfs::{
        Scope,
        ScopedDir, //
    },
    device::{
        Bound,
        Core,
        Device, //
    },
    error::to_result,
    pci,
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    types::{
        CovariantForLt,
        ForLt, //
    }, //
};
use core::{
    marker::PhantomData,
    ops::Deref, //
};

/// What a device that is being probed can be handed objects with, to hold them for `'b`.
///
/// It can be neither kept nor made outside [`Held::probe`]. So whatever is handed over with it is
/// older than the state that is built with it, and is dropped later.
pub struct Holder<'c, 'b, D = pci::Device<Bound>> {
    dev: &'c D,
    // Invariant in `'b`: it stands for one state.
    _brand: PhantomData<fn(&'b ()) -> &'b ()>,
}

impl<'c, 'b, D: AsRef<Device<Bound>>> Holder<'c, 'b, D> {
    /// Returns the device.
    #[inline]
    pub fn device(&self) -> &'c D {
        self.dev
    }

    /// # Safety
    ///
    /// The result must only be used while the device is bound.
    #[inline]
    pub(crate) unsafe fn bound(&self) -> &'b Device<Bound> {
        // SAFETY: Per the safety requirements; the device outlives `'b`.
        unsafe { &*core::ptr::from_ref(self.dev.as_ref()) }
    }

    /// Has the device hold `value`.
    ///
    /// # Safety
    ///
    /// What `value` borrows must stay valid until the device drops it, which is later than `'b` and
    /// before all that the device holds already.
    pub(crate) unsafe fn hold<T: Send + 'b>(&self, value: T) -> Result<&'b T> {
        // SAFETY: Per the safety requirements. The state that uses the result is handed over later,
        // and so is dropped before.
        unsafe { until_unbind(self.dev.as_ref(), value) }
    }
}

impl<'b> Holder<'_, 'b> {
    /// Resets the function, for a device that does not work as it is found: to be called before
    /// anything is built that the device would forget. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ENOTTY`] if it cannot be reset, or what that fails with.
    pub fn reset_function(&self) -> Result {
        // SAFETY: The device is in probe, and so locked.
        unsafe { self.dev.reset_locked() }
    }

    /// Returns the device for `'b`: it is not freed before what it holds, but may be unbound.
    #[inline]
    pub fn unbound(&self) -> &'b pci::Device {
        let pdev: &pci::Device = self.dev;

        // SAFETY: A device is freed after its driver was unbound, which ends `'b`.
        unsafe { &*core::ptr::from_ref(pdev) }
    }
}

impl<'b> Holder<'_, 'b, auxiliary::Device<Bound>> {
    /// Returns what the parent registered the subdevice with.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if that is of another type than `F` encodes, [`ENOENT`] if there is nothing.
    pub fn registration_data<F: CovariantForLt + 'static>(&self) -> Result<&'b F::Of<'b>> {
        let data: *const F::Of<'_> = self.dev.registration_data::<F>()?.get_ref();

        // SAFETY: The data is dropped when the subdevice has been unbound, after what it holds.
        // The encoded type is covariant.
        Ok(unsafe { &*data.cast() })
    }
}

/// The state of a driver for one device, held by the device.
///
/// The type parameter is the [`ForLt`](trait@ForLt) encoding of the state's type.
pub struct Held<F: ForLt>(Pin<KBox<F::Of<'static>>>);

impl<F: ForLt + 'static> Held<F>
where
    for<'x> F::Of<'x>: Send + Sync,
{
    /// Makes `dev` hold what `build` returns, and then what `publish` adds for the users of that.
    /// To be called from probe. The result may be kept in the driver's data.
    ///
    /// # Errors
    ///
    /// What `build` or `publish` fails with, or [`ENOMEM`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{device::Core, fmt, held::{Held, Publisher}, msi, pci, prelude::*};
    /// # use kernel::types::ForLt;
    /// struct State<'a> {
    ///     vectors: &'a msi::Vectors<'a>,
    /// }
    ///
    /// type HeldState = Held<ForLt!(State<'_>)>;
    ///
    /// fn show(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///     held.with(|state| writeln!(f, "{}", state.vectors.len()))
    /// }
    ///
    /// fn publish<'s, 'b>(
    ///     held: &'s HeldState,
    ///     _state: &'s State<'b>,
    ///     publisher: &Publisher<'_, 's>,
    /// ) -> Result {
    ///     publisher.debugfs("my_device", held, |held, dir| {
    ///         dir.read_callback_file(c"vectors", held, &show)
    ///     })
    /// }
    ///
    /// fn probe<'a>(pdev: &'a pci::Device<Core<'_>>) -> Result<&'a HeldState> {
    ///     Held::<ForLt!(State<'_>)>::probe(
    ///         pdev,
    ///         |holder| {
    ///             let vectors = msi::Vectors::new(holder, 1, 4)?;
    ///             Ok(KBox::pin(State { vectors }, GFP_KERNEL)?)
    ///         },
    ///         publish,
    ///     )
    /// }
    /// ```
    pub fn probe<'a, D>(
        dev: &'a D,
        build: impl for<'c, 'b> FnOnce(&Holder<'c, 'b, D::Target>) -> Result<Pin<KBox<F::Of<'b>>>>,
        publish: impl for<'s, 'b> FnOnce(&'s Self, &'s F::Of<'b>, &Publisher<'_, 's>) -> Result,
    ) -> Result<&'a Self>
    where
        D: InProbe,
        D::Target: AsRef<Device<Bound>> + Sized,
    {
        let dev: &D::Target = dev;
        let state = build(&Holder {
            dev,
            _brand: PhantomData,
        })?;

        // SAFETY: Types that differ in a lifetime only have the same layout. As `build` works for
        // every lifetime, the state borrows only what the device was handed with the holder, and
        // only `with()` and `publish` have access to it.
        let state: Pin<KBox<F::Of<'static>>> = unsafe { core::mem::transmute(state) };

        // SAFETY: The device holds all that the state borrows since before now. What is published
        // is handed over later, so that it is dropped before. So is the driver's data, and all else
        // that can have the lifetime of the device in probe.
        let held = unsafe { until_unbind(dev.as_ref(), Self(state))? };
        publish(
            held,
            held.state(),
            &Publisher {
                dev: dev.as_ref(),
                _brand: PhantomData,
            },
        )?;
        Ok(held)
    }

    /// Calls `f` with the state.
    #[inline]
    pub fn with<R>(&self, f: impl for<'s, 'b> FnOnce(&'s F::Of<'b>) -> R) -> R {
        // As `f` works for every lifetime, it cannot carry a borrow out of the state or into it.
        f(self.state())
    }

    fn state(&self) -> &F::Of<'_> {
        let state: &F::Of<'static> = &self.0;

        // SAFETY: Types that differ in a lifetime only have the same layout. The callers give the
        // result to functions that work for every lifetime.
        unsafe { &*core::ptr::from_ref(state).cast() }
    }
}

/// A device whose driver is in probe.
///
/// # Safety
///
/// Only for bus devices in the context [`Core`].
pub unsafe trait InProbe: Deref {}

// SAFETY: The context says so.
unsafe impl InProbe for pci::Device<Core<'_>> {}
// SAFETY: The context says so.
unsafe impl InProbe for auxiliary::Device<Core<'_>> {}

/// What adds users of a device's state, which go before it when the device is unbound.
///
/// `'s` is the lifetime of the state.
pub struct Publisher<'c, 's> {
    dev: &'c Device<Bound>,
    _brand: PhantomData<fn(&'s ()) -> &'s ()>,
}

impl<'s> Publisher<'_, 's> {
    /// Has the device hold `value`, which nothing gets a reference to.
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

    /// Adds the directory `<prefix>-<device>` to debugfs, filled by `files`.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]. What debugfs cannot do it does not report.
    pub fn debugfs<T: Send + Sync + 'static>(
        &self,
        prefix: &str,
        value: &'s T,
        files: impl for<'data, 'dir> FnOnce(&'data T, &'dir ScopedDir<'data, 'dir>),
    ) -> Result {
        let value = core::ptr::from_ref(value);
        // SAFETY: `'s` ends after the directory is removed.
        let value: &'static T = unsafe { &*value };
        let name = CString::try_from_fmt(fmt!("{prefix}-{}", self.dev.name()))?;
        let dir = Scope::dir(value, &name, |value, dir| files(value, dir));

        self.hold(KBox::pin_init(dir, GFP_KERNEL)?)
    }

    /// Registers subdevice `<module>.<name>.<id>` on the auxiliary bus. Its driver finds `data`.
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if there is a subdevice of that name, [`ENOMEM`], or what `data` fails with.
    pub fn subdevice<F: CovariantForLt + 'static>(
        &self,
        module: &'static CStr,
        name: &'static CStr,
        id: u32,
        data: impl PinInit<F::Of<'s>, Error>,
    ) -> Result
    where
        for<'x> F::Of<'x>: Send + Sync,
        F::Of<'s>: 's,
    {
        // SAFETY: The device holds the registration, and drops it while `'s` lasts.
        self.hold(unsafe {
            auxiliary::Registration::<'s, F>::new_with_lt(self.device(), name, id, module, data)?
        })
    }
}

/// Moves `value` to the device resources (devres) of `dev`: it is dropped when `dev` is unbound,
/// after the driver's data and before anything that `dev` holds already.
///
/// # Safety
///
/// - What `value` borrows must stay valid until then.
/// - The result must not be used after then.
unsafe fn until_unbind<'a, T: Send>(dev: &Device<Bound>, value: T) -> Result<&'a T> {
    /// # Safety
    ///
    /// `ptr` must come from a `KBox<T>` and not be used afterwards.
    unsafe extern "C" fn release<T>(ptr: *mut c_void) {
        // SAFETY: Per the safety requirements.
        drop(unsafe { KBox::from_raw(ptr.cast::<T>()) });
    }

    let ptr = KBox::into_raw(KBox::new(value, GFP_KERNEL)?);

    // SAFETY: `dev` is a valid, bound device. `release()` gets the pointer that it expects, once,
    // if this fails here.
    to_result(unsafe {
        bindings::devm_add_action_or_reset(dev.as_raw(), Some(release::<T>), ptr.cast())
    })?;

    // SAFETY: The box lives until the device is unbound.
    Ok(unsafe { &*ptr })
}
