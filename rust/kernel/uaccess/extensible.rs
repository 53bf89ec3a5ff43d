// SPDX-License-Identifier: GPL-2.0

//! Structures of the user-space ABI that begin with their size, so that they can grow.

use super::{
    UserPtr,
    UserSlice, //
};
use crate::{
    bindings,
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};
use zerocopy::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

impl UserPtr {
    /// Reads a structure whose first member is its size, a `u32`. The structure may be larger than
    /// `T` if the rest is zero.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if the size is smaller than `T`,
    /// - [`E2BIG`] if it is larger than a page, or a byte after `T` is not zero,
    /// - [`EFAULT`] if the memory cannot be read.
    pub fn read_struct<T: FromBytes + IntoBytes>(self) -> Result<T> {
        let mut value = T::new_zeroed();

        self.read_extensible(value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a structure that [`Self::read_struct`] has read back to user space.
    ///
    /// # Errors
    ///
    /// [`EFAULT`] if the memory cannot be written. A part of it may have been written.
    pub fn write_struct<T: IntoBytes + Immutable>(self, value: &T) -> Result {
        let bytes = value.as_bytes();

        UserSlice::new(self, bytes.len())
            .writer()
            .write_slice(bytes)
    }

    /// The part of [`Self::read_struct`] that does not depend on the type.
    fn read_extensible(self, bytes: &mut [u8]) -> Result {
        let size: u32 = UserSlice::new(self, size_of::<u32>()).reader().read()?;
        // CAST: A `usize` has 32 bits or more.
        let size = size as usize;

        if size < bytes.len() {
            return Err(EINVAL);
        }
        if size > PAGE_SIZE {
            return Err(E2BIG);
        }
        // SAFETY: `bytes` may be written. The function checks the pointer and size of user space.
        to_result(unsafe {
            bindings::copy_struct_from_user(
                bytes.as_mut_ptr().cast(),
                bytes.len(),
                self.as_const_ptr(),
                size,
            )
        })
    }
}
