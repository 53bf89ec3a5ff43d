// SPDX-License-Identifier: GPL-2.0

//! Attributes of the devices of a driver.
//!
//! They are static: the driver core adds them after `probe()` has succeeded, before it sends the
//! uevent `bind`, and removes them before the device is unbound. Removal waits for running
//! accesses, so the driver's data exists during an access.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use crate::{
    bindings,
    device::{
        BoundInternal,
        Device, //
    },
    driver::DriverLayout,
    fmt::{
        self,
        Write, //
    },
    page::PAGE_SIZE,
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        CStr,
        RawFormatter, //
    },
};
use core::{
    marker::PhantomData,
    ptr::{
        from_ref,
        null,
        NonNull, //
    },
    str::FromStr,
};

/// An attribute of the devices of a driver: a file with one value. `T` is the driver's adapter.
///
/// All users may read it. Only root may write it.
///
/// # Examples
///
/// ```
/// # use kernel::{auxiliary, device::Core, sync::atomic::{Atomic, Relaxed}};
/// # kernel::auxiliary_device_table!(
/// #     TABLE,
/// #     (),
/// #     [(auxiliary::DeviceId::new(c"my_module", c"my_device"), ())]
/// # );
/// struct MyDriver {
///     level: Atomic<u32>,
/// }
///
/// type Attribute = auxiliary::Attribute<MyDriver>;
///
/// impl auxiliary::Driver for MyDriver {
///     const ATTRIBUTES: &'static [Attribute] = &[
///         Attribute::read_only(c"version", &|_| 1),
///         Attribute::read_write(
///             c"level",
///             &|driver| driver.level.load(Relaxed),
///             &|driver, level| {
///                 driver.level.store(level, Relaxed);
///                 Ok(())
///             },
///         ),
///     ];
/// #   type IdInfo = ();
/// #   type Data<'bound> = Self;
/// #   const ID_TABLE: auxiliary::IdTable<()> = &TABLE;
///
///     fn probe<'bound>(
///         _adev: &'bound auxiliary::Device<Core<'_>>,
///         _info: &'bound (),
///     ) -> impl PinInit<Self, Error> + 'bound {
///         Ok(Self { level: Atomic::new(0) })
///     }
/// }
/// ```
///
/// # Invariants
///
/// The callbacks of `attribute` expect a device that is bound to the driver, with its data set.
#[repr(transparent)]
pub struct Attribute<T> {
    attribute: bindings::device_attribute,
    _driver: PhantomData<fn(T)>,
}

/// An adapter of a driver whose devices have attributes.
pub trait Attributes: DriverLayout + Sized + 'static {
    /// The attributes of each bound device.
    const ATTRIBUTES: &'static [Attribute<Self>];
}

