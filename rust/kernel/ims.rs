// SPDX-License-Identifier: GPL-2.0

//! Interrupt message stores (IMS).
//!
//! A message store is where a device keeps the messages of its interrupts, in a place and a layout
//! of its own: it can have far more of them than MSI-X. Each message has a slot. This module owns
//! the slots of one device: allocating an interrupt takes a slot, a descriptor and the reservation
//! of a vector together or not at all.
//!
//! A driver says where its slots are (a [`Store`]) and how one is masked (a [`Chip`]):
//!
//! ```text
//! VECTOR <- interrupt remapping <- Domain<Chip> <- Owner <- Interrupt <- handler
//!                                    |
//!                                  Store <- BAR or host memory
//! ```
//!
//! An [`Owner`] is who allocates, such as a subdevice. It can count on the slots that it is
//! guaranteed, and has no more than its ceiling.
//!
//! # Masking is not optional
//!
//! A device that cannot mask a message, or cannot tell whether one is pending, cannot implement
//! [`Chip`]. A free slot is masked and has no message, so that allocation writes nothing.
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     held::Holder,
//!     ims::{
//!         self,
//!         Chip,
//!         MmioArray,
//!         State,
//!         View, //
//!     },
//!     io::{
//!         io_read,
//!         io_write, //
//!     },
//!     irq::{
//!         Flags,
//!         Handler, //
//!     },
//!     msi::{
//!         self,
//!         Message, //
//!     },
//!     pci::Window,
//!     prelude::*,
//!     str::CString,
//!     sync::Arc, //
//! };
//!
//! #[repr(C)]
//! struct Registers {
//!     address_lo: u32,
//!     address_hi: u32,
//!     data: u32,
//!     control: u32,
//! }
//!
//! struct MyChip;
//!
//! impl Chip for MyChip {
//!     const NAME: &'static CStr = c"MY-IMS";
//!     type Store<'a> = MmioArray<'a, Registers>;
//!
//!     fn mask(slot: View<'_, Self>, _control: u32) {
//!         io_write!(slot, .control, 1);
//!     }
//!
//!     fn unmask(slot: View<'_, Self>, _control: u32) {
//!         io_write!(slot, .control, 0);
//!     }
//!
//!     fn state(slot: View<'_, Self>) -> Option<State> {
//!         let control = io_read!(slot, .control);
//!         (control != u32::MAX).then_some(State {
//!             masked: control & 1 != 0,
//!             pending: control & 2 != 0,
//!         })
//!     }
//!
//!     fn write_message(slot: View<'_, Self>, message: Message) {
//!         io_write!(slot, .address_lo, message.address as u32);
//!         io_write!(slot, .address_hi, (message.address >> 32) as u32);
//!         io_write!(slot, .data, message.data);
//!     }
//! }
//!
//! fn first_interrupt<'b, H: Handler + 'static>(
//!     holder: &Holder<'_, 'b>,
//!     handler: H,
//! ) -> Result<msi::Requested<'b, ims::Interrupt<'b, MyChip>, H>> {
//!     let window = Window::<0x1000>::new(holder, 0, c"my_device")?;
//!     let domain = ims::Domain::new(holder, MmioArray::new(window, 0x800, 128)?)?;
//!     let interrupt = domain.owner(domain.unlimited())?.alloc(None, None)?;
//!     let name = Arc::new(CString::try_from(c"my_device")?, GFP_KERNEL)?;
//!
//!     let handler = Ok(handler);
//!     msi::request(interrupt, Flags::TRIGGER_NONE, name, None, handler).map_err(|(e, _)| e)
//! }
//! ```

use crate::{
    fmt,
    held::Holder,
    msi::{
        self,
        Affinity,
        IrqData,
        Message, //
    },
    num::Bounded,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop, //
};

mod memory;
mod mmio;
mod slots;

pub use self::{
    memory::{
        Commands,
        MemoryQueue, //
    },
    mmio::MmioArray,
    slots::{
        Allocator,
        Limits,
        Reservation, //
    },
};

/// A process address space id: 20 bits, as PCIe defines it.
pub type Pasid = Bounded<u32, 20>;

/// What the MSI descriptor of an interrupt keeps: the chip's control word in bits 31:0, the owner
/// in bits 63:48. Bit 32: the slot was pending when the device was suspended, and that is to be
/// delivered when it is unmasked.
#[derive(Clone, Copy)]
struct Cookie(u64);

