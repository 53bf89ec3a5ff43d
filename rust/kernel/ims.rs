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
//! VECTOR <- interrupt remapping <- Domain<Chip> <- Interrupt <- handler
//!                                    |
//!                                  Store <- BAR
//! ```
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
//!         Slot,
//!         State,
//!         Window, //
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
//!     prelude::*, //
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
//!     fn mask(store: &Self::Store<'_>, slot: Slot) {
//!         let Some(regs) = store.slot(slot.index) else { return };
//!         io_write!(regs, .control, 1);
//!     }
//!
//!     fn unmask(store: &Self::Store<'_>, slot: Slot) {
//!         let Some(regs) = store.slot(slot.index) else { return };
//!         io_write!(regs, .control, 0);
//!     }
//!
//!     fn state(store: &Self::Store<'_>, slot: Slot) -> Option<State> {
//!         let control = io_read!(store.slot(slot.index)?, .control);
//!         (control != u32::MAX).then_some(State {
//!             masked: control & 1 != 0,
//!             pending: control & 2 != 0,
//!         })
//!     }
//!
//!     fn write_message(store: &Self::Store<'_>, slot: Slot, message: Message) {
//!         let Some(regs) = store.slot(slot.index) else { return };
//!         io_write!(regs, .address_lo, message.address as u32);
//!         io_write!(regs, .address_hi, (message.address >> 32) as u32);
//!         io_write!(regs, .data, message.data);
//!     }
//! }
//!
//! fn first_interrupt<'b, H: Handler + 'static>(
//!     holder: &Holder<'_, 'b>,
//!     handler: H,
//! ) -> Result<msi::Requested<'b, ims::Interrupt<'b, MyChip>, H>> {
//!     let window = Window::<0x1000>::new(holder, 0, c"my_device")?;
//!     let domain = ims::Domain::new(holder, MmioArray::new(window, 0x800, 128)?)?;
//!     let interrupt = domain.alloc(None)?;
//!
//!     msi::request(interrupt, Flags::TRIGGER_NONE, c"my_device", Ok(handler)).map_err(|(e, _)| e)
//! }
//! ```

use crate::{
    bindings,
    device::Bound,
    fmt,
    held::Holder,
    msi::{
        self,
        IrqData,
        Message, //
    },
    num::Bounded,
    pci,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

mod mmio;
mod slots;

pub use self::{
    mmio::{
        MmioArray,
        Window, //
    },
    slots::{
        Allocator,
        Reservation, //
    },
};

/// A process address space id: 20 bits, as PCIe defines it.
pub type Pasid = Bounded<u32, 20>;

/// What a [`Chip`] needs to know of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Index in the store.
    pub index: u16,
    /// The PASID that the slot is bound to, if the device is to check one.
    pub pasid: Option<Pasid>,
}

impl Slot {
    /// A slot without a PASID.
    #[inline]
    pub const fn new(index: u16) -> Self {
        Self { index, pasid: None }
    }

    const COOKIE_HAS_PASID: u64 = 1 << 32;

    #[inline]
    fn cookie(self) -> u64 {
        self.pasid
            .map_or(0, |pasid| Self::COOKIE_HAS_PASID | u64::from(pasid.get()))
    }

    #[inline(always)]
    fn from_parts(index: u16, cookie: u64) -> Self {
        let pasid = if cookie & Self::COOKIE_HAS_PASID != 0 {
            // CAST: The PASID is in the lower half.
            Pasid::try_new(cookie as u32)
        } else {
            None
        };
        Self { index, pasid }
    }

    #[inline(always)]
    fn of(irq: &IrqData) -> Self {
        Self::from_parts(irq.hwirq(), irq.cookie())
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
    /// Returns the number of slots: 1 to 65536.
    fn slots(&self) -> u32;
}

/// How a device masks, unmasks and stores a message.
///
/// The methods run in atomic context: with a raw spinlock held and interrupts off. They must not
/// sleep, allocate, or take a lock that may sleep. While an interrupt has a slot its calls are
/// serialised, but for [`Chip::state`]; those of different slots are not. Writes may be posted.
pub trait Chip: Send + Sync + 'static {
    /// Name of the irq chip, in the style of `IDXD-IMS`.
    const NAME: &'static CStr;

    /// The kind of message store.
    type Store<'a>: Store;

