// SPDX-License-Identifier: GPL-2.0

//! Interrupt handlers that a device holds.

use super::{
    line::{
        Core,
        Mask, //
    },
    Late, //
};
use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    irq::{
        self,
        Flags,
        IrqRequest,
        IrqReturn, //
    },
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::Mutex, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop, //
};

/// The callback of an interrupt.
pub trait Handler: Sync {
    /// Handles the interrupt. Runs in interrupt context, on one CPU at a time.
    fn handle(&self, line: &Line) -> IrqReturn;
}

/// The interrupt line of a running handler.
pub struct Line {
    virq: u32,
    mask: Mask,
}

impl Line {
    /// Masks the interrupt: the handler does not run again before [`Registration::unmask`].
    ///
    /// Returns `true` if the interrupt was unmasked.
    #[inline]
    pub fn mask(&self) -> bool {
        self.mask.mask_nosync(self)
    }
}

impl Core for Line {
    #[inline]
    fn disable_nosync(&self) {
        // SAFETY: The interrupt has a handler, whose line this is.
        unsafe { bindings::disable_irq_nosync(self.virq) };
    }

    #[inline]
    fn synchronize(&self) {
        // SAFETY: As above. Callers of `Registration::mask()` and `unmask()` may sleep.
        unsafe { bindings::synchronize_irq(self.virq) };
    }

    #[inline]
    fn enable(&self) {
        // SAFETY: As above, and `Mask` has disabled it before.
        unsafe { bindings::enable_irq(self.virq) };
    }
}

/// The value that [`irq::Registration`] registers.
#[pin_data]
struct Action<H> {
    #[pin]
    handler: H,
    line: Line,
}

impl<H: Handler> irq::Handler for Action<H> {
    #[inline]
    fn handle(&self) -> IrqReturn {
        self.handler.handle(&self.line)
    }
}

/// The owner of an interrupt without a handler.
///
/// # Safety
///
/// [`Self::virq`] must always return the same number, of an interrupt that exists as long as the
/// value, or until the device is unbound if the value is leaked.
pub unsafe trait Source {
    /// Returns the Linux interrupt number.
    fn virq(&self) -> u32;

    /// Waits until the device has loaded the last change of the interrupt's slot. Sleeps.
    ///
    /// # Errors
    ///
    /// The error of loading a change.
    fn check(&self) -> Result {
        Ok(())
    }
}

// SAFETY: The number of an interrupt does not change. A request borrows its vector from a value
// that the device holds.
unsafe impl Source for IrqRequest<'_> {
    #[inline]
    fn virq(&self) -> u32 {
        self.irq()
    }
}

/// The handlers of a driver for one device, see [`Holder::handlers`](super::Holder::handlers).
///
/// [`Registration`]s that safe code leaks are unregistered when the device is unbound. `'b` is
/// invariant: a driver cannot pass it to the driver of a subdevice, whose module could be removed
/// earlier.
#[pin_data(PinnedDrop)]
pub struct Handlers<'b> {
    dev: &'b Device<Bound>,
    /// Interrupt number and cookie of each, until [`Late::shutdown`].
    #[pin]
    registered: Mutex<Option<RBTree<(u32, usize), ()>>>,
    _brand: PhantomData<fn(&'b ()) -> &'b ()>,
}

impl<'b> Handlers<'b> {
    #[inline(never)]
    pub(crate) fn new(dev: &'b Device<Bound>) -> Result<Pin<KBox<Self>>> {
        let handlers = try_pin_init!(Self {
            dev,
            registered <- new_mutex!(Some(RBTree::new())),
            _brand: PhantomData,
        }? Error);

        KBox::pin_init(handlers, GFP_KERNEL)
    }

