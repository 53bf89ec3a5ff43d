// SPDX-License-Identifier: GPL-2.0

//! The entries of a work queue, each of which can have an item in flight.
//!
//! Each entry has a completion record. When the device has written it, an interrupt handler or a
//! call of user space, whichever finds it first, ends the item or submits its next descriptor.

use crate::{
    buffer::Buffer,
    completions::Completions,
    descriptors::{
        Descriptor,
        DescriptorMemory,
        Limits, //
    },
    interrupt::Target,
    item::{
        Item,
        Range, //
    },
    regs::*,
    turns::Turns, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    io::Io,
    new_spinlock_irq,
    pci::Window,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLockIrq, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
    uapi, //
};

/// How a work queue is used.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) index: u32,
    pub(crate) entries: u32,
    pub(crate) limits: Limits,
    pub(crate) emulated: bool,
}

/// The remains of an item that has ended, for [`Entries::finish`].
struct Ended {
    file: Arc<Completions>,
    /// The target to signal, and whether the device signals it.
    signal: Option<(Arc<Target>, bool)>,
    _buffers: [Option<Arc<Buffer>>; 2],
}

#[pin_data]
pub(crate) struct Entries<'a> {
    portals: Window<'a>,
    shape: Shape,
    memory: DescriptorMemory,
    items: KVec<Pin<KBox<SpinLockIrq<Option<Item>>>>>,
    #[pin]
    pub(crate) turns: Turns,
    /// The work queue takes no descriptors now.
    closed: Atomic<bool>,
    start: Instant<Monotonic>,
    /// When a descriptor last completed, in nanoseconds.
    progress: Atomic<i64>,
    /// When the work queue was first found to make no progress.
    suspected: Atomic<i64>,
    accepted: Atomic<u64>,
    completed: Atomic<u64>,
    records: Atomic<u64>,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        portals: Window<'a>,
        shape: Shape,
    ) -> Result<impl PinInit<Self, Error> + 'a> {
        let count = shape.entries.min(Turns::MAX);
        let memory = DescriptorMemory::new(dev, count as usize)?;
        let turns = Turns::new(count)?;
        let mut items = KVec::with_capacity(count as usize, GFP_KERNEL)?;

        for _ in 0..count {
            let item = KBox::pin_init(new_spinlock_irq!(None), GFP_KERNEL)?;
            items.push(item, GFP_KERNEL)?;
        }
        Ok(try_pin_init!(Self {
            portals,
            shape,
            memory,
            items,
            turns <- turns,
            closed: Atomic::new(false),
            start: Instant::now(),
            progress: Atomic::new(0),
            suspected: Atomic::new(0),
            accepted: Atomic::new(0),
            completed: Atomic::new(0),
            records: Atomic::new(0),
        }? Error))
    }

    /// Returns how many items can be in flight.
    pub(crate) fn count(&self) -> u32 {
        // CAST: See `Turns::MAX`.
        self.items.len() as u32
    }

    /// Returns how many items were accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Returns how many of them have completed.
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Relaxed)
    }

    /// Returns how many completion records the device has written.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    /// Returns whether items are in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.turns.busy() != 0
    }

    /// Submits an item, unless there is no entry for it now: then the result is `false`, and the
    /// file is notified when there may be one. The caller keeps the device from being reset.
    ///
    /// Errors: [`EBUSY`] if the file has too many completions, or what `item` fails with.
    pub(crate) fn submit(
        &self,
        file: &Arc<Completions>,
        item: impl FnOnce() -> Result<Item>,
    ) -> Result<bool> {
        let item = item()?;

        if file.is_full() {
            return Err(EBUSY);
        }
        let Some(index) = self.turns.take(file) else {
            return Ok(false);
        };
        match self.begin(index, file, item) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.turns.put(index);
                self.turns.offer_free();
                Err(error)
            }
        }
    }

    fn begin(&self, index: usize, file: &Completions, item: Item) -> Result {
        // Not dropped with the lock held.
        let mut item = item;
        let mut place = self.items[index].lock();

        // The device is not reset now, so that has failed.
        if self.closed.load(Relaxed) {
            return Err(EIO);
        }
        if file.begin()? {
            self.turns.join();
        }
        self.accepted.add(1, Relaxed);
        self.start(index, &mut item);
        *place = Some(item);
        Ok(())
    }

    /// Submits the next descriptor of the item of an entry, which the caller has locked.
    fn start(&self, index: usize, item: &mut Item) {
        // Without a descriptor in flight there is no record.
        self.memory.clear(index);
        item.waits = self.closed.load(Relaxed);
        if item.waits {
            return;
        }

        item.since = self.now();
        // It does not fail, as the memory and the portal are there.
        let _ = self
            .memory
            .next(index, item, &self.shape.limits)
            .and_then(|(descriptor, ims)| self.submit_descriptor(index, &descriptor, ims));
    }

    fn submit_descriptor(&self, index: usize, descriptor: &Descriptor, ims: bool) -> Result {
        let page = if ims { PORTAL_IMS } else { PORTAL_MSIX };
        let page = self.shape.index as usize * PORTALS_PER_WQ + page;
        // A line for each entry: eight stores are not mixed up with those of another one. The first
        // is for those of `queue.rs`.
        let portal = page * PORTAL_SIZE + (index + 1) * size_of_val(descriptor);

        if !self.shape.emulated {
            return self.portals.write512(portal, descriptor);
        }
        for (word, &value) in descriptor.iter().enumerate() {
            self.portals
                .try_write64(value, portal + word * size_of::<u64>())?;
        }
        Ok(())
    }

    /// Ends the items that the device has completed. May be called from an interrupt handler.
    pub(crate) fn reap(&self) {
        for index in self.memory.written(self.turns.busy()) {
            self.reap_one(index);
        }
    }

    fn reap_one(&self, index: usize) {
        let ended = {
            let mut place = self.items[index].lock();
            let Some(item) = &mut *place else { return };
            // Again: the item may have ended on another CPU, and the entry have a new one.
            let Some(record) = self.memory.record(index) else {
                return;
            };

            self.records.add(1, Relaxed);
            self.progress.store(self.now(), Relaxed);
            // A device that is broken or reset may not have sent it.
            let last = item.is_last_step() && !self.closed.load(Relaxed);
            match item.advance(record) {
                Some(completion) => self.end(&mut place, completion, last),
                None if item.file.is_closed() => {
                    // The close of the file waits for that.
                    let completion = item.aborted();
                    self.end(&mut place, completion, false)
                }
                None => {
                    self.start(index, item);
                    None
                }
            }
        };
        self.finish(index, ended);
    }

    /// Ends the item of an entry, with the entry locked. [`Self::finish`] is to follow without the
    /// lock. `signalled`: the device signals the interrupt of the item.
    fn end(
        &self,
        place: &mut Option<Item>,
        completion: uapi::idxd_ims_completion,
        signalled: bool,
    ) -> Option<Ended> {
        let item = place.take()?;
        let buffer = |range: Option<Range>| range.map(|range| range.buffer.end());
        let (source, target) = (buffer(item.source), buffer(item.target));
        let signal = item.signal.map(|(target, _)| target.end());

        if item.file.end(completion) {
            self.turns.quit();
        }
        Some(Ended {
            file: item.file,
            signal: signal.map(|target| (target, signalled)),
            _buffers: [source, target],
        })
    }

    /// Frees the entry of an item that has ended, and wakes its waiters. Called without a lock, as
    /// it may drop the last reference of a buffer.
    fn finish(&self, index: usize, ended: Option<Ended>) {
        let Some(ended) = ended else { return };

        self.turns.put(index);
        self.completed.add(1, Relaxed);
        if let Some((target, false)) = &ended.signal {
            target.signal();
        }
        ended.file.notify();
        self.turns.offer_free();
    }

    /// Stops submitting descriptors.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        for item in &self.items {
            // A submission that has not seen it ends first.
            drop(item.lock());
        }
    }

    /// Continues after the device was reset: items that it has not completed are aborted.
    pub(crate) fn open(&self) {
        for index in 0..self.items.len() {
            self.reap_one(index);
            self.abort(index, |item| !item.waits);
        }
        self.closed.store(false, Relaxed);
        for (index, item) in self.items.iter().enumerate() {
            if let Some(item) = &mut *item.lock() {
                if item.waits {
                    self.start(index, item);
                }
            }
        }
    }

    /// Aborts all items of a queue that was closed. The device does not access memory any more.
    pub(crate) fn abort_all(&self) {
        for index in 0..self.items.len() {
            self.reap_one(index);
            self.abort(index, |_| true);
        }
    }

    /// Aborts the item of an entry if it is one of `which`.
    fn abort(&self, index: usize, which: impl FnOnce(&Item) -> bool) {
        let ended = {
            let mut place = self.items[index].lock();

            match &*place {
                Some(item) if which(item) => {
                    let completion = item.aborted();
                    // The device does not do that any more.
                    self.end(&mut place, completion, false)
                }
                _ => None,
            }
        };
        self.finish(index, ended);
    }

    /// Wakes all that wait for an item, as the device has halted.
    pub(crate) fn wake_all(&self) {
        for place in &self.items {
            if let Some(item) = &*place.lock() {
                item.file.notify();
                if let Some((target, _)) = &item.signal {
                    target.signal();
                }
            }
        }
    }

    fn now(&self) -> i64 {
        self.start.elapsed().as_nanos()
    }

    /// Returns how long one descriptor may take: the timeout for commands, or 100 ms if that is
    /// longer.
    pub(crate) fn patience(timeout: Delta) -> Delta {
        const LEAST: Delta = Delta::from_millis(100);

        if timeout < LEAST {
            LEAST
        } else {
            timeout
        }
    }

    /// Returns whether items are in flight, and none has made progress for that time.
    pub(crate) fn is_stuck(&self, timeout: Delta) -> bool {
        let limit = Self::patience(timeout).as_nanos();
        let is_late = |since| self.now() - since > limit;
        let waits_long = |place: &Pin<KBox<SpinLockIrq<Option<Item>>>>| match &*place.lock() {
            Some(item) => !item.waits && is_late(item.since),
            None => false,
        };

        let late = self.is_busy()
            && !self.closed.load(Relaxed)
            && is_late(self.progress.load(Relaxed))
            && self.items.iter().any(waits_long);
        if !late {
            return false;
        }
        // If the system was stopped for a while, the device may have been as well.
        let suspected = self.suspected.load(Relaxed);
        if suspected <= self.progress.load(Relaxed) {
            self.suspected.store(self.now(), Relaxed);
            return false;
        }
        self.now() - suspected > limit / 2
    }
}
