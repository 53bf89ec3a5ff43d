// SPDX-License-Identifier: GPL-2.0

//! Counters that user space waits for.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use crate::{
    bindings,
    error::from_err_ptr,
    prelude::*, //
};
use core::ptr::NonNull;

/// The kernel's side of an eventfd.
///
/// # Invariants
///
/// The pointer is a reference to a `struct eventfd_ctx`, owned by this object.
pub struct EventFd(NonNull<bindings::eventfd_ctx>);

// SAFETY: A reference may be released on any thread.
unsafe impl Send for EventFd {}
// SAFETY: The context has a lock of its own.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Takes a reference to the eventfd that the calling process has as file descriptor `fd`. It
    /// stays usable when the process closes that.
    ///
    /// # Errors
    ///
    /// [`EBADF`] if it is no open file, [`EINVAL`] if that is no eventfd.
    #[inline(never)]
    pub fn from_fd(fd: i32) -> Result<Self> {
        // SAFETY: Any number may be passed.
        let ctx = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;

        // INVARIANT: The reference was just taken.
        NonNull::new(ctx).map(Self).ok_or(EINVAL)
    }

    /// Adds one to the counter, which stays at its highest value if nobody reads it. Does not wait,
    /// and may be called from an interrupt handler.
    #[inline]
    pub fn signal(&self) {
        // SAFETY: The context is valid per the type invariant.
        unsafe { bindings::eventfd_signal_mask(self.0.as_ptr(), 0) };
    }
}

impl Drop for EventFd {
    #[inline(never)]
    fn drop(&mut self) {
        // SAFETY: The reference is owned per the type invariant, and not used again.
        unsafe { bindings::eventfd_ctx_put(self.0.as_ptr()) };
    }
}
