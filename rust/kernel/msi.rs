// SPDX-License-Identifier: GPL-2.0

//! Per-device MSI domains.
//!
//! A device that stores its interrupt messages elsewhere than in MSI or MSI-X registers gets an irq
//! domain of its own, stacked on the domain which its interrupts go through:
//!
//! ```text
//! VECTOR <- interrupt remapping <- Domain<T>
//! ```
//!
//! The MSI core supplies descriptors, sysfs, affinity and activation. A driver supplies a [`Chip`]:
//! where a message is stored, and how it is masked.
//!
//! # Lifetimes
//!
//! A [`Domain`] is held by its device and goes away when the device is unbound, after the driver's
//! data. Everything allocated from it borrows it. What safe code leaks is freed with the domain, so
//! that no callback ever runs on freed data.
//!
//! C headers: [`include/linux/msi.h`](srctree/include/linux/msi.h),
//! [`include/linux/irqdomain.h`](srctree/include/linux/irqdomain.h)

use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    held::Holder,
    io::poll::read_poll_timeout,
    irq::{
        self,
        Flags,
        IrqRequest,
        IrqReturn, //
    },
    pci,
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        msecs_to_jiffies,
        Delta, //
    },
    types::Opaque, //
};

use core::{
    marker::PhantomData,
    num::NonZero,
    ptr::NonNull, //
};

mod affinity;
mod contain;
mod pass;

pub use self::affinity::Affinity;

use self::{
    contain::{
        Line,
        Mask, //
    },
    pass::{
        Pass,
        Passes, //
    },
};

/// The domain id that all domains of this module use: MSI or MSI-X owns the default one.
const DOMAIN_ID: c_uint = bindings::msi_domain_ids_MSI_SECONDARY_DOMAIN;

/// Those of all domains.
static PASSES: Passes = Passes {
    begun: Atomic::new(0),
    ended: Atomic::new(0),
};

/// What the device writes where to raise an interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Bus address of the write.
    pub address: u64,
    /// Value of the 4-byte write.
    pub data: u32,
}

impl From<&bindings::msi_msg> for Message {
    #[inline]
    fn from(msg: &bindings::msi_msg) -> Self {
        // SAFETY: All members of these unions are 32-bit words without invalid bit patterns.
        unsafe {
            let lo = msg.__bindgen_anon_1.address_lo;
            let hi = msg.__bindgen_anon_2.address_hi;
            Self {
                address: u64::from(hi) << 32 | u64::from(lo),
                data: msg.__bindgen_anon_3.data,
            }
        }
    }
}

/// The interrupt that a [`Chip`] callback is about.
///
/// # Invariants
///
/// The wrapped `struct irq_data` belongs to a [`Domain`] and has an MSI descriptor.
#[repr(transparent)]
pub struct IrqData(Opaque<bindings::irq_data>);

impl IrqData {
    /// # Safety
    ///
    /// `ptr` must be the `struct irq_data` of an interrupt in a [`Domain`], valid for `'a`.
    #[inline]
    unsafe fn from_raw<'a>(ptr: *mut bindings::irq_data) -> &'a Self {
        // INVARIANT: Interrupts of a domain get their descriptor before their first callback.
        // SAFETY: `Self` is a transparent wrapper; validity per the safety requirements.
        unsafe { &*ptr.cast() }
    }

    /// Returns the number of the interrupt in its domain.
    #[inline]
    pub fn hwirq(&self) -> usize {
        // SAFETY: Valid per the type invariant; `hwirq` does not change while callbacks run.
        unsafe { (*self.0.get()).hwirq }
    }

    #[inline]
    fn desc(&self) -> *mut bindings::msi_desc {
        // SAFETY: Valid per the type invariant.
        unsafe { (*(*self.0.get()).common).msi_desc }
    }

    /// Returns the cookie that was given to [`Domain::alloc`].
    #[inline]
    pub fn cookie(&self) -> u64 {
        // SAFETY: There is a descriptor per the type invariant.
        unsafe { cookie(self.desc()) }
    }

    /// Changes the cookie. Callbacks of one interrupt do not do so at the same time.
    pub(crate) fn set_cookie(&self, cookie: u64) {
        // SAFETY: There is a descriptor per the type invariant.
        unsafe { set_cookie(self.desc(), cookie) };
    }

    /// Has the interrupt delivered as if the device had sent its message. It has a vector: only for
    /// unmasking it.
    #[inline(never)]
    pub(crate) fn retrigger(&self) {
        // SAFETY: Valid per the type invariant, and locked in callbacks. It is an edge: should it
        // not get there, there is nothing else to try.
        unsafe { bindings::irq_chip_retrigger_hierarchy(self.0.get()) };
    }
}

/// # Safety
///
/// `desc` must be valid, and of an interrupt of a [`Domain`].
#[inline(always)]
unsafe fn cookie(desc: *mut bindings::msi_desc) -> u64 {
    // SAFETY: Valid per the safety requirements. Such descriptors are made by `Interrupt::new()`,
    // which sets the instance cookie as an integer. It may change meanwhile, as a whole.
    unsafe { core::ptr::addr_of!((*desc).__bindgen_anon_1.data.icookie.value).read_volatile() }
}

/// # Safety
///
/// As for [`cookie`].
unsafe fn set_cookie(desc: *mut bindings::msi_desc, cookie: u64) {
    // SAFETY: Valid per the safety requirements, see `cookie()`.
    unsafe {
        core::ptr::addr_of_mut!((*desc).__bindgen_anon_1.data.icookie.value).write_volatile(cookie)
    };
}

/// An irq chip whose messages can be masked.
///
/// All methods run in atomic context: with the descriptor's raw spinlock held and interrupts off,
/// on `PREEMPT_RT` too. They must not sleep, allocate, or take a lock that may sleep.
pub trait Chip: Send + Sync {
    /// Name of the chip. The core makes it `<parent's prefix><NAME>-<device>`.
    const NAME: &'static CStr;

