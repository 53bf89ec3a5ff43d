// SPDX-License-Identifier: GPL-2.0

//! A message store in host memory, which the device reads.
//!
//! Network and storage controllers keep the message of a queue in the queue's context. The device
//! has a copy, and a command makes it reload the context. As waiting for the command sleeps, a
//! change is written to memory and recorded, for a later command.

use crate::{
    bitmap::BitmapVec,
    device::{
        Bound,
        Device, //
    },
    dma::{
        Coherent,
        CoherentView, //
    },
    io::io_project,
    prelude::*,
    transmute, //
};
use zerocopy::Immutable;

/// A context, with the traits that DMA memory requires.
#[repr(transparent)]
struct Context<S>(S);

// SAFETY: `S` accepts any bytes and has no interior mutability, and so does a transparent wrapper.
unsafe impl<S: FromBytes + Immutable> transmute::FromBytes for Context<S> {}
// SAFETY: `S` has no padding and no interior mutability, and so does a transparent wrapper.
unsafe impl<S: IntoBytes + Immutable> transmute::AsBytes for Context<S> {}

/// An array of contexts of type `S` in memory that the device reads and may write.
///
/// A chip holds it. The device must have stopped using the memory when the array is dropped.
pub struct MemoryQueue<S> {
    contexts: Coherent<[Context<S>]>,
    /// Slots that have changed since the last update.
    changed: BitmapVec,
}

impl<S: FromBytes + IntoBytes + Immutable> MemoryQueue<S> {
    /// Allocates `slots` contexts, all zero. Sleeps.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`] if there is not enough memory that the device can reach, or those of
    /// [`Coherent::zeroed_slice`].
    pub fn new(dev: &Device<Bound>, slots: u32) -> Result<Self> {
        Ok(Self {
            contexts: Coherent::zeroed_slice(dev, slots as usize, GFP_KERNEL)?,
            changed: BitmapVec::new(slots as usize, GFP_KERNEL)?,
        })
    }

    /// Returns the bus address of the first context.
    pub fn dma_address(&self) -> u64 {
        self.contexts.dma_address()
    }

    /// Returns a view of the context of `slot`, or `None` if there is no such slot.
    #[inline(always)]
    pub fn get(&self, slot: usize) -> Option<CoherentView<'_, S>> {
        let view = || Ok::<_, Error>(io_project!(self.contexts, [try: slot].0));
        view().ok()
    }

    /// Calls `change` with the context of `slot`, and records the slot as changed. Does not sleep.
    #[inline(always)]
    pub fn change(&self, slot: usize, change: impl FnOnce(CoherentView<'_, S>)) {
        if let Some(context) = self.get(slot) {
            change(context);
            self.changed.set_bit_atomic(slot);
        }
    }

    /// Calls `change` with each context, and records all slots as changed.
    pub fn change_all(&self, change: impl Fn(CoherentView<'_, S>)) {
        for slot in 0..self.contexts.len() {
            self.change(slot, &change);
        }
    }

    /// Calls `command` with the first and the last slot that have changed since the last update. It
    /// makes the device reload their contexts and those between them. For
    /// [`Chip::flush`](super::Chip::flush).
    ///
    /// # Errors
    ///
    /// Those of `command`.
    pub fn update(&self, command: impl FnOnce(u16, u16) -> Result) -> Result {
        let (Some(first), Some(last)) = (self.changed.next_bit(0), self.changed.last_bit()) else {
            return Ok(());
        };

        // A slot that changes from here on is recorded again.
        for slot in first..=last {
            self.changed.clear_bit_atomic(slot);
        }
        // CAST: A domain has at most 65535 slots.
        command(first as u16, last as u16)
    }
}
