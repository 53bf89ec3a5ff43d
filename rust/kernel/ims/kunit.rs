// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of the domain and of chips, on memory instead of a device.

#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_ims)]
mod tests {
    use super::super::{
        base::Base,
        *, //
    };
    use crate::{
        bindings,
        cpu::CpuId,
        device::{
            Bound,
            Device, //
        },
        faux,
        io::{
            io_read,
            io_write, //
        },
        prelude::*,
        sync::atomic::{
            Atomic,
            Relaxed, //
        },
        time::{
            Delta,
            Instant,
            Monotonic, //
        }, //
    };

    /// A domain that is not registered with the irq core.
    fn domain<C: Chip>(
        device: &faux::Registration,
        size: u32,
        chip: C,
    ) -> Result<Pin<KBox<Domain<C>>>> {
        let device: &faux::Device<Bound> = device.as_ref();
        let device: &Device<Bound> = device.as_ref();
        let domain = try_pin_init!(Domain {
            chip,
            // SAFETY: `init()` initialises the slot, or fails.
            base <- unsafe {
                pin_init::pin_init_from_closure(|slot| Base::init(slot, device, size, none))
            },
        }? Error);
        let domain = KBox::pin_init(domain, GFP_KERNEL)?;

        domain.enable_masked()?;
        domain.base.open(false);
        domain.base.open(true);
        Ok(domain)
    }

    /// # Safety
    ///
    /// May be called with any argument.
    unsafe extern "C" fn none(_work: *mut bindings::work_struct) {}

    /// The core's view of an interrupt.
    struct Irq {
        desc: bindings::msi_desc,
        common: bindings::irq_common_data,
        data: bindings::irq_data,
    }

    impl Irq {
        /// Calls `callback` for `slot` as the core does.
        fn call<C: Chip>(
            domain: &Domain<C>,
            slot: usize,
            callback: impl FnOnce(&bindings::irq_chip, *mut bindings::irq_data),
        ) {
            let mut irq: Self = Self {
                desc: pin_init::zeroed(),
                common: pin_init::zeroed(),
                data: pin_init::zeroed(),
            };
            irq.common.msi_desc = &mut irq.desc;
            irq.data.common = &mut irq.common;
            irq.data.hwirq = slot;
            irq.data.chip_data = core::ptr::from_ref(domain).cast_mut().cast();
            callback(&Domain::<C>::TEMPLATE.chip, &mut irq.data);
        }

        fn mask<C: Chip>(domain: &Domain<C>, slot: usize) {
            Self::call(domain, slot, |chip, data| {
                if let Some(mask) = chip.irq_mask {
                    // SAFETY: `data` is as the core would pass it.
                    unsafe { mask(data) };
                }
            });
        }

        fn unmask<C: Chip>(domain: &Domain<C>, slot: usize) {
            Self::call(domain, slot, |chip, data| {
                if let Some(unmask) = chip.irq_unmask {
                    // SAFETY: `data` is as the core would pass it.
                    unsafe { unmask(data) };
                }
            });
        }

        fn write_message<C: Chip>(domain: &Domain<C>, slot: usize, address: u64, data: u32) {
            Self::call(domain, slot, |chip, irq_data| {
                let mut msg: bindings::msi_msg = pin_init::zeroed();
                msg.__bindgen_anon_1.address_lo = address as u32;
                msg.__bindgen_anon_2.address_hi = (address >> 32) as u32;
                msg.__bindgen_anon_3.data = data;
                if let Some(write) = chip.irq_write_msi_msg {
                    // SAFETY: `irq_data` and `msg` are as the core would pass them.
                    unsafe { write(irq_data, &mut msg) };
                }
            });
        }
    }