    /// Registers `handler` for the interrupt of `source`, and unmasks the interrupt unless `flags`
    /// has [`Flags::NO_AUTOEN`]. `/proc/interrupts` shows `name`. Sleeps.
    ///
    /// # Errors
    ///
    /// Returned with `source`: [`EBUSY`] if the interrupt has a handler, [`ENOSPC`] if no vector is
    /// left, [`ENODEV`] if the device is being unbound, [`ENOMEM`], or the error of `handler` or
    /// [`Source::check`].
    pub fn request<S: Source + 'b, H: Handler + 'b>(
        &'b self,
        source: S,
        flags: Flags,
        name: &'b CStr,
        handler: impl PinInit<H, Error> + 'b,
    ) -> Result<Registration<'b, S, H>, (Error, S)> {
        let registered = Registered::new(self, source.virq(), flags, name, handler);

        match registered.and_then(|registered| source.check().map(|()| registered)) {
            Ok(registered) => Ok(Registration { registered, source }),
            Err(error) => Err((error, source)),
        }
    }

    #[inline(never)]
    fn add(&self, virq: u32, cookie: usize) -> Result {
        let mut registered = self.registered.lock();
        let registered = (*registered).as_mut().ok_or(ENODEV)?;

        registered.try_create_and_insert((virq, cookie), (), GFP_KERNEL)?;
        Ok(())
    }

    /// Fails after [`Late::shutdown`], as the interrupts may be freed.
    #[inline(never)]
    fn check(&self) -> Result {
        (*self.registered.lock())
            .is_some()
            .then_some(())
            .ok_or(ENODEV)
    }

    /// Removes a handler from the list. Returns `false` after [`Late::shutdown`], which has
    /// unregistered it.
    #[inline(never)]
    fn remove(&self, virq: u32, cookie: usize) -> bool {
        let mut registered = self.registered.lock();

        (*registered).as_mut().is_some_and(|registered| {
            registered.remove(&(virq, cookie));
            true
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Handlers<'_> {
    fn drop(self: Pin<&mut Self>) {
        self.shutdown();
    }
}

impl Late for Handlers<'_> {
    #[inline(never)]
    fn shutdown(&self) {
        let registered = self.registered.lock().take();

        for &(virq, cookie) in registered.iter().flat_map(RBTree::keys) {
            // SAFETY: The registration is leaked, otherwise it would have been removed: it stays
            // valid. Its interrupt exists, see `Source`.
            unsafe { bindings::free_irq(virq, core::ptr::with_exposed_provenance_mut(cookie)) };
        }
    }
}

/// A registered handler. Dropping it unregisters it.
///
/// # Invariants
///
/// `handlers` has the address of `registration`, which is its cookie.
struct Registered<'b, H: Handler> {
    registration: ManuallyDrop<Pin<KBox<irq::Registration<'b, Action<H>>>>>,
    handlers: &'b Handlers<'b>,
}

impl<'b, H: Handler + 'b> Registered<'b, H> {
    fn new(
        handlers: &'b Handlers<'b>,
        virq: u32,
        flags: Flags,
        name: &'b CStr,
        handler: impl PinInit<H, Error> + 'b,
    ) -> Result<Self> {
        handlers.check()?;
        let masked = flags.into_inner() & bindings::IRQF_NO_AUTOEN as c_ulong != 0;
        let name: *const CStr = name;
        let action = try_pin_init!(Action {
            handler <- handler,
            line: Line { virq, mask: Mask::new(masked) },
        }? Error);

        // SAFETY: The source owns the interrupt. `drop()` unregisters the handler, or if it is
        // leaked, and its memory with it, `Handlers::shutdown()`. Until then all values with the
        // lifetime `'b` are valid, including the name: see `Holder`.
        let registration = unsafe {
            let request = IrqRequest::new(handlers.dev, virq);
            irq::Registration::new(request, flags, &*name, action)
        };
        let registration =
            KBox::pin_init(registration, GFP_KERNEL).map_err(|error| match error {
                // request_irq() has waited for vectors that are held until they are not pending.
                EAGAIN => ENOSPC,
                error => error,
            })?;
        handlers.add(virq, cookie(&registration))?;

        // INVARIANT: Just added.
        Ok(Self {
            registration: ManuallyDrop::new(registration),
            handlers,
        })
    }

    #[inline]
    fn action(&self) -> &Action<H> {
        self.registration.handler()
    }
}

