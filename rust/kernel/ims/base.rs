// SPDX-License-Identifier: GPL-2.0

//! The parts of a domain that do not depend on its chip, which are compiled once, into the kernel.

use super::Allocator;
use crate::{
    bindings::{
        self,
        init_work_with_key,
        msi_domain_alloc_irq_at, //
    },
    bitmap::BitmapVec,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    new_mutex,
    pci,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex,
        SetOnce, //
    },
    types::Opaque, //
};
use core::ptr::null;

/// Domain id of message stores: MSI or MSI-X owns the default one.
pub(super) const DOMAIN_ID: c_uint = bindings::msi_domain_ids_MSI_SECONDARY_DOMAIN;

/// The parts of a domain that do not depend on its chip.
///
/// # Invariants
///
/// `dev` is bound while this object exists, and has MSI data if `exists` was ever set. While
/// `exists` is set, the secondary MSI domain of the device exists, and its chip data is the domain
/// of this object. `work` is initialised.
#[pin_data]
pub(super) struct Base {
    pub(super) dev: ARef<Device>,
    pub(super) size: usize,
    exists: Atomic<bool>,
    #[pin]
    pub(super) slots: Allocator,
    /// Address and data of the sink's message. The sink is the interrupt with index `size`, which
    /// has no slot.
    pub(super) sink: SetOnce<(u64, u32)>,
    /// The Linux interrupt number of the sink, or 0 before its handler is requested.
    sink_virq: Atomic<u32>,
    /// Number of failed attempts to drain a slot.
    pub(super) stuck: Atomic<u32>,

    // See power.rs.
    /// Number of slots that may be masked and unmasked: all or none.
    pub(super) awake: Atomic<usize>,
    /// Number of slots whose message may be written: all or none.
    pub(super) writable: Atomic<usize>,
    /// Slots with an interrupt that was pending on suspend and is not delivered yet.
    pub(super) kept: BitmapVec,
    pub(super) any_kept: Atomic<bool>,
    /// The error of [`Chip::flush`](super::Chip::flush), as an error number.
    pub(super) failed: Atomic<i32>,
    /// Held by tasks that access the device.
    #[pin]
    pub(super) access: Mutex<()>,
    /// Flushes changes made in atomic context.
    #[pin]
    pub(super) work: Opaque<bindings::work_struct>,
}

pub(super) fn check(pdev: &pci::Device<Bound>, size: u32) -> Result {
    let dev: &Device<Bound> = pdev.as_ref();
    let token = bindings::irq_domain_bus_token_DOMAIN_BUS_PCI_DEVICE_IMS;

    // SAFETY: `dev` is a valid device.
    if !pdev.is_msi_allowed() || !unsafe { bindings::msi_device_has_message_store(dev.as_raw()) } {
        return Err(EOPNOTSUPP);
    }
    // The sink has an index of its own.
    if size == 0 || size > u32::from(u16::MAX) {
        return Err(EINVAL);
    }
    // SAFETY: `dev` is a valid device. It has MSI data for the second call.
    unsafe {
        to_result(bindings::msi_setup_device_data(dev.as_raw()))?;
        if bindings::msi_match_device_irq_domain(dev.as_raw(), DOMAIN_ID, token) {
            return Err(EBUSY);
        }
    }
    Ok(())
}

/// # Safety
///
/// Must only be called by the MSI core.
pub(super) unsafe extern "C" fn set_desc(
    arg: *mut bindings::msi_alloc_info_t,
    desc: *mut bindings::msi_desc,
) {
    // SAFETY: The core passes valid pointers. The default callback sets no `hwirq`.
    unsafe {
        (*arg).desc = desc;
        (*arg).hwirq = (*desc).msi_index.into();
    }
}

/// The handler of the sink.
///
/// # Safety
///
/// Must only be called by the irq core.
unsafe extern "C" fn drop_interrupt(_virq: c_int, _cookie: *mut c_void) -> bindings::irqreturn_t {
    bindings::irqreturn_t(bindings::irqreturn::IRQ_HANDLED.0)
}

impl Base {
    /// # Safety
    ///
    /// `slot` must be valid for writes, and pinned.
    pub(super) unsafe fn init(
        slot: *mut Self,
        dev: &Device<Bound>,
        count: u32,
        flush: unsafe extern "C" fn(*mut bindings::work_struct),
    ) -> Result {
        // INVARIANT: The device drops the object before it is unbound.
        let base = try_pin_init!(Self {
            dev: dev.into(),
            // CAST: From 32 to 64 bits, here and below.
            size: count as usize,
            exists: Atomic::new(false),
            slots <- Allocator::new(count),
            sink: SetOnce::new(),
            sink_virq: Atomic::new(0),
            stuck: Atomic::new(0),
            awake: Atomic::new(0),
            writable: Atomic::new(0),
            kept: BitmapVec::new(count as usize, GFP_KERNEL)?,
            any_kept: Atomic::new(false),
            failed: Atomic::new(0),
            access <- new_mutex!(()),
            work <- Opaque::ffi_init(move |work| {
                let (name, key) = (c"ims_flush".as_char_ptr(), static_lock_class!());
                // SAFETY: `work` may be written.
                unsafe { init_work_with_key(work, Some(flush), false, name, key.as_ptr()) };
            }),
        }? Error);
        // SAFETY: Per the safety requirements.
        unsafe { pin_init::raw_try_init(slot, base) }
    }

