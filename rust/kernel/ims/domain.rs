// SPDX-License-Identifier: GPL-2.0

//! The irq domain of a message store.

use super::{
    base::{
        check,
        set_desc,
        Base, //
    },
    Chip,
    Interrupt,
    Owner,
    Quota, //
};
use crate::{
    bindings,
    container_of,
    held::{
        Holder,
        Late, //
    },
    prelude::*,
    sync::atomic::Relaxed,
    types::Opaque, //
};
use pin_init::pin_init_from_closure;

/// The irq domain of a device with a message store, held by the device.
///
/// It owns the chip and the slots. An interrupt is a slot, a descriptor and the reservation of a
/// vector, which are allocated together.
#[pin_data(PinnedDrop)]
pub struct Domain<C: Chip> {
    // Dropped first: values in a chip may use `base`.
    pub(super) chip: C,
    #[pin]
    pub(super) base: Base,
}

// SAFETY: The chip is `Send`. The work is only passed to the workqueue core, from any task.
unsafe impl<C: Chip> Send for Domain<C> {}
// SAFETY: The chip is `Sync`. For the work see above.
unsafe impl<C: Chip> Sync for Domain<C> {}

impl<C: Chip> Domain<C> {
    /// Creates a domain with `size` slots for the device of `holder`. All of them are masked before
    /// `chip` makes them visible to the device. Sleeps.
    ///
    /// # Errors
    ///
    /// - [`EOPNOTSUPP`] if the interrupts of the device are not remapped, or it must not use MSI.
    /// - [`EINVAL`] if `size` is zero or more than 65535.
    /// - [`EBUSY`] if the device already has a domain for its message store.
    /// - [`EIO`] if a slot does not respond or does not stay masked.
    /// - [`ENOSPC`] if no vector or no remapping entry is left for the domain's own interrupt.
    /// - Those of [`Chip::enable`] and [`Chip::flush`], and [`ENOMEM`].
    pub fn new<'b>(holder: &Holder<'_, 'b>, size: u32, chip: C) -> Result<&'b Self>
    where
        C: 'b,
    {
        let (pdev, dev) = (holder.device(), holder.device().as_ref());
        check(pdev, size)?;

        let domain = try_pin_init!(Self {
            chip,
            // SAFETY: `init()` initialises the slot, or fails.
            base <- unsafe {
                pin_init_from_closure(|slot| Base::init(slot, dev, size, Self::run_flush))
            },
        }? Error);
        let domain = KBox::pin_init(domain, GFP_KERNEL)?;

        domain.enable_masked()?;
        // Owner 0 is that of `Domain::alloc()`.
        domain.owner(Quota { min: 0, max: size })?;
        let chip_data = core::ptr::from_ref(&*domain).cast_mut().cast();
        // SAFETY: The callbacks expect a pointer to a pinned `Self`. It is valid until `shutdown()`
        // removes the domain, at the latest in `drop()`.
        unsafe { domain.base.create(&Self::TEMPLATE, chip_data)? };
        domain.base.open(false);
        domain.base.open(true);

        // SAFETY: Objects with the lifetime `'b` are dropped after the late objects, or are late.
        // A device has one domain at most. After `shutdown()`, no method accesses the chip: the
        // core has no callback, the gates are closed, and allocations fail.
        unsafe { holder.late.add(domain) }
    }

    /// Returns the number of slots.
    pub fn size(&self) -> u32 {
        // CAST: `new()` has extended it from 32 bits.
        self.base.size as u32
    }

