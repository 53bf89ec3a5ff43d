// SPDX-License-Identifier: GPL-2.0

//! A buffer: memory of a program that the device works on.

use kernel::{
    dma::DmaAddress,
    mm::pinned::Mapping,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    }, //
};

/// An object that items in flight use.
pub(crate) trait Used {
    fn uses(&self) -> &Atomic<u32>;
}

/// One use by an item in flight.
pub(crate) struct Use<T: Used>(Arc<T>);

impl<T: Used> Use<T> {
    pub(crate) fn new(used: Arc<T>) -> Self {
        used.uses().add(1, Relaxed);
        Self(used)
    }

    /// Ends the use. The result must be dropped without a lock held: it may be the last reference.
    pub(crate) fn end(self) -> Arc<T> {
        self.0.clone()
    }
}

impl<T: Used> core::ops::Deref for Use<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Used> Drop for Use<T> {
    fn drop(&mut self) {
        self.0.uses().fetch_sub(1, Release);
    }
}

/// The DMA addresses of a buffer. Its owner keeps the mapping while there are uses.
pub(crate) struct Buffer {
    /// Offset in the buffer, and address, of each contiguous part, in bytes.
    segments: KVVec<(u64, DmaAddress)>,
    len: u64,
    pub(crate) writable: bool,
    uses: Atomic<u32>,
}

impl Buffer {
    pub(crate) fn new(mapping: &Mapping<'_>) -> Result<Arc<Self>> {
        let mut segments = mapping.segments()?;
        let mut offset = 0;
        for (address, len) in segments.as_mut_slice() {
            (offset, *address, *len) = (offset + *len, offset, *address);
        }

        let buffer = Self {
            segments,
            len: offset,
            writable: mapping.pages().is_writable(),
            uses: Atomic::new(0),
        };
        Ok(Arc::new(buffer, GFP_KERNEL)?)
    }

    /// Returns whether `len` bytes at `offset` are in the buffer.
    pub(crate) fn contains(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }

    /// Returns whether items use the buffer.
    pub(crate) fn is_used(&self) -> bool {
        self.uses.load(Acquire) != 0
    }

    /// Returns the address of the byte at `offset`, and how many are contiguous from there on.
    pub(crate) fn at(&self, offset: u64) -> (DmaAddress, u64) {
        let next = self.segments.partition_point(|&(start, _)| start <= offset);
        let end = self
            .segments
            .get(next)
            .map_or(self.len, |&(start, _)| start);
        let (start, address) = next
            .checked_sub(1)
            .and_then(|index| self.segments.get(index).copied())
            .unwrap_or((0, 0));

        (address + (offset - start), end.saturating_sub(offset))
    }
}

impl Used for Buffer {
    fn uses(&self) -> &Atomic<u32> {
        &self.uses
    }
}
