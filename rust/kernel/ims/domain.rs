// SPDX-License-Identifier: GPL-2.0

//! The irq domain of a message store.

use super::{
    Allocator,
    Chip,
    Interrupt,
    Message,
    Owner,
    Quota,
    State, //
};
use crate::{
    bindings::{
        self,
        init_work_with_key,
        msi_domain_alloc_irq_at, //
    },
    bitmap::BitmapVec,
    container_of,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    held::{
        Holder,
        Late, //
    },
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

/// The irq domain of a device with a message store, held by the device.
///
/// It owns the chip and the slots: allocating an interrupt takes a slot, a descriptor and the
/// reservation of a vector together, or nothing.
#[pin_data(PinnedDrop)]
pub struct Domain<C: Chip> {
    // Dropped first: a chip may still refer to the rest.
    pub(super) chip: C,
    #[pin]
    pub(super) base: Base,
}

// SAFETY: The chip is `Send`. The work is only handed to the core, which allows that anywhere.
unsafe impl<C: Chip> Send for Domain<C> {}
// SAFETY: The chip is `Sync`; for the work see above.
unsafe impl<C: Chip> Sync for Domain<C> {}

/// The parts of a domain that do not depend on its chip.
///
/// # Invariants
///
/// `dev` is bound as long as this object exists, and has MSI data if `exists` was ever set. While
/// that is set, the secondary MSI domain of the device exists, and its chip data is the domain of
/// this object. `work` is initialised.
#[pin_data]
pub(super) struct Base {
    pub(super) dev: ARef<Device>,
    pub(super) size: usize,
    exists: Atomic<bool>,
    #[pin]
    pub(super) slots: Allocator,
    /// The message of the sink: the interrupt with index `size`, which has no slot.
    pub(super) sink: SetOnce<Message>,
    /// The Linux interrupt number of the sink, once it has its handler.
    sink_virq: Atomic<u32>,

    // See power.rs.
    /// Slots below may be masked and unmasked: all or none.
    pub(super) awake: Atomic<usize>,
    /// Slots below may be given a message: all or none.
    pub(super) writable: Atomic<usize>,
    /// Slots that were pending when the domain was suspended, which is still to be delivered.
    pub(super) kept: BitmapVec,
    pub(super) any_kept: Atomic<bool>,
    /// The error of [`Chip::flush`], as an error number.
    pub(super) failed: Atomic<i32>,
    /// Held by tasks that access the device.
    #[pin]
    pub(super) access: Mutex<()>,
    /// Flushes changes that were made in atomic context.
    #[pin]
    pub(super) work: Opaque<bindings::work_struct>,
}

impl<C: Chip> Domain<C> {
    /// Makes the device of `holder` hold a domain with `size` slots. All of them are masked when
    /// `chip` makes them visible to the device. Sleeps.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`] if the interrupts of the device are not remapped, or it must not use MSI.
    /// - [`EINVAL`] if `size` is zero or more than 65535.
    /// - [`EBUSY`] if the device has such a domain already.
    /// - [`EIO`] if a slot does not respond or does not stay masked.
    /// - [`ENOSPC`] if no vector or no remapping entry is left for the domain's own interrupt.
    /// - Those of [`Chip::enable`] and [`Chip::flush`], and [`ENOMEM`].
    pub fn new<'b>(holder: &Holder<'_, 'b>, size: u32, chip: C) -> Result<&'b Self>
    where
        C: 'b,
    {
        let pdev = holder.device();
        check(pdev, size)?;

        let domain = try_pin_init!(Self {
            chip,
            base <- Base::new(pdev.as_ref(), size, Self::run_flush),
        }? Error);
        let domain = KBox::pin_init(domain, GFP_KERNEL)?;

        domain.cover()?;
        // Owner 0 is that of `Domain::alloc()`.
        domain.owner(Quota { min: 0, max: size })?;
        // SAFETY: The callbacks expect a pointer to a pinned `Self`. It is valid until `shutdown()`
        // removes the domain, which `drop()` calls.
        unsafe {
            let chip_data = core::ptr::from_ref(&*domain).cast_mut().cast();
            domain.base.create(&mut Self::template(), chip_data)?;
        }
        domain.base.open(false);
        domain.base.open(true);

        // SAFETY: A device has one domain at most. After `shutdown()`, no method accesses the chip:
        // the core has no callback any more, the gates are closed, and nothing is allocated.
        unsafe { holder.hold_late(domain) }
    }

    /// Returns the number of slots.
    pub fn size(&self) -> u32 {
        // CAST: `new()` has it from 32 bits.
        self.base.size as u32
    }

    /// Allocates an interrupt for an owner of its own, which may have all slots: see
    /// [`Owner::alloc`].
    ///
    /// # Errors
    ///
    /// Those of [`Owner::alloc`].
    pub fn alloc(&self) -> Result<Interrupt<'_, C>> {
        Interrupt::new(self, 0)
    }

    /// Adds an owner of interrupts, for example for a subdevice.
    ///
    /// # Errors
    ///
    /// Those of [`Owner::change_quota`], and [`ENOMEM`].
    pub fn owner(&self, quota: Quota) -> Result<Owner<'_, C>> {
        let index = self.base.slots.add_owner(quota)?;
        Ok(Owner {
            domain: self,
            index,
        })
    }

    /// Reads the state of `slot` from the device. `None` if there is no such slot, the device does
    /// not respond, or the domain is suspended.
    pub fn state(&self, slot: usize) -> Option<State> {
        let mut state = self.read(slot)?;

        state.pending |= self.base.is_kept(slot);
        Some(state)
    }

    /// Returns how many slots are in use.
    pub fn used(&self) -> u32 {
        self.base.slots.used()
    }

    /// Returns how many slots are out of use because they stay pending.
    pub fn retired(&self) -> u32 {
        self.base.slots.retired()
    }

    /// Calls `f` with slot, Linux interrupt number and number of deliveries of each allocated
    /// interrupt. None is allocated or freed meanwhile. `f` must not mask, unmask, allocate
    /// or free interrupts. Sleeps.
    pub fn for_each(&self, mut f: impl FnMut(u16, u32, u32)) {
        self.base.for_each(&mut f);
    }

    pub(super) fn template() -> bindings::msi_domain_template {
        let mut template: bindings::msi_domain_template = pin_init::zeroed();

        template.chip = bindings::irq_chip {
            name: C::NAME.as_char_ptr(),
            irq_mask: Some(Self::irq_mask),
            irq_unmask: Some(Self::irq_unmask),
            // Disable lazy masking.
            irq_disable: Some(Self::irq_mask),
            irq_enable: Some(Self::irq_unmask),
            irq_bus_sync_unlock: C::HAS_FLUSH.then_some(Self::irq_bus_sync_unlock),
            irq_write_msi_msg: Some(Self::irq_write_msi_msg),
            irq_get_irqchip_state: Some(Self::irq_get_irqchip_state),
            flags: bindings::IRQCHIP_ONESHOT_SAFE as c_ulong,
            ..pin_init::zeroed()
        };
        template.ops.set_desc = Some(set_desc);
        template.info.flags = bindings::MSI_FLAG_USE_DEF_DOM_OPS
            | bindings::MSI_FLAG_USE_DEF_CHIP_OPS
            | bindings::MSI_FLAG_FREE_MSI_DESCS
            | bindings::MSI_FLAG_DEV_SYSFS
            | bindings::MSI_FLAG_MUST_REACTIVATE;
        template.info.bus_token = bindings::irq_domain_bus_token_DOMAIN_BUS_PCI_DEVICE_IMS;
        template
    }

    /// # Safety
    ///
    /// `data` must be the argument of a callback of this domain, and the result be used only
    /// within the callback.
    #[inline(always)]
    unsafe fn callback<'a>(data: *mut bindings::irq_data) -> (&'a Self, usize) {
        // SAFETY: The core sets the chip data of each interrupt of the domain to what `create()`
        // was given, a `Self` that is valid while the core has the domain.
        unsafe { (&*(*data).chip_data.cast::<Self>(), (*data).hwirq) }
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt of this domain.
    unsafe extern "C" fn irq_mask(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements.
        let (this, slot) = unsafe { Self::callback(data) };

        if let Some(chip) = this.awake(slot) {
            chip.mask(slot);
            if !C::HAS_FLUSH {
                // The read returns when the mask is in effect, and pushes what was sent before.
                chip.state(slot);
            }
            this.changed();
        }
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt of this domain.
    unsafe extern "C" fn irq_unmask(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements.
        let (this, slot) = unsafe { Self::callback(data) };

        if this.base.any_kept.load(Relaxed) {
            // SAFETY: Per the safety requirements.
            unsafe { Self::redeliver(data) };
        }
        if let Some(chip) = this.awake(slot) {
            chip.unmask(slot);
            this.changed();
        }
    }

    /// Delivers what was pending when the domain was suspended, unless the device has it pending
    /// and sends it when the slot is unmasked.
    ///
    /// # Safety
    ///
    /// Only for [`Self::irq_unmask`], with its argument.
    #[cold]
    #[inline(never)]
    unsafe fn redeliver(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements.
        let (this, slot) = unsafe { Self::callback(data) };

        if let Some(chip) = this.awake(slot) {
            if this.base.take_kept(slot) && chip.state(slot).is_some_and(|state| !state.pending) {
                // SAFETY: Per the safety requirements. An interrupt that is unmasked has a vector.
                unsafe { bindings::irq_chip_retrigger_hierarchy(data) };
            }
        }
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt that has this chip.
    unsafe extern "C" fn irq_bus_sync_unlock(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements. An interrupt with a descriptor has its chip data.
        // `ims_may_sleep()` may be called anywhere.
        unsafe {
            // A handler may not sleep: the work that `changed()` has queued flushes. An interrupt
            // that is being allocated has no descriptor yet, and the core holds global locks.
            if !(*(*data).common).msi_desc.is_null()
                && !(*data).chip_data.is_null()
                && bindings::ims_may_sleep()
            {
                Self::callback(data).0.flush();
            }
        }
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt of this domain.
    unsafe extern "C" fn irq_write_msi_msg(
        data: *mut bindings::irq_data,
        msg: *mut bindings::msi_msg,
    ) {
        // SAFETY: Per the safety requirements; the core passes a valid message.
        let ((this, slot), message) = unsafe { (Self::callback(data), Message::from(&*msg)) };

        if slot < this.base.writable.load(Relaxed) {
            this.chip.write_message(slot, message);
            this.changed();
        } else if slot == this.base.size {
            this.base.sink.populate(message);
        }
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt of this domain.
    unsafe extern "C" fn irq_get_irqchip_state(
        data: *mut bindings::irq_data,
        which: bindings::irqchip_irq_state,
        state: *mut bool,
    ) -> c_int {
        if which != bindings::irqchip_irq_state_IRQCHIP_STATE_PENDING {
            // SAFETY: Per the safety requirements.
            return unsafe { bindings::irq_chip_get_parent_state(data, which, state) };
        }

        // SAFETY: Per the safety requirements; the core passes a valid `state`.
        unsafe {
            let (this, slot) = Self::callback(data);
            *state = this.state(slot).is_some_and(|state| state.pending);
        }
        0
    }

    /// # Safety
    ///
    /// Only for the core to call, for the work of this domain.
    unsafe extern "C" fn run_flush(work: *mut bindings::work_struct) {
        // SAFETY: Per the safety requirements. `shutdown()` waits for the work.
        let this: &Self = unsafe {
            let base = container_of!(Opaque::cast_from(work), Base, work);
            &*container_of!(base, Self, base)
        };
        this.flush();
    }
}

impl<C: Chip> Late for Domain<C> {
    fn shutdown(&self) {
        self.base.remove();
    }
}

#[pinned_drop]
impl<C: Chip> PinnedDrop for Domain<C> {
    fn drop(self: Pin<&mut Self>) {
        self.shutdown();
    }
}

// The functions below are compiled once, into the kernel.

#[inline(never)]
fn check(pdev: &pci::Device<Bound>, size: u32) -> Result {
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
    // SAFETY: `dev` is a valid device, which has MSI data then.
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
/// Only for the core to call.
unsafe extern "C" fn set_desc(arg: *mut bindings::msi_alloc_info_t, desc: *mut bindings::msi_desc) {
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
/// Only for the core to call.
unsafe extern "C" fn drop_interrupt(_virq: c_int, _cookie: *mut c_void) -> bindings::irqreturn_t {
    bindings::irqreturn_t(bindings::irqreturn::IRQ_HANDLED.0)
}

impl Base {
    pub(super) fn new(
        dev: &Device<Bound>,
        count: u32,
        flush: unsafe extern "C" fn(*mut bindings::work_struct),
    ) -> impl PinInit<Self, Error> + '_ {
        // SAFETY: `init()` initialises the slot, or fails and leaves nothing in it.
        unsafe { pin_init::pin_init_from_closure(move |slot| Self::init(slot, dev, count, flush)) }
    }

    /// # Safety
    ///
    /// `slot` must be valid for writes, and pinned.
    #[inline(never)]
    unsafe fn init(
        slot: *mut Self,
        dev: &Device<Bound>,
        count: u32,
        flush: unsafe extern "C" fn(*mut bindings::work_struct),
    ) -> Result {
        // INVARIANT: The device has dropped the object when it is unbound.
        let base = try_pin_init!(Self {
            dev: dev.into(),
            // CAST: From 32 to 64 bits, here and below.
            size: count as usize,
            exists: Atomic::new(false),
            slots <- Allocator::new(count),
            sink: SetOnce::new(),
            sink_virq: Atomic::new(0),
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

    /// Creates the domain, and the interrupt that is its sink.
    ///
    /// # Safety
    ///
    /// The callbacks of `template` must be safe to call with `chip_data` until [`Self::remove`].
    unsafe fn create(
        &self,
        template: &mut bindings::msi_domain_template,
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

        let virq = self.alloc(sink)?;
        // SAFETY: The interrupt was just allocated. `remove()` unregisters the handler, before the
        // name can go away, which is static.
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

    /// Allocates the interrupt with index `index`, and returns its number.
    pub(super) fn alloc(&self, index: c_uint) -> Result<u32> {
        let (dev, none, mut cookie) = (self.dev.as_raw(), null(), pin_init::zeroed());

        // SAFETY: The device has MSI data, and the callers checked that the domain exists.
        let map = unsafe { msi_domain_alloc_irq_at(dev, DOMAIN_ID, index, none, &mut cookie) };
        // CAST: It is positive.
        to_result(map.index).map(|()| map.virq as u32)
    }

    #[inline(never)]
    fn for_each(&self, f: &mut dyn FnMut(u16, u32, u32)) {
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
            while let Some(&bindings::msi_desc {
                msi_index: slot,
                irq: virq,
                ..
            }) = desc.as_ref()
            {
                if usize::from(slot) < self.size {
                    f(slot, virq, bindings::kstat_irqs_usr(virq));
                }
                desc = bindings::msi_next_desc(dev, DOMAIN_ID, ALL);
            }
            bindings::__msi_unlock_descs(dev);
        }
    }

    /// Removes the domain, and frees what is left in it.
    fn remove(&self) {
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
