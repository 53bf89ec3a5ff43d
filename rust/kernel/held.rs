// SPDX-License-Identifier: GPL-2.0

//! Objects that a device holds until it is unbound.
//!
//! What a driver builds out of a device's resources borrows from them: handlers from interrupts,
//! interrupts from an irq domain, the domain from a BAR. One structure cannot hold both ends of a
//! borrow. A device can: what it holds is dropped when it is unbound, in reverse order of being
//! handed over, and cannot be leaked by safe code.

use crate::{
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
    str::CStr,
    types::ForLt, //
};
use core::marker::PhantomData;

/// What a device that is being probed can be handed objects with, to hold them for `'b`.
///
/// It can be neither kept nor made outside [`Held::new`]. So whatever is handed over with it is
/// older than the state that is built with it, and is dropped later.
pub struct Holder<'c, 'b> {
    pdev: &'c pci::Device<Bound>,
    // Invariant in `'b`: it stands for one state.
    _brand: PhantomData<fn(&'b ()) -> &'b ()>,
}

impl<'c, 'b> Holder<'c, 'b> {
    /// Returns the device.
    #[inline]
    pub fn device(&self) -> &'c pci::Device<Bound> {
        self.pdev
    }

    /// Returns the device for `'b`: it is not freed before what it holds, but may be unbound.
    #[inline]
    pub fn unbound(&self) -> &'b pci::Device {
        let pdev: &pci::Device = self.pdev;

        // SAFETY: A device is freed after its driver was unbound, which ends `'b`.
        unsafe { &*core::ptr::from_ref(pdev) }
    }

    /// # Safety
    ///
    /// The result must only be used while the device is bound.
    #[inline]
    pub(crate) unsafe fn bound(&self) -> &'b Device<Bound> {
        let dev: &Device<Bound> = self.pdev.as_ref();

        // SAFETY: Per the safety requirements; the device outlives `'b`.
        unsafe { &*core::ptr::from_ref(dev) }
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
        unsafe { until_unbind(self.pdev.as_ref(), value) }
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
    /// Makes `pdev` hold what `build` returns, and the debugfs directory `name` that `files` fills.
    /// To be called from probe.
    ///
    /// # Errors
    ///
    /// What `build` fails with, or [`ENOMEM`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{device::Core, fmt, held::Held, msi, pci, prelude::*, types::ForLt};
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
    /// fn hold<'a>(pdev: &'a pci::Device<Core<'_>>) -> Result<&'a HeldState> {
    ///     Held::new(
    ///         pdev,
    ///         c"my_device",
    ///         |holder| {
    ///             let vectors = msi::Vectors::new(holder, 1, 4)?;
    ///             Ok(KBox::pin(State { vectors }, GFP_KERNEL)?)
    ///         },
    ///         |held, dir| dir.read_callback_file(c"vectors", held, &show),
    ///     )
    /// }
    /// ```
    pub fn new<'a>(
        pdev: &'a pci::Device<Core<'_>>,
        name: &CStr,
        build: impl for<'c, 'b> FnOnce(&Holder<'c, 'b>) -> Result<Pin<KBox<F::Of<'b>>>>,
        files: impl for<'data, 'dir> FnOnce(&'data Self, &'dir ScopedDir<'data, 'dir>),
    ) -> Result<&'a Self> {
        let state = build(&Holder {
            pdev,
            _brand: PhantomData,
        })?;

        // SAFETY: Types that differ in a lifetime only have the same layout. As `build` works for
        // every lifetime, the state borrows only what the device was handed with the holder, and
        // only `with()` gives access to it.
        let state: Pin<KBox<F::Of<'static>>> = unsafe { core::mem::transmute(state) };
        let scope = KBox::pin_init(Scope::dir(Self(state), name, files), GFP_KERNEL)?;

        // SAFETY: The device holds all that the state borrows since before now.
        Ok(unsafe { until_unbind(pdev.as_ref(), scope)? })
    }

    /// Calls `f` with the state.
    #[inline]
    pub fn with<R>(&self, f: impl for<'s, 'b> FnOnce(&'s F::Of<'b>) -> R) -> R {
        let state: &F::Of<'static> = &self.0;

        // SAFETY: Types that differ in a lifetime only have the same layout. As `f` works for every
        // lifetime, it cannot carry a borrow out of the state or into it.
        f(unsafe { &*core::ptr::from_ref(state).cast() })
    }
}

/// Calls `action` with `data` when `dev` is unbound: after the driver's data is dropped, before
/// anything that `dev` holds already. If this fails, `action` has been called.
///
/// # Safety
///
/// `action` must be safe to call with `data` then.
#[inline(never)]
pub(crate) unsafe fn add_action(
    dev: &Device<Bound>,
    action: unsafe extern "C" fn(*mut c_void),
    data: *mut c_void,
) -> Result {
    // SAFETY: `dev` is a valid, bound device; the rest per the safety requirements.
    to_result(unsafe { bindings::devm_add_action_or_reset(dev.as_raw(), Some(action), data) })
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

    // SAFETY: `release()` gets the pointer that it expects, once.
    unsafe { add_action(dev, release::<T>, ptr.cast())? };

    // SAFETY: The box lives until the device is unbound.
    Ok(unsafe { &*ptr })
}
