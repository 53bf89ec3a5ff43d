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
        Device, //
    },
    error::to_result,
    pci,
    prelude::*,
    str::CStr,
    types::ForLt, //
};

/// The state of a driver for one device, held by the device.
///
/// The type parameter is the [`ForLt`](trait@ForLt) encoding of the state's type.
pub struct Held<F: ForLt>(Pin<KBox<F::Of<'static>>>);

impl<F: ForLt + 'static> Held<F>
where
    for<'x> F::Of<'x>: Send + Sync,
{
    /// Makes `pdev` hold what `build` returns, and the debugfs directory `name` that `files` fills.
    ///
    /// # Errors
    ///
    /// What `build` fails with, or [`ENOMEM`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{c_str, device::Bound, fmt, held::Held, msi, pci, prelude::*, types::ForLt};
    /// struct State<'a> {
    ///     vectors: &'a pci::IrqVectorRegistration<'a>,
    /// }
    ///
    /// type HeldState = Held<ForLt!(State<'_>)>;
    ///
    /// fn show(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    ///     held.with(|state| writeln!(f, "{}", state.vectors.len()))
    /// }
    ///
    /// fn hold(pdev: &pci::Device<Bound>) -> Result<&HeldState> {
    ///     Held::new(
    ///         pdev,
    ///         c"my_device",
    ///         |pdev| {
    ///             let vectors = msi::msix_vectors(pdev, 1, 4)?;
    ///             Ok(KBox::pin(State { vectors }, GFP_KERNEL)?)
    ///         },
    ///         |held, dir| dir.read_callback_file(c"vectors", held, &show),
    ///     )
    /// }
    /// ```
    pub fn new<'a>(
        pdev: &'a pci::Device<Bound>,
        name: &CStr,
        build: impl for<'b> FnOnce(&'b pci::Device<Bound>) -> Result<Pin<KBox<F::Of<'b>>>>,
        files: impl for<'data, 'dir> FnOnce(&'data Self, &'dir ScopedDir<'data, 'dir>),
    ) -> Result<&'a Self> {
        let state = build(pdev)?;

        // SAFETY: Types that differ in a lifetime only have the same layout. As `build` works for
        // every lifetime, the state borrows nothing but the device and what the device holds, and
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
/// What `value` borrows must stay valid until then, which is later than `'a`.
pub(crate) unsafe fn until_unbind<'a, T: Send + 'a>(
    dev: &'a Device<Bound>,
    value: T,
) -> Result<&'a T> {
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

    // SAFETY: The box lives until the device is unbound, later than `'a`.
    Ok(unsafe { &*ptr })
}
