// SPDX-License-Identifier: GPL-2.0

//! State that a device holds until it is unbound.
//!
//! The objects of a driver borrow from each other: handlers from interrupts, interrupts from an irq
//! domain, the domain from a BAR. One structure cannot hold both ends of a borrow. A device can:
//! its device resources (devres) are dropped when it is unbound, in reverse order of registration,
//! and safe code cannot leak them.
//!
//! ```text
//! resources            BARs, vectors, names                         Holder
//!   ^
//! irq domain, handlers the driver's chip and callbacks              Holder
//!   ^
//! state                one object of the driver                     Held
//!   ^
//! users of the state   subdevices, attributes, character devices    Publisher
//! ```

use crate::{
    auxiliary,
    bindings,
    device::{
        Bound,
        Core,
        Device, //
    },
    error::to_result,
    fmt,
    mm::pinned::{
        Mapping,
        PinnedPages, //
    },
    pci,
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    types::{
        CovariantForLt,
        ForLt,
        NotThreadSafe, //
    }, //
};

mod handlers;
mod late;
mod line;
mod publisher;

pub use self::handlers::{
    Handler,
    Handlers,
    Line,
    Registration,
    Source, //
};
pub(crate) use self::late::Late;
pub use self::publisher::Publisher;

use self::late::LateObjects;
use core::{
    marker::PhantomData,
    ops::Deref, //
};

/// Token for registering device-managed objects during probe, which the device holds for `'b`.
///
/// It exists only during [`Held::probe`]. So the objects that are registered with it are older than
/// the state that is built with it, and are dropped later.
pub struct Holder<'c, 'b, D = pci::Device<Bound>> {
    dev: &'c D,
    /// Objects that may contain values of the driver.
    pub(crate) late: &'c LateObjects,
    handlers: &'b Handlers<'b>,
    // Invariant in `'b`, which is the lifetime of one state.
    _brand: PhantomData<fn(&'b ()) -> &'b ()>,
    _task: NotThreadSafe,
}

impl<'c, 'b, D: AsRef<Device<Bound>>> Holder<'c, 'b, D> {
    /// Returns the device.
    #[inline]
    pub fn device(&self) -> &'c D {
        self.dev
    }

    /// Returns the interrupt handlers that the device holds for this driver.
    #[inline]
    pub fn handlers(&self) -> &'b Handlers<'b> {
        self.handlers
    }

    /// Registers a name, for example of interrupts.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn name(&self, name: fmt::Arguments<'_>) -> Result<&'b CStr> {
        // SAFETY: The value borrows nothing.
        Ok(unsafe { self.hold(CString::try_from_fmt(name)?)? })
    }

    /// Registers `value`.
    ///
    /// # Safety
    ///
    /// References in `value` must stay valid until the device drops it, which is after `'b` and
    /// before the device drops older objects. Dropping it must not run code of the driver.
    pub(crate) unsafe fn hold<T: Send + 'b>(&self, value: T) -> Result<&'b T> {
        // SAFETY: Per the safety requirements. The state that uses the result is registered later,
        // so it is dropped earlier.
        unsafe { until_unbind(self.dev.as_ref(), value) }
    }
}

impl<'b> Holder<'_, 'b> {
    /// Allocates `min` to `max` MSI-X vectors.
    ///
    /// # Errors
    ///
    /// Those of [`pci::Device::alloc_irq_vectors`].
    pub fn irq_vectors(&self, min: u32, max: u32) -> Result<&'b pci::IrqVectorRegistration<'b>> {
        let types = pci::IrqTypes::default().with(pci::IrqType::MsiX);

        // SAFETY: The vectors borrow nothing but the device.
        unsafe { self.hold(self.function().0.alloc_irq_vectors(min, max, types)?) }
    }

    /// Resets the function. Must be called before an irq domain is created, whose slots the reset
    /// would clear. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EBUSY`] if there is an irq domain, [`ENOTTY`] if the function cannot be reset, or the
    /// error of the reset.
    pub fn reset_function(&self) -> Result {
        // The first late object is the handlers.
        if self.late.len() > 1 {
            return Err(EBUSY);
        }
        // SAFETY: The device is in probe, and so locked.
        unsafe { self.dev.reset_locked() }
    }

    /// Returns the PCI function, which the state may keep.
    #[inline]
    pub fn function(&self) -> PciFunction<'b> {
        // SAFETY: The device is bound until it has dropped all of its resources.
        PciFunction(unsafe { &*core::ptr::from_ref(self.dev) })
    }
}

