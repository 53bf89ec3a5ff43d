// SPDX-License-Identifier: GPL-2.0

//! Shares the entries of a work queue between its files.
//!
//! A single file may use all entries; several files get equal shares. A file that finds no free
//! entry waits in a queue, and is offered the next one that is free. A file that has its share in
//! flight does not wait: it tries again when one of its items has ended, even if its share has
//! grown before. To take or return an entry takes the same time however many files wait.
//!
//! A file need not use an offer: it may only poll. Such an offer lapses, which the next call or
//! completion notices.

use crate::completions::Completions;
use kernel::{
    list::{
        impl_list_arc_safe,
        AtomicTracker,
        List,
        ListArc,
        ListLinks,
        TryNewListArc, //
    },
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

/// The time until an offer lapses.
const PATIENCE: Delta = Delta::from_millis(10);

/// The place of a file among those that wait. Changed with [`Turns::waiters`] locked.
#[pin_data]
pub(crate) struct Place {
    #[pin]
    tracker: AtomicTracker,
    #[pin]
    pub(crate) links: ListLinks,
    /// The file is in the queue, or has an offer.
    waits: Atomic<bool>,
    /// It had nothing in flight when it began to wait.
    idle: Atomic<bool>,
    /// Its last offer lapsed. It may take any free entry once, also one that is offered to another
    /// file: tasks that run slowly would lose offer after offer otherwise.
    late: Atomic<bool>,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Place { tracked_by tracker: AtomicTracker; }
}

impl Place {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            tracker <- AtomicTracker::new(),
            links <- ListLinks::new(),
            waits: Atomic::new(false),
            idle: Atomic::new(false),
            late: Atomic::new(false),
        })
    }
}

/// A free entry that is reserved for a file.
struct Offer {
    file: Arc<Completions>,
    since: Instant<Monotonic>,
}

/// The files that wait for an entry.
///
/// A file calls [`Turns::leave()`] before its last reference is dropped, so no reference here is
/// the last one, and all of them can be dropped with the lock held.
struct Waiters {
    queue: List<Completions>,
    /// The oldest one first. There are no more offers than entries.
    offers: KVec<Offer>,
}

impl Waiters {
    fn offer_of(&self, file: &Arc<Completions>) -> Option<usize> {
        let is_own = |offer: &Offer| Arc::ptr_eq(&offer.file, file);

        file.place
            .waits
            .load(Relaxed)
            .then(|| self.offers.iter().position(is_own))?
    }
}

#[pin_data]
pub(crate) struct Turns {
    total: u32,
    /// Bit n: entry n is free.
    free: Atomic<u64>,
    /// Number of files with items in flight.
    users: Atomic<u32>,
    /// Number of files that wait, and of those of them that had nothing in flight.
    waiting: Atomic<u32>,
    idle: Atomic<u32>,
    #[pin]
    waiters: SpinLockIrq<Waiters>,
}

impl Turns {
    /// Maximum number of entries.
    pub(crate) const MAX: u32 = 63;

    /// For entries 0 to `total` - 1.
    pub(crate) fn new(total: u32) -> Result<impl PinInit<Self>> {
        let waiters = Waiters {
            queue: List::new(),
            offers: KVec::with_capacity(total as usize, GFP_KERNEL)?,
        };

        Ok(pin_init!(Self {
            total,
            free: Atomic::new((1 << *total) - 1),
            users: Atomic::new(0),
            waiting: Atomic::new(0),
            idle: Atomic::new(0),
            waiters <- new_spinlock_irq!(waiters),
        }))
    }

    /// Returns the entries that are in use, a bit for each.
    #[inline]
    pub(crate) fn busy(&self) -> u64 {
        !self.free.load(Relaxed) & ((1 << self.total) - 1)
    }

    fn free_count(&self) -> usize {
        self.free.load(Relaxed).count_ones() as usize
    }

    /// Returns whether the file has fewer items in flight than it may have now.
    #[inline]
    fn is_below_share(&self, file: &Completions) -> bool {
        let files = self.users.load(Relaxed) + self.idle.load(Relaxed);

        file.in_flight() < (self.total / files.max(1)).max(1)
    }

    /// Returns whether `file` may take any free entry, as no file waits.
    #[inline]
    fn may_take_any(&self, file: &Completions) -> bool {
        self.waiting.load(Relaxed) == 0 && self.is_below_share(file)
    }