    #[repr(C)]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    struct Slot {
        address_lo: u32,
        address_hi: u32,
        data: u32,
        control: u32,
    }

    const EMPTY: Slot = Slot {
        address_lo: 0,
        address_hi: 0,
        data: 0,
        control: 0,
    };

    /// A chip with a mask bit in each slot.
    struct SlotChip<'a>(MmioArray<'a, Slot>);

    impl SlotChip<'_> {
        fn has(&self, slot: usize, bit: u32) -> Option<bool> {
            Some(io_read!(self.0.get(slot)?, .control) & bit != 0)
        }
    }

    #[vtable]
    impl Chip for SlotChip<'_> {
        const NAME: &'static CStr = c"TEST-IMS";

        fn mask(&self, slot: usize) {
            if let Some(slot) = self.0.get(slot) {
                io_write!(slot, .control, 1);
            }
        }

        fn unmask(&self, slot: usize) {
            if let Some(slot) = self.0.get(slot) {
                io_write!(slot, .control, 0);
            }
        }

        fn is_masked(&self, slot: usize) -> Option<bool> {
            self.has(slot, 1)
        }

        fn is_pending(&self, slot: usize) -> Option<bool> {
            self.has(slot, 2)
        }

        fn write_message(&self, slot: usize, address: u64, data: u32) {
            if let Some(slot) = self.0.get(slot) {
                io_write!(slot, .address_lo, address as u32);
                io_write!(slot, .address_hi, (address >> 32) as u32);
                io_write!(slot, .data, data);
            }
        }
    }

    #[test]
    fn callbacks_change_their_slot_only() -> Result {
        let device = faux::Registration::new(c"ims-kunit", None)?;
        let mut table = [EMPTY; 5];
        let domain = domain(&device, 5, SlotChip(MmioArray::fake(&mut table)))?;

        Irq::write_message(&domain, 3, 0x89ab_cdef_fee0_0abc, 0xfeed_4022);
        Irq::unmask(&domain, 3);
        Irq::unmask(&domain, 2);
        Irq::mask(&domain, 2);
        // There are no such slots.
        Irq::unmask(&domain, 5);
        Irq::unmask(&domain, usize::MAX);
        drop(domain);

        for (index, slot) in table.iter().enumerate() {
            let mut expected = Slot {
                control: 1,
                ..EMPTY
            };
            if index == 3 {
                expected.address_lo = 0xfee0_0abc;
                expected.address_hi = 0x89ab_cdef;
                expected.data = 0xfeed_4022;
                expected.control = 0;
            }
            assert_eq!(*slot, expected);
        }
        Ok(())
    }

    #[test]
    fn a_suspended_domain_leaves_the_device_alone() -> Result {
        let device = faux::Registration::new(c"ims-kunit", None)?;
        let mut table = [EMPTY; 2];
        let array = MmioArray::fake(&mut table);
        let domain = domain(&device, 2, SlotChip(array))?;
        let slot = array.get(1).ok_or(EINVAL)?;

        Irq::write_message(&domain, 1, 0xfee0_0abc, 0);
        Irq::unmask(&domain, 1);
        domain.suspend();
        assert_eq!((domain.is_masked(1), domain.is_pending(1)), (None, None));
        io_write!(slot, .control, 0x55);
        Irq::mask(&domain, 1);
        Irq::unmask(&domain, 1);
        Irq::write_message(&domain, 1, 0xfee0_0def, 0);
        assert_eq!(io_read!(slot, .control), 0x55);
        assert_eq!(io_read!(slot, .address_lo), 0xfee0_0abc);

        // As `resume()` of a registered domain.
        domain.enable_masked()?;
        domain.base.open(false);
        domain.base.open(true);
        // The core has no interrupts, and so restores no messages and masks.
        assert_eq!(io_read!(slot, .control), 1);
        Irq::unmask(&domain, 1);
        assert_eq!(io_read!(slot, .control), 0);
        Ok(())
    }

    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Pair {
        set: u32,
        clear: u32,
    }

    #[repr(C)]
    struct Target {
        address: u32,
        data: u32,
    }

    /// A chip with its mask bits in registers that slots share, apart from the messages: writing a
    /// bit to `set` masks its slot, writing it to `clear` unmasks the slot. Writes need no lock, as
    /// they change the written bits only.
    struct SharedChip<'a> {
        targets: MmioArray<'a, Target>,
        masks: MmioArray<'a, Pair>,
        pending: MmioArray<'a, u32>,
    }

    #[vtable]
    impl Chip for SharedChip<'_> {
        const NAME: &'static CStr = c"SHARED-IMS";

        fn mask(&self, slot: usize) {
            if let Some(masks) = self.masks.get(slot / 32) {
                io_write!(masks, .set, 1 << (slot % 32));
            }
        }

        fn unmask(&self, slot: usize) {
            if let Some(masks) = self.masks.get(slot / 32) {
                io_write!(masks, .clear, 1 << (slot % 32));
            }
        }

        fn is_masked(&self, slot: usize) -> Option<bool> {
            // Reading either register of a pair returns the masked slots.
            let masked = io_read!(self.masks.get(slot / 32)?, .set);
            Some(masked & 1 << (slot % 32) != 0)
        }

        fn is_pending(&self, slot: usize) -> Option<bool> {
            let pending = crate::io::Io::read_val(self.pending.get(slot / 32)?);
            Some(pending & 1 << (slot % 32) != 0)
        }

        fn write_message(&self, slot: usize, address: u64, data: u32) {
            if let Some(target) = self.targets.get(slot) {
                io_write!(target, .address, address as u32);
                io_write!(target, .data, data);
            }
        }
    }

    #[test]
    fn mask_bits_in_shared_registers() -> Result {
        const NONE: Pair = Pair { set: 0, clear: 0 };
        let device = faux::Registration::new(c"ims-kunit", None)?;
        let mut targets = [const {
            Target {
                address: 0,
                data: 0,
            }
        }; 34];
        let (mut masks, mut pending) = ([NONE, NONE], [0u32; 2]);
        let masks = MmioArray::fake(&mut masks);
        let chip = SharedChip {
            targets: MmioArray::fake(&mut targets),
            masks,
            pending: MmioArray::fake(&mut pending),
        };
        let (low, high) = (masks.get(0).ok_or(EINVAL)?, masks.get(1).ok_or(EINVAL)?);
        // Memory keeps only the last write, a device would set all bits.
        io_write!(low, .set, u32::MAX);
        io_write!(high, .set, u32::MAX);
        let cover = domain(&device, 34, chip);
        assert_eq!(cover.err(), Some(EIO));
        assert_eq!(io_read!(low, .set), 1 << 31);
        assert_eq!(io_read!(high, .set), 1 << 1);

        let chip = SharedChip {
            targets: MmioArray::fake(&mut targets),
            masks,
            pending: MmioArray::fake(&mut pending),
        };
        chip.write_message(33, 0xfee0_0abc, 5);
        chip.unmask(33);
        assert_eq!(io_read!(high, .clear), 1 << 1);
        assert_eq!(io_read!(low, .clear), 0);
        chip.mask(32);
        assert_eq!(io_read!(high, .set), 1);
        assert_eq!(chip.is_masked(32), Some(true));
        assert_eq!(chip.is_masked(33), Some(false));
        assert_eq!((targets[33].address, targets[33].data), (0xfee0_0abc, 5));
        Ok(())
    }

    /// A chip that takes long to mask a slot, once.
    struct SlowMask {
        is_asked: Atomic<bool>,
        is_masking: Atomic<bool>,
        is_masked: Atomic<bool>,
    }

    #[vtable]
    impl Chip for SlowMask {
        const NAME: &'static CStr = c"TEST-IMS";

        fn mask(&self, _slot: usize) {
            let start = Instant::<Monotonic>::now();

            if self.is_asked.load(Relaxed) {
                self.is_masking.store(true, Relaxed);
                while start.elapsed() < Delta::from_millis(100) {}
                self.is_masked.store(true, Relaxed);
            }
        }

        fn unmask(&self, _slot: usize) {}

        fn is_masked(&self, _slot: usize) -> Option<bool> {
            Some(true)
        }

        fn is_pending(&self, _slot: usize) -> Option<bool> {
            Some(false)
        }

        fn write_message(&self, _slot: usize, _address: u64, _data: u32) {}
    }

    #[test]
    fn suspend_waits_for_callbacks() -> Result {
        /// # Safety
        ///
        /// `info` must be a domain. Called with interrupts off, as the core calls chips.
        unsafe extern "C" fn mask(info: *mut c_void) {
            // SAFETY: Per the safety requirements.
            Irq::mask(unsafe { &*info.cast::<Domain<SlowMask>>() }, 0);
        }

        let device = faux::Registration::new(c"ims-kunit", None)?;
        let chip = SlowMask {
            is_asked: Atomic::new(false),
            is_masking: Atomic::new(false),
            is_masked: Atomic::new(false),
        };
        let domain = domain(&device, 1, chip)?;
        let chip = &domain.chip;
        let other = i32::from(CpuId::current().as_u32() == 0);
        let info = core::ptr::from_ref(&*domain).cast_mut().cast();

        chip.is_asked.store(true, Relaxed);
        // SAFETY: The function may be called from any interrupt. The test waits for its end below,
        // before the domain is dropped.
        let called = unsafe { bindings::smp_call_function_single(other, Some(mask), info, false) };
        // With one CPU there is no concurrent callback.
        if called == 0 {
            // The chip is called behind the gate.
            while !chip.is_masking.load(Relaxed) {}
            domain.suspend();
            let waited = chip.is_masked.load(Relaxed);
            while !chip.is_masked.load(Relaxed) {}
            assert!(waited);
        }
        Ok(())
    }
}
