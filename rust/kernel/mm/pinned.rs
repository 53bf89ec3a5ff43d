// SPDX-License-Identifier: GPL-2.0

//! Memory of a process that is pinned for a device.
//!
//! The pages that a device works on must not move or be freed. [`PinnedPages`] are pinned pages of
//! the current process. A [`Mapping`] maps them for DMA.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use crate::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    dma::{
        DataDirection,
        DmaAddress, //
    },
    error::to_result,
    page::PAGE_SIZE,
    prelude::*,
    scatterlist::SGTable,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::Opaque, //
};
use core::ptr::NonNull;

/// Pages that a user has locked in memory.
///
/// # Invariants
///
/// This object owns the reference `user`. It has added `count` to the locked pages of the user.
struct Locked {
    user: NonNull<bindings::user_struct>,
    count: i64,
}

// SAFETY: Any task may release a reference and change the count.
unsafe impl Send for Locked {}
// SAFETY: As above.
unsafe impl Sync for Locked {}

impl Locked {
    fn new(count: usize) -> Result<Self> {
        // SAFETY: A task has a user.
        let user = NonNull::new(unsafe { bindings::get_current_user() }).ok_or(EINVAL)?;
        // INVARIANT: The reference was just taken, and no page is counted.
        let mut locked = Self { user, count: 0 };
        // SAFETY: `RLIMIT_MEMLOCK` is a valid limit.
        let limit = unsafe { bindings::rlimit(bindings::RLIMIT_MEMLOCK) } / PAGE_SIZE;
        // SAFETY: Safe to call.
        let unlimited = || unsafe { bindings::capable(bindings::CAP_IPC_LOCK as c_int) };
        // CAST: `MAX_LEN` is less than `i64::MAX` pages.
        let more = count as i64;
        let mut now = locked.total().load(Relaxed);

        loop {
            let sum = now + more;
            if usize::try_from(sum).map_or(true, |sum| sum > limit) && !unlimited() {
                return Err(ENOMEM);
            }
            match locked.total().cmpxchg(now, sum, Relaxed) {
                Ok(_) => break,
                Err(other) => now = other,
            }
        }
        // INVARIANT: Just counted.
        locked.count = more;
        Ok(locked)
    }

    /// Returns the total number of pages that the user has locked.
    fn total(&self) -> &Atomic<i64> {
        // SAFETY: The user is valid per the type invariant. All accesses are atomic.
        unsafe { Atomic::from_ptr(&raw mut (*self.user.as_ptr()).locked_vm.counter) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.total().fetch_sub(self.count, Relaxed);
        // SAFETY: The reference is owned per the type invariant, and not used afterwards.
        unsafe { bindings::free_uid(self.user.as_ptr()) };
    }
}

/// A pinned range of the memory of a process. Its pages stay in memory, even if the process unmaps
/// or replaces them, and count as locked memory of the user.
///
/// Dropping it unpins them, and sleeps.
///
/// # Invariants
///
/// Each element of `pages` is a page that was pinned for this object.
pub struct PinnedPages {
    pages: KVVec<*mut bindings::page>,
    /// Offset of the range in the first page, in bytes.
    offset: usize,
    /// Length of the range, in bytes.
    len: usize,
    writable: bool,
    // Dropped after the pages have been unpinned.
    _locked: Locked,
}

// SAFETY: Any task can unpin pages.
unsafe impl Send for PinnedPages {}
// SAFETY: No method of `&PinnedPages` changes it.
unsafe impl Sync for PinnedPages {}

impl PinnedPages {
    /// Maximum length of a range, in bytes.
    pub const MAX_LEN: usize = 1 << 36;

    /// Pins `len` bytes at `address` of the current process. If `writable`, devices may write to
    /// them. Sleeps, for an unlimited time if the memory is not present: the caller must not hold
    /// locks that other processes wait for.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `len` is zero or larger than [`Self::MAX_LEN`], or the range wraps.
    /// - [`EFAULT`] if the memory is not mapped, not readable, or not writable if `writable`.
    /// - [`ENOMEM`] if it exceeds the limit of locked memory (`RLIMIT_MEMLOCK`), or there is not
    ///   enough memory.
    /// - Others of `pin_user_pages_fast()`, such as [`EINTR`] if the process is killed, or
    ///   [`EOPNOTSUPP`] for memory that does not support long-term pinning.
    pub fn new(address: usize, len: usize, writable: bool) -> Result<Self> {
        if len == 0 || len > Self::MAX_LEN || address.checked_add(len).is_none() {
            return Err(EINVAL);
        }
        let offset = address % PAGE_SIZE;
        let count = (offset + len).div_ceil(PAGE_SIZE);
        let locked = Locked::new(count)?;
        // INVARIANT: There are no elements.
        let mut pinned = Self {
            pages: KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT | __GFP_NOWARN)?,
            offset,
            len,
            writable,
            _locked: locked,
        };

        while pinned.pages.len() < count {
            pinned.pin(address - offset, count)?;
        }
        Ok(pinned)
    }