    /// Masks `slot`: the device latches an interrupt instead of sending its message.
    fn mask(store: &Self::Store<'_>, slot: Slot);

    /// Unmasks `slot`: a latched interrupt is sent once, and no longer latched.
    fn unmask(store: &Self::Store<'_>, slot: Slot);

    /// Reads the state of `slot` from the device, after all earlier writes have reached it. There
    /// is none if the device does not respond.
    fn state(store: &Self::Store<'_>, slot: Slot) -> Option<State>;

    /// Stores `message` in `slot`, which is masked. The default message means none.
    fn write_message(store: &Self::Store<'_>, slot: Slot, message: Message);
}

/// The chip that the MSI core sees.
#[pin_data]
struct Inner<C: Chip> {
    store: C::Store<'static>,
    #[pin]
    slots: Allocator,
    stale: Atomic<u32>,
}

impl<C: Chip> msi::Chip for Inner<C> {
    const NAME: &'static CStr = C::NAME;

    #[inline(always)]
    fn mask(&self, irq: &IrqData) {
        let slot = Slot::of(irq);

        C::mask(&self.store, slot);
        // The read returns when the mask is in effect, and pushes messages sent before ahead.
        C::state(&self.store, slot);
    }

    #[inline(always)]
    fn unmask(&self, irq: &IrqData) {
        C::unmask(&self.store, Slot::of(irq));
    }

    #[inline(always)]
    fn pending(&self, irq: &IrqData) -> bool {
        C::state(&self.store, Slot::of(irq)).is_some_and(|state| state.pending)
    }

    #[inline(always)]
    fn write_message(&self, irq: &IrqData, message: Message) {
        C::write_message(&self.store, Slot::of(irq), message);
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
    /// - [`EIO`] if a slot does not respond or does not stay masked.
    /// - [`EBUSY`] if the device has such a domain already.
    /// - [`ENOMEM`] if there is not enough memory.
    pub fn new(holder: &Holder<'_, 'a>, store: C::Store<'a>) -> Result<Self> {
        if !msi_allowed(holder.device()) {
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
        }? Error);

        // SAFETY: The store is all that the chip borrows, see above.
        let domain = Self(unsafe { msi::Domain::new_with_lt(holder, slots, inner)? });
        domain.clean()?;
        Ok(domain)
    }

    /// Makes all slots masked and clean. None is in use.
    fn clean(self) -> Result {
        let inner = self.inner();

        for index in 0..self.size() {
            // CAST: There are at most 65536 slots.
            let slot = Slot::new(index as u16);
            C::mask(&inner.store, slot);
            C::write_message(&inner.store, slot, Message::default());

            let state = C::state(&inner.store, slot).ok_or(EIO)?;
            if !state.masked {
                return Err(EIO);
            }
            if state.pending {
                self.retire(slot);
                inner.slots.retire(slot.index)?;
            }
        }
        Ok(())
    }

    /// Counts `slot`, which is pending and free: its next owner would get that.
    fn retire(self, slot: Slot) {
        if self.inner().stale.fetch_add(1, Relaxed) == 0 {
            dev_warn!(
                self.0.device(),
                "slot {} is pending but free: out of use; later ones are only counted\n",
                slot.index
            );
        }
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

    /// Returns how many slots are in use. May sleep.
    pub fn used(self) -> usize {
        self.inner().slots.used()
    }

    /// Returns how many slots are out of use because they were pending when they were freed.
    pub fn stale(self) -> u32 {
        self.inner().stale.load(Relaxed)
    }

    /// Allocates an interrupt: a slot, masked and without a message. It takes no vector before it
    /// is requested with [`msi::request`]. Sleeps.
    ///
    /// # Errors
    ///
    /// - [`ENOSPC`] if no slot is left, or the parent domain cannot allocate.
    /// - [`ENOMEM`] if there is not enough memory for a descriptor.
    pub fn alloc(self, pasid: Option<Pasid>) -> Result<Interrupt<'a, C>> {
        let reservation = self.inner().slots.reserve()?;
        let slot = Slot {
            index: reservation.index(),
            pasid,
        };
        let irq = self.0.alloc(slot.index, slot.cookie())?;

        Ok(Interrupt {
            irq,
            claim: Claim {
                domain: self,
                slot,
                reservation: Some(reservation),
            },
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
        self.0.for_each(|irq| {
            let state = C::state(&self.inner().store, Slot::new(irq.hwirq));

            writeln!(
                f,
                "{:>5} {:>5} {:>10} {:#018x} {:08x} {}{}",
                irq.hwirq,
                irq.virq,
                irq.count,
                irq.message.address,
                irq.message.data,
                match state {
                    None => "unknown",
                    Some(State { masked: true, .. }) => "masked",
                    Some(State { masked: false, .. }) => "unmasked",
                },
                match state {
                    Some(State { pending: true, .. }) => ",pending",
                    _ => "",
                },
            )
        })
    }
}

/// # Safety
///
/// The result must not be used when the store is not valid any more.
unsafe fn erase<C: Chip>(store: C::Store<'_>) -> C::Store<'static> {
    let store = core::mem::ManuallyDrop::new(store);

    // SAFETY: The types differ in a lifetime only, and `store` is not used again.
    unsafe { core::mem::transmute_copy(&*store) }
}

/// Returns the offset of the designated vendor-specific extended capability (DVSEC) `id` of
/// `vendor` in the configuration space of `pdev`.
#[inline(never)]
pub fn find_dvsec(pdev: &pci::Device<Bound>, vendor: u16, id: u16) -> Option<u16> {
    let dev = pdev.as_ref().as_raw();

    // SAFETY: It is a valid PCI device.
    match unsafe { bindings::ims_find_dvsec(dev, vendor, id) } {
        0 => None,
        offset => Some(offset),
    }
}

#[inline(never)]
fn msi_allowed(pdev: &pci::Device<Bound>) -> bool {
    // SAFETY: It is a valid PCI device.
    unsafe { bindings::ims_msi_allowed(pdev.as_ref().as_raw()) }
}

/// A slot of a domain, to be returned when its interrupt is gone.
struct Claim<'a, C: Chip> {
    domain: Domain<'a, C>,
    slot: Slot,
    reservation: Option<Reservation<'a>>,
}

impl<C: Chip> Drop for Claim<'_, C> {
    fn drop(&mut self) {
        let state = C::state(&self.domain.inner().store, self.slot);

        // The device raised it although nobody waits for it.
        if state.is_some_and(|state| state.pending) {
            self.domain.retire(self.slot);
            core::mem::forget(self.reservation.take());
        }
    }
}

/// An interrupt in a message store. Dropping it frees it, and sleeps.
pub struct Interrupt<'a, C: Chip> {
    // The order is the order of release.
    irq: msi::Interrupt<'a>,
    claim: Claim<'a, C>,
}

impl<C: Chip> Interrupt<'_, C> {
    /// Returns the slot.
    #[inline]
    pub fn slot(&self) -> Slot {
        self.claim.slot
    }

    /// Reads the state of the slot from the device, if it responds.
    #[inline]
    pub fn state(&self) -> Option<State> {
        C::state(&self.claim.domain.inner().store, self.slot())
    }
}

impl<'a, C: Chip> AsRef<msi::Interrupt<'a>> for Interrupt<'a, C> {
    #[inline]
    fn as_ref(&self) -> &msi::Interrupt<'a> {
        &self.irq
    }
}

// SAFETY: The interrupt is a field.
unsafe impl<'a, C: Chip> msi::Source<'a> for Interrupt<'a, C> {}

#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_ims)]
mod tests {
    use super::*;
    use crate::io::{
        io_read,
        io_write, //
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

        fn mask(store: &Self::Store<'_>, slot: Slot) {
            if let Some(regs) = store.slot(slot.index) {
                io_write!(regs, .control, 1);
            }
        }

        fn unmask(store: &Self::Store<'_>, slot: Slot) {
            if let Some(regs) = store.slot(slot.index) {
                io_write!(regs, .control, 0);
            }
        }

        fn state(store: &Self::Store<'_>, slot: Slot) -> Option<State> {
            let control = io_read!(store.slot(slot.index)?, .control);
            Some(State {
                masked: control & 1 != 0,
                pending: control & 2 != 0,
            })
        }

        fn write_message(store: &Self::Store<'_>, slot: Slot, message: Message) {
            if let Some(regs) = store.slot(slot.index) {
                io_write!(regs, .address_lo, message.address as u32);
                io_write!(regs, .address_hi, (message.address >> 32) as u32);
                io_write!(regs, .data, message.data);
            }
        }
    }