impl<H: Handler> Drop for Registered<'_, H> {
    fn drop(&mut self) {
        let virq = self.registration.handler().line.virq;

        if self.handlers.remove(virq, cookie(&self.registration)) {
            // SAFETY: Dropped once.
            unsafe { ManuallyDrop::drop(&mut self.registration) };
        }
        // Otherwise `Handlers::shutdown()` has unregistered the handler.
    }
}

fn cookie<H: Handler>(registration: &irq::Registration<'_, Action<H>>) -> usize {
    core::ptr::from_ref(registration).expose_provenance()
}

/// An interrupt with a handler. Dropping it masks the interrupt, unregisters the handler, and then
/// drops the source. Sleeps.
pub struct Registration<'b, S: Source, H: Handler> {
    // Dropped in this order.
    registered: Registered<'b, H>,
    source: S,
}

impl<'b, S: Source + 'b, H: Handler + 'b> Registration<'b, S, H> {
    /// Returns the handler.
    #[inline]
    pub fn handler(&self) -> &H {
        &self.registered.action().handler
    }

    /// Returns the owner of the interrupt.
    #[inline]
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Masks the interrupt, and waits until its handler is not running. The handler does not run
    /// before [`Self::unmask`]. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if the device is being unbound, or those of [`Source::check`].
    pub fn mask(&mut self) -> Result {
        let line = &self.registered.action().line;

        self.registered.handlers.check()?;
        line.mask.mask(line);
        self.source.check()
    }

    /// Unmasks the interrupt, which [`Self::mask`], [`Line::mask`] or [`Flags::NO_AUTOEN`] has
    /// masked. If it was raised while it was masked, its handler runs once. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`Self::mask`].
    pub fn unmask(&mut self) -> Result {
        let line = &self.registered.action().line;

        self.registered.handlers.check()?;
        line.mask.unmask(line);
        self.source.check()
    }

    /// Unregisters the handler: masks the interrupt, and releases its vector. An interrupt that was
    /// sent before is delivered to the next handler. Sleeps.
    #[inline]
    pub fn release(self) -> S {
        drop(self.registered);
        self.source
    }
}

#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_ims_handlers)]
mod tests {
    use super::*;
    use crate::{
        error::to_result,
        faux,
        io::poll::read_poll_timeout,
        sync::atomic::{
            Atomic,
            Relaxed, //
        },
        time::Delta, //
    };

    /// An interrupt without a device, which only tests raise.
    struct Dummy(u32);

    impl Dummy {
        fn new() -> Result<Self> {
            // SAFETY: Any number may be allocated. The core provides the chip and the flow handler.
            let virq = unsafe {
                let node = bindings::NUMA_NO_NODE;
                let none = core::ptr::null_mut();
                let virq = bindings::__irq_alloc_descs(-1, 1, 1, node, none, core::ptr::null());
                to_result(virq)?;
                bindings::irq_set_chip_and_handler_name(
                    virq as u32,
                    &raw const bindings::dummy_irq_chip,
                    Some(bindings::handle_simple_irq),
                    core::ptr::null(),
                );
                virq as u32
            };
            Ok(Self(virq))
        }

        fn raise(&self) {
            // SAFETY: An allocated interrupt.
            unsafe { bindings::generic_handle_irq_safe(self.0) };
        }

        fn has_handler(&self) -> bool {
            // SAFETY: An allocated interrupt.
            unsafe { bindings::irq_has_action(self.0) }
        }
    }

    impl Drop for Dummy {
        fn drop(&mut self) {
            // SAFETY: Allocated by `new()`, and without a handler.
            unsafe { bindings::irq_free_descs(self.0, 1) };
        }
    }

    // SAFETY: The interrupt exists as long as the `Dummy` that is referred to.
    unsafe impl Source for &Dummy {
        fn virq(&self) -> u32 {
            self.0
        }
    }