    /// Telling the device of a change takes sleeping. What `mask`, `unmask` and `write_message` do
    /// takes effect in [`Chip::sync_unlock`], at the end of the batch that [`Chip::lock`] began.
    ///
    /// Such an interrupt cannot be managed: nobody could sleep where a CPU goes offline.
    const SLOW: bool = false;

    /// Begins a batch of changes. Not atomic: may sleep.
    fn lock(&self) {}

    /// Ends the batch: what was masked in it does not arrive any more. Not atomic: may sleep.
    ///
    /// # Safety
    ///
    /// This task must have called [`Self::lock`], once for each call of this.
    unsafe fn sync_unlock(&self) {}

    /// Stops the device from sending the message, and returns when none is on its way any more.
    fn mask(&self, irq: &IrqData);

    /// Lets the device send the message, once at once if it is pending.
    fn unmask(&self, irq: &IrqData);

    /// Returns whether the device raised the interrupt while it was masked.
    fn pending(&self, irq: &IrqData) -> bool;

    /// Stores `message`. The interrupt is masked.
    fn write_message(&self, irq: &IrqData, message: Message);
}

/// The irq domain of one device.
///
/// # Invariants
///
/// The secondary MSI domain of the device was created with the callbacks of `T` and the address of
/// this object, and exists as long as the object does.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub struct Domain<T: Chip> {
    base: Base,
    #[pin]
    chip: T,
}

#[pinned_drop]
impl<T: Chip> PinnedDrop for Domain<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The domain exists per the type invariant. All that borrowed it is gone or leaked.
        // The core runs no callback of a domain that was removed.
        unsafe { remove(&self.base.dev) };
    }
}

/// What a domain has whatever its chip.
///
/// # Invariants
///
/// `dev` is bound as long as this object exists.
struct Base {
    dev: ARef<Device>,
}

impl Base {
    #[inline]
    fn device(&self) -> &Device<Bound> {
        // SAFETY: Per the type invariant.
        unsafe { self.dev.as_bound() }
    }
}

