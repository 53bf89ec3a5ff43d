// SPDX-License-Identifier: GPL-2.0

//! Character devices whose open files own objects that borrow from a device.
//!
//! A file can stay open after its device is unbound. So its session, the objects that it owns, is
//! only lent to its calls. Unbinding drops the sessions of all open files. Later calls fail with
//! [`ENODEV`].
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use crate::{
    bindings,
    container_of,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    fs::{
        file::flags::O_NONBLOCK,
        File,
        Kiocb, //
    },
    held::Publisher,
    iov::IovIterDest,
    miscdevice::{
        MiscDevice,
        MiscDeviceOptions,
        MiscDeviceRegistration, //
    },
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        poll::{
            PollCondVar,
            PollTable, //
        },
        Arc,
        Mutex, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    },
    uaccess::UserPtr, //
};
use core::marker::PhantomData;

/// The implementation of a kind of character device.
#[vtable]
pub trait Sessions: Sized + 'static {
    /// Data that all files of the character device share.
    type Shared<'a>: Send + Sync + 'a;

    /// Data of one open file, until the device is unbound.
    type Session<'a>: Send + Unpin + 'a;

    /// Data of one open file, until it is closed.
    type FileData: Send + Sync + 'static;

    /// Opens a file. Must not wait for another open: the misc core serialises them system-wide.
    ///
    /// # Errors
    ///
    /// Returned to user space.
    fn open<'a>(shared: &Self::Shared<'a>) -> Result<(Self::Session<'a>, Self::FileData)>;

    /// Handles an ioctl. May sleep.
    ///
    /// # Errors
    ///
    /// Returned to user space.
    fn ioctl(file: &OpenFile<Self>, call: Call) -> Result;

    /// Reads from the file. May sleep, but must not wait for data if `nonblocking`.
    ///
    /// # Errors
    ///
    /// Returned to user space.
    fn read(
        _file: &OpenFile<Self>,
        _nonblocking: bool,
        _to: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        Err(EINVAL)
    }

    /// Polls the file: returns its events, as a mask of `POLL*`, and calls `register` with the
    /// condition variable to wait for. `events` has the events that user space requests.
    fn poll(_file: &OpenFile<Self>, _events: u32, _register: &dyn Fn(&PollCondVar)) -> u32 {
        bindings::POLLIN | bindings::POLLOUT
    }
}

/// An ioctl.
#[derive(Clone, Copy)]
pub struct Call {
    /// The command number.
    pub command: u32,
    /// The argument.
    pub argument: UserPtr,
    /// The file is `O_NONBLOCK`.
    pub nonblocking: bool,
}

/// An open file.
#[pin_data]
pub struct OpenFile<T: Sessions> {
    /// `None` once the device is unbound or the file is closed.
    #[pin]
    session: Mutex<Option<T::Session<'static>>>,
    data: T::FileData,
    files: Files<T>,
}

/// The open files of one character device.
type Files<T> = Arc<Mutex<KVec<Arc<OpenFile<T>>>>>;

/// The file operations of the character devices of `T`.
///
/// The type is private: `open()` finds the [`Registration`] around a `struct miscdevice`, so only
/// [`Registration::new()`] may register one with these operations.
struct Operations<T>(PhantomData<T>);

#[vtable]
impl<T: Sessions> MiscDevice for Operations<T> {
    type Ptr = Arc<OpenFile<T>>;
    type OwnerModule = T::OwnerModule;

