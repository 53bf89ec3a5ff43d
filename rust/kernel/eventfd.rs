// SPDX-License-Identifier: GPL-2.0

//! Event notification of user space.
//!
//! C header: [`include/linux/eventfd.h`](srctree/include/linux/eventfd.h)

use crate::{
    bindings,
    current,
    error::from_err_ptr,
    prelude::*, //
};
use core::ptr::NonNull;

/// The kernel's side of an eventfd.
///
/// # Invariants
///
/// The pointer is a reference to a `struct eventfd_ctx`, which this object owns.
pub struct EventFd(NonNull<bindings::eventfd_ctx>);

// SAFETY: Any task may release a reference.
unsafe impl Send for EventFd {}
// SAFETY: The context has a lock of its own.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// Gets a reference to the eventfd with file descriptor `fd` of the current process. It stays
    /// valid after the process has closed `fd`.
    ///
    /// # Errors
    ///
    /// [`EBADF`] if `fd` is not open, or the current task is exiting and has no files.
    /// [`EINVAL`] if it is not an eventfd.
    #[inline(never)]
    pub fn from_fd(fd: i32) -> Result<Self> {
        let task = current!().as_ptr();

        // SAFETY: The current task is valid, and only the task itself changes its `files`.
        if unsafe { (*task).files }.is_null() {
            return Err(EBADF);
        }

        // SAFETY: The task has files, and any number may be passed.
        let ctx = from_err_ptr(unsafe { bindings::eventfd_ctx_fdget(fd) })?;

        // INVARIANT: The reference was just taken.
        NonNull::new(ctx).map(Self).ok_or(EINVAL)
    }

    /// Adds one to the counter, unless it is at its maximum. Does not sleep, and may be called from
    /// an interrupt handler.
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

#[cfg(CONFIG_RUST_EVENTFD_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_eventfd)]
mod tests {
    use super::*;
    use core::ptr;

    #[test]
    fn task_without_files() {
        let task = current!().as_ptr();

        // SAFETY: The current task is valid, and only the task itself changes its `files`. It keeps
        // its reference to them.
        let files = unsafe { ptr::replace(&raw mut (*task).files, ptr::null_mut()) };
        let found = EventFd::from_fd(0).map(|_| ());
        // SAFETY: As above. This restores the old value.
        unsafe { (*task).files = files };

        assert_eq!(found, Err(EBADF));
    }
}
