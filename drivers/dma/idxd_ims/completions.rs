// SPDX-License-Identifier: GPL-2.0

//! The completions of a file, which `read()` returns.

use crate::turns::Place;
use kernel::{
    impl_has_hr_timer,
    iov::IovIterDest,
    list::{
        impl_list_arc_safe,
        impl_list_item,
        TryNewListArc, //
    },
    new_mutex,
    new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        poll::{
            PollCondVar,
            PollCondVarBox, //
        },
        Arc,
        ArcBorrow,
        CondVarTimeoutResult,
        Mutex,
        SpinLockIrq, //
    },
    time::{
        hrtimer::{
            ArcHrTimerHandle,
            HrTimer,
            HrTimerCallback,
            HrTimerCallbackContext,
            HrTimerPointer,
            HrTimerRestart,
            RelativeMode, //
        },
        Delta,
        Jiffies,
        Monotonic, //
    },
    uapi, //
};
use zerocopy::IntoBytes;

type Completion = uapi::idxd_ims_completion;

struct State {
    /// A ring.
    records: KVVec<Completion>,
    /// The oldest one that is unread.
    first: usize,
    unread: usize,
    /// There may be an entry for the file.
    offered: bool,
    /// The file is closed, or its device is removed.
    closed: bool,
}

/// The number of items of a file in flight, and its completions that are unread.
#[pin_data]
pub(crate) struct Completions {
    #[pin]
    state: SpinLockIrq<State>,
    /// Changed with the lock of the state held.
    in_flight: Atomic<u32>,
    #[pin]
    pub(crate) place: Place,
    /// Held by the task that copies completions to user space.
    #[pin]
    reading: Mutex<()>,
    changed: PollCondVarBox,
    /// Wakes all waiters from time to time: the interrupt of an item may be masked, and a device
    /// may stop without an error.
    #[pin]
    timer: HrTimer<Self>,
    timed: Atomic<bool>,
}

impl HrTimerCallback for Completions {
    type Pointer<'a> = Arc<Self>;

    fn run(
        this: ArcBorrow<'_, Self>,
        _context: HrTimerCallbackContext<'_, Self>,
    ) -> HrTimerRestart {
        this.timed.store(false, Relaxed);
        this.notify();
        HrTimerRestart::NoRestart
    }
}

impl_has_hr_timer! {
    impl HasHrTimer<Self> for Completions {
        mode: RelativeMode<Monotonic>, field: self.timer
    }
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Completions { tracked_by place: Place; }
}

impl_list_item! {
    impl ListItem<0> for Completions { using ListLinks { self.place.links }; }
}

/// Keeps the timer of completions running.
pub(crate) type Timer = ArcHrTimerHandle<Completions>;

impl Completions {
    /// Period of [`Self::start_timer`].
    const PERIOD: Delta = Delta::from_millis(100);

    /// Maximum number of items of a file that are in flight, or whose completion is unread.
    pub(crate) const MAX: usize = 256;

    pub(crate) fn new() -> Result<Arc<Self>> {
        let state = State {
            records: KVVec::from_elem(Completion::default(), Self::MAX, GFP_KERNEL_ACCOUNT)?,
            first: 0,
            unread: 0,
            offered: false,
            closed: false,
        };
        let changed = PollCondVarBox::new(c"idxd_ims", kernel::static_lock_class!())?;

        Arc::pin_init(
            pin_init!(Self {
                state <- new_spinlock_irq!(state),
                in_flight: Atomic::new(0),
                place <- Place::new(),
                reading <- new_mutex!(()),
                changed,
                timer <- HrTimer::new(),
                timed: Atomic::new(false),
            }),
            GFP_KERNEL,
        )
    }