impl<T: Chip> Domain<T> {
    /// Has the device of `holder` hold a domain of its own, with `size` interrupts.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `size` is zero or more than 65536.
    /// - [`EOPNOTSUPP`] if the device has no MSI parent domain, or one that does not grant message
    ///   stores: that takes interrupt remapping.
    /// - [`EBUSY`] if the device has such a domain already.
    /// - [`ENOMEM`] if there is not enough memory.
    ///
    /// # Safety
    ///
    /// What `chip` borrows must stay valid until the device drops what it was handed before now.
    pub unsafe fn new<'b, E>(
        holder: &Holder<'_, 'b>,
        size: u32,
        chip: impl PinInit<T, E>,
    ) -> Result<&'b Self>
    where
        T: 'b,
        Error: From<E>,
    {
        let dev: &Device<Bound> = holder.device().as_ref();
        // INVARIANT: The device drops the object while it is bound, see below.
        let domain = try_pin_init!(&this in Self {
            base: Base { dev: dev.into() },
            chip <- chip,
            // SAFETY: The callbacks expect a pointer to a `Self`, which is pinned, and whose
            // `drop()` removes the domain.
            _: { unsafe { create(dev, &mut Self::template(), size, this.as_ptr().cast())? } },
        }? Error);

        // SAFETY: What `chip` borrows stays valid per the safety requirements.
        Ok(unsafe { holder.hold(KBox::pin_init::<Error>(domain, GFP_KERNEL)?)? })
    }

    /// Returns the chip.
    #[inline]
    pub fn chip(&self) -> &T {
        &self.chip
    }

    /// Returns the device whose domain this is.
    #[inline]
    pub(crate) fn device(&self) -> &Device<Bound> {
        self.base.device()
    }

    /// Allocates interrupt `hwirq`. Sleeps.
    ///
    /// It takes no vector: that is for the request. `cookie` is at the chip's disposal, see
    /// [`IrqData::cookie`]. Of `affinity` it gets the mask of the number that comes with it.
    ///
    /// # Errors
    ///
    /// - [`ERANGE`] if `hwirq` is beyond the size of the domain.
    /// - [`EBUSY`] if it is allocated.
    /// - [`ENOSPC`] if the parent domain has none left.
    /// - [`EOPNOTSUPP`] if `affinity` asks for a managed interrupt of a chip that is slow.
    /// - [`ENOMEM`] if there is not enough memory.
    #[inline]
    pub fn alloc(
        &self,
        hwirq: u16,
        cookie: u64,
        affinity: Option<(&Affinity, usize)>,
    ) -> Result<Interrupt<'_>> {
        if T::SLOW && affinity.is_some_and(|(affinity, _)| affinity.is_managed()) {
            return Err(EOPNOTSUPP);
        }
        // SAFETY: `self` begins with the base, and exists for the lifetime of the result.
        unsafe { Interrupt::new(NonNull::from(self).cast(), hwirq, cookie, affinity) }
    }

    /// Locks the interrupts of the domain: none is allocated or freed meanwhile. Sleeps.
    pub(crate) fn lock_all(&self) -> Descriptors<'_> {
        Descriptors::lock(self.device())
    }

    fn template() -> bindings::msi_domain_template {
        let mut template: bindings::msi_domain_template = pin_init::zeroed();

        template.chip = bindings::irq_chip {
            name: T::NAME.as_char_ptr(),
            // The flow handler masks what comes too fast. A slow chip does not take part in that.
            irq_mask: Some(if T::SLOW { nothing } else { Self::irq_mask }),
            irq_unmask: Some(if T::SLOW { nothing } else { Self::irq_unmask }),
            // Without these two, disable_irq() masks only at the next interrupt.
            irq_disable: Some(Self::irq_mask),
            irq_enable: Some(Self::irq_unmask),
            irq_bus_lock: T::SLOW.then_some(Self::irq_bus_lock),
            irq_bus_sync_unlock: T::SLOW.then_some(Self::irq_bus_sync_unlock),
            irq_write_msi_msg: Some(Self::irq_write_msi_msg),
            irq_get_irqchip_state: Some(Self::irq_get_irqchip_state),
            // `irq_set_affinity` stays empty: the core fills it.
            flags: bindings::IRQCHIP_ONESHOT_SAFE as c_ulong,
            ..pin_init::zeroed()
        };
        template.ops.set_desc = Some(set_desc);
        template.info.flags = bindings::MSI_FLAG_USE_DEF_DOM_OPS
            | bindings::MSI_FLAG_USE_DEF_CHIP_OPS
            | bindings::MSI_FLAG_FREE_MSI_DESCS
            | bindings::MSI_FLAG_DEV_SYSFS
            | bindings::MSI_FLAG_MUST_REACTIVATE
            | bindings::MSI_FLAG_PCI_IMS;
        template.info.bus_token = bindings::irq_domain_bus_token_DOMAIN_BUS_PCI_DEVICE_IMS;
        template
    }

    /// # Safety
    ///
    /// `data` must be the argument of a callback of this domain, and the result be used only
    /// within the callback.
    #[inline(always)]
    unsafe fn callback<'a>(data: *mut bindings::irq_data) -> (&'a T, &'a IrqData) {
        // SAFETY: The core sets the chip data of each interrupt of the domain to what `create()`
        // was given, a valid `Self` as long as the domain exists; the rest per the requirements.
        unsafe {
            (
                &(*(*data).chip_data.cast::<Self>()).chip,
                IrqData::from_raw(data),
            )
        }
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt of this domain.
    unsafe extern "C" fn irq_mask(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements.
        let (chip, irq) = unsafe { Self::callback(data) };
        chip.mask(irq);
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt of this domain.
    unsafe extern "C" fn irq_unmask(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements.
        let (chip, irq) = unsafe { Self::callback(data) };
        chip.unmask(irq);
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt of this domain.
    unsafe extern "C" fn irq_bus_lock(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements.
        if let Some(chip) = unsafe { Self::in_use(data) } {
            chip.lock();
        }
    }

    /// # Safety
    ///
    /// Only for the core to call, for an interrupt of this domain.
    unsafe extern "C" fn irq_bus_sync_unlock(data: *mut bindings::irq_data) {
        // SAFETY: Per the safety requirements. An interrupt does not come into use in between.
        unsafe {
            if let Some(chip) = Self::in_use(data) {
                chip.sync_unlock();
            }
        }
    }

    /// Returns the chip, unless the interrupt is just being allocated: the core locks it once while
    /// it has no descriptor, and holds locks that all of the machine's allocations wait for.
    ///
    /// # Safety
    ///
    /// As for [`Self::callback`].
    unsafe fn in_use<'a>(data: *mut bindings::irq_data) -> Option<&'a T> {
        // SAFETY: Per the safety requirements.
        unsafe {
            if (*(*data).common).msi_desc.is_null() {
                return None;
            }
            Some(Self::callback(data).0)
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
        let ((chip, irq), msg) = unsafe { (Self::callback(data), &*msg) };

        // SAFETY: There is a descriptor per the invariant of `IrqData`, and the descriptor's lock
        // serialises this write.
        unsafe { (*irq.desc()).msg = *msg };
        chip.write_message(irq, msg.into());
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
            return EINVAL.to_errno();
        }

        // SAFETY: Per the safety requirements; the core passes a valid `state`.
        let ((chip, irq), state) = unsafe { (Self::callback(data), &mut *state) };
        *state = chip.pending(irq);
        0
    }
}

// The functions below that call what is not exported to modules are neither generic nor inlined.

/// # Safety
///
/// Safe to call.
unsafe extern "C" fn nothing(_data: *mut bindings::irq_data) {}

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

/// # Safety
///
/// The callbacks of `template` must be safe to call with `chip_data` until [`remove`].
#[inline(never)]
unsafe fn create(
    dev: &Device<Bound>,
    template: &mut bindings::msi_domain_template,
    size: u32,
    chip_data: *mut c_void,
) -> Result {
    if size == 0 || size > 1 << 16 {
        return Err(EINVAL);
    }

    // SAFETY: `dev` is a valid device. Its MSI parent domain, if any, does not change while it is
    // bound and is never freed; MSI parent domains have valid parent operations, others have none.
    let granted = unsafe {
        let parent = (*dev.as_raw()).msi.domain;

        !parent.is_null()
            && !(*parent).msi_parent_ops.is_null()
            && (*(*parent).msi_parent_ops).supported_flags & bindings::MSI_FLAG_PCI_IMS != 0
    };
    if !granted {
        return Err(EOPNOTSUPP);
    }

    // SAFETY: `dev` is a valid device.
    to_result(unsafe { bindings::msi_setup_device_data(dev.as_raw()) })?;

    let token = template.info.bus_token;
    // SAFETY: `dev` is a valid device with MSI data.
    if unsafe { bindings::msi_match_device_irq_domain(dev.as_raw(), DOMAIN_ID, token) } {
        return Err(EBUSY);
    }

    // SAFETY: The core copies `template`; the rest per the safety requirements.
    let created = unsafe {
        bindings::msi_create_device_irq_domain(
            dev.as_raw(),
            DOMAIN_ID,
            template,
            size,
            core::ptr::null_mut(),
            chip_data,
        )
    };
    created.then_some(()).ok_or(ENOMEM)
}

/// An interrupt that is allocated in a [`Domain`], whoever owns it. It is not freed meanwhile.
///
/// # Invariants
///
/// `desc` is valid for `'a`.
pub(crate) struct Allocated<'a> {
    /// Its number in the domain.
    pub hwirq: u16,
    /// Its Linux interrupt number.
    pub virq: u32,
    /// The cookie that it was allocated with.
    pub cookie: u64,
    /// How often it has been delivered.
    pub count: u32,
    /// The message that was last written.
    pub message: Message,
    desc: *mut bindings::msi_desc,
    _locked: PhantomData<&'a ()>,
}