impl<T: DriverLayout> Attribute<T>
where
    for<'b> T::DriverData<'b>: Sync,
{
    /// Creates a read-only attribute. `show` returns its value from the driver's data. May sleep.
    ///
    /// Reading fails with [`EFBIG`] if the text does not fit into a page.
    pub const fn read_only<V, R>(name: &'static CStr, show: &R) -> Self
    where
        V: fmt::Display,
        R: for<'d, 'b> Fn(Pin<&'d T::DriverData<'b>>) -> V + Sync + 'static,
    {
        let _ = show;
        Self::new(name, 0o444, Some(Self::show::<V, R>), None)
    }

    /// Creates a writable attribute, see [`Self::read_only`]. Writing calls `store` with the value,
    /// which may sleep.
    ///
    /// Writing fails with [`EINVAL`] if the text is not a `V`, or with the error of `store`.
    pub const fn read_write<V, R, W>(name: &'static CStr, show: &R, store: &W) -> Self
    where
        V: fmt::Display + FromStr,
        R: for<'d, 'b> Fn(Pin<&'d T::DriverData<'b>>) -> V + Sync + 'static,
        W: for<'d, 'b> Fn(Pin<&'d T::DriverData<'b>>, V) -> Result + Sync + 'static,
    {
        let _ = (show, store);
        Self::new(
            name,
            0o644,
            Some(Self::show::<V, R>),
            Some(Self::store::<V, W>),
        )
    }

    /// # Safety
    ///
    /// Must only be called by the driver core, for an attribute of the driver.
    unsafe extern "C" fn show<V, R>(
        dev: *mut bindings::device,
        _attribute: *mut bindings::device_attribute,
        buffer: *mut c_char,
    ) -> isize
    where
        V: fmt::Display,
        R: for<'d, 'b> Fn(Pin<&'d T::DriverData<'b>>) -> V + 'static,
    {
        let buffer = buffer.cast::<u8>();

        // SAFETY: The driver core passes a device that is bound to the driver, and does not unbind
        // it before this returns. `read_only()` or `read_write()` had an argument of type `R`.
        let value = unsafe { function::<R>()(data::<T>(dev)) };
        // SAFETY: The driver core passes a buffer of one page.
        let mut out = unsafe { RawFormatter::from_ptrs(buffer, buffer.add(PAGE_SIZE)) };

        // Bytes that do not fit are only counted. A full page lacks the NUL that sysfs expects.
        match out.write_fmt(fmt!("{value}\n")) {
            Ok(()) if out.bytes_written() < PAGE_SIZE => out.bytes_written() as isize,
            _ => EFBIG.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Must only be called by the driver core, for an attribute of the driver.
    unsafe extern "C" fn store<V, W>(
        dev: *mut bindings::device,
        _attribute: *mut bindings::device_attribute,
        buffer: *const c_char,
        count: usize,
    ) -> isize
    where
        V: FromStr,
        W: for<'d, 'b> Fn(Pin<&'d T::DriverData<'b>>, V) -> Result + 'static,
    {
        // SAFETY: The driver core passes `count` bytes.
        let text = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), count) };
        let value = core::str::from_utf8(text).ok().map(str::trim);

        let stored = match value.and_then(|value| value.parse().ok()) {
            // SAFETY: The driver core passes a device that is bound to the driver, and does not
            // unbind it before this returns. `read_write()` had an argument of type `W`.
            Some(value) => unsafe { function::<W>()(data::<T>(dev), value) },
            None => Err(EINVAL),
        };
        match stored {
            Ok(()) => count as isize,
            Err(error) => error.to_errno() as isize,
        }
    }
}

type Show = unsafe extern "C" fn(
    *mut bindings::device,
    *mut bindings::device_attribute,
    *mut c_char,
) -> isize;

type Store = unsafe extern "C" fn(
    *mut bindings::device,
    *mut bindings::device_attribute,
    *const c_char,
    usize,
) -> isize;

impl<T> Attribute<T> {
    const fn new(
        name: &'static CStr,
        mode: bindings::umode_t,
        show: Option<Show>,
        store: Option<Store>,
    ) -> Self {
        let mut attribute: bindings::device_attribute = pin_init::zeroed();
        attribute.attr.name = as_char_ptr_in_const_context(name);
        attribute.attr.mode = mode;
        attribute.__bindgen_anon_1.show = show;
        attribute.__bindgen_anon_2.store = store;

        // INVARIANT: The callers pass callbacks of `Attribute<T>`.
        Self {
            attribute,
            _driver: PhantomData,
        }
    }
}

/// Returns the data of the driver of `dev`.
///
/// # Safety
///
/// `dev` must be bound to the driver, whose adapter is `T`, for `'d`, with the data set.
unsafe fn data<'d, 'b, T: DriverLayout>(dev: *mut bindings::device) -> Pin<&'d T::DriverData<'b>>
where
    'b: 'd,
{
    // SAFETY: By the safety requirements.
    let dev = unsafe { &*dev.cast::<Device<BoundInternal>>() };

    // SAFETY: By the safety requirements. `DriverLayout` states the type.
    unsafe { dev.drvdata_borrow::<T::DriverData<'b>>() }
}

/// Returns a reference to a function, given its type.
///
/// # Safety
///
/// A value of type `F` must exist.
unsafe fn function<F: 'static>() -> &'static F {
    const { assert!(size_of::<F>() == 0, "the function captures something") };

    // SAFETY: A reference to a zero-sized type needs no memory. By the safety requirements, a value
    // of the type exists.
    unsafe { NonNull::dangling().as_ref() }
}

/// The attributes of a driver, in the form of the driver core.
struct Groups<T>(T);

/// Maximum number of attributes of a driver.
const MAX: usize = 16;

impl<T: Attributes> Groups<T> {
    /// Ends with `NULL`.
    const ATTRIBUTES: &'static [*const bindings::attribute; MAX + 1] = &{
        let mut list = [null(); MAX + 1];
        let mut index = 0;
        assert!(T::ATTRIBUTES.len() <= MAX);
        while index < T::ATTRIBUTES.len() {
            list[index] = from_ref(&T::ATTRIBUTES[index].attribute.attr);
            index += 1;
        }
        list
    };

    const GROUP: &'static bindings::attribute_group = &{
        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.__bindgen_anon_2.attrs_const = Self::ATTRIBUTES.as_ptr();
        group
    };

    /// Ends with `NULL`.
    const GROUPS: &'static [*const bindings::attribute_group; 2] = &[from_ref(Self::GROUP), null()];
}

/// Returns the attributes of `T` for `struct device_driver::dev_groups`.
pub(crate) fn dev_groups<T: Attributes>() -> *const *const bindings::attribute_group {
    if T::ATTRIBUTES.is_empty() {
        null()
    } else {
        Groups::<T>::GROUPS.as_ptr()
    }
}