    fn open(_file: &File, misc: &MiscDeviceRegistration<Self>) -> Result<Self::Ptr> {
        // SAFETY: Only `Registration::new()` registers a device with these operations, in a
        // `Registration`. It is not dropped now: misc_deregister() waits for running opens.
        let device: &Registration<'_, T> =
            unsafe { &*container_of!(Opaque::cast_from(misc.as_raw()), Registration<'_, T>, misc) };

        let (session, data) = T::open(&device.shared)?;
        // SAFETY: Types that differ only in a lifetime have the same layout. The session is dropped
        // before the objects that it borrows, with the registration at the latest, and only lent to
        // functions that work for every lifetime.
        let session: T::Session<'static> = unsafe {
            let session = core::mem::ManuallyDrop::new(session);
            core::mem::transmute_copy(&*session)
        };
        let file = Arc::pin_init(
            try_pin_init!(OpenFile {
                session <- new_mutex!(Some(session)),
                data,
                files: device.files.clone(),
            }? Error),
            GFP_KERNEL,
        )?;

        device.files.lock().push(file.clone(), GFP_KERNEL)?;
        Ok(file)
    }

    fn release(this: Self::Ptr, _file: &File) {
        // While the file is in the list, unbinding waits for its lock, and so for this.
        this.close();

        let mut open = this.files.lock();
        if let Some(index) = open.iter().position(|other| Arc::ptr_eq(other, &this)) {
            // The order does not matter.
            let last = open.len() - 1;
            open.swap(index, last);
            open.pop();
        }
    }

    fn ioctl(
        this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        file: &File,
        command: u32,
        argument: usize,
    ) -> Result<isize> {
        // After the device was unbound every ioctl fails with `ENODEV`, even an unknown one.
        this.with(|_| Ok(()))?;
        let call = Call {
            command,
            argument: UserPtr::from_addr(argument),
            nonblocking: file.flags() & O_NONBLOCK != 0,
        };
        T::ioctl(&this, call)?;
        Ok(0)
    }

    fn read_iter(kiocb: Kiocb<'_, Self::Ptr>, to: &mut IovIterDest<'_>) -> Result<usize> {
        // SAFETY: The file is valid for this call.
        let flags = unsafe { (*(*kiocb.as_raw()).ki_filp).f_flags };

        T::read(&kiocb.file(), flags & O_NONBLOCK != 0, to)
    }

    fn poll(
        this: <Self::Ptr as ForeignOwnable>::Borrowed<'_>,
        file: &File,
        table: &PollTable<'_>,
    ) -> u32 {
        T::poll(&this, table.requested_events(), &|changed| {
            table.register_wait(file, changed);
        })
    }
}

impl<T: Sessions> OpenFile<T> {
    /// Calls `f` with the session, which is locked. Unbinding the device waits for the lock: `f`
    /// must not access memory of user space, which may block.
    ///
    /// # Errors
    ///
    /// The error of `f`, or [`ENODEV`] if the device was unbound.
    pub fn with<R>(&self, f: impl for<'a> FnOnce(&mut T::Session<'a>) -> Result<R>) -> Result<R> {
        f((*self.session.lock()).as_mut().ok_or(ENODEV)?)
    }

    /// Returns the data that the file owns until it is closed.
    pub fn data(&self) -> &T::FileData {
        &self.data
    }

    fn close(&self) {
        *self.session.lock() = None;
    }
}

/// A registered character device.
///
/// # Invariants
///
/// `misc` is registered, and the values that it refers to are valid.
#[pin_data(PinnedDrop)]
struct Registration<'a, T: Sessions> {
    #[pin]
    misc: Opaque<bindings::miscdevice>,
    name: CString,
    files: Files<T>,
    shared: T::Shared<'a>,
}

// SAFETY: `misc` is only passed to the misc core, which any task may call. The rest is `Send`: see
// `Sessions`.
unsafe impl<T: Sessions> Send for Registration<'_, T> {}

impl<'a, T: Sessions> Registration<'a, T> {
    /// # Safety
    ///
    /// The result must be dropped before `'a` ends.
    unsafe fn new(
        parent: &'a Device<Bound>,
        name: CString,
        shared: T::Shared<'a>,
    ) -> Result<Pin<KBox<Self>>> {
        let files = Arc::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?;

        KBox::pin_init(
            try_pin_init!(&this in Self {
                files,
                shared,
                name,
                misc <- Opaque::try_ffi_init(|misc: *mut bindings::miscdevice| {
                    let options = MiscDeviceOptions { name: c"" };

                    // SAFETY: `misc` may be written. The name is not moved before `drop()`. All
                    // other fields are initialised before a file can be opened.
                    unsafe {
                        misc.write(options.into_raw::<Operations<T>>());
                        (*misc).name = (*this.as_ptr()).name.as_char_ptr();
                        (*misc).parent = parent.as_raw();
                        to_result(bindings::misc_register(misc))
                    }
                }),
            }? Error),
            GFP_KERNEL,
        )
    }
}

#[pinned_drop]
impl<T: Sessions> PinnedDrop for Registration<'_, T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered per the type invariant.
        unsafe { bindings::misc_deregister(self.misc.get()) };

        // No file is opened from here on.
        loop {
            let file = self.files.lock().pop();
            let Some(file) = file else { break };
            file.close();
        }
    }
}

impl<'s, H: Send + Sync + 'static> Publisher<'_, 's, H> {
    /// Registers the character device `/dev/<name>`, for root only, until the device is unbound. A
    /// `/` in the name creates a directory.
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if the name is in use, [`EBUSY`] if no minor number is left, [`ENOMEM`].
    pub fn character_device<T: Sessions>(&self, name: CString, shared: T::Shared<'s>) -> Result {
        // SAFETY: The device holds the registration, and drops it before `'s` ends.
        self.hold(unsafe { Registration::<'s, T>::new(self.device(), name, shared)? })
    }
}