impl<'a> Allocated<'a> {
    /// # Safety
    ///
    /// `desc` must be null or valid for `'a`.
    unsafe fn new(desc: *mut bindings::msi_desc) -> Option<Self> {
        let desc = NonNull::new(desc)?.as_ptr();

        // INVARIANT: Per the safety requirements.
        // SAFETY: Valid per the safety requirements. The message is copied volatile as
        // `irq_write_msi_msg()` may write it under another lock; one that is read while it changes
        // is shown wrong and used for nothing.
        unsafe {
            Some(Self {
                hwirq: (*desc).msi_index,
                virq: (*desc).irq,
                cookie: cookie(desc),
                count: bindings::kstat_irqs_usr((*desc).irq),
                message: (&core::ptr::addr_of!((*desc).msg).read_volatile()).into(),
                desc,
                _locked: PhantomData,
            })
        }
    }

    /// Changes the cookie, which is read at any time.
    pub(crate) fn set_cookie(&self, cookie: u64) {
        // SAFETY: Valid per the type invariant.
        unsafe { set_cookie(self.desc, cookie) };
    }

    /// Keeps the callbacks of the interrupt from running, until the result is dropped. Atomic.
    pub(crate) fn lock(&self) -> Locked<'a> {
        Locked::new(self.virq)
    }
}

/// An interrupt none of whose callbacks runs. Interrupts are off.
///
/// # Invariants
///
/// `desc` is valid, and locked by this object.
pub(crate) struct Locked<'a> {
    desc: *mut bindings::irq_desc,
    flags: c_ulong,
    _allocated: PhantomData<Allocated<'a>>,
}

impl Locked<'_> {
    #[inline(never)]
    fn new(virq: u32) -> Self {
        // SAFETY: An `Allocated` is only there while its descriptor is kept from going.
        let (desc, flags) = unsafe {
            let desc = bindings::irq_to_desc(virq);
            (desc, bindings::ims_lock_irq(desc))
        };

        // INVARIANT: Just locked.
        Self {
            desc,
            flags,
            _allocated: PhantomData,
        }
    }

    /// Returns whether the interrupt has a vector, and so a message that names it.
    #[inline(never)]
    pub(crate) fn is_activated(&self) -> bool {
        // SAFETY: Valid per the type invariant.
        unsafe { bindings::irqd_is_activated(&mut (*self.desc).irq_data) }
    }

    /// Returns the message that was last written, which does not change meanwhile.
    #[inline(never)]
    pub(crate) fn message(&self) -> Message {
        // SAFETY: Valid per the type invariant. An allocated interrupt has a descriptor, whose
        // message is written with the interrupt locked.
        unsafe { (&(*(*(*self.desc).irq_data.common).msi_desc).msg).into() }
    }

    /// Returns the interrupt as its callbacks see it.
    #[inline]
    pub(crate) fn data(&self) -> &IrqData {
        // SAFETY: Valid per the type invariant. An allocated interrupt has a descriptor.
        unsafe { IrqData::from_raw(&mut (*self.desc).irq_data) }
    }

    /// Returns whether the device is to send the message.
    #[inline(never)]
    pub(crate) fn is_enabled(&self) -> bool {
        // SAFETY: Valid per the type invariant.
        unsafe { !bindings::irqd_irq_disabled(&mut (*self.desc).irq_data) }
    }
}

impl Drop for Locked<'_> {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: Locked per the type invariant.
        unsafe { bindings::ims_unlock_irq(self.desc, self.flags) };
    }
}

/// The locked MSI descriptors of a device. While they are, none is allocated or freed.
pub(crate) struct Descriptors<'a>(&'a Device);

impl<'a> Descriptors<'a> {
    /// Returns all allocated interrupts, by their numbers.
    pub(crate) fn iter(&mut self) -> impl Iterator<Item = Allocated<'_>> {
        let this = &*self;
        let mut has_begun = false;

        core::iter::from_fn(move || match core::mem::replace(&mut has_begun, true) {
            false => this.first(),
            true => this.next(),
        })
    }

    #[inline(never)]
    fn lock(dev: &'a Device) -> Self {
        // SAFETY: The devices of domains have MSI data. `drop()` unlocks.
        unsafe { bindings::__msi_lock_descs(dev.as_raw()) };
        Self(dev)
    }

    #[inline(never)]
    fn first(&self) -> Option<Allocated<'_>> {
        let filter = bindings::msi_desc_filter_MSI_DESC_ASSOCIATED;

        // SAFETY: The descriptors are locked, and so what the core returns is valid.
        unsafe {
            let desc = bindings::msi_domain_first_desc(self.0.as_raw(), DOMAIN_ID, filter);
            Allocated::new(desc)
        }
    }

    /// Continues after the last call of this or of [`Self::first`].
    #[inline(never)]
    fn next(&self) -> Option<Allocated<'_>> {
        let filter = bindings::msi_desc_filter_MSI_DESC_ASSOCIATED;

        // SAFETY: The descriptors are locked, and so what the core returns is valid.
        unsafe {
            let desc = bindings::msi_next_desc(self.0.as_raw(), DOMAIN_ID, filter);
            Allocated::new(desc)
        }
    }
}

impl Drop for Descriptors<'_> {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: Locked since `lock()`.
        unsafe { bindings::__msi_unlock_descs(self.0.as_raw()) };
    }
}