/// The PCI function of a state. The device is bound while the state exists.
///
/// It is not a [`Bound`] device, which guarantees more: resources that the device acquires later
/// are released before the state.
#[derive(Clone, Copy)]
pub struct PciFunction<'b>(&'b pci::Device<Bound>);

impl Deref for PciFunction<'_> {
    type Target = pci::Device;

    #[inline]
    fn deref(&self) -> &pci::Device {
        self.0
    }
}

impl<'b> PciFunction<'b> {
    /// Resets the function, see [`pci::Device::try_reset`].
    ///
    /// # Errors
    ///
    /// Those of [`pci::Device::try_reset`].
    #[inline]
    pub fn try_reset(self) -> Result {
        self.0.try_reset()
    }

    /// Maps pages of a program for the function.
    ///
    /// # Errors
    ///
    /// Those of [`PinnedPages::map`].
    pub fn map_pages(self, pages: PinnedPages) -> Result<Mapping<'b>> {
        pages.map(self.0.as_ref())
    }

    /// Enables bus mastering again, see [`pci::Device::restore_master`].
    #[inline]
    pub fn restore_master(self) {
        self.0.restore_master();
    }

    /// Disables bus mastering, see [`pci::Device::clear_master`].
    #[inline]
    pub fn clear_master(self) {
        self.0.clear_master();
    }
}

impl<'b> Holder<'_, 'b, auxiliary::Device<Bound>> {
    /// Returns the data with which the parent registered the subdevice.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if the type is not that of `F`, [`ENOENT`] if there is no data.
    pub fn registration_data<F: CovariantForLt + 'static>(&self) -> Result<&'b F::Of<'b>> {
        let data: *const F::Of<'_> = self.dev.registration_data::<F>()?.get_ref();

        // SAFETY: The data is dropped after the subdevice has been unbound, and so after its
        // resources. The encoded type is covariant.
        Ok(unsafe { &*data.cast() })
    }
}

/// The state of a driver for one device, which the device holds.
///
/// The type parameter is the [`ForLt`](trait@ForLt) encoding of the state's type.
pub struct Held<F: ForLt> {
    // Dropped in this order.
    handlers: Pin<KBox<Handlers<'static>>>,
    state: Pin<KBox<F::Of<'static>>>,
    _late: LateObjects,
}