impl Cookie {
    const PENDING: u64 = 1 << 32;
    const OWNER_SHIFT: u32 = 48;

    #[inline]
    fn new(owner: u16, control: u32) -> Self {
        Self(u64::from(owner) << Self::OWNER_SHIFT | u64::from(control))
    }

    #[inline]
    fn owner(self) -> u16 {
        (self.0 >> Self::OWNER_SHIFT) as u16
    }

    #[inline(always)]
    fn is_pending(self) -> bool {
        self.0 & Self::PENDING != 0
    }

    #[inline(always)]
    fn control(self) -> u32 {
        // CAST: It is the lower half.
        self.0 as u32
    }
}

/// What a slot says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The device does not send the message.
    pub masked: bool,
    /// The interrupt was raised while it was masked.
    pub pending: bool,
}

/// Where the slots of a device are.
///
/// # Safety
///
/// A store must stay valid until the device drops what it was handed before the store was made,
/// whatever its lifetime parameter says.
pub unsafe trait Store: Send + Sync {
    /// The device must be told of changes, which sleeps: see [`MemoryQueue`].
    const SLOW: bool = false;

    /// A view of the registers or the memory of one slot.
    type View<'x>: Copy
    where
        Self: 'x;

    /// Returns the number of slots, of which a domain takes 1 to 65536.
    fn slots(&self) -> u32;

    /// Returns a view of slot `index`, if there is one.
    fn slot(&self, index: usize) -> Option<Self::View<'_>>;

    /// As [`Self::slot`], but there is none while the device must not be accessed. Atomic.
    #[inline(always)]
    fn awake_slot(&self, index: usize) -> Option<Self::View<'_>> {
        self.slot(index)
    }

    /// Begins a batch of changes, if the store is slow. May sleep.
    fn lock(&self) {}

    /// Notes that slot `index` has changed. Atomic.
    #[inline(always)]
    fn changed(&self, _index: usize) {}

    /// Tells the device of the batch so far. This task has called [`Self::lock`]. May sleep.
    fn tell(&self) {}

    /// Ends the batch: tells the device, unless the store is suspended. May sleep.
    ///
    /// # Safety
    ///
    /// This task must have called [`Self::lock`], once for each call of this.
    unsafe fn sync_unlock(&self) {}

    /// Fails with what a change failed with that the device has not taken.
    fn check(&self) -> Result {
        Ok(())
    }

    /// Returns when the device is not accessed on behalf of the core any more, until
    /// [`Self::resume`]. This task has called [`Self::lock`]. Sleeps.
    fn suspend(&self);

    /// Has a device that was reset use the store again, none of whose slots is accessed now. This
    /// task has called [`Self::lock`]. May sleep.
    ///
    /// # Errors
    ///
    /// What the device fails with.
    fn enable(&self) -> Result {
        Ok(())
    }

    /// Ends [`Self::suspend`].
    fn resume(&self);
}

/// A view of a slot, as the store of the chip `C` has it.
pub type View<'x, C> = <<C as Chip>::Store<'static> as Store>::View<'x>;