/// Frees what is left of the domain, then the domain.
///
/// # Safety
///
/// The secondary domain of `dev` must have been made by [`create`].
#[inline(never)]
unsafe fn remove(dev: &Device) {
    let mut leaked = false;
    for irq in Descriptors::lock(dev).iter() {
        // SAFETY: The caller is about to free the domain: all that borrowed it is gone.
        leaked |= unsafe { mask_leaked(irq.virq) };
    }
    if leaked {
        PASSES.wait(PASSES.next(), visit_each_cpu);
        for irq in Descriptors::lock(dev).iter() {
            // SAFETY: As above.
            unsafe { free_leaked_handlers(irq.virq) };
        }
    }

    // SAFETY: The domain exists per the safety requirements.
    unsafe {
        bindings::msi_domain_free_irqs_all(dev.as_raw(), DOMAIN_ID);
        bindings::msi_remove_device_irq_domain(dev.as_raw(), DOMAIN_ID);
    }
}

/// Masks `virq` if a registration of its handler was leaked, and returns whether one was.
///
/// # Safety
///
/// As for [`free_leaked_handlers`].
#[inline(never)]
unsafe fn mask_leaked(virq: u32) -> bool {
    // SAFETY: Nobody else registers or unregisters handlers for `virq` per the safety requirements.
    unsafe {
        let desc = bindings::irq_to_desc(virq);
        let leaked = !desc.is_null() && !(*desc).action.is_null();

        if leaked {
            bindings::disable_irq(virq);
        }
        leaked
    }
}

/// Unregisters the handlers of `virq` whose registrations were leaked.
///
/// # Safety
///
/// `virq` must be an MSI interrupt which the caller is about to free, and all
/// registrations of handlers for it must have been dropped or leaked.
#[inline(never)]
unsafe fn free_leaked_handlers(virq: u32) {
    // SAFETY: Nobody else registers or unregisters handlers for `virq` per the safety requirements,
    // so that the descriptor and its actions stay as they are between the steps.
    unsafe {
        let desc = bindings::irq_to_desc(virq);

        while !desc.is_null() && !(*desc).action.is_null() {
            bindings::free_irq(virq, (*(*desc).action).__bindgen_anon_1.dev_id);
        }
    }
}

/// An interrupt that was allocated from a [`Domain`]. Dropping it frees it, and sleeps.
///
/// # Invariants
///
/// `base` is that of a `Domain`, and from a pointer to all of it; the domain exists for `'a`.
/// `virq` is its interrupt `hwirq`, and owned by this object.
pub struct Interrupt<'a> {
    base: NonNull<Base>,
    virq: u32,
    hwirq: u16,
    _domain: PhantomData<&'a Base>,
}

// SAFETY: It stands for a reference to the domain.
unsafe impl Send for Interrupt<'_> {}

// SAFETY: As above.
unsafe impl Sync for Interrupt<'_> {}

impl<'a> Interrupt<'a> {
    #[inline]
    fn base(&self) -> &'a Base {
        // SAFETY: Valid per the type invariant.
        unsafe { self.base.as_ref() }
    }

    /// Returns the chip of the domain.
    ///
    /// # Safety
    ///
    /// The domain must be a `Domain<T>`.
    #[inline]
    pub(crate) unsafe fn chip<T: Chip>(&self) -> &'a T {
        // SAFETY: Per the safety requirements, and valid per the type invariant.
        unsafe { self.base.cast::<Domain<T>>().as_ref() }.chip()
    }

    /// # Safety
    ///
    /// `base` must begin a [`Domain`] that exists for `'a`, and come from a pointer to all of it.
    #[inline(never)]
    unsafe fn new(
        base: NonNull<Base>,
        hwirq: u16,
        cookie: u64,
        affinity: Option<(&Affinity, usize)>,
    ) -> Result<Self> {
        let mut cookie = bindings::msi_instance_cookie { value: cookie };
        let affinity = affinity.map_or(core::ptr::null(), |(masks, index)| masks.get(index));

        // SAFETY: Per the safety requirements: the secondary domain exists as long as the `Domain`.
        let map = unsafe {
            bindings::msi_domain_alloc_irq_at(
                base.as_ref().dev.as_raw(),
                DOMAIN_ID,
                hwirq.into(),
                affinity,
                &mut cookie,
            )
        };
        to_result(map.index)?;

        // INVARIANT: The core just allocated the interrupt for us.
        Ok(Self {
            base,
            virq: map.virq as u32,
            hwirq,
            _domain: PhantomData,
        })
    }

    /// Has the device send what is pending, and takes it. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ETIMEDOUT`] if nothing arrives within a second, or those of [`request`].
    #[inline(never)]
    pub(crate) fn drain(&self) -> Result {
        /// Whether the interrupt has arrived.
        struct Arrived(Atomic<bool>);

        impl irq::Handler for Arrived {
            fn handle(&self) -> IrqReturn {
                self.0.store(true, Relaxed);
                IrqReturn::Handled
            }
        }

        let handler = Ok(Arrived(Atomic::new(false)));
        let name = Arc::new(CString::try_from(c"drain")?, GFP_KERNEL)?;
        // SAFETY: The registration ends here, before the interrupt can.
        let mut registered = unsafe {
            Registered::new(self.registrable(), Flags::TRIGGER_NONE, name, None, handler)?
        };
        let arrived = |registered: &Registered<'_, Arrived>| registered.handler().0.load(Relaxed);
        let _ = read_poll_timeout(
            || Ok(arrived(&registered)),
            |&arrived| arrived,
            Delta::from_micros(50),
            Delta::from_secs(1),
        );

        // Should this task not have run for a while, that is not the device's doing: a last look.
        registered.mask();
        arrived(&registered).then_some(()).ok_or(ETIMEDOUT)
    }

    /// Returns the number of the interrupt in its domain.
    #[inline]
    pub fn hwirq(&self) -> u16 {
        self.hwirq
    }

    /// Returns the Linux interrupt number.
    #[inline]
    pub fn virq(&self) -> u32 {
        self.virq
    }

    #[inline(never)]
    fn desc(&self) -> *mut bindings::msi_desc {
        // SAFETY: The interrupt is ours per the type invariant, and has a descriptor.
        unsafe { (*(*bindings::irq_get_irq_data(self.virq)).common).msi_desc }
    }

    /// Returns the cookie that the interrupt has, see [`IrqData::cookie`].
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: The interrupt is ours per the type invariant.
        unsafe { cookie(self.desc()) }
    }

    /// Returns what it takes to register a handler.
    ///
    /// # Safety
    ///
    /// The interrupt must not be dropped before what is registered, nor if that is leaked.
    unsafe fn registrable(&self) -> IrqRequest<'a> {
        // SAFETY: `virq` is an interrupt of the device per the type invariant, and stays so as long
        // as there is a handler, per the safety requirements.
        unsafe { IrqRequest::new(self.base().device(), self.virq) }
    }
}