    /// Takes an entry for an item of `file`. Otherwise the file is notified when it is offered one,
    /// or one of its items has ended.
    pub(crate) fn take(&self, file: &Arc<Completions>) -> Option<usize> {
        if self.may_take_any(file) {
            if let Some(index) = self.take_any() {
                return Some(index);
            }
        }

        // Before the checks: a change after them sets it again.
        file.expect_offer();
        let taken = {
            let mut waiters = self.waiters.lock();
            let taken = self
                .is_turn(&mut waiters, file)
                .then(|| self.take_any())
                .flatten();

            match taken {
                Some(_) => {
                    self.stop_waiting(&mut waiters, file);
                    // Another task of the file may wait for the same offer.
                    file.renew_offer();
                }
                None => self.wait(&mut waiters, file),
            }
            taken
        };
        self.offer_free();
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

    /// Returns entry `index`. [`Self::offer_free`] is to follow.
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

    /// Returns how many files wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// Offers free entries to files that wait.
    #[inline]
    pub(crate) fn offer_free(&self) {
        if self.waiting.load(Relaxed) != 0 && self.free.load(Relaxed) != 0 {
            self.offer();
        }
    }

    /// Returns whether `file` could take an entry now. Otherwise it is notified as by
    /// [`Self::take`].
    pub(crate) fn could_take_or_wait(&self, file: &Arc<Completions>) -> bool {
        if self.may_take_any(file) && self.free_count() != 0 {
            return true;
        }
        let could = {
            let mut waiters = self.waiters.lock();
            let could = self.is_turn(&mut waiters, file) && self.free_count() != 0;

            if !could {
                self.wait(&mut waiters, file);
            }
            could
        };
        self.offer_free();
        could
    }

    /// Returns whether `file` may take an entry, if one is free.
    fn is_turn(&self, waiters: &mut Waiters, file: &Arc<Completions>) -> bool {
        self.expire(waiters);

        let unreserved = waiters.queue.is_empty() && self.free_count() > waiters.offers.len();
        let entitled = || file.place.late.load(Relaxed) || waiters.offer_of(file).is_some();
        self.is_below_share(file) && (unreserved || entitled())
    }

    /// `file` waits for an entry, unless it has its share in flight.
    fn wait(&self, waiters: &mut Waiters, file: &Arc<Completions>) {
        let place = &file.place;
        let offer = waiters.offer_of(file);
        let goes_first = offer.is_some() || place.late.load(Relaxed);

        // Another file took the entry.
        if let Some(index) = offer {
            self.remove_offer(waiters, index);
        }
        if place.waits.load(Relaxed) || !self.is_below_share(file) {
            return;
        }
        // It is in no list, so this does not fail.
        let Some(link) = ListArc::try_from_arc_or_drop(file.clone()) else {
            return;
        };
        if goes_first {
            waiters.queue.push_front(link);
        } else {
            waiters.queue.push_back(link);
        }
        let idle = file.in_flight() == 0;
        place.waits.store(true, Relaxed);
        place.idle.store(idle, Relaxed);
        place.late.store(false, Relaxed);
        self.idle.add(idle.into(), Relaxed);
        // Before `free` is read, as others return entries before they read this.
        self.waiting.fetch_add(1, Full);
    }

    /// Counts `file`, which is in no list any more, as one that does not wait.
    fn uncount(&self, file: &Completions) {
        file.place.waits.store(false, Relaxed);
        let idle = file.place.idle.xchg(false, Relaxed);
        self.idle.fetch_sub(idle.into(), Relaxed);
        self.waiting.fetch_sub(1, Relaxed);
    }

    fn remove_offer(&self, waiters: &mut Waiters, index: usize) {
        if let Ok(offer) = waiters.offers.remove(index) {
            self.uncount(&offer.file);
        }
    }

    fn stop_waiting(&self, waiters: &mut Waiters, file: &Arc<Completions>) {
        file.place.late.store(false, Relaxed);
        if !file.place.waits.load(Relaxed) {
            return;
        }
        if let Some(index) = waiters.offer_of(file) {
            return self.remove_offer(waiters, index);
        }

        let mut cursor = waiters.queue.cursor_front();
        while let Some(next) = cursor.peek_next() {
            if core::ptr::eq(&*next, &**file) {
                next.remove();
                break;
            }
            cursor.move_next();
        }
        self.uncount(file);
    }

    /// `file` does not wait any more. Other tasks that wait with it try again.
    pub(crate) fn leave(&self, file: &Arc<Completions>) {
        self.stop_waiting(&mut self.waiters.lock(), file);
        file.offer();
        self.offer_free();
    }

    /// Withdraws offers that were not used in time.
    fn expire(&self, waiters: &mut Waiters) {
        let is_late = |offer: &Offer| offer.since.elapsed() > PATIENCE;

        while let Some(offer) = waiters.offers.first().filter(|offer| is_late(offer)) {
            offer.file.place.late.store(true, Relaxed);
            self.remove_offer(waiters, 0);
        }
    }

    fn offer(&self) {
        let waiters = &mut *self.waiters.lock();

        self.expire(waiters);
        while waiters.offers.len() < self.free_count() {
            let Some(first) = waiters.queue.pop_front() else {
                return;
            };
            let file = first.into_arc();
            // The share has become smaller.
            if !self.is_below_share(&file) {
                self.uncount(&file);
                continue;
            }
            file.offer();
            let since = Instant::now();
            // There is room, see `Waiters`.
            let _ = waiters.offers.push_within_capacity(Offer { file, since });
        }
    }
}