impl<F: ForLt + 'static> Held<F>
where
    for<'x> F::Of<'x>: Send + Sync,
{
    /// Registers the state that `build` returns with `dev`, and then the interfaces that `publish`
    /// registers. To be called from probe. The driver's data may keep the result.
    ///
    /// # Errors
    ///
    /// The error of `build` or `publish`, or [`ENOMEM`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use kernel::{device::Core, fmt, held::{Held, Publisher}, pci, prelude::*};
    /// # use kernel::types::ForLt;
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
    /// fn publish<'s, 'b>(
    ///     _state: &'s State<'b>,
    ///     publisher: &Publisher<'_, 's, HeldState>,
    /// ) -> Result {
    ///     publisher.debugfs("my_device", |held, dir| {
    ///         dir.read_callback_file(c"vectors", held, &show)
    ///     })
    /// }
    ///
    /// fn probe<'a>(pdev: &'a pci::Device<Core<'_>>) -> Result<&'a HeldState> {
    ///     Held::<ForLt!(State<'_>)>::probe(
    ///         pdev,
    ///         |holder| {
    ///             let vectors = holder.irq_vectors(1, 4)?;
    ///             Ok(KBox::pin(State { vectors }, GFP_KERNEL)?)
    ///         },
    ///         publish,
    ///     )
    /// }
    /// ```
    pub fn probe<'a, D>(
        dev: &'a D,
        build: impl for<'c, 'b> FnOnce(&Holder<'c, 'b, D::Target>) -> Result<Pin<KBox<F::Of<'b>>>>,
        publish: impl for<'s, 'b> FnOnce(&'s F::Of<'b>, &Publisher<'_, 's, Self>) -> Result,
    ) -> Result<&'a Self>
    where
        D: InProbe,
        D::Target: AsRef<Device<Bound>> + Sized,
    {
        let dev: &D::Target = dev;
        let late = LateObjects::default();
        // SAFETY: The device is bound while it holds the handlers and the state.
        let bound: &'static Device<Bound> = unsafe { &*core::ptr::from_ref(dev.as_ref()) };
        let handlers = Handlers::new(bound)?;
        let state = build(&Holder {
            dev,
            late: &late,
            // SAFETY: The handlers own no value of the driver. They are the first late object, and
            // so outlive all others.
            handlers: unsafe { late.add(Handlers::new(bound)?)? },
            _brand: PhantomData,
            _task: NotThreadSafe,
        })?;

        // SAFETY: Types that differ only in a lifetime have the same layout. As `build` works for
        // every lifetime, the state borrows only from objects that were registered with the holder,
        // and only `with()` and `publish` have access to it.
        let state: Pin<KBox<F::Of<'static>>> = unsafe { core::mem::transmute(state) };

        // SAFETY: The device holds the objects that the state borrows, which are older. Interfaces
        // are registered later, so they are dropped earlier. So are the driver's data and all other
        // values that can have the lifetime of the device in probe.
        let held = unsafe {
            let held = Self {
                handlers,
                state,
                _late: late,
            };
            until_unbind(dev.as_ref(), held)?
        };
        publish(
            held.state(),
            &Publisher {
                dev: dev.as_ref(),
                held,
                // SAFETY: Types that differ only in a lifetime have the same layout. Values with
                // that lifetime are dropped before `held`, which unregisters leaked handlers.
                handlers: unsafe { &*core::ptr::from_ref(&*held.handlers).cast() },
                _brand: PhantomData,
            },
        )?;
        Ok(held)
    }

    /// Calls `f` with the state.
    #[inline]
    pub fn with<R>(&self, f: impl for<'s, 'b> FnOnce(&'s F::Of<'b>) -> R) -> R {
        // As `f` works for every lifetime, it cannot move a borrow out of the state or into it.
        f(self.state())
    }

    fn state(&self) -> &F::Of<'_> {
        let state: &F::Of<'static> = &self.state;

        // SAFETY: Types that differ only in a lifetime have the same layout. The callers pass the
        // result to functions that work for every lifetime.
        unsafe { &*core::ptr::from_ref(state).cast() }
    }
}

/// A device whose driver is in probe.
///
/// # Safety
///
/// Must only be implemented for bus devices in the context [`Core`].
pub unsafe trait InProbe: Deref {}

// SAFETY: A PCI device in the context `Core`.
unsafe impl InProbe for pci::Device<Core<'_>> {}
// SAFETY: An auxiliary device in the context `Core`.
unsafe impl InProbe for auxiliary::Device<Core<'_>> {}

/// Moves `value` to the device resources (devres) of `dev`: it is dropped when `dev` is unbound,
/// after the driver's data and before the resources that `dev` has already.
///
/// # Safety
///
/// - References in `value` must stay valid until then.
/// - The result must not be used afterwards.
unsafe fn until_unbind<'a, T: Send>(dev: &Device<Bound>, value: T) -> Result<&'a T> {
    /// # Safety
    ///
    /// `ptr` must come from a `KBox<T>` and not be used afterwards.
    unsafe extern "C" fn release<T>(ptr: *mut c_void) {
        // SAFETY: Per the safety requirements.
        drop(unsafe { KBox::from_raw(ptr.cast::<T>()) });
    }

    let ptr = KBox::into_raw(KBox::new(value, GFP_KERNEL)?);

    // SAFETY: `dev` is a valid, bound device. `release()` is called once with the pointer, which it
    // expects, at once if this fails.
    to_result(unsafe {
        bindings::devm_add_action_or_reset(dev.as_raw(), Some(release::<T>), ptr.cast())
    })?;

    // SAFETY: The box lives until the device is unbound.
    Ok(unsafe { &*ptr })
}