impl Drop for Interrupt<'_> {
    #[inline(never)]
    fn drop(&mut self) {
        let (dev, hwirq) = (self.base().dev.as_raw(), self.hwirq.into());

        // SAFETY: The interrupt is ours per the type invariant. It has no handler, see
        // `registrable()`.
        unsafe { bindings::msi_domain_free_irqs_range(dev, DOMAIN_ID, hwirq, hwirq) };
    }
}

/// An owner of one interrupt that [`request`] can take.
///
/// # Safety
///
/// `as_ref()` must always return the same interrupt, which `self` owns.
pub unsafe trait Source<'a>: AsRef<Interrupt<'a>> {
    /// Masking the interrupt sleeps, see [`Chip::SLOW`].
    const SLOW: bool = false;

    /// Returns what went wrong when the device was told of changes, if it has to be told.
    fn check(&self) -> Result {
        Ok(())
    }
}

impl<'a> AsRef<Interrupt<'a>> for Interrupt<'a> {
    #[inline]
    fn as_ref(&self) -> &Self {
        self
    }
}

// SAFETY: An interrupt refers to itself.
unsafe impl<'a> Source<'a> for Interrupt<'a> {}

/// An interrupt with a handler. Dropping it unregisters the handler, then frees the interrupt.
pub struct Requested<'a, S: Source<'a>, H: irq::Handler + 'static> {
    // The order is the order of release.
    handler: Registered<'a, H>,
    source: S,
}

/// Requests the interrupt of `source` for `handler`: it gets a vector, its message is written and
/// it is unmasked. `/proc/interrupts` shows `name`. Sleeps.
///
/// An interrupt that comes more often than `limit` times in a second is masked, which the log says
/// the first time.
///
/// # Errors
///
/// The error comes with `source`, to try again or to free: [`EOPNOTSUPP`] if there is a `limit` and
/// its chip is slow, as a handler cannot sleep, [`ENOSPC`] if no vector is left, [`ENOMEM`], what
/// `handler` fails with, or what telling the device of the change fails with.
pub fn request<'a, S: Source<'a>, H: irq::Handler + 'static>(
    source: S,
    flags: Flags,
    name: Arc<CString>,
    limit: Option<NonZero<u32>>,
    handler: impl PinInit<H, Error> + 'a,
) -> Result<Requested<'a, S, H>, (Error, S)> {
    if S::SLOW && limit.is_some() {
        return Err((EOPNOTSUPP, source));
    }

    // SAFETY: The two stay together in `Requested`, whose fields are dropped in order or leaked.
    let request = unsafe { source.as_ref().registrable() };

    // SAFETY: The interrupt is freed with its domain at the latest, when the device is unbound.
    let registered = unsafe { Registered::new(request, flags, name, limit, handler) };
    match registered.and_then(|handler| source.check().map(|()| handler)) {
        Ok(handler) => Ok(Requested { handler, source }),
        Err(error) => Err((error, source)),
    }
}

#[inline(never)]
fn visit_each_cpu() {
    /// # Safety
    ///
    /// Safe to call.
    unsafe extern "C" fn nothing(_work: *mut bindings::work_struct) {}

    // A grace period of RCU would not do, as an idle CPU counts as quiescent whatever it has been
    // sent.
    // SAFETY: The function may be called from any worker.
    while unsafe { bindings::schedule_on_each_cpu(Some(nothing)) } != 0 {
        // There is no memory. Whoever unregisters a handler has to wait for it.
        fsleep(Delta::from_millis(1));
    }
}

/// The MSI-X vectors of a device, beside its message store.
///
/// # Invariants
///
/// They are MSI-X vectors.
pub struct Vectors<'b>(pci::IrqVectorRegistration<'b>);

impl<'b> Vectors<'b> {
    /// Has the device of `holder` hold `min` to `max` MSI-X vectors.
    ///
    /// # Errors
    ///
    /// Those of [`pci::Device::alloc_irq_vectors`].
    pub fn new(holder: &Holder<'_, 'b>, min: u32, max: u32) -> Result<&'b Self> {
        let types = pci::IrqTypes::default().with(pci::IrqType::MsiX);

        // SAFETY: The vectors are freed while the device is still bound.
        let pdev: &'b pci::Device<Bound> = unsafe { holder.bound() }.try_into()?;
        let vectors = pdev.alloc_irq_vectors(min, max, types)?;