/// How a device masks, unmasks and stores a message.
///
/// The methods run in atomic context: with a raw spinlock held and interrupts off. They must not
/// sleep, allocate, or take a lock that may sleep. While an interrupt has a slot its calls are
/// serialised, but for [`Chip::state`]; those of different slots are not. Writes may be posted.
/// In a slow store they take effect when the device is told.
pub trait Chip: Sized + Send + Sync + 'static {
    /// Name of the irq chip, in the style of `IDXD-IMS`.
    const NAME: &'static CStr;

    /// The kind of message store.
    type Store<'a>: Store + 'a;

    /// Returns the control word of a slot that is bound to `pasid`, as far as it does not change:
    /// it is kept for `mask` and `unmask`.
    fn control(pasid: Option<Pasid>) -> u32 {
        let _ = pasid;
        0
    }

    /// Masks `slot`, whose control word is `control`: the device latches an interrupt instead of
    /// sending its message.
    fn mask(slot: View<'_, Self>, control: u32);

    /// Unmasks `slot`, whose control word is `control`: a latched interrupt is sent once, and no
    /// longer latched.
    fn unmask(slot: View<'_, Self>, control: u32);

    /// Reads the state of `slot` from the device, after all earlier writes have reached it. There
    /// is none if the device does not respond.
    fn state(slot: View<'_, Self>) -> Option<State>;

    /// Stores `message` in `slot`, which is masked. The default message means none.
    fn write_message(slot: View<'_, Self>, message: Message);
}

/// The chip that the MSI core sees.
#[pin_data]
struct Inner<C: Chip> {
    store: C::Store<'static>,
    #[pin]
    slots: Allocator,
    stale: Atomic<u32>,
    /// How many slots stayed pending although they were drained.
    undrained: Atomic<u32>,
    /// Changed with all interrupts locked.
    suspended: Atomic<bool>,
}

impl<C: Chip> msi::Chip for Inner<C> {
    const NAME: &'static CStr = C::NAME;
    const SLOW: bool = <C::Store<'static> as Store>::SLOW;

    fn lock(&self) {
        self.store.lock();
    }

    unsafe fn sync_unlock(&self) {
        // SAFETY: Per the safety requirements.
        unsafe { self.store.sync_unlock() };
    }

    #[inline(always)]
    fn mask(&self, irq: &IrqData) {
        self.change(irq.hwirq(), |slot| {
            C::mask(slot, Cookie(irq.cookie()).control());
            if !Self::SLOW {
                // The read returns when the mask is in effect, and pushes what was sent before.
                C::state(slot);
            }
        });
    }

    #[inline(always)]
    fn unmask(&self, irq: &IrqData) {
        let cookie = Cookie(irq.cookie());

        self.change(irq.hwirq(), |slot| {
            C::unmask(slot, cookie.control());
            if cookie.is_pending() {
                deliver(irq, cookie);
            }
        });
    }

    #[inline(always)]
    fn pending(&self, irq: &IrqData) -> bool {
        self.state(irq.hwirq()).is_some_and(|state| state.pending)
    }

    #[inline(always)]
    fn write_message(&self, irq: &IrqData, message: Message) {
        self.change(irq.hwirq(), |slot| C::write_message(slot, message));
    }
}

impl<C: Chip> Inner<C> {
    /// Has `change` change slots, and tells the device of them at its end. May sleep.
    fn batch<R>(&self, change: impl FnOnce(&C::Store<'static>) -> R) -> R {
        self.store.lock();
        let result = change(&self.store);
        // SAFETY: Locked above.
        unsafe { self.store.sync_unlock() };
        result
    }

    #[inline(always)]
    fn change(&self, index: impl Into<usize>, change: impl FnOnce(View<'_, C>)) {
        let index = index.into();
        if let Some(slot) = self.store.awake_slot(index) {
            change(slot);
            self.store.changed(index);
        }
    }

    #[inline(always)]
    fn state(&self, index: impl Into<usize>) -> Option<State> {
        C::state(self.store.awake_slot(index.into())?)
    }
}

/// The irq domain of a device with a message store.
pub struct Domain<'a, C: Chip>(&'a msi::Domain<Inner<C>>);

impl<C: Chip> Copy for Domain<'_, C> {}
impl<C: Chip> Clone for Domain<'_, C> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, C: Chip> Domain<'a, C> {
    /// Has the device of `holder` hold a domain on `store`, with all slots masked and clean.
    /// Sleeps.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`] if the interrupts of the device are not remapped, or it must not use MSI.
    /// - [`EINVAL`] if the store has no slots, or more than 65536.
    /// - [`EIO`] if a slot does not respond or does not stay masked.
    /// - [`EBUSY`] if the device has such a domain already.
    /// - [`ENOMEM`] if there is not enough memory.
    pub fn new(holder: &Holder<'_, 'a>, store: C::Store<'a>) -> Result<Self> {
        if !holder.device().is_msi_allowed() {
            return Err(EOPNOTSUPP);
        }

        let slots = store.slots();
        // SAFETY: The domain owns the store and is younger than what the store borrows: `Store`
        // says that it is valid until the domain is gone.
        let store = unsafe { erase::<C>(store) };
        let inner = try_pin_init!(Inner::<C> {
            store,
            slots <- Allocator::new(slots),
            stale: Atomic::new(0),
            undrained: Atomic::new(0),
            suspended: Atomic::new(false),
        }? Error);

        // SAFETY: The store is all that the chip borrows, see above.
        let domain = Self(unsafe { msi::Domain::new(holder, slots, inner)? });
        domain.inner().batch(Self::clean)?;
        Ok(domain)
    }

    /// Makes all slots masked and clean, whatever the core has them to be. No callback accesses one
    /// meanwhile.
    fn clean(store: &C::Store<'static>) -> Result {
        // CAST: From 32 to 64 bits.
        let slots = 0..store.slots() as usize;

        for index in slots.clone() {
            if let Some(slot) = store.slot(index) {
                C::mask(slot, C::control(None));
                C::write_message(slot, Message::default());
                store.changed(index);
            }
        }
        store.tell();
        store.check()?;

        for index in slots {
            let state = store.slot(index).and_then(C::state);
            if !state.is_some_and(|state| state.masked) {
                return Err(EIO);
            }
        }
        Ok(())
    }

    /// Returns whether whoever gets slot `index`, which has no interrupt, gets nothing else: what
    /// was raised since its last owner masked it is delivered to nobody.
    ///
    /// # Errors
    ///
    /// What that fails with: nobody knows then.
    fn is_clean(self, index: u16, cookie: Cookie) -> Result<bool> {
        /// A second is waited for each.
        const MAX_UNDRAINED: u32 = 4;

        let inner = self.inner();
        let is_pending = || Ok::<_, Error>(inner.state(index).ok_or(EIO)?.pending);

        if inner.suspended.load(Relaxed) {
            return Err(EAGAIN);
        }
        if !is_pending()? {
            return Ok(true);
        }
        if inner.undrained.load(Relaxed) < MAX_UNDRAINED {
            match self.0.alloc(index, cookie.0, None)?.drain() {
                Ok(()) if !is_pending()? => return Ok(true),
                Ok(()) | Err(ETIMEDOUT) => (),
                Err(error) => return Err(error),
            }
            inner.undrained.fetch_add(1, Relaxed);
        }
        Ok(false)
    }

    /// Has nobody get `slot` any more, which is pending: its next owner would get that.
    fn retire(self, slot: Reservation<'_>) {
        if self.inner().stale.fetch_add(1, Relaxed) == 0 {
            dev_warn!(
                self.0.device(),
                "slot {} is pending but free: out of use; later ones are only counted\n",
                slot.index()
            );
        }
        slot.retire();
    }

    #[inline]
    fn inner(self) -> &'a Inner<C> {
        self.0.chip()
    }

    /// Returns the number of slots.
    #[inline]
    pub fn size(self) -> u32 {
        self.inner().store.slots()
    }

    /// Returns limits that leave the whole store to an owner, as far as others do.
    pub fn unlimited(self) -> Limits {
        Limits {
            guarantee: 0,
            ceiling: self.size(),
        }
    }

    /// Stops using the device, which is about to be reset or to lose power. Interrupts stay, and
    /// can still be requested, masked and freed; none is allocated. What is pending is kept.
    /// Sleeps.
    pub fn suspend(self) {
        let inner = self.inner();
        let mut irqs = self.0.lock_all();

        inner.suspended.store(true, Relaxed);
        inner.batch(|store| {
            store.suspend();
            for irq in irqs.iter() {
                let index = irq.hwirq.into();
                if let Some(slot) = store.slot(index) {
                    C::mask(slot, Cookie(irq.cookie).control());
                    store.changed(index);
                }
            }
            store.tell();
            for irq in irqs.iter() {
                let state = store.slot(irq.hwirq.into()).and_then(C::state);
                if state.is_some_and(|state| state.pending) {
                    irq.set_cookie(irq.cookie | Cookie::PENDING);
                }
            }
        });
    }

    /// Uses the device again after [`Self::suspend`]: all slots become what the core has them to
    /// be, and what was pending is delivered. To be called again when interrupts arrive, if they
    /// do not yet: a slow store is told of them then. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EIO`] if a slot does not respond or does not stay masked, or what the store fails with.
    /// The device is then still not used.
    pub fn resume(self) -> Result {
        let inner = self.inner();
        let mut irqs = self.0.lock_all();

        // Also tells the device of what the core has unmasked since without the lock.
        inner.batch(|store| -> Result {
            if !inner.suspended.load(Relaxed) {
                return Ok(());
            }
            store.enable()?;
            Self::clean(store)?;
            store.resume();
            inner.undrained.store(0, Relaxed);
            inner.suspended.store(false, Relaxed);
            for irq in irqs.iter() {
                let locked = irq.lock();

                inner.change(irq.hwirq, |slot| {
                    if C::state(slot).is_some_and(|state| state.pending) {
                        // The device has kept it.
                        irq.set_cookie(irq.cookie & !Cookie::PENDING);
                    }
                    if locked.is_activated() {
                        C::write_message(slot, locked.message());
                    }
                    if !locked.is_enabled() {
                        C::mask(slot, Cookie(irq.cookie).control());
                    }
                });
                if locked.is_enabled() {
                    msi::Chip::unmask(inner, locked.data());
                }
            }
            Ok(())
        })?;
        inner.store.check()
    }

    /// Returns how many slots are in use. May sleep.
    pub fn used(self) -> usize {
        let not_free = self.inner().slots.used();
        not_free.saturating_sub(self.stale() as usize)
    }

    /// Returns how many slots are out of use because they were pending when they were to be given
    /// out, and stayed so.
    pub fn stale(self) -> u32 {
        self.inner().stale.load(Relaxed)
    }

    /// Adds an owner of interrupts. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Owner::change_limits`], and [`ENOMEM`].
    pub fn owner(self, limits: Limits) -> Result<Owner<'a, C>> {
        Ok(Owner {
            domain: self,
            index: self.inner().slots.add_owner(limits)?,
        })
    }

    /// Writes a table of the slots in use, with a line of headings. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn show(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            " slot  virq      count            address     data state"
        )?;
        for irq in self.0.lock_all().iter() {
            let state = match self.inner().state(irq.hwirq) {
                None => "unknown",
                Some(state) => match (state.masked, state.pending) {
                    (true, false) => "masked",
                    (true, true) => "masked,pending",
                    (false, false) => "unmasked",
                    (false, true) => "unmasked,pending",
                },
            };
            let (hwirq, virq, count) = (irq.hwirq, irq.virq, irq.count);
            let Message { address, data } = irq.message;

            writeln!(
                f,
                "{hwirq:>5} {virq:>5} {count:>10} {address:#018x} {data:08x} {state}"
            )?;
        }
        Ok(())
    }
}

