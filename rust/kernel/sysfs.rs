// SPDX-License-Identifier: GPL-2.0

//! Attributes of devices.
//!
//! C header: [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use crate::{
    bindings, container_of,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    fmt::{
        self,
        Write, //
    },
    held::Publisher,
    page::PAGE_SIZE,
    prelude::*,
    str::{
        CStr,
        CString,
        RawFormatter, //
    },
};

/// An object with attributes: files of one short text each.
pub trait Attributes: Send + Sync {
    /// Their names, and whether they can be written. Everybody may read them, root write them.
    const NAMES: &'static [(&'static CStr, bool)];

    /// Shows attribute number `index`. Sleeps. If it exceeds a page, reading fails with [`EFBIG`].
    fn show(&self, index: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Takes a text for attribute number `index`, without the blanks around it. Sleeps.
    ///
    /// # Errors
    ///
    /// For user space.
    fn store(&self, index: usize, text: &str) -> Result;
}

/// An attribute as the core knows it.
struct Entry {
    attribute: bindings::device_attribute,
    index: usize,
    object: *const c_void,
}

/// # Invariants
///
/// The group is registered with `dev`. `pointers` are those of `entries`, which do not move and
/// refer to an object of type `T`.
struct Group<'s, T: Attributes + 's> {
    dev: &'s Device<Bound>,
    group: KBox<bindings::attribute_group>,
    // What the group refers to.
    _name: CString,
    _pointers: KVec<*mut bindings::attribute>,
    _entries: KVec<Entry>,
    _object: KBox<T>,
}

// SAFETY: The pointers are to what the group owns, which the core only reads.
unsafe impl<T: Attributes> Send for Group<'_, T> {}

/// What [`Attributes::show`] prints.
struct Shown<'a, T>(&'a T, usize);

impl<T: Attributes> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.show(self.1, f)
    }
}

impl<'s, T: Attributes> Group<'s, T> {
    fn new(dev: &'s Device<Bound>, name: &CStr, object: T) -> Result<Self> {
        let object = KBox::new(object, GFP_KERNEL)?;
        let name = CString::try_from(name)?;
        let mut entries = KVec::with_capacity(T::NAMES.len(), GFP_KERNEL)?;
        for (index, &(name, writable)) in T::NAMES.iter().enumerate() {
            let mut attribute: bindings::device_attribute = pin_init::zeroed();
            attribute.attr.name = name.as_char_ptr();
            attribute.attr.mode = if writable { 0o644 } else { 0o444 };
            #[cfg(CONFIG_DEBUG_LOCK_ALLOC)]
            {
                attribute.attr.key = crate::static_lock_class!().get_ref().as_ptr();
            }
            attribute.__bindgen_anon_1.show = Some(Self::show);
            attribute.__bindgen_anon_2.store = if writable { Some(Self::store) } else { None };
            entries.push(
                Entry {
                    attribute,
                    index,
                    object: core::ptr::from_ref(&*object).cast(),
                },
                GFP_KERNEL,
            )?;
        }

        let mut pointers = KVec::with_capacity(T::NAMES.len() + 1, GFP_KERNEL)?;
        for entry in entries.iter_mut() {
            pointers.push(&raw mut entry.attribute.attr, GFP_KERNEL)?;
        }
        pointers.push(core::ptr::null_mut(), GFP_KERNEL)?;

        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.name = name.as_char_ptr();
        group.__bindgen_anon_2.attrs = pointers.as_mut_ptr();
        let group = KBox::new(group, GFP_KERNEL)?;

        // SAFETY: The device is bound, and the group is valid until it is removed.
        to_result(unsafe { bindings::sysfs_create_group(&raw mut (*dev.as_raw()).kobj, &*group) })?;

        // INVARIANT: Just registered. Moving a vector leaves its elements where they are.
        Ok(Self {
            dev,
            group,
            _name: name,
            _pointers: pointers,
            _entries: entries,
            _object: object,
        })
    }

    /// # Safety
    ///
    /// `attribute` must be one of a registered group of this type.
    unsafe fn object<'a>(attribute: *mut bindings::device_attribute) -> (&'a T, usize) {
        // SAFETY: The entry and the object are valid while the group is registered, and the core
        // removes it only when no callback runs.
        unsafe {
            let entry = &*container_of!(attribute, Entry, attribute);
            (&*entry.object.cast(), entry.index)
        }
    }

    /// # Safety
    ///
    /// Only for the core to call.
    unsafe extern "C" fn show(
        _dev: *mut bindings::device,
        attribute: *mut bindings::device_attribute,
        buffer: *mut c_char,
    ) -> isize {
        // SAFETY: The core passes an attribute of ours and a buffer of one page.
        let ((object, index), mut out) = unsafe {
            let buffer = buffer.cast::<u8>();
            (
                Self::object(attribute),
                RawFormatter::from_ptrs(buffer, buffer.add(PAGE_SIZE - 1)),
            )
        };

        // What does not fit is only counted.
        match out.write_fmt(fmt!("{}", Shown(object, index))) {
            Ok(()) if out.bytes_written() < PAGE_SIZE => out.bytes_written() as isize,
            _ => EFBIG.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Only for the core to call.
    unsafe extern "C" fn store(
        _dev: *mut bindings::device,
        attribute: *mut bindings::device_attribute,
        buffer: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: The core passes an attribute of ours and `count` bytes.
        let ((object, index), text) = unsafe {
            (
                Self::object(attribute),
                core::slice::from_raw_parts(buffer.cast::<u8>(), count),
            )
        };

        let stored = core::str::from_utf8(text)
            .map_err(|_| EINVAL)
            .and_then(|text| object.store(index, text.trim()));
        match stored {
            Ok(()) => count as isize,
            Err(error) => error.to_errno() as isize,
        }
    }
}

impl<T: Attributes> Drop for Group<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Registered per the type invariant. This waits for callbacks that run.
        unsafe { bindings::sysfs_remove_group(&raw mut (*self.dev.as_raw()).kobj, &*self.group) };
    }
}

impl<'s> Publisher<'_, 's> {
    /// Adds the directory `name` with the attributes of `object` to the device's.
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if there is one of that name, [`ENOMEM`].
    pub fn attributes<T: Attributes + 's>(&self, name: &CStr, object: T) -> Result {
        self.hold(Group::new(self.device(), name, object)?)
    }
}
