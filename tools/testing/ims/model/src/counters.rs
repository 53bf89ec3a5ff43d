// SPDX-License-Identifier: GPL-2.0

//! What the device counts for tests.

/// Counters of one slot.
///
/// raises = (sent + refused - replayed) + latched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounters {
    /// Messages sent.
    pub sent: u32,
    /// Raises that found the slot masked, also those that collapsed.
    pub latched: u32,
    /// Messages that the device could not send: bus mastering off, or another
    /// power state than D0.
    pub refused: u32,
    /// Unmasks that found the slot pending; each sent or refused one message.
    pub replayed: u32,
}

/// Counters of the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The same as in [`SlotCounters`], over all slots.
    pub sent: u64,
    pub latched: u64,
    pub refused: u64,
    /// Accesses to the IMS table, of any width.
    pub ims_reads: u64,
    pub ims_writes: u64,
    /// DMA that was refused on the way or not allowed.
    pub dma_errors: u64,
    /// Descriptors taken from portals into a queue.
    pub descriptors_taken: u64,
    pub descriptors_completed: u64,
    /// Descriptors dropped by an abort or a reset.
    pub descriptors_discarded: u64,
    /// Portal writes that did not become a descriptor in a queue. The driver
    /// hears only of those to a full one.
    pub portal_refused: u64,
    /// MSI-X vectors raised, and not raised because bus mastering was off.
    pub vectors_sent: u64,
    pub vectors_refused: u64,
    /// Commands completed.
    pub commands: u64,
    /// FLRs, resets by QEMU, and ways out of D3hot that reset.
    pub resets: u64,
    /// Raises by the source.
    pub source_raises: u64,
    /// Accesses of BAR0 and BAR2 in another power state than D0.
    pub unpowered: u64,
    /// Messages of a masked slot that the host had not taken when the slot was read. On a bus the
    /// read would have pushed them. Only counted without handle commands, which wait for them.
    pub late: u64,
}