        // INVARIANT: No other type was asked for.
        // SAFETY: The vectors borrow nothing but the device.
        unsafe { holder.hold(Self(vectors)) }
    }

    /// Returns the number of vectors.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Requests vector `index` for `handler`, with a `limit` as [`request`] has it.
    /// `/proc/interrupts` shows `name`. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no such vector, [`EBUSY`] if it has a handler, [`ENOSPC`] if the CPUs
    /// have none left, [`ENOMEM`], or what `handler` fails with.
    pub fn request<H: irq::Handler + 'static>(
        &'b self,
        index: usize,
        flags: Flags,
        name: Arc<CString>,
        limit: Option<NonZero<u32>>,
        handler: impl PinInit<H, Error> + 'b,
    ) -> Result<Registered<'b, H>> {
        let request: IrqRequest<'_> = self.0.index(index)?.into();
        let unlazy = bindings::IRQ_DISABLE_UNLAZY as c_ulong;

        // Else the core, until the handler goes, masks only when the next message has come.
        // SAFETY: A vector of the device.
        unsafe { bindings::irq_modify_status(request.irq(), 0, unlazy) };
        // SAFETY: `drop()` frees what is leaked, and the vectors are held by the device.
        unsafe { Registered::new(request, flags, name, limit, handler) }
    }
}

impl Drop for Vectors<'_> {
    fn drop(&mut self) {
        let vectors = (0..self.0.len()).filter_map(|index| self.0.index(index).ok());
        let virqs = vectors.map(|vector| IrqRequest::from(vector).irq());
        let mut leaked = false;

        for virq in virqs.clone() {
            // SAFETY: An MSI-X vector per the type invariant, freed next. All that borrowed it was
            // dropped or leaked.
            leaked |= unsafe { mask_leaked(virq) };
        }
        if leaked {
            PASSES.wait(PASSES.next(), visit_each_cpu);
            for virq in virqs {
                // SAFETY: As above.
                unsafe { free_leaked_handlers(virq) };
            }
        }
    }
}

/// What the core has for a handler: masks an interrupt that comes too often.
#[pin_data]
struct Contained<H> {
    #[pin]
    handler: H,
    line: Virq,
    mask: Mask,
    /// What `/proc/interrupts` shows.
    name: Arc<CString>,
}

impl<H: irq::Handler> irq::Handler for Contained<H> {
    #[inline]
    fn handle(&self) -> IrqReturn {
        let handled = self.handler.handle();

        if self.mask.exceeds(&self.line) {
            contain(&self.mask, &self.line, &self.name);
        }
        handled
    }
}

#[cold]
#[inline(never)]
fn contain(mask: &Mask, line: &Virq, name: &CStr) {
    if let Some(limit) = mask.contain(line) {
        pr_warn!(
            "interrupt {} ({name}) came more than {limit} times in a second: masked\n",
            line.0
        );
    }
}

/// The Linux interrupt number of an interrupt that has a handler.
struct Virq(u32);

impl Line for Virq {
    #[inline]
    fn now(&self) -> usize {
        // SAFETY: The core counts while this is read; any value serves.
        unsafe { core::ptr::addr_of!(bindings::jiffies).read_volatile() }
    }

    #[inline]
    fn disable_nosync(&self) {
        // SAFETY: The interrupt has a handler.
        unsafe { bindings::disable_irq_nosync(self.0) };
    }

    #[inline]
    fn synchronize(&self) {
        // SAFETY: Who masks or unmasks an interrupt may sleep.
        unsafe { bindings::synchronize_irq(self.0) };
    }

    #[inline]
    fn enable(&self) {
        // SAFETY: The interrupt has a handler, and `Mask` has disabled it before.
        unsafe { bindings::enable_irq(self.0) };
    }
}

/// A handler. Dropping it unregisters it, and sleeps until each CPU has taken what was sent to it.
pub struct Registered<'a, H: irq::Handler + 'static> {
    /// While it is masked: what to wait for until no CPU has anything of before.
    pass: Option<Pass>,
    registration: Pin<KBox<irq::Registration<'a, Contained<H>>>>,
}

impl<'a, H: irq::Handler + 'static> Registered<'a, H> {
    /// # Safety
    ///
    /// The core must free the interrupt of `request` when its device is unbound or before.
    unsafe fn new(
        request: IrqRequest<'a>,
        flags: Flags,
        name: Arc<CString>,
        limit: Option<NonZero<u32>>,
        handler: impl PinInit<H, Error> + 'a,
    ) -> Result<Self> {
        let text: *const CStr = &**name;
        let line = Virq(request.irq());
        let contained = try_pin_init!(Contained {
            handler <- handler,
            line,
            mask: Mask::new(limit.map_or(0, NonZero::get), msecs_to_jiffies(1000)),
            // The core has a pointer to it: it goes with the handler, which is unregistered before.
            name,
        }? Error);

        // If the result is leaked, so is its memory: the name and the handler, which owns what it
        // uses, stay valid. Its code stays too: it is in the module whose chip the interrupt is of,
        // as no other can name that type.
        // SAFETY: What the core refers to stays valid, see above. A module goes away only after its
        // devices are unbound, when the interrupt has been freed.
        let registration = unsafe { irq::Registration::new(request, flags, &*text, contained) };
        Ok(Self {
            pass: None,
            registration: KBox::pin_init(registration, GFP_KERNEL)?,
        })
    }

    /// Returns the handler.
    #[inline]
    pub fn handler(&self) -> &H {
        &self.contained().handler
    }

    #[inline]
    fn contained(&self) -> &Contained<H> {
        self.registration.handler()
    }

    /// Masks the interrupt. When this returns its handler is not running, and will not run before
    /// [`Self::unmask`]. Sleeps.
    ///
    /// Returns whether it was unmasked.
    pub fn mask(&mut self) -> bool {
        let contained = self.contained();
        let was_unmasked = contained.mask.mask(&contained.line);

        self.pass.get_or_insert_with(|| PASSES.next());
        was_unmasked
    }

    /// Unmasks the interrupt, whether [`Self::mask`] or its limit masked it. Sleeps.
    ///
    /// Returns whether it was masked.
    pub fn unmask(&mut self) -> bool {
        self.pass = None;

        let contained = self.contained();
        contained.mask.unmask(&contained.line)
    }
}

