// SPDX-License-Identifier: GPL-2.0

//! Memory of a process that is pinned for a device.
//!
//! A device that works on the memory of a program needs it to stay where it is. [`PinnedPages`] are
//! pages of the current process, [`Mapping`] is what a device uses them by.
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
/// `user` is a reference, which this object owns, and `count` pages are counted for it.
struct Locked {
    user: NonNull<bindings::user_struct>,
    count: i64,
}

// SAFETY: A reference may be released, and the count be changed, by any task.
unsafe impl Send for Locked {}
// SAFETY: As above.
unsafe impl Sync for Locked {}

impl Locked {
    fn new(count: usize) -> Result<Self> {
        // SAFETY: A task has a user.
        let user = NonNull::new(unsafe { bindings::get_current_user() }).ok_or(EINVAL)?;
        // INVARIANT: None is counted yet. The reference was taken just now.
        let mut locked = Self { user, count: 0 };
        // SAFETY: A limit that there is.
        let limit = unsafe { bindings::rlimit(bindings::RLIMIT_MEMLOCK) } / PAGE_SIZE;
        // SAFETY: Safe to call.
        let unlimited = || unsafe { bindings::capable(bindings::CAP_IPC_LOCK as c_int) };
        // CAST: `MAX_LEN` has less pages than that.
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

    /// The pages that the user has locked in all.
    fn total(&self) -> &Atomic<i64> {
        // SAFETY: The user is valid per the type invariant. Others use atomic operations as well.
        unsafe { Atomic::from_ptr(&raw mut (*self.user.as_ptr()).locked_vm.counter) }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.total().fetch_sub(self.count, Relaxed);
        // SAFETY: The reference is owned per the type invariant, and not used any more.
        unsafe { bindings::free_uid(self.user.as_ptr()) };
    }
}

/// A range of the memory of a process, pinned: its pages stay in memory, and stay the same, until
/// this is dropped, whatever the process does with the range. They count as locked memory of the
/// user.
///
/// Dropping it sleeps.
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

// SAFETY: Pages can be unpinned by any task.
unsafe impl Send for PinnedPages {}
// SAFETY: The methods of `&PinnedPages` change nothing.
unsafe impl Sync for PinnedPages {}

impl PinnedPages {
    /// Maximum length of a range, in bytes.
    pub const MAX_LEN: usize = 1 << 36;

    /// Pins `len` bytes at `address` of the current process. If `writable`, devices may write to
    /// them. Sleeps, and waits for memory that is not present, as long as that takes: the caller
    /// holds no locks that matter to others.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if `len` is zero or larger than [`Self::MAX_LEN`], or the range has no end.
    /// - [`EFAULT`] if there is no memory, or it may not be read, or not written as is asked for.
    /// - [`ENOMEM`] if that is more than the user may lock (`RLIMIT_MEMLOCK`), or there is not
    ///   enough memory.
    /// - Others of `pin_user_pages_fast()`, such as [`EINTR`] if the process is killed, or
    ///   [`EOPNOTSUPP`] for memory that cannot be pinned for long.
    pub fn new(address: usize, len: usize, writable: bool) -> Result<Self> {
        if len == 0 || len > Self::MAX_LEN || address.checked_add(len).is_none() {
            return Err(EINVAL);
        }
        let offset = address % PAGE_SIZE;
        let count = (offset + len).div_ceil(PAGE_SIZE);
        let locked = Locked::new(count)?;
        // INVARIANT: There is no element yet.
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

    /// Pins some of those that are missing of `count` pages from `start` on.
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

        // SAFETY: There is room for so many pointers. The function checks the range.
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
        // INVARIANT: They were pinned just now.
        // SAFETY: So many pointers were written, for which there was room.
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
    /// [`EOPNOTSUPP`] if the device would use a copy of the memory (bounce buffers, or a CPU whose
    /// caches it does not see), [`ENOMEM`], or what the device's DMA operations fail with.
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

        // SAFETY: The table can be written, and the pages are as many as is said. They stay valid
        // longer than the table: a `Mapping` drops them last.
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
            // SAFETY: The device is valid, and the address one that it was given.
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
        // SAFETY: They were pinned per the type invariant, and are not used any more.
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

// SAFETY: A table can be freed by any task.
unsafe impl Send for Table {}
// SAFETY: It is not changed while it is shared.
unsafe impl Sync for Table {}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: The table is valid per the type invariant. Nothing is done for a zeroed one.
        unsafe { bindings::sg_free_table(self.0.get()) };
    }
}

/// Pinned pages that are mapped for a device, until this is dropped. The device must not use them
/// any more then. Dropping it sleeps.
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
    /// Nothing is to be copied, as bounce buffers are refused: not when that is found out, either.
    const ATTRIBUTES: usize = bindings::DMA_ATTR_SKIP_CPU_SYNC as usize;

    /// Returns the pages that are mapped.
    #[inline]
    pub fn pages(&self) -> &PinnedPages {
        &self.pages
    }

    /// Addresses and lengths of the table's entries, in bytes.
    fn entries(&self) -> impl Iterator<Item = (DmaAddress, u64)> + '_ {
        // SAFETY: The table is valid as long as `self`, and not changed.
        let table = unsafe { SGTable::from_raw(self.table.0.get()) };

        // Entries that others follow to have no length.
        table
            .iter()
            .map(|entry| (entry.dma_address(), entry.dma_len()))
            .take_while(|&(_, len)| len != 0)
    }

    /// Address and length of each part of the range that is contiguous for the device, in bytes, in
    /// the order of the range.
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
        // SAFETY: Mapped per the type invariant. The device is bound as long as it is borrowed.
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