    /// Allocates an interrupt for the domain's own owner, whose maximum is all slots: see
    /// [`Owner::alloc`].
    ///
    /// # Errors
    ///
    /// Those of [`Owner::alloc`].
    pub fn alloc(&self) -> Result<Interrupt<'_, C>> {
        Interrupt::new(self, 0)
    }

    /// Adds an owner of interrupts, for example a subdevice.
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

    /// Reads from the device whether `slot` is masked. Returns `None` if there is no such slot, the
    /// device does not respond, or the domain is suspended.
    pub fn is_masked(&self, slot: usize) -> Option<bool> {
        self.read(slot, |chip| chip.is_masked(slot))
    }

    /// Reads from the device whether `slot` is pending. This includes an interrupt that was pending
    /// on suspend and is not delivered yet. Returns `None` as [`Self::is_masked`].
    pub fn is_pending(&self, slot: usize) -> Option<bool> {
        Some(self.read(slot, |chip| chip.is_pending(slot))? | self.base.is_kept(slot))
    }

    /// Returns the number of slots in use.
    pub fn used(&self) -> u32 {
        self.base.slots.used()
    }

    /// Returns the number of failed attempts to drain a slot.
    pub fn stuck(&self) -> u32 {
        self.base.stuck.load(Relaxed)
    }

    /// Calls `f` with slot, Linux interrupt number and number of deliveries of each allocated
    /// interrupt. Interrupts of the domain are not allocated or freed during the call. `f` must not
    /// mask, unmask, allocate or free interrupts. Sleeps.
    pub fn for_each(&self, mut f: impl FnMut(u16, u32, u32)) {
        self.base.for_each(&mut f);
    }

    pub(super) const TEMPLATE: bindings::msi_domain_template = {
        let mut template: bindings::msi_domain_template = pin_init::zeroed();

        template.chip = bindings::irq_chip {
            #[expect(clippy::disallowed_methods)] // as_char_ptr() is not const.
            name: C::NAME.as_ptr().cast(),
            irq_mask: Some(Self::irq_mask),
            irq_unmask: Some(Self::irq_unmask),
            // Disable lazy masking.
            irq_disable: Some(Self::irq_mask),
            irq_write_msi_msg: Some(Self::irq_write_msi_msg),
            flags: bindings::IRQCHIP_ONESHOT_SAFE as c_ulong,
            ..pin_init::zeroed()
        };
        if C::HAS_FLUSH {
            template.chip.irq_bus_sync_unlock = Some(Self::irq_bus_sync_unlock);
        }
        template.ops.set_desc = Some(set_desc);
        template.info.flags = bindings::MSI_FLAG_USE_DEF_DOM_OPS
            | bindings::MSI_FLAG_USE_DEF_CHIP_OPS
            | bindings::MSI_FLAG_FREE_MSI_DESCS
            | bindings::MSI_FLAG_DEV_SYSFS;
        template.info.bus_token = bindings::irq_domain_bus_token_DOMAIN_BUS_PCI_DEVICE_IMS;
        template
    };

    /// # Safety
    ///
    /// `data` must be the argument of a callback of this domain, and the result must only be used
    /// within the callback.
    #[inline(always)]
    unsafe fn callback<'a>(data: *mut bindings::irq_data) -> (&'a Self, usize) {
        // SAFETY: The core sets the chip data of each interrupt of the domain to the argument of
        // `create()`, a `Self` that is valid while the irq domain exists.
        unsafe { (&*(*data).chip_data.cast::<Self>(), (*data).hwirq) }
    }

    /// # Safety
    ///
    /// Must only be called by the irq core, for an interrupt of this domain.
    unsafe extern "C" fn irq_mask(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements.
        let (this, slot) = unsafe { Self::callback(data) };

        if let Some(chip) = this.awake(slot) {
            chip.mask(slot);
            if !C::HAS_FLUSH {
                // The read returns when the mask is in effect, and flushes messages sent before.
                chip.is_masked(slot);
            }
            this.changed();
        }
    }

    /// # Safety
    ///
    /// Must only be called by the irq core, for an interrupt of this domain.
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

    /// Delivers an interrupt that was pending on suspend, unless it is pending in the device, which
    /// sends it when the slot is unmasked.
    ///
    /// # Safety
    ///
    /// Must only be called by [`Self::irq_unmask`], with its argument.
    #[cold]
    #[inline(never)]
    unsafe fn redeliver(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements.
        let (this, slot) = unsafe { Self::callback(data) };

        if let Some(chip) = this.awake(slot) {
            if this.base.take_kept(slot) && chip.is_pending(slot) == Some(false) {
                // SAFETY: Per the safety requirements. An interrupt that is unmasked has a vector.
                unsafe { bindings::irq_chip_retrigger_hierarchy(data) };
            }
        }
    }

    /// # Safety
    ///
    /// Must only be called by the irq core, for an interrupt with this chip.
    unsafe extern "C" fn irq_bus_sync_unlock(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements. An interrupt with a descriptor has its chip data.
        // `ims_may_sleep()` may be called anywhere.
        unsafe {
            // A handler must not sleep: the work that `changed()` has queued flushes. While an
            // interrupt is being allocated, it has no descriptor, and the core holds global locks.
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
    /// Must only be called by the irq core, for an interrupt of this domain.
    unsafe extern "C" fn irq_write_msi_msg(
        data: *mut bindings::irq_data,
        msg: *mut bindings::msi_msg,
    ) {
        // SAFETY: Per the safety requirements.
        let (this, slot) = unsafe { Self::callback(data) };
        // SAFETY: The core passes a valid message, whose unions are of plain 32-bit words.
        let (address, data) = unsafe {
            let msg = &*msg;
            let hi = u64::from(msg.__bindgen_anon_2.address_hi);
            let lo = u64::from(msg.__bindgen_anon_1.address_lo);
            (hi << 32 | lo, msg.__bindgen_anon_3.data)
        };

        if slot < this.base.writable.load(Relaxed) {
            this.chip.write_message(slot, address, data);
            this.changed();
        } else if slot == this.base.size {
            this.base.sink.populate((address, data));
        }
    }

    /// # Safety
    ///
    /// Must only be called by the workqueue core, for the work of this domain.
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
