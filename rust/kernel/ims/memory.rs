// SPDX-License-Identifier: GPL-2.0

//! A message store in host memory, which the device reads.
//!
//! Network and storage controllers keep the message of a queue in the queue's context. The device
//! has a copy of it, and a command makes it read the context again. As the command sleeps, a change
//! is first only written to memory; at the end of a batch of changes the device is told.

use super::Store;
use crate::{
    bitmap::BitmapVec,
    dma::{
        Coherent,
        CoherentView, //
    },
    error::to_result,
    held::Holder,
    io::{
        io_project,
        Io, //
    },
    new_mutex,
    pci::Window,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        lock::mutex::MutexBackend,
        lock::Guard,
        Mutex, //
    },
    transmute, //
};
use core::marker::PhantomData;
use zerocopy::{
    FromBytes,
    IntoBytes, //
};

/// How a device is told of contexts, through `SIZE` bytes of registers. All of this sleeps.
pub trait Commands<const SIZE: usize>: 'static {
    /// Has the device take its contexts from `table`, a bus address.
    ///
    /// # Errors
    ///
    /// Any. [`Self::disable`] is called then as well.
    fn enable(regs: Window<'_, SIZE>, table: u64) -> Result;

    /// Has the device read the contexts of slots `first` to `last`, not all of which need have
    /// changed, and returns when it goes by what they say: a slot that is masked there sends
    /// nothing any more.
    ///
    /// # Errors
    ///
    /// Any, if the device may not have done so. Changes can then not be relied on any more:
    /// interrupts can be freed, but not allocated, requested or masked.
    fn update(regs: Window<'_, SIZE>, first: u16, last: u16) -> Result;

    /// Returns when the device does not access the contexts any more: they are freed next.
    fn disable(regs: Window<'_, SIZE>);
}

/// A context, as `transmute` wants it.
#[repr(transparent)]
struct Context<S>(S);

// SAFETY: `S` may take any bytes, and so may a transparent wrapper.
unsafe impl<S: FromBytes> transmute::FromBytes for Context<S> {}
// SAFETY: `S` has no padding, and so has a transparent wrapper none.
unsafe impl<S: IntoBytes> transmute::AsBytes for Context<S> {}

/// An array of contexts of type `S` in memory that the device reads and may write, with the
/// commands `C` for it.
pub struct MemoryQueue<'a, S, C: Commands<SIZE>, const SIZE: usize> {
    regs: Window<'a, SIZE>,
    contexts: Coherent<[Context<S>]>,
    /// Slots that the device has not been told of.
    changed: BitmapVec,
    batch: Pin<KBox<Mutex<()>>>,
    /// What an update failed with, as an error number.
    failed: Atomic<i32>,
    /// Changed with the batch locked.
    suspended: Atomic<bool>,
    _commands: PhantomData<fn() -> C>,
}

impl<'a, S, C, const SIZE: usize> MemoryQueue<'a, S, C, SIZE>
where
    S: FromBytes + IntoBytes,
    C: Commands<SIZE>,
{
    /// Enables a table of `slots` contexts, all zero, for the device of `holder`. Sleeps.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `slots` is zero or more than 65536, [`ENOMEM`] if there is not enough memory
    /// that the device can reach, or what [`Commands::enable`] fails with.
    pub fn new(holder: &Holder<'_, 'a>, regs: Window<'a, SIZE>, slots: u32) -> Result<Self> {
        if slots == 0 || slots > 1 << 16 {
            return Err(EINVAL);
        }
        let dev = holder.device().as_ref();
        let store = Self {
            regs,
            contexts: Coherent::zeroed_slice(dev, slots as usize, GFP_KERNEL)?,
            changed: BitmapVec::new(slots as usize, GFP_KERNEL)?,
            batch: KBox::pin_init(new_mutex!(()), GFP_KERNEL)?,
            failed: Atomic::new(0),
            suspended: Atomic::new(false),
            _commands: PhantomData,
        };

        C::enable(regs, store.contexts.dma_address())?;
        Ok(store)
    }
}

impl<S, C: Commands<SIZE>, const SIZE: usize> Drop for MemoryQueue<'_, S, C, SIZE> {
    fn drop(&mut self) {
        C::disable(self.regs);
    }
}

// SAFETY: The store owns the memory, and the registers are held by the device.
unsafe impl<S, C, const SIZE: usize> Store for MemoryQueue<'_, S, C, SIZE>
where
    S: FromBytes + IntoBytes + Send + Sync + 'static,
    C: Commands<SIZE>,
{
    const SLOW: bool = true;

    type View<'x>
        = CoherentView<'x, S>
    where
        Self: 'x;

    #[inline]
    fn slots(&self) -> u32 {
        // CAST: `new()` allows at most 65536.
        self.contexts.len() as u32
    }

    #[inline(always)]
    fn slot(&self, index: usize) -> Option<CoherentView<'_, S>> {
        let view = || Ok::<_, Error>(io_project!(self.contexts, [try: index].0));
        view().ok()
    }

    fn lock(&self) {
        core::mem::forget(self.batch.lock());
    }

    #[inline]
    fn changed(&self, index: usize) {
        if index < self.contexts.len() {
            self.changed.set_bit_atomic(index);
        }
    }

    fn tell(&self) {
        let (Some(first), Some(last)) = (self.changed.next_bit(0), self.changed.last_bit()) else {
            return;
        };

        // Whoever changes a slot from here on without the lock, which only an emergency does, has
        // it told with the next batch.
        for slot in first..=last {
            self.changed.clear_bit_atomic(slot);
        }
        // CAST: There are at most 65536 slots.
        let update = |()| C::update(self.regs, first as u16, last as u16);
        if let Err(error) = self.check().and_then(update) {
            self.failed.store(error.to_errno(), Relaxed);
        }
    }

    unsafe fn sync_unlock(&self) {
        // SAFETY: This task has called `lock()`, per the safety requirements.
        let _guard: Guard<'_, (), MutexBackend> = unsafe { Guard::new(&self.batch, ()) };

        if !self.suspended.load(Relaxed) {
            self.tell();
        }
    }

    fn suspend(&self) {
        self.suspended.store(true, Relaxed);
    }

    fn enable(&self) -> Result {
        for index in 0..self.contexts.len() {
            io_project!(self.contexts, [try: index].0).copy_write(S::new_zeroed());
        }
        self.failed.store(0, Relaxed);
        C::enable(self.regs, self.contexts.dma_address())
    }

    fn resume(&self) {
        self.suspended.store(false, Relaxed);
    }

    fn check(&self) -> Result {
        to_result(self.failed.load(Relaxed))
    }
}