    /// Returns the number of items in flight.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Acquire)
    }

    /// Wakes all waiters after a period. `timer` is the only one of these completions.
    pub(crate) fn start_timer(this: &Arc<Self>, timer: &mut Option<Timer>) {
        if !this.timed.xchg(true, Relaxed) {
            // Dropped later, the last one would cancel this one.
            *timer = None;
            *timer = Some(this.clone().start(Self::PERIOD));
        }
    }

    /// The queue of tasks that wait for a change.
    pub(crate) fn changed(&self) -> &PollCondVar {
        &self.changed
    }

    fn is_full_with(&self, state: &State) -> bool {
        state.unread + self.in_flight() as usize >= Self::MAX
    }

    /// Returns whether no room is left for the completion of another item.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full_with(&self.state.lock())
    }

    /// Makes room for the completion of an item, which is in flight from now on. Returns whether it
    /// is the only one.
    ///
    /// Errors: [`EBUSY`] if too many completions are unread.
    pub(crate) fn begin(&self) -> Result<bool> {
        let state = self.state.lock();

        if self.is_full_with(&state) {
            return Err(EBUSY);
        }
        Ok(self.in_flight.fetch_add(1, Relaxed) == 0)
    }

    /// An item has completed. Returns whether it was the only one in flight. [`Self::notify`] is to
    /// follow.
    pub(crate) fn end(&self, completion: Completion) -> bool {
        let mut state = self.state.lock();
        let at = (state.first + state.unread) % Self::MAX;

        // `begin()` has made room.
        state.records[at] = completion;
        state.unread += 1;
        // The file may be below its share now.
        state.offered = true;
        self.in_flight.fetch_sub(1, Release) == 1
    }

    /// Copies completions to `to`, as many as fit. They are read then. Returns the number of bytes.
    ///
    /// Errors: [`EFAULT`] if not even one could be copied.
    pub(crate) fn read(&self, to: &mut IovIterDest<'_>) -> Result<usize> {
        const SIZE: usize = size_of::<Completion>();
        const BATCH: usize = 8;
        let _reading = self.reading.lock();
        let mut full = false;
        let mut bytes = 0;

        loop {
            let mut batch = [Completion::default(); BATCH];
            let count = {
                let state = self.state.lock();
                let count = state.unread.min(BATCH).min(to.len() / SIZE);

                for (index, place) in batch.iter_mut().take(count).enumerate() {
                    *place = state.records[(state.first + index) % Self::MAX];
                }
                count
            };
            let mut whole = 0;
            for completion in &batch[..count] {
                if to.copy_to_iter(completion.as_bytes()) != SIZE {
                    break;
                }
                whole += 1;
            }

            {
                let mut state = self.state.lock();
                full |= whole != 0 && self.is_full_with(&state);
                state.first = (state.first + whole) % Self::MAX;
                state.unread -= whole;
            }
            bytes += whole * SIZE;
            if whole < count && bytes == 0 {
                return Err(EFAULT);
            }
            if whole < BATCH {
                if full {
                    // There is room now.
                    self.notify();
                }
                return Ok(bytes);
            }
        }
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.state.lock().unread != 0
    }

    /// Waits until a completion is there, or something else changes.
    ///
    /// Errors: [`ERESTARTSYS`] for a signal.
    pub(crate) fn wait_unread(&self, timeout: Jiffies) -> Result {
        self.wait(timeout, |state| state.unread != 0)
    }

    /// Waits until there may be an entry for the file. The errors are those of
    /// [`Self::wait_unread`].
    pub(crate) fn wait_offered(&self, timeout: Jiffies) -> Result {
        self.wait(timeout, |state| state.offered)
    }

    /// Waits until something changes. The errors are those of [`Self::wait_unread`].
    pub(crate) fn wait_changed(&self, timeout: Jiffies) -> Result {
        self.wait(timeout, |_| false)
    }

    fn wait(&self, timeout: Jiffies, is_done: impl FnOnce(&State) -> bool) -> Result {
        let mut state = self.state.lock();

        if state.closed || is_done(&state) {
            return Ok(());
        }
        match self.changed.wait_interruptible_timeout(&mut state, timeout) {
            CondVarTimeoutResult::Signal { .. } => Err(ERESTARTSYS),
            _ => Ok(()),
        }
    }

    /// From now on [`Self::wait_offered`] waits for a new offer.
    pub(crate) fn expect_offer(&self) {
        self.state.lock().offered = false;
    }

    /// There may be an entry for the file, which a task that sleeps need not know.
    pub(crate) fn renew_offer(&self) {
        self.state.lock().offered = true;
    }

    /// There may be an entry for the file.
    pub(crate) fn offer(&self) {
        self.renew_offer();
        self.changed.notify_all();
    }

    /// Wakes all waiters.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    /// The file is closed, or its device is removed: from now on no call waits.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}