    /// Counts in a borrowed counter, and masks at a limit.
    struct Count<'a>(&'a Atomic<u32>, u32);

    impl Handler for Count<'_> {
        fn handle(&self, line: &Line) -> IrqReturn {
            if self.0.fetch_add(1, Relaxed) + 1 >= self.1 {
                line.mask();
            }
            IrqReturn::Handled
        }
    }

    fn handlers(device: &faux::Registration) -> Result<Pin<KBox<Handlers<'_>>>> {
        let device: &faux::Device<Bound> = device.as_ref();

        Handlers::new(device.as_ref())
    }

    #[test]
    fn masked_by_calls_and_by_the_handler() -> Result {
        let device = faux::Registration::new(c"ims-kunit", None)?;
        let (dummy, count) = (Dummy::new()?, Atomic::new(0));
        let handlers = handlers(&device)?;
        let raise_twice = || {
            dummy.raise();
            dummy.raise();
            count.load(Relaxed)
        };
        // A softirq resends an interrupt that was raised while it was masked.
        let comes_to = |expected| {
            let (sleep, timeout) = (Delta::from_micros(100), Delta::from_secs(1));
            read_poll_timeout(
                || Ok(count.load(Relaxed)),
                |&now| now == expected,
                sleep,
                timeout,
            )
        };

        {
            let handler = Ok(Count(&count, 4));
            // SAFETY: The borrowed values outlive the registration, which is not leaked.
            let handlers: &Handlers<'_> = unsafe { &*core::ptr::from_ref(&*handlers) };
            let registration = handlers.request(&dummy, Flags::NO_AUTOEN, c"ims-kunit", handler);
            let mut registration = registration.map_err(|(error, _)| error)?;
            assert_eq!(raise_twice(), 0);
            registration.unmask()?;
            comes_to(1)?;
            assert_eq!(raise_twice(), 3);
            registration.mask()?;
            registration.mask()?;
            assert_eq!(raise_twice(), 3);
            registration.unmask()?;
            comes_to(4)?;
            // The handler has masked it.
            assert_eq!(raise_twice(), 4);
            registration.unmask()?;
            comes_to(5)?;
            assert_eq!(raise_twice(), 5);
            assert!(dummy.has_handler());
        }
        assert!(!dummy.has_handler());
        Ok(())
    }

    #[test]
    fn leaked_handlers_are_unregistered() -> Result {
        static COUNT: Atomic<u32> = Atomic::new(0);
        // The memory of leaked handlers stays allocated. These references are for kmemleak.
        static LEAKED: [Atomic<usize>; 3] = [const { Atomic::new(0) }; 3];
        let device = faux::Registration::new(c"ims-kunit", None)?;
        let dummies = [Dummy::new()?, Dummy::new()?, Dummy::new()?];
        let handlers = handlers(&device)?;
        // SAFETY: It outlives all registrations except the leaked ones, which it unregisters.
        let lasting: &Handlers<'_> = unsafe { &*core::ptr::from_ref(&*handlers) };

        for round in 0..3 {
            for (dummy, leaked) in dummies.iter().zip(&LEAKED) {
                let count = Ok(Count(&COUNT, u32::MAX));
                let registration = lasting.request(dummy, Flags::TRIGGER_NONE, c"ims-kunit", count);
                let registration = registration.map_err(|(error, _)| error)?;
                if round == 2 && dummy.0 != dummies[1].0 {
                    leaked.store(cookie(&registration.registered.registration), Relaxed);
                    core::mem::forget(registration);
                }
            }
        }
        assert!(dummies[0].has_handler() && dummies[2].has_handler());
        assert!(!dummies[1].has_handler());
        dummies[0].raise();
        assert_eq!(COUNT.load(Relaxed), 1);

        lasting.shutdown();
        assert!(!dummies.iter().any(Dummy::has_handler));
        let count = Ok(Count(&COUNT, u32::MAX));
        let late = lasting.request(&dummies[0], Flags::TRIGGER_NONE, c"ims-kunit", count);
        assert_eq!(late.err().map(|(error, _)| error), Some(ENODEV));
        assert!(!dummies[0].has_handler());
        Ok(())
    }
}