    #[test]
    fn store_touches_one_slot() {
        const EMPTY: Registers = Registers {
            address_lo: 0,
            address_hi: 0,
            data: 0,
            control: 0,
        };
        let mut table = [EMPTY; 5];
        let store = MmioArray::fake(&mut table);
        let slot = Slot::new(3);

        TestChip::mask(&store, slot);
        assert_eq!(
            TestChip::state(&store, slot),
            Some(State {
                masked: true,
                pending: false
            })
        );
        TestChip::write_message(
            &store,
            slot,
            Message {
                address: 0x1234_5678_fee0_0abc,
                data: 0x4021,
            },
        );

        // One past the end, and the last number there is.
        for index in [5, u16::MAX] {
            TestChip::mask(&store, Slot::new(index));
            TestChip::write_message(&store, Slot::new(index), Message::default());
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
    }

    #[test]
    fn cookie_keeps_the_pasid() {
        for pasid in [0, 1, 0x12345, 0xfffff] {
            let slot = Slot {
                index: 7,
                pasid: Pasid::try_new(pasid),
            };
            assert!(slot.pasid.is_some());
            assert_eq!(Slot::from_parts(7, slot.cookie()), slot);
        }
        assert_eq!(Slot::from_parts(9, Slot::new(9).cookie()), Slot::new(9));
        assert_eq!(Pasid::try_new(0x10_0000u32), None);
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