    /// Pins the next pages of the `count` pages from `start` on: one batch, or a part of it.
    fn pin(&mut self, start: usize, count: usize) -> Result {
        let done = self.pages.len();
        let spare = self.pages.spare_capacity_mut();
        // Interrupts are disabled while a batch is pinned.
        const BATCH: usize = PAGE_SIZE / size_of::<*mut bindings::page>();
        // CAST: Not more than `BATCH`.
        let missing = (count - done).min(BATCH) as i32;
        let write = if self.writable {
            bindings::FOLL_WRITE
        } else {
            0
        };

        // SAFETY: There is room for `missing` pointers. The function checks the range.
        let pinned = unsafe {
            bindings::pin_user_pages_fast(
                start + done * PAGE_SIZE,
                missing,
                bindings::FOLL_LONGTERM | write,
                spare.as_mut_ptr().cast(),
            )
        };
        to_result(pinned)?;
        if pinned == 0 {
            return Err(EFAULT);
        }
        // INVARIANT: The pages were just pinned.
        // SAFETY: `pinned` pointers were written to the spare capacity.
        // CAST: Not negative.
        unsafe { self.pages.inc_len(pinned as usize) };
        Ok(())
    }

    /// Returns whether devices may write to the range.
    #[inline]
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// Maps the range for `dev`. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EOPNOTSUPP`] if the mapping needs synchronisation (bounce buffers, or DMA that is not
    /// coherent), [`ENOMEM`], or the error of the device's DMA operations.
    pub fn map(self, dev: &Device<Bound>) -> Result<Mapping<'_>> {
        let mut pages = self;
        let direction = if pages.writable {
            DataDirection::Bidirectional
        } else {
            DataDirection::ToDevice
        };
        // SAFETY: The device is valid.
        let max_segment = unsafe { bindings::dma_get_max_seg_size(dev.as_raw()) };
        let table = Table(Opaque::zeroed());

        // SAFETY: The table can be written, and the number of pages is right. The pages outlive the
        // table: a `Mapping` drops them last.
        to_result(unsafe {
            bindings::sg_alloc_table_from_pages_segment(
                table.0.get(),
                pages.pages.as_mut_ptr(),
                // CAST: See `MAX_LEN`.
                pages.pages.len() as u32,
                // CAST: Less than a page.
                pages.offset as u32,
                pages.len,
                max_segment,
                GFP_KERNEL_ACCOUNT.as_raw(),
            )
        })?;
        // SAFETY: The device is bound, and the table valid.
        to_result(unsafe {
            bindings::dma_map_sgtable(
                dev.as_raw(),
                table.0.get(),
                direction.into(),
                Mapping::ATTRIBUTES,
            )
        })?;

        // INVARIANT: Just mapped.
        let mapping = Mapping {
            dev,
            direction,
            table,
            pages,
        };
        let synced = |(address, _)| {
            // SAFETY: The device is valid, and the address was mapped for it.
            unsafe { bindings::dma_need_sync(dev.as_raw(), address) }
        };
        if mapping.entries().any(synced) {
            return Err(EOPNOTSUPP);
        }
        Ok(mapping)
    }
}

impl Drop for PinnedPages {
    fn drop(&mut self) {
        // SAFETY: The pages were pinned per the type invariant, and are not used afterwards.
        unsafe {
            bindings::unpin_user_pages_dirty_lock(
                self.pages.as_mut_ptr(),
                self.pages.len(),
                self.writable,
            )
        };
    }
}

/// A table of segments.
///
/// # Invariants
///
/// The table was set up, or is zeroed.
struct Table(Opaque<bindings::sg_table>);

// SAFETY: Any task can free a table.
unsafe impl Send for Table {}
// SAFETY: It is not changed while it is shared.
unsafe impl Sync for Table {}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: The table is valid per the type invariant. Freeing a zeroed table does nothing.
        unsafe { bindings::sg_free_table(self.0.get()) };
    }
}

/// Pinned pages that are mapped for a device. Dropping it unmaps them, and sleeps. The device must
/// have stopped using them before.
///
/// # Invariants
///
/// `table` is mapped for `dev` in `direction`.
pub struct Mapping<'a> {
    dev: &'a Device<Bound>,
    direction: DataDirection,
    // Dropped in this order.
    table: Table,
    pages: PinnedPages,
}

impl Mapping<'_> {
    /// Bounce buffers are refused, so nothing must be copied, even before they are detected.
    const ATTRIBUTES: usize = bindings::DMA_ATTR_SKIP_CPU_SYNC as usize;

    /// Returns the mapped pages.
    #[inline]
    pub fn pages(&self) -> &PinnedPages {
        &self.pages
    }

    /// Returns the addresses and lengths of the table's entries, in bytes.
    fn entries(&self) -> impl Iterator<Item = (DmaAddress, u64)> + '_ {
        // SAFETY: The table is valid as long as `self`, and does not change.
        let table = unsafe { SGTable::from_raw(self.table.0.get()) };

        // Merging leaves entries without a length at the end.
        table
            .iter()
            .map(|entry| (entry.dma_address(), entry.dma_len()))
            .take_while(|&(_, len)| len != 0)
    }

    /// Returns address and length, in bytes, of each part of the range that is contiguous for the
    /// device, in the order of the range.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`].
    pub fn segments(&self) -> Result<KVVec<(DmaAddress, u64)>> {
        let mut segments: KVVec<(DmaAddress, u64)> = KVVec::new();

        for (address, len) in self.entries() {
            match segments.as_mut_slice().last_mut() {
                Some((start, length)) if *start + *length == address => *length += len,
                _ => segments.push((address, len), GFP_KERNEL_ACCOUNT)?,
            }
        }
        Ok(segments)
    }
}

impl Drop for Mapping<'_> {
    fn drop(&mut self) {
        // SAFETY: Mapped per the type invariant. The device is bound while it is borrowed.
        unsafe {
            bindings::dma_unmap_sgtable(
                self.dev.as_raw(),
                self.table.0.get(),
                self.direction.into(),
                Self::ATTRIBUTES,
            )
        };
    }
}