/// Who allocates interrupts in a domain, for example a subdevice.
pub struct Owner<'a, C: Chip> {
    domain: Domain<'a, C>,
    index: u16,
}

impl<C: Chip> Copy for Owner<'_, C> {}
impl<C: Chip> Clone for Owner<'_, C> {
    #[inline]
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, C: Chip> Owner<'a, C> {
    /// Allocates an interrupt: a slot, masked and without a message. It takes no vector before it
    /// is requested with [`msi::request`]. Sleeps.
    ///
    /// # Errors
    ///
    /// - [`EDQUOT`] if the owner has reached its ceiling.
    /// - [`ENOSPC`] if no slot is left, or none that is not guaranteed to another owner, or the
    ///   parent domain cannot allocate.
    /// - [`EOPNOTSUPP`] if `affinity` is managed and the store is slow.
    /// - [`EIO`] if the slot does not respond, [`EAGAIN`] while the domain is suspended.
    /// - What telling the device of an earlier change failed with.
    /// - [`ENOMEM`] if there is not enough memory.
    pub fn alloc(
        self,
        pasid: Option<Pasid>,
        affinity: Option<&Affinity>,
    ) -> Result<Interrupt<'a, C>> {
        let inner = self.domain.inner();

        inner.store.check()?;
        let cookie = self.cookie(pasid);
        loop {
            let slot = inner.slots.reserve(self.index)?;
            if self.domain.is_clean(slot.index(), cookie)? {
                return Interrupt::new(self.domain, slot, cookie, affinity.map(|masks| (masks, 0)));
            }
            self.domain.retire(slot);
        }
    }

    /// Allocates `count` interrupts in slots that follow each other, all or none. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of [`Self::alloc`], and [`EINVAL`] if `count` is zero. [`ENOSPC`] also if no block of
    /// that length is free, [`EIO`] if a slot of it stays pending, which is out of use from then.
    pub fn alloc_block(
        self,
        count: u32,
        pasid: Option<Pasid>,
        affinity: Option<&Affinity>,
    ) -> Result<KVVec<Interrupt<'a, C>>> {
        let inner = self.domain.inner();

        inner.store.check()?;
        let cookie = self.cookie(pasid);
        let slots = inner.slots.reserve_block(self.index, count)?;
        let mut interrupts = KVVec::with_capacity(slots.len(), GFP_KERNEL)?;
        for (index, slot) in slots.into_iter().enumerate() {
            if !self.domain.is_clean(slot.index(), cookie)? {
                self.domain.retire(slot);
                return Err(EIO);
            }
            let affinity = affinity.map(|masks| (masks, index));
            let interrupt = Interrupt::new(self.domain, slot, cookie, affinity)?;
            interrupts.push(interrupt, GFP_KERNEL)?;
        }
        Ok(interrupts)
    }

    fn cookie(self, pasid: Option<Pasid>) -> Cookie {
        Cookie::new(self.index, C::control(pasid))
    }

    /// Returns how many slots the owner holds. May sleep.
    pub fn used(self) -> usize {
        // It exists, as owners do not go.
        self.domain.inner().slots.used_by(self.index).unwrap_or(0)
    }

    /// Returns the owner's limits. May sleep.
    pub fn limits(self) -> Limits {
        // It exists, as owners do not go.
        let limits = self.domain.inner().slots.limits(self.index);
        limits.unwrap_or(self.domain.unlimited())
    }

    /// Has `change` change the owner's limits. What it holds it keeps. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the ceiling is zero or below the guarantee.
    /// - [`ERANGE`] if the ceiling is above the number of slots.
    /// - [`ENOSPC`] if too many slots are in use by others or guaranteed to them.
    pub fn change_limits(self, change: impl FnOnce(&mut Limits)) -> Result {
        self.domain.inner().slots.change_limits(self.index, change)
    }

    /// Writes the slots that the owner holds as a list of ranges, such as `0-3,7`. Sleeps.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    pub fn show(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut irqs = self.domain.0.lock_all();
        let ours = irqs
            .iter()
            .filter(|irq| Cookie(irq.cookie).owner() == self.index);
        let mut slots = ours.map(|irq| irq.hwirq).peekable();
        let mut separator = "";

        while let Some(first) = slots.next() {
            let mut last = first;
            while slots.next_if(|&slot| slot == last + 1).is_some() {
                last += 1;
            }

            write!(f, "{separator}{first}")?;
            if first < last {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

/// Delivers what was pending when the slot was suspended.
#[cold]
#[inline(never)]
fn deliver(irq: &IrqData, cookie: Cookie) {
    irq.set_cookie(cookie.0 & !Cookie::PENDING);
    irq.retrigger();
}

/// # Safety
///
/// The result must not be used when the store is not valid any more.
unsafe fn erase<C: Chip>(store: C::Store<'_>) -> C::Store<'static> {
    let store = ManuallyDrop::new(store);

    // SAFETY: The types differ in a lifetime only, and `store` is not used again.
    unsafe { core::mem::transmute_copy(&*store) }
}

/// An interrupt in a message store. Dropping it frees it, and sleeps.
///
/// # Invariants
///
/// `irq` is of the domain of an `Inner<C>`. Its number there is that of a slot that is reserved for
/// this object alone, and counted for the owner that its cookie names.
pub struct Interrupt<'a, C: Chip> {
    irq: ManuallyDrop<msi::Interrupt<'a>>,
    _domain: PhantomData<Domain<'a, C>>,
}

impl<'a, C: Chip> Interrupt<'a, C> {
    fn new(
        domain: Domain<'a, C>,
        slot: Reservation<'a>,
        cookie: Cookie,
        affinity: Option<(&Affinity, usize)>,
    ) -> Result<Self> {
        let irq = domain.0.alloc(slot.index(), cookie.0, affinity)?;

        // INVARIANT: `drop()` returns the slot.
        core::mem::forget(slot);
        Ok(Self {
            irq: ManuallyDrop::new(irq),
            _domain: PhantomData,
        })
    }

    #[inline]
    fn inner(&self) -> &'a Inner<C> {
        // SAFETY: Per the type invariant.
        unsafe { self.irq.chip() }
    }

    /// Returns the index of the slot.
    #[inline]
    pub fn index(&self) -> u16 {
        self.irq.hwirq()
    }

    /// Reads the state of the slot from the device, if it responds.
    #[inline]
    pub fn state(&self) -> Option<State> {
        let mut state = self.inner().state(self.index())?;

        state.pending |= Cookie(self.irq.cookie()).is_pending();
        Some(state)
    }
}

impl<C: Chip> Drop for Interrupt<'_, C> {
    fn drop(&mut self) {
        let owner = Cookie(self.irq.cookie()).owner();

        // SAFETY: The slot is reserved per the type invariant, and not used when the interrupt is
        // gone, which is dropped once.
        unsafe {
            let slot = Reservation::adopt(&self.inner().slots, self.index(), owner);
            ManuallyDrop::drop(&mut self.irq);
            drop(slot);
        }
    }
}