    /// Creates the domain, and the interrupt of its sink.
    ///
    /// # Safety
    ///
    /// The callbacks of `template` must be safe to call with `chip_data` until [`Self::remove`].
    pub(super) unsafe fn create(
        &self,
        template: &bindings::msi_domain_template,
        chip_data: *mut c_void,
    ) -> Result {
        let (dev, sink) = (self.dev.as_raw(), self.size as c_uint);
        let (none, size) = (core::ptr::null_mut(), sink + 1);

        // SAFETY: `dev` is a valid device with MSI data. The core copies `template`; the rest per
        // the safety requirements.
        if !unsafe {
            bindings::msi_create_device_irq_domain(dev, DOMAIN_ID, template, size, none, chip_data)
        } {
            return Err(ENOMEM);
        }
        // INVARIANT: Just created.
        self.exists.store(true, Relaxed);

        let virq = self.alloc_at(sink)?;
        // SAFETY: The interrupt was just allocated. `remove()` unregisters the handler. The name is
        // static.
        to_result(unsafe {
            let (name, cookie) = (template.chip.name, core::ptr::from_ref(self).cast_mut());
            bindings::request_irq(virq, Some(drop_interrupt), 0, name, cookie.cast())
        })?;
        self.sink_virq.store(virq, Relaxed);
        Ok(())
    }

    pub(super) fn exists(&self) -> bool {
        self.exists.load(Relaxed)
    }

    /// Allocates an interrupt for `owner`, and returns its slot and Linux interrupt number.
    /// `is_clean` is [`Domain::is_clean`](super::Domain).
    pub(super) fn alloc(
        &self,
        owner: u16,
        is_clean: &dyn Fn(usize, &mut bool) -> Result<bool>,
    ) -> Result<(u16, u32)> {
        self.check()?;
        let free = |slot| self.slots.free(owner, slot);
        let (mut more, mut may_drain) = (None, true);
        let slot = loop {
            let slot = self.slots.take(owner)?;
            match is_clean(slot.into(), &mut may_drain) {
                Ok(true) => break slot,
                result => {
                    free(slot);
                    result?;
                    // Try all free slots, and one more: the next call drains another one.
                    let left = more.unwrap_or_else(|| self.size - self.slots.used() as usize);
                    more = Some(left.checked_sub(1).ok_or(ENOSPC)?);
                }
            }
        };
        let virq = self.alloc_at(slot.into()).inspect_err(|_| free(slot))?;
        Ok((slot, virq))
    }

    /// Allocates the interrupt with index `index`, and returns its Linux interrupt number.
    fn alloc_at(&self, index: c_uint) -> Result<u32> {
        let (dev, none, mut cookie) = (self.dev.as_raw(), null(), pin_init::zeroed());

        // SAFETY: The device has MSI data. The call fails if there is no domain.
        let map = unsafe { msi_domain_alloc_irq_at(dev, DOMAIN_ID, index, none, &mut cookie) };
        // CAST: It is positive.
        to_result(map.index).map(|()| map.virq as u32)
    }

    pub(super) fn for_each(&self, f: &mut dyn FnMut(u16, u32, u32)) {
        const ALL: c_uint = bindings::msi_desc_filter_MSI_DESC_ASSOCIATED;
        let dev = self.dev.as_raw();
        if !self.exists() {
            return;
        }

        // SAFETY: The device has MSI data. While the descriptors are locked, those that the core
        // returns are valid.
        unsafe {
            bindings::__msi_lock_descs(dev);
            let mut desc = bindings::msi_domain_first_desc(dev, DOMAIN_ID, ALL);
            while !desc.is_null() {
                let (slot, virq) = ((*desc).msi_index, (*desc).irq);
                if usize::from(slot) < self.size {
                    f(slot, virq, bindings::kstat_irqs_usr(virq));
                }
                desc = bindings::msi_next_desc(dev, DOMAIN_ID, ALL);
            }
            bindings::__msi_unlock_descs(dev);
        }
    }

    /// Removes the domain, and frees its remaining interrupts.
    pub(super) fn remove(&self) {
        if !self.exists.xchg(false, Relaxed) {
            return;
        }

        let (dev, cookie) = (self.dev.as_raw(), core::ptr::from_ref(self).cast_mut());
        let sink = self.sink_virq.load(Relaxed);
        // SAFETY: The domain exists per the type invariant, and the work is initialised. The
        // handlers of drivers are unregistered.
        unsafe {
            if sink != 0 {
                bindings::free_irq(sink, cookie.cast());
            }
            bindings::msi_domain_free_irqs_all(dev, DOMAIN_ID);
            bindings::msi_remove_device_irq_domain(dev, DOMAIN_ID);
            self.close();
            bindings::cancel_work_sync(self.work.get());
        }
    }
}
