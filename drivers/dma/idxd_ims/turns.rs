// SPDX-License-Identifier: GPL-2.0

//! Who may use the entries of a work queue.
//!
//! A file that is alone may use all of them, others their share. Who finds none free is served
//! first as soon as one is, in the order in which they came.

use crate::completions::Completions;
use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        SpinLockIrq, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    }, //
};

/// A file that does not take an entry which it is offered loses its turn.
const PATIENCE: Delta = Delta::from_millis(10);

/// A file that found no entry.
struct Waiter {
    file: Arc<Completions>,
    /// It had nothing in flight.
    idle: bool,
    offered: Option<Instant<Monotonic>>,
}

impl Waiter {
    fn is_late(&self) -> bool {
        self.offered.is_some_and(|since| since.elapsed() > PATIENCE)
    }
}

#[pin_data]
pub(crate) struct Turns {
    total: u32,
    /// Bit n: entry n is free.
    free: Atomic<u64>,
    /// Files with items in flight.
    users: Atomic<u32>,
    /// Files that wait, and how many of them had nothing in flight.
    waiting: Atomic<u32>,
    idle: Atomic<u32>,
    #[pin]
    waiters: SpinLockIrq<KVec<Waiter>>,
}

impl Turns {
    /// Maximum number of entries.
    pub(crate) const MAX: u32 = 63;

    /// For entries 0 to `total` - 1.
    pub(crate) fn new(total: u32) -> impl PinInit<Self> {
        pin_init!(Self {
            total,
            free: Atomic::new((1 << *total) - 1),
            users: Atomic::new(0),
            waiting: Atomic::new(0),
            idle: Atomic::new(0),
            waiters <- new_spinlock_irq!(KVec::new()),
        })
    }

    /// Entries that are in use, a bit for each.
    #[inline]
    pub(crate) fn busy(&self) -> u64 {
        !self.free.load(Relaxed) & ((1 << self.total) - 1)
    }

    /// How many entries a file may use now.
    fn share(&self) -> u32 {
        let files = self.users.load(Relaxed) + self.idle.load(Relaxed);

        (self.total / files.max(1)).max(1)
    }

    /// Takes an entry for an item of `file`. If it is not the turn of the file, that waits.
    pub(crate) fn take(&self, file: &Arc<Completions>) -> Option<usize> {
        let taken = self.is_turn(file).then(|| self.take_any()).flatten();

        if taken.is_none() {
            self.wait(file);
        } else if file.waits.load(Relaxed) {
            self.leave(file);
        }
        taken
    }

    fn take_any(&self) -> Option<usize> {
        let mut free = self.free.load(Relaxed);

        while free != 0 {
            let rest = free & (free - 1);
            match self.free.cmpxchg(free, rest, Full) {
                Ok(_) => return Some(free.trailing_zeros() as usize),
                Err(now) => free = now,
            }
        }
        None
    }

    /// Returns entry `index`, which [`Self::offer_free`] offers to who waits.
    pub(crate) fn put(&self, index: usize) {
        let mut free = self.free.load(Relaxed);

        while let Err(now) = self.free.cmpxchg(free, free | 1 << index, Full) {
            free = now;
        }
    }

    /// A file has its first item in flight.
    pub(crate) fn join(&self) {
        self.users.add(1, Relaxed);
    }

    /// A file has no item in flight any more.
    pub(crate) fn quit(&self) {
        self.users.fetch_sub(1, Relaxed);
    }

    /// Offers free entries to those who wait.
    #[inline]
    pub(crate) fn offer_free(&self) {
        if self.waiting.load(Relaxed) != 0 && self.free.load(Relaxed) != 0 {
            self.offer();
        }
    }

    /// Returns whether `file` may take an entry now, if one is free.
    fn is_turn(&self, file: &Arc<Completions>) -> bool {
        let share = self.share();

        if file.in_flight() >= share {
            return false;
        }
        if self.waiting.load(Relaxed) == 0 {
            return true;
        }
        let waiters = self.waiters.lock();
        let free = self.free.load(Relaxed).count_ones() as usize;
        let before = waiters
            .iter()
            .take_while(|waiter| !Arc::ptr_eq(&waiter.file, file))
            .filter(|waiter| waiter.file.in_flight() < share && !waiter.is_late())
            .take(free)
            .count();
        before < free
    }

    /// Returns whether `file` could take an entry now. Otherwise it waits for one.
    pub(crate) fn could_take_or_wait(&self, file: &Arc<Completions>) -> bool {
        let could = self.free.load(Relaxed) != 0 && self.is_turn(file);

        if !could {
            self.wait(file);
        }
        could
    }

    /// `file` waits for its turn.
    fn wait(&self, file: &Arc<Completions>) {
        // Not dropped with the lock held: it may be the last reference.
        let mut late = None;
        {
            let mut waiters = self.waiters.lock();
            let own = match file.waits.load(Relaxed) {
                true => waiters
                    .iter_mut()
                    .find(|waiter| Arc::ptr_eq(&waiter.file, file)),
                false => None,
            };
            if let Some(own) = own {
                // It has come in time.
                own.offered = None;
            } else {
                let idle = file.in_flight() == 0;
                let waiter = Waiter {
                    file: file.clone(),
                    idle,
                    offered: None,
                };
                // Without memory it tries again after a while, and so may come late.
                if waiters.push(waiter, GFP_ATOMIC | __GFP_NOWARN).is_ok() {
                    file.waits.store(true, Relaxed);
                    self.idle.add(idle.into(), Relaxed);
                    // Before `free` is read, as others return entries before they read this.
                    self.waiting.fetch_add(1, Full);
                }
            }
            // Entries are offered to the first.
            let mut first = waiters.iter().take(2 * Self::MAX as usize);
            if let Some(index) = first.position(Waiter::is_late) {
                late = self.remove(&mut waiters, index);
            }
        }
        drop(late);
        // One may have become free in between.
        self.offer_free();
    }

    fn remove(&self, waiters: &mut KVec<Waiter>, index: usize) -> Option<Waiter> {
        let waiter = waiters.remove(index).ok()?;

        waiter.file.waits.store(false, Relaxed);
        self.idle.fetch_sub(waiter.idle.into(), Relaxed);
        self.waiting.fetch_sub(1, Relaxed);
        Some(waiter)
    }

    /// `file` does not wait any more.
    pub(crate) fn leave(&self, file: &Arc<Completions>) {
        let waiter = {
            let mut waiters = self.waiters.lock();
            let index = waiters
                .iter()
                .position(|waiter| Arc::ptr_eq(&waiter.file, file));

            index.and_then(|index| self.remove(&mut waiters, index))
        };
        drop(waiter);
        self.offer_free();
    }

    #[cold]
    fn offer(&self) {
        let share = self.share();
        let mut waiters = self.waiters.lock();
        let free = self.free.load(Relaxed).count_ones() as usize;
        let first = waiters
            .iter_mut()
            .filter(|waiter| waiter.file.in_flight() < share && !waiter.is_late())
            .take(free);

        for waiter in first.filter(|waiter| waiter.offered.is_none()) {
            waiter.offered = Some(Instant::now());
            waiter.file.offer();
        }
    }
}
