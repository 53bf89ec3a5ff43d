// SPDX-License-Identifier: GPL-2.0

//! The memory of the entries of a work queue that the device uses: completion records, and the
//! descriptors of batches.

use crate::{
    item::{
        Item,
        Part,
        Record, //
    },
    regs::*,
    turns::Turns, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    dma::Coherent,
    io::{
        io_read,
        io_write,
        IoBase,
        SysMem, //
    },
    prelude::*, //
};

/// A descriptor, in words of 8 bytes.
pub(crate) type Descriptor = [u64; DESCRIPTOR];

const DESCRIPTOR: usize = 8;
/// The two completion records of an entry, in words: that of its descriptor or batch, and from
/// [`RECORD_FAILED`] on that of a descriptor of a batch that failed.
type Records = [u64; 8];
const RECORD_FAILED: usize = 4;
/// Where the CRC is in a record, in words.
const RECORD_CRC: usize = 2;
/// A power of two, so that no index modulo this needs a check.
const ENTRIES: usize = 64;
const _: () = assert!(Turns::MAX as usize <= ENTRIES);
/// Maximum number of descriptors in a batch.
const BATCH: usize = 64;

/// Limits of the descriptors of a work queue.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// MSI-X vector of items without an interrupt of a file.
    pub(crate) vector: u16,
    /// Maximum length of a transfer, in bytes.
    pub(crate) max_transfer: u64,
    /// Maximum number of descriptors in a batch.
    pub(crate) max_batch: u32,
}

/// Completion records of the entries of a work queue, and the descriptors of their batches.
pub(crate) struct DescriptorMemory {
    records: Coherent<[Records; ENTRIES]>,
    batches: Coherent<[u64]>,
}

impl DescriptorMemory {
    pub(crate) fn new(dev: &device::Device<Bound>, entries: usize) -> Result<Self> {
        let words = entries.max(1) * BATCH * DESCRIPTOR;

        Ok(Self {
            records: Coherent::zeroed(dev, GFP_KERNEL)?,
            batches: Coherent::zeroed_slice(dev, words, GFP_KERNEL)?,
        })
    }

    /// Returns the next descriptor of `item`, which has entry `index`, and whether its interrupt is
    /// one of the message store.
    pub(crate) fn next(
        &self,
        index: usize,
        item: &mut Item,
        limits: &Limits,
    ) -> Result<(Descriptor, bool)> {
        let (mut descriptor, end, batched) = self.parts(index, item, limits)?;
        let last = item.note_step(&end, batched);
        let (handle, ims) = match &item.signal {
            Some((_, slot)) if last => (*slot, true),
            _ => (limits.vector, false),
        };

        descriptor[0] = DescriptorHead::from_raw(descriptor[0])
            .with_completion_valid(true)
            .with_request_completion(true)
            .with_request_interrupt(true)
            .into_raw();
        descriptor[1] = self.record_address(index, 0);
        descriptor[4] = DescriptorTail::from_raw(descriptor[4])
            .with_int_handle(handle)
            .into_raw();
        Ok((descriptor, ims))
    }

    /// Returns the descriptor of what comes next, the last part that it does, and whether it is a
    /// batch.
    fn parts(
        &self,
        index: usize,
        item: &Item,
        limits: &Limits,
    ) -> Result<(Descriptor, Part, bool)> {
        let most = BATCH.min(limits.max_batch as usize);
        let mut parts = item.parts(limits.max_transfer, most).peekable();
        let mut end = parts.next().ok_or(EINVAL)?;
        let mut descriptor = item.descriptor(&end);
        if parts.peek().is_none() {
            return Ok((descriptor, end, false));
        }

        // Of those of a batch, only one that fails writes a record.
        let failed = self.record_address(index, RECORD_FAILED);
        let list = index * BATCH * DESCRIPTOR;
        self.write_listed(list, descriptor, failed)?;
        let mut count = 1;
        for part in parts {
            self.write_listed(list + count * DESCRIPTOR, item.descriptor(&part), failed)?;
            end = part;
            count += 1;
        }

        // CAST: Not more than `BATCH`.
        let tail = DescriptorTail::zeroed().with_size(count as u32);
        let head = DescriptorHead::zeroed().with_opcode(OPCODE_BATCH);
        descriptor = [0; DESCRIPTOR];
        descriptor[0] = head.into_raw();
        descriptor[2] = self.batches.dma_address() + (list * size_of::<u64>()) as u64;
        descriptor[4] = tail.into_raw();
        Ok((descriptor, end, true))
    }

    /// Writes a descriptor of a batch, with the address of its completion record.
    fn write_listed(&self, at: usize, mut descriptor: Descriptor, record: u64) -> Result {
        descriptor[0] = DescriptorHead::from_raw(descriptor[0])
            .with_completion_valid(true)
            .into_raw();
        descriptor[1] = record;
        for (word, value) in descriptor.into_iter().enumerate() {
            io_write!(self.batches, [try: at + word], value);
        }
        Ok(())
    }

    /// Returns the DMA address of a word of the records of an entry.
    fn record_address(&self, index: usize, word: usize) -> u64 {
        let offset = index * size_of::<Records>() + word * size_of::<u64>();

        self.records.dma_address() + offset as u64
    }

    fn head(records: SysMem<'_, [Records; ENTRIES]>, index: usize) -> CompletionHead {
        let head = io_read!(records, [build: index % ENTRIES][build: 0]);

        CompletionHead::from_raw(head)
    }

    /// Returns those of the entries, one in each bit, whose completion record the device has
    /// written.
    #[inline]
    pub(crate) fn written(&self, mut entries: u64) -> impl Iterator<Item = usize> + '_ {
        // Found once: interrupt handlers look at each entry in use.
        let records = self.records.as_view().as_sys_mem();

        core::iter::from_fn(move || {
            while entries != 0 {
                let index = entries.trailing_zeros() as usize;

                entries &= entries - 1;
                if Self::head(records, index).status().get() != 0 {
                    return Some(index);
                }
            }
            None
        })
    }

    /// Reads the completion record of an entry, if the device has written it.
    pub(crate) fn record(&self, index: usize) -> Option<Record> {
        // The status is in this word, which is read first.
        let mut head = Self::head(self.records.as_view().as_sys_mem(), index);
        if head.status().get() == 0 {
            return None;
        }
        let index = index % ENTRIES;
        if head.status().get() == u64::from(COMPLETION_BATCH_FAIL) {
            let failed = io_read!(self.records, [build: index][build: RECORD_FAILED]);
            let status = CompletionHead::from_raw(failed).status();
            if status.get() != 0 {
                head = head.with_status(status);
            }
        }
        let crc = io_read!(self.records, [build: index][build: RECORD_CRC]);
        Some(Record { head, crc })
    }

    /// Clears the completion records of an entry.
    pub(crate) fn clear(&self, index: usize) {
        let index = index % ENTRIES;

        io_write!(self.records, [build: index][build: RECORD_FAILED], 0);
        io_write!(self.records, [build: index][build: 0], 0);
    }
}