impl<H: irq::Handler + 'static> Drop for Registered<'_, H> {
    fn drop(&mut self) {
        self.mask();
        // What a CPU has not taken yet it would take for that of whoever gets the vector next. And
        // one may have looked up the interrupt, and be on its way to the handler.
        if let Some(pass) = self.pass {
            PASSES.wait(pass, visit_each_cpu);
        }
    }
}

impl<'a, S: Source<'a>, H: irq::Handler + 'static> Requested<'a, S, H> {
    /// Returns the handler.
    #[inline]
    pub fn handler(&self) -> &H {
        self.handler.handler()
    }

    /// Returns the owner of the interrupt.
    #[inline]
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Masks the interrupt. When this returns its handler is not running, and will not run before
    /// [`Self::unmask`]. Sleeps.
    ///
    /// # Errors
    ///
    /// What telling the device of the change fails with, if it has to be told.
    pub fn mask(&mut self) -> Result {
        self.handler.mask();
        self.source.check()
    }

    /// Unmasks the interrupt, whether [`Self::mask`] or its limit masked it. If it was raised while
    /// it was masked, its handler runs once. Sleeps.
    ///
    /// # Errors
    ///
    /// What telling the device of the change fails with, if it has to be told.
    pub fn unmask(&mut self) -> Result {
        self.handler.unmask();
        self.source.check()
    }

    /// Unregisters the handler: the interrupt is masked and returns its vector. What was sent and
    /// not handled by then the core keeps for the next handler. Sleeps until each CPU has taken
    /// what was sent to it.
    ///
    /// To release or drop many, [`Self::mask`] all of them first: that waits once for all.
    pub fn release(self) -> S {
        drop(self.handler);
        self.source
    }
}

#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_ims_msi)]
mod tests {
    use super::*;
    use crate::{
        cpu::CpuId,
        faux,
        time::{
            Instant,
            Monotonic, //
        }, //
    };

    /// An interrupt that nobody raises.
    struct Dummy<'a> {
        virq: u32,
        device: &'a Device<Bound>,
    }

    impl<'a> Dummy<'a> {
        fn new(device: &'a faux::Registration) -> Result<Self> {
            let device: &faux::Device<Bound> = device.as_ref();
            // SAFETY: No particular number is asked for. The chip and the flow handler are the
            // core's own.
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
            Ok(Self {
                virq,
                device: device.as_ref(),
            })
        }

        fn register(&self) -> Result<Registered<'_, Nothing>> {
            let name = Arc::new(CString::try_from(c"ims-kunit")?, GFP_KERNEL)?;

            // SAFETY: The registration borrows the interrupt, and is not leaked.
            unsafe {
                let request = IrqRequest::new(self.device, self.virq);
                Registered::new(request, Flags::TRIGGER_NONE, name, None, Ok(Nothing))
            }
        }
    }

    impl Drop for Dummy<'_> {
        fn drop(&mut self) {
            // SAFETY: Allocated by `new()`, and without a handler.
            unsafe { bindings::irq_free_descs(self.virq, 1) };
        }
    }

    struct Nothing;

    impl irq::Handler for Nothing {
        fn handle(&self) -> IrqReturn {
            IrqReturn::Handled
        }
    }

    static IS_ON_AGAIN: Atomic<bool> = Atomic::new(false);

    /// Keeps interrupts off for a while.
    ///
    /// # Safety
    ///
    /// Safe to call, with interrupts off.
    unsafe extern "C" fn keep_off(_info: *mut c_void) {
        let start = Instant::<Monotonic>::now();

        while start.elapsed() < Delta::from_millis(100) {}
        IS_ON_AGAIN.store(true, Relaxed);
    }

    #[test]
    fn unregistering_waits_for_a_cpu_with_interrupts_off() -> Result {
        let device = faux::Registration::new(c"ims-kunit", None)?;
        let dummy = Dummy::new(&device)?;
        let registered = dummy.register()?;
        // With one CPU nobody can be away. The task may move there meanwhile: then it has waited.
        let other = i32::from(CpuId::current().as_u32() == 0);

        IS_ON_AGAIN.store(false, Relaxed);
        // SAFETY: The function may be called from any interrupt, and uses nothing of its caller's.
        let called = unsafe {
            bindings::smp_call_function_single(other, Some(keep_off), core::ptr::null_mut(), false)
        };
        drop(registered);
        assert!(called != 0 || IS_ON_AGAIN.load(Relaxed));
        Ok(())
    }

    /// While no driver unregisters handlers.
    #[test]
    fn one_pass_does_for_all_that_were_masked_before() -> Result {
        let device = faux::Registration::new(c"ims-kunit", None)?;
        let dummies = [
            Dummy::new(&device)?,
            Dummy::new(&device)?,
            Dummy::new(&device)?,
        ];
        let [mut first, mut second, third] = dummies.each_ref().map(Dummy::register);
        let begun = || PASSES.begun.load(Relaxed);
        let before = begun();

        first.as_mut().map_err(|e| *e)?.mask();
        second.as_mut().map_err(|e| *e)?.mask();
        drop(first);
        assert_eq!(begun(), before + 1);
        drop(second);
        assert_eq!(begun(), before + 1);
        // This one was not.
        drop(third);
        assert_eq!(begun(), before + 2);

        // Nor is one that was unmasked since.
        let mut fourth = dummies[0].register()?;
        fourth.mask();
        fourth.unmask();
        drop(dummies[1].register()?);
        drop(fourth);
        assert_eq!(begun(), before + 4);
        Ok(())
    }
}