impl<'a, C: Chip> AsRef<msi::Interrupt<'a>> for Interrupt<'a, C> {
    #[inline]
    fn as_ref(&self) -> &msi::Interrupt<'a> {
        &self.irq
    }
}

// SAFETY: The interrupt is a field.
unsafe impl<'a, C: Chip> msi::Source<'a> for Interrupt<'a, C> {
    const SLOW: bool = <C::Store<'static> as Store>::SLOW;

    fn check(&self) -> Result {
        self.inner().store.check()
    }
}

#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_ims)]
mod tests {
    use super::*;
    use crate::{
        bindings,
        io::{
            io_read,
            io_write, //
        }, //
    };

    #[repr(C)]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Registers {
        address_lo: u32,
        address_hi: u32,
        data: u32,
        control: u32,
    }

    struct TestChip;

    impl Chip for TestChip {
        const NAME: &'static CStr = c"TEST-IMS";
        type Store<'a> = MmioArray<'a, Registers>;

        fn mask(slot: View<'_, Self>, _control: u32) {
            io_write!(slot, .control, 1);
        }

        fn unmask(slot: View<'_, Self>, _control: u32) {
            io_write!(slot, .control, 0);
        }

        fn state(slot: View<'_, Self>) -> Option<State> {
            let control = io_read!(slot, .control);
            Some(State {
                masked: control & 1 != 0,
                pending: control & 2 != 0,
            })
        }

        fn write_message(slot: View<'_, Self>, message: Message) {
            io_write!(slot, .address_lo, message.address as u32);
            io_write!(slot, .address_hi, (message.address >> 32) as u32);
            io_write!(slot, .data, message.data);
        }
    }

    #[test]
    fn store_touches_one_slot() -> Result {
        const EMPTY: Registers = Registers {
            address_lo: 0,
            address_hi: 0,
            data: 0,
            control: 0,
        };
        let mut table = [EMPTY; 5];
        let store = MmioArray::fake(&mut table);
        let slot = store.slot(3).ok_or(EINVAL)?;

        TestChip::mask(slot, 0);
        assert_eq!(
            TestChip::state(slot),
            Some(State {
                masked: true,
                pending: false
            })
        );
        TestChip::write_message(
            slot,
            Message {
                address: 0x1234_5678_fee0_0abc,
                data: 0x4021,
            },
        );

        // One past the end, and the last number there is.
        for index in [5, usize::MAX] {
            assert!(store.slot(index).is_none());
        }

        let expected = Registers {
            address_lo: 0xfee0_0abc,
            address_hi: 0x1234_5678,
            data: 0x4021,
            control: 1,
        };
        for (index, regs) in table.iter().enumerate() {
            assert_eq!(*regs, if index == 3 { expected } else { EMPTY });
        }
        Ok(())
    }

    #[test]
    fn cookie_keeps_all() {
        for control in [0, 1, 0x1234_5678, u32::MAX] {
            for owner in [0, 1, u16::MAX] {
                for pending in [0, Cookie::PENDING] {
                    let cookie = Cookie(Cookie::new(owner, control).0 | pending);
                    assert_eq!(cookie.control(), control);
                    assert_eq!(cookie.owner(), owner);
                    assert_eq!(cookie.is_pending(), pending != 0);
                }
            }
        }
    }

    #[test]
    fn message_words() {
        let mut msg: bindings::msi_msg = pin_init::zeroed();
        msg.__bindgen_anon_1.address_lo = 0xfee0_1004;
        msg.__bindgen_anon_2.address_hi = 0x89ab_cdef;
        msg.__bindgen_anon_3.data = 0xfeed_4022;
        assert_eq!(
            Message::from(&msg),
            Message {
                address: 0x89ab_cdef_fee0_1004,
                data: 0xfeed_4022
            }
        );
        let none: bindings::msi_msg = pin_init::zeroed();
        assert_eq!(Message::from(&none), Message::default());
    }
}
