// SPDX-License-Identifier: GPL-2.0

//! Character devices whose open files own what borrows from a device.
//!
//! A file can stay open after its device has gone. So what it owns is only lent to its calls:
//! unbinding takes it away from all open files, after which they fail with [`ENODEV`].
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

/// A kind of character device.
#[vtable]
pub trait Sessions: Sized + 'static {
    /// Data of the character device.
    type Shared<'a>: Send + Sync + 'a;

    /// State of one open file that needs the device.
    type Session<'a>: Send + Unpin + 'a;

    /// Data of one open file that stays when its device is unbound.
    type FileData: Send + Sync + 'static;

    /// Opens a file. Must not wait for another open: they are serialised system-wide.
    ///
    /// # Errors
    ///
    /// For user space.
    fn open<'a>(shared: &Self::Shared<'a>) -> Result<(Self::Session<'a>, Self::FileData)>;

    /// Serves an ioctl of user space. Sleeps.
    ///
    /// # Errors
    ///
    /// For user space.
    fn ioctl(file: &OpenFile<Self>, call: Call) -> Result;

    /// Reads from the file. Sleeps, but does not wait for what is to be read if `nonblocking`.
    ///
    /// # Errors
    ///
    /// For user space.
    fn read(
        _file: &OpenFile<Self>,
        _nonblocking: bool,
        _to: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        Err(EINVAL)
    }

    /// Returns what can be done with the file without waiting, as a mask of `POLL*`, and calls
    /// `register` with what is notified when that changes. `events` is what user space asks for.
    fn poll(_file: &OpenFile<Self>, _events: u32, _register: &dyn Fn(&PollCondVar)) -> u32 {
        bindings::POLLIN | bindings::POLLOUT
    }
}

/// An ioctl of user space.
#[derive(Clone, Copy)]
pub struct Call {
    /// Its number.
    pub command: u32,
    /// Its argument.
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
        // `Registration`. That is not dropped now: misc_deregister() waits for an open that runs.
        let device: &Registration<'_, T> =
            unsafe { &*container_of!(Opaque::cast_from(misc.as_raw()), Registration<'_, T>, misc) };

        let (session, data) = T::open(&device.shared)?;
        // SAFETY: Types that differ in a lifetime only have the same layout. The session is dropped
        // before what it borrows, with the registration at the latest, and only lent for calls
        // that work for every lifetime.
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
        // While the file is listed, an unbind waits for its lock, and so for this.
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
        // Unknown calls fail with `ENODEV` as well then.
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
    /// Calls `f` with the session of the file, under its lock. An unbind of the device waits for the
    /// lock, so `f` must not access memory of user space, which may block.
    ///
    /// # Errors
    ///
    /// Those of `f`, and [`ENODEV`] if the device was unbound.
    pub fn with<R>(&self, f: impl for<'a> FnOnce(&mut T::Session<'a>) -> Result<R>) -> Result<R> {
        f((*self.session.lock()).as_mut().ok_or(ENODEV)?)
    }

    /// Returns the data of the file, also after the device was unbound.
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
/// `misc` is registered, and so is all that it refers to in place.
#[pin_data(PinnedDrop)]
struct Registration<'a, T: Sessions> {
    #[pin]
    misc: Opaque<bindings::miscdevice>,
    name: CString,
    files: Files<T>,
    shared: T::Shared<'a>,
}

// SAFETY: `misc` is only handed to the core, which allows that from any thread. The rest is `Send`:
// see `Sessions`.
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

                    // SAFETY: `misc` may be written. The name stays where it is until `drop()`. All
                    // other fields have been initialised before a file can be opened.
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
    /// Registers the character device `/dev/<name>` (a `/` in it makes a directory), for root only.
    /// It exists until the device is unbound.
    ///
    /// # Errors
    ///
    /// [`EEXIST`] if there is one of that name, [`EBUSY`] if no minor number is left, [`ENOMEM`].
    pub fn character_device<T: Sessions>(&self, name: CString, shared: T::Shared<'s>) -> Result {
        // SAFETY: The device holds the registration, and drops it while `'s` lasts.
        self.hold(unsafe { Registration::<'s, T>::new(self.device(), name, shared)? })
    }
}
