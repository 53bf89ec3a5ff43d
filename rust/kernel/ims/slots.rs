// SPDX-License-Identifier: GPL-2.0

//! The slot allocator.

use crate::{
    bitmap::BitmapVec,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// How many slots an owner may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Number of slots that the owner can always have: nobody else gets them.
    pub guarantee: u32,
    /// Number of slots that the owner can have at most.
    pub ceiling: u32,
}

#[derive(Clone, Copy)]
struct Owner {
    limits: Limits,
    used: u32,
}

impl Owner {
    /// Returns how many free slots nobody else may take.
    fn pledge(self) -> u32 {
        self.limits.guarantee.saturating_sub(self.used)
    }
}

/// The free slots that rest.
struct Ring {
    slots: KVVec<u16>,
    oldest: usize,
    count: usize,
}

impl Ring {
    /// Returns the place of that number, counted around once at most.
    fn wrap(&self, place: usize) -> usize {
        place.checked_sub(self.slots.len()).unwrap_or(place)
    }

    fn pop(&mut self) -> Option<u16> {
        self.count = self.count.checked_sub(1)?;
        let slot = self.slots[self.oldest];
        self.oldest = self.wrap(self.oldest + 1);
        Some(slot)
    }

    /// Appends `slot`, for which there must be room.
    fn push(&mut self, slot: u16) {
        let end = self.wrap(self.oldest + self.count);
        self.slots[end] = slot;
        self.count += 1;
    }
}

struct State {
    /// Clear are the bits of the free slots that do not rest.
    map: BitmapVec,
    /// No bit below this one is clear.
    hint: usize,
    resting: Ring,
    /// Number of free slots.
    free: u32,
    owners: KVVec<Owner>,
    /// Sum of the owners' pledges. More than `free` only after slots were retired.
    pledged: u32,
}

impl State {
    // Drivers would compile it each.
    #[inline(never)]
    fn new(slots: u32) -> Result<Self> {
        if slots == 0 || slots > 1 << 16 {
            return Err(EINVAL);
        }

        // With the bitmap, less than a byte for each slot of a large store.
        let room = if slots <= 256 { slots } else { slots / 4 };
        Ok(Self {
            map: BitmapVec::new(slots as usize, GFP_KERNEL)?,
            hint: 0,
            resting: Ring {
                slots: KVVec::from_elem(0, room as usize, GFP_KERNEL)?,
                oldest: 0,
                count: 0,
            },
            free: slots,
            owners: KVVec::new(),
            pledged: 0,
        })
    }

    fn owner(&self, index: u16) -> Result<Owner> {
        self.owners.get(usize::from(index)).copied().ok_or(EINVAL)
    }

    fn change(&mut self, owner: u16, change: impl FnOnce(&mut Owner)) {
        let owner = &mut self.owners[usize::from(owner)];

        self.pledged -= owner.pledge();
        change(owner);
        self.pledged += owner.pledge();
    }

    /// Checks what is to become of an owner to which `before` is pledged.
    fn check(&self, owner: Owner, before: u32) -> Result {
        if owner.limits.guarantee > owner.limits.ceiling || owner.limits.ceiling == 0 {
            return Err(EINVAL);
        }
        if owner.limits.ceiling as usize > self.map.len() {
            return Err(ERANGE);
        }
        let after = owner.pledge();
        // With slots retired, even a lower guarantee may be too high: it is a way out still.
        if after > before && self.pledged - before + after > self.free {
            return Err(ENOSPC);
        }
        Ok(())
    }

    /// Has `take` take `count` consecutive slots for `owner`, and returns the first.
    #[inline]
    fn reserve(
        &mut self,
        owner: u16,
        count: u32,
        take: impl FnOnce(&mut Self) -> Option<usize>,
    ) -> Result<u16> {
        let before = self.owner(owner)?;
        if count > before.limits.ceiling.saturating_sub(before.used) {
            return Err(EDQUOT);
        }
        if count + self.pledged - before.pledge() > self.free {
            return Err(ENOSPC);
        }

        let first = take(self).ok_or(ENOSPC)?;
        self.change(owner, |owner| owner.used += count);
        self.free -= count;
        // CAST: There are at most 65536 slots.
        Ok(first as u16)
    }

    /// Takes the lowest slot that does not rest, or else the one that rests longest.
    #[inline]
    fn take(&mut self) -> Option<usize> {
        let Some(slot) = self.next_clear(self.hint) else {
            self.hint = self.map.len();
            return self.resting.pop().map(usize::from);
        };

        self.map.set_bit(slot);
        self.hint = slot + 1;
        Some(slot)
    }

    fn take_block(&mut self, count: usize) -> Option<usize> {
        if count == 1 {
            return self.take();
        }
        let first = self.find(count).or_else(|| {
            while self.wake().is_some() {}
            self.find(count)
        })?;

        for index in first..first + count {
            self.map.set_bit(index);
        }
        Some(first)
    }

    fn find(&self, count: usize) -> Option<usize> {
        let mut start = self.hint;

        loop {
            start = self.next_clear(start)?;
            let end = self.map.next_bit(start).unwrap_or(self.map.len());
            if end - start >= count {
                return Some(start);
            }
            start = end;
        }
    }

    /// Returns the first clear bit from `start` on.
    #[inline]
    fn next_clear(&self, start: usize) -> Option<usize> {
        // A hardened bitmap panics where nothing is left to search.
        if start >= self.map.len() {
            return None;
        }
        self.map.next_zero_bit(start)
    }

    /// Ends the rest of the slot that rests longest.
    fn wake(&mut self) -> Option<()> {
        let index = usize::from(self.resting.pop()?);

        self.map.clear_bit(index);
        self.hint = self.hint.min(index);
        Some(())
    }
}

/// Hands out the slots of a message store to their owners, such as work queues.
///
/// Owners share the store. Each has a ceiling, and a guarantee that holds whatever the others do.
///
/// # Order
///
/// A slot that is freed rests. The next one given out is the lowest that is free and does not
/// rest; if all that are free rest, it is the one freed longest ago. At most a quarter of the
/// slots, or all of them in a store of up to 256, rest: when there would be more, the one freed
/// longest ago ends its rest. A block is the lowest run of free slots that do not rest; if there is
/// no such run, the rest of all slots ends before it is searched again.
///
/// Giving out one slot takes O(words of the bitmap), from the lowest slot that may be free.
///
/// # Examples
///
/// ```
/// use kernel::{
///     ims::{
///         Allocator,
///         Limits, //
///     },
///     sync::Arc, //
/// };
///
/// let slots = Arc::pin_init(Allocator::new(4), GFP_KERNEL)?;
/// let a = slots.add_owner(Limits { guarantee: 0, ceiling: 3 })?;
/// let b = slots.add_owner(Limits { guarantee: 2, ceiling: 4 })?;
///
/// let first = slots.reserve(a)?;
/// let second = slots.reserve(a)?;
/// assert_eq!((first.index(), second.index()), (0, 1));
/// // The other two are guaranteed to `b`.
/// assert_eq!(slots.reserve(a).err(), Some(ENOSPC));
///
/// let block = slots.reserve_block(b, 2)?;
/// assert_eq!((block[0].index(), block[1].index()), (2, 3));
///
/// drop(second);
/// drop(first);
/// assert_eq!(slots.reserve(b)?.index(), 1);
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub struct Allocator {
    #[pin]
    state: Mutex<State>,
}

impl Allocator {
    /// Creates an allocator of `slots` slots, all of them free, and without owners.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `slots` is zero or more than 65536, [`ENOMEM`] if there is not enough memory.
    pub fn new(slots: u32) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let state = State::new(slots)?;

            Ok(try_pin_init!(Self {
                state <- new_mutex!(state),
            }))
        })
    }

    /// Adds an owner and returns its index. It stays as long as the allocator. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Self::change_limits`], [`ENOSPC`] also if there are 65536 owners, [`ENOMEM`] if
    /// there is not enough memory.
    pub fn add_owner(&self, limits: Limits) -> Result<u16> {
        let mut state = self.state.lock();
        let owner = Owner { limits, used: 0 };

        state.check(owner, 0)?;
        let index = u16::try_from(state.owners.len()).map_err(|_| ENOSPC)?;
        state.owners.push(owner, GFP_KERNEL)?;
        state.pledged += owner.pledge();
        Ok(index)
    }

    /// Has `change` change the limits of `owner`. May sleep.
    ///
    /// It keeps what it has: if that is more than its new ceiling, it gets no more until it has
    /// less than that.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    ///
    /// - [`EINVAL`] if there is no such owner, the guarantee is above the ceiling, or the ceiling
    ///   is zero.
    /// - [`ERANGE`] if the ceiling is above the number of slots.
    /// - [`ENOSPC`] if it takes more for the guarantee than before, and all guarantees, or what
    ///   owners have where that is more, add up to more than the slots that are not retired.
    pub fn change_limits(&self, owner: u16, change: impl FnOnce(&mut Limits)) -> Result {
        let mut state = self.state.lock();
        let before = state.owner(owner)?;
        let mut after = before;

        change(&mut after.limits);
        state.check(after, before.pledge())?;
        state.change(owner, |owner| *owner = after);
        Ok(())
    }

    /// Returns the limits of `owner`, or [`EINVAL`] if there is no such owner. May sleep.
    pub fn limits(&self, owner: u16) -> Result<Limits> {
        Ok(self.state.lock().owner(owner)?.limits)
    }

    /// Reserves a slot for `owner`. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if there is no such owner.
    /// - [`EDQUOT`] if the owner would have more slots than its ceiling.
    /// - [`ENOSPC`] if no slot is free, or those that are free are guaranteed to other owners.
    pub fn reserve(&self, owner: u16) -> Result<Reservation<'_>> {
        let index = self.state.lock().reserve(owner, 1, State::take)?;

        // SAFETY: Just reserved for `owner`.
        Ok(unsafe { Reservation::adopt(self, index, owner) })
    }

    /// Reserves `count` consecutive slots for `owner`, or none, and returns them in ascending
    /// order. A block of one is the slot that [`Self::reserve`] would give. May sleep.
    ///
    /// # Errors
    ///
    /// Those of [`Self::reserve`], and:
    ///
    /// - [`EINVAL`] if `count` is zero.
    /// - [`ENOSPC`] if there are not as many consecutive free slots.
    /// - [`ENOMEM`] if there is not enough memory.
    pub fn reserve_block(&self, owner: u16, count: u32) -> Result<KVec<Reservation<'_>>> {
        if count == 0 {
            return Err(EINVAL);
        }
        // Memory is allocated for no more than that.
        if count > self.limits(owner)?.ceiling {
            return Err(EDQUOT);
        }
        let mut block = KVec::with_capacity(count as usize, GFP_KERNEL)?;
        let take = |state: &mut State| state.take_block(count as usize);
        let first = self.state.lock().reserve(owner, count, take)?;

        for index in (first..=u16::MAX).take(count as usize) {
            // SAFETY: Just reserved for `owner`.
            block.push_within_capacity(unsafe { Reservation::adopt(self, index, owner) })?;
        }
        Ok(block)
    }

    /// Returns how many slots are not free: reserved or retired. May sleep.
    pub fn used(&self) -> usize {
        let state = self.state.lock();

        state.map.len() - state.free as usize
    }

    /// Returns how many slots `owner` has, or [`EINVAL`] if there is no such owner. May sleep.
    pub fn used_by(&self, owner: u16) -> Result<usize> {
        Ok(self.state.lock().owner(owner)?.used as usize)
    }
}

/// A slot that belongs to the holder. Dropping it frees the slot, and may sleep.
///
/// One that is leaked stays reserved, and counts as one of its owner's.
///
/// # Invariants
///
/// Slot `index` of `slots` is reserved for this object alone, and counted for `owner`.
pub struct Reservation<'a> {
    slots: &'a Allocator,
    index: u16,
    owner: u16,
}

impl<'a> Reservation<'a> {
    /// # Safety
    ///
    /// Slot `index` of `slots` must be reserved for `owner`, and be nobody else's: reserved now, or
    /// that of a reservation that was forgotten.
    pub(super) unsafe fn adopt(slots: &'a Allocator, index: u16, owner: u16) -> Self {
        // INVARIANT: Per the safety requirements.
        Self {
            slots,
            index,
            owner,
        }
    }

    /// Returns the index of the slot.
    #[inline]
    pub fn index(&self) -> u16 {
        self.index
    }

    /// Returns the index of the owner.
    #[inline]
    pub fn owner(&self) -> u16 {
        self.owner
    }

    /// Takes the slot out of use for good: its owner has one less, and nobody gets it. May sleep.
    ///
    /// Guarantees do not prevent that. If it leaves too few slots for them, an owner gets one only
    /// while what is free is enough for the guarantees of the others.
    pub fn retire(self) {
        let mut state = self.slots.state.lock();

        state.change(self.owner, |owner| owner.used -= 1);
        core::mem::forget(self);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.state.lock();

        state.change(self.owner, |owner| owner.used -= 1);
        state.free += 1;
        if state.resting.count == state.resting.slots.len() {
            state.wake();
        }
        state.resting.push(self.index);
    }
}

#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_ims_slots)]
mod tests {
    use super::*;
    use crate::sync::Arc;

    /// xorshift64, for sequences that repeat.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    const fn limits(guarantee: u32, ceiling: u32) -> Limits {
        Limits { guarantee, ceiling }
    }

    fn allocator(slots: u32) -> Result<Arc<Allocator>> {
        Arc::pin_init(Allocator::new(slots), GFP_KERNEL)
    }

    type Held<'a> = KVec<Option<Reservation<'a>>>;

    /// Reserves `count` slots one by one.
    fn reserve(slots: &Allocator, owner: u16, count: usize) -> Result<Held<'_>> {
        let mut held = KVec::with_capacity(count, GFP_KERNEL)?;

        for _ in 0..count {
            held.push(Some(slots.reserve(owner)?), GFP_KERNEL)?;
        }
        Ok(held)
    }

    /// [`Iterator::eq`] makes symbols that are too long for modpost.
    fn same<T: PartialEq>(
        mut left: impl Iterator<Item = T>,
        right: impl IntoIterator<Item = T>,
    ) -> bool {
        for item in right {
            if left.next() != Some(item) {
                return false;
            }
        }
        left.next().is_none()
    }

    fn indices<'a>(held: &'a Held<'_>) -> impl Iterator<Item = u16> + 'a {
        held.iter().flatten().map(Reservation::index)
    }

    #[test]
    fn sizes() -> Result {
        assert!(size_of::<Option<Reservation<'_>>>() <= 16);
        for size in [0, (1 << 16) + 1, u32::MAX] {
            assert_eq!(allocator(size).err(), Some(EINVAL));
        }

        for size in [1, 63, 64, 65, 256, 257, 16128, 1 << 16] {
            let slots = allocator(size)?;
            let owner = slots.add_owner(limits(0, size))?;
            let other = slots.add_owner(limits(0, size))?;

            // The second time all of them were used.
            for _ in 0..2 {
                let block = slots.reserve_block(owner, size)?;
                let indices = block.iter().map(|slot| u32::from(slot.index()));
                assert!(same(indices, 0..size));
                assert!(block.iter().all(|slot| slot.owner() == owner));
                assert_eq!(slots.used(), size as usize);
                assert_eq!(slots.used_by(owner), Ok(size as usize));
                assert_eq!(slots.reserve(owner).err(), Some(EDQUOT));
                assert_eq!(slots.reserve(other).err(), Some(ENOSPC));
                drop(block);
                assert_eq!(slots.used(), 0);
                assert_eq!(slots.used_by(owner), Ok(0));
            }
        }
        Ok(())
    }

    #[test]
    fn freed_longest_ago_first() -> Result {
        let slots = allocator(256)?;
        let owner = slots.add_owner(limits(0, 256))?;

        let mut held = reserve(&slots, owner, 250)?;
        assert!(same(indices(&held), 0..250));
        for index in [5, 3, 9] {
            held[index] = None;
        }
        // Those that were never used go before.
        let rest = reserve(&slots, owner, 9)?;
        assert!(same(
            indices(&rest),
            [250, 251, 252, 253, 254, 255, 5, 3, 9]
        ));
        assert_eq!(slots.used(), 256);

        // All of them, several times around the ring and each time in another order.
        drop((held, rest));
        let mut held = reserve(&slots, owner, 256)?;
        for step in [3, 7, 255, 1] {
            let mut order = KVec::new();
            for index in (0..256).map(|i| i * step % 256) {
                order.push(held[index].take().map(|slot| slot.index()), GFP_KERNEL)?;
            }
            held = reserve(&slots, owner, 256)?;
            assert!(same(indices(&held), order.into_iter().flatten()));
        }
        Ok(())
    }

    #[test]
    fn rest_ends_in_a_large_store() -> Result {
        for (size, resting) in [(257, 64), (1000, 250), (1024, 256)] {
            let slots = allocator(size)?;
            let owner = slots.add_owner(limits(0, size))?;
            let first = size as usize - resting - 3;

            // Three more than can rest.
            let mut held = reserve(&slots, owner, size as usize)?;
            for slot in held[first..].iter_mut().rev() {
                *slot = None;
            }
            let awake = reserve(&slots, owner, 3)?;
            assert!(same(indices(&awake), size as u16 - 3..size as u16));
            let rested = reserve(&slots, owner, resting)?;
            assert!(same(
                indices(&rested),
                (first as u16..size as u16 - 3).rev()
            ));
        }
        Ok(())
    }

    #[test]
    fn ceiling() -> Result {
        let slots = allocator(8)?;
        let owner = slots.add_owner(limits(0, 3))?;

        let mut held = reserve(&slots, owner, 3)?;
        assert_eq!(slots.reserve(owner).err(), Some(EDQUOT));
        held[1] = None;
        assert_eq!(slots.reserve_block(owner, 2).err(), Some(EDQUOT));
        held[1] = Some(slots.reserve(owner)?);

        // Lowered below what it has, then raised.
        slots.change_limits(owner, |now| *now = limits(0, 1))?;
        assert_eq!(slots.used_by(owner), Ok(3));
        for index in 0..2 {
            held[index] = None;
            assert_eq!(slots.reserve(owner).err(), Some(EDQUOT));
        }
        held[2] = None;
        held[0] = Some(slots.reserve(owner)?);
        assert_eq!(slots.reserve(owner).err(), Some(EDQUOT));
        slots.change_limits(owner, |now| *now = limits(0, 8))?;
        let rest = reserve(&slots, owner, 7)?;
        assert_eq!(indices(&rest).count(), 7);
        Ok(())
    }

    #[test]
    fn guarantees_hold_against_a_greedy_owner() -> Result {
        let slots = allocator(20)?;
        let greedy = slots.add_owner(limits(1, 20))?;
        let a = slots.add_owner(limits(4, 6))?;
        let b = slots.add_owner(limits(5, 5))?;

        let mut taken = reserve(&slots, greedy, 11)?;
        assert_eq!(slots.reserve(greedy).err(), Some(ENOSPC));
        let mut of_a = reserve(&slots, a, 4)?;
        // What is left is for `b`, and a slot that another returns is for anyone.
        assert_eq!(slots.reserve(a).err(), Some(ENOSPC));
        assert_eq!(slots.reserve(greedy).err(), Some(ENOSPC));
        taken[3] = None;
        of_a.push(Some(slots.reserve(a)?), GFP_KERNEL)?;
        let of_b = reserve(&slots, b, 5)?;

        assert_eq!((slots.used(), of_b.len()), (20, 5));
        assert_eq!(slots.reserve(b).err(), Some(EDQUOT));
        assert_eq!(slots.reserve(a).err(), Some(ENOSPC));

        // `a` is one above its guarantee: only the next slots are kept for it again.
        of_a[0] = None;
        taken[3] = Some(slots.reserve(greedy)?);
        of_a[1] = None;
        assert_eq!(slots.reserve(greedy).err(), Some(ENOSPC));
        Ok(())
    }

    #[test]
    fn limits_change_or_stay() -> Result {
        let slots = allocator(10)?;
        let a = slots.add_owner(limits(4, 10))?;
        let b = slots.add_owner(limits(6, 6))?;

        for (refused, error) in [
            (limits(3, 2), EINVAL),
            (limits(0, 0), EINVAL),
            (limits(12, 11), EINVAL),
            (limits(0, 11), ERANGE),
            (limits(11, 11), ERANGE),
            (limits(5, 10), ENOSPC),
        ] {
            assert_eq!(slots.change_limits(a, |now| *now = refused), Err(error));
            assert_eq!(slots.limits(a), Ok(limits(4, 10)));
        }
        assert_eq!(slots.add_owner(limits(1, 1)), Err(ENOSPC));
        assert_eq!(slots.add_owner(limits(2, 1)), Err(EINVAL));
        for missing in [2, u16::MAX] {
            assert_eq!(
                slots.change_limits(missing, |now| *now = limits(0, 1)),
                Err(EINVAL)
            );
            assert_eq!(slots.limits(missing), Err(EINVAL));
            assert_eq!(slots.used_by(missing), Err(EINVAL));
            assert_eq!(slots.reserve(missing).err(), Some(EINVAL));
            assert_eq!(slots.reserve_block(missing, 1).err(), Some(EINVAL));
        }

        // What is given up here can be had there, but not what is used.
        slots.change_limits(b, |now| *now = limits(2, 3))?;
        let held = reserve(&slots, a, 8)?;
        assert_eq!(slots.reserve(a).err(), Some(ENOSPC));
        slots.change_limits(a, |now| *now = limits(0, 1))?;
        assert_eq!(
            slots.change_limits(b, |now| *now = limits(3, 3)),
            Err(ENOSPC)
        );
        drop(held);
        slots.change_limits(b, |now| *now = limits(10, 10))?;
        assert_eq!(slots.add_owner(limits(0, 1)), Ok(2));
        assert_eq!(slots.reserve(2).err(), Some(ENOSPC));
        assert_eq!(reserve(&slots, b, 10)?.len(), 10);
        Ok(())
    }

    #[test]
    fn blocks() -> Result {
        let slots = allocator(300)?;
        let owner = slots.add_owner(limits(0, 300))?;
        let other = slots.add_owner(limits(20, 30))?;

        assert_eq!(slots.reserve_block(owner, 0).err(), Some(EINVAL));
        for count in [301, u32::MAX] {
            assert_eq!(slots.reserve_block(owner, count).err(), Some(EDQUOT));
        }
        assert_eq!(slots.reserve_block(other, 31).err(), Some(EDQUOT));
        assert_eq!(slots.reserve_block(owner, 281).err(), Some(ENOSPC));

        // Every third one is free.
        let mut held = reserve(&slots, owner, 280)?;
        for index in (0..280).step_by(3) {
            held[index] = None;
        }
        let used = slots.used();
        let block = slots.reserve_block(other, 20)?;
        assert!(same(block.iter().map(Reservation::index), 280..300));
        assert_eq!(slots.reserve_block(other, 2).err(), Some(ENOSPC));
        assert_eq!(slots.reserve_block(owner, 2).err(), Some(ENOSPC));
        assert_eq!(slots.used(), used + 20);
        assert_eq!(slots.used_by(owner), Ok(used));

        // The lowest that is long enough, and not what is around it.
        for index in [100, 101, 200, 202, 203] {
            held[index] = None;
        }
        let five = slots.reserve_block(other, 5)?;
        assert!(same(five.iter().map(Reservation::index), 200..205));
        let three = slots.reserve_block(other, 3)?;
        assert!(same(three.iter().map(Reservation::index), 99..102));
        assert_eq!(slots.reserve_block(other, 3).err(), Some(EDQUOT));
        drop(five);
        let two = slots.reserve_block(owner, 2)?;
        assert!(same(two.iter().map(Reservation::index), 200..202));
        Ok(())
    }

    #[test]
    fn retired_slot_is_skipped() -> Result {
        let slots = allocator(6)?;
        let owner = slots.add_owner(limits(0, 6))?;

        let mut held = reserve(&slots, owner, 6)?;
        for index in [4, 1] {
            if let Some(slot) = held[index].take() {
                slot.retire();
            }
        }
        assert_eq!(slots.used(), 6);
        assert_eq!(slots.used_by(owner), Ok(4));
        assert_eq!(slots.reserve(owner).err(), Some(ENOSPC));

        for index in [5, 2, 3, 0] {
            held[index] = None;
        }
        assert_eq!(slots.used(), 2);
        let held = reserve(&slots, owner, 4)?;
        assert!(same(indices(&held), [5, 2, 3, 0]));
        drop(held);
        assert_eq!(slots.reserve_block(owner, 3).err(), Some(ENOSPC));
        let block = slots.reserve_block(owner, 2)?;
        assert!(same(block.iter().map(Reservation::index), 2..4));
        Ok(())
    }

    #[test]
    fn retired_slots_void_guarantees() -> Result {
        let slots = allocator(10)?;
        let a = slots.add_owner(limits(5, 10))?;
        let b = slots.add_owner(limits(5, 10))?;
        let retire = |held: KVec<_>| held.into_iter().flatten().for_each(Reservation::retire);

        retire(reserve(&slots, a, 3)?);
        assert_eq!(
            slots.change_limits(a, |now| *now = limits(6, 10)),
            Err(ENOSPC)
        );
        assert_eq!(slots.add_owner(limits(1, 1)), Err(ENOSPC));
        let of_a = reserve(&slots, a, 2)?;
        assert_eq!(slots.reserve(a).err(), Some(ENOSPC));
        let of_b = reserve(&slots, b, 2)?;
        assert_eq!(slots.reserve(b).err(), Some(ENOSPC));
        retire(of_a);
        retire(of_b);
        assert_eq!(
            (slots.used(), slots.used_by(a), slots.used_by(b)),
            (7, Ok(0), Ok(0))
        );

        // Three slots are left for ten.
        slots.change_limits(a, |now| *now = limits(1, 10))?;
        assert_eq!(
            slots.change_limits(a, |now| *now = limits(2, 10)),
            Err(ENOSPC)
        );
        assert_eq!(slots.reserve(a).err(), Some(ENOSPC));
        slots.change_limits(b, |now| *now = limits(2, 10))?;
        assert_eq!(slots.reserve(a)?.index(), 7);
        slots.change_limits(a, |now| *now = limits(0, 10))?;
        retire(reserve(&slots, b, 3)?);
        assert_eq!(slots.used(), 10);
        assert_eq!(slots.reserve(b).err(), Some(ENOSPC));
        slots.change_limits(b, |now| *now = limits(1, 1))?;
        assert_eq!(slots.add_owner(limits(0, 1)), Ok(2));
        Ok(())
    }

    #[test]
    fn leaked_slot_stays_reserved() -> Result {
        let slots = allocator(2)?;
        let owner = slots.add_owner(limits(1, 2))?;

        core::mem::forget(slots.reserve(owner)?);
        assert_eq!((slots.used(), slots.used_by(owner)), (1, Ok(1)));
        for _ in 0..3 {
            assert_eq!(slots.reserve(owner)?.index(), 1);
        }
        Ok(())
    }

    const OWNERS: usize = 4;

    #[derive(Clone, Copy, PartialEq)]
    enum Place {
        Awake,
        Resting,
        Used(u16),
        Retired,
    }

    /// Keeps no sums: counts and searches all slots each time.
    struct Model {
        places: KVec<Place>,
        /// The oldest is first.
        resting: KVec<u16>,
        limits: KVec<Limits>,
    }

    impl Model {
        fn new(size: usize) -> Result<Self> {
            Ok(Self {
                places: KVec::from_elem(Place::Awake, size, GFP_KERNEL)?,
                resting: KVec::new(),
                limits: KVec::new(),
            })
        }

        fn count(&self, which: impl Fn(Place) -> bool) -> usize {
            self.places.iter().filter(|place| which(**place)).count()
        }

        fn limits(&self, owner: u16) -> Result<Limits> {
            self.limits.get(usize::from(owner)).copied().ok_or(EINVAL)
        }

        fn used_by(&self, owner: u16) -> Result<usize> {
            self.limits(owner)
                .map(|_| self.count(|place| place == Place::Used(owner)))
        }

        /// Slots that `owner` does not have and that are not for the others.
        fn left_for(&self, owner: u16) -> usize {
            let mut claims = [0; OWNERS];
            for place in &self.places {
                if let Place::Used(owner) = place {
                    claims[usize::from(*owner)] += 1;
                }
            }
            for (other, limits) in self.limits.iter().enumerate() {
                if other != usize::from(owner) {
                    claims[other] = claims[other].max(limits.guarantee as usize);
                }
            }
            self.count(|place| place != Place::Retired)
                .saturating_sub(claims.iter().sum())
        }

        fn set_limits(&mut self, owner: u16, limits: Limits) -> Result {
            let used = self.used_by(owner).unwrap_or(0);
            let lacks = |limits: Limits| (limits.guarantee as usize).saturating_sub(used);
            let before = self.limits(owner).map_or(0, lacks);

            if limits.ceiling == 0 || limits.ceiling < limits.guarantee {
                return Err(EINVAL);
            }
            if limits.ceiling as usize > self.places.len() {
                return Err(ERANGE);
            }
            if lacks(limits) > before && lacks(limits) > self.left_for(owner) {
                return Err(ENOSPC);
            }
            match self.limits.get_mut(usize::from(owner)) {
                Some(entry) => *entry = limits,
                None => self.limits.push(limits, GFP_KERNEL)?,
            }
            Ok(())
        }

        fn run(&self, count: usize) -> Option<usize> {
            self.places
                .windows(count)
                .position(|run| run.iter().all(|place| *place == Place::Awake))
        }

        fn reserve(&mut self, owner: u16, count: usize) -> Result<u16> {
            if self.used_by(owner)? + count > self.limits(owner)?.ceiling as usize {
                return Err(EDQUOT);
            }
            if count > self.left_for(owner) {
                return Err(ENOSPC);
            }
            if count > 1 && self.run(count).is_none() {
                for index in self.resting.drain_all() {
                    self.places[usize::from(index)] = Place::Awake;
                }
            }
            let first = match self.run(count) {
                Some(first) => first,
                None if count == 1 => usize::from(self.resting.remove(0)?),
                None => return Err(ENOSPC),
            };
            self.places[first..first + count].fill(Place::Used(owner));
            Ok(first as u16)
        }

        fn free(&mut self, index: usize) -> Result {
            let size = self.places.len();

            self.places[index] = Place::Resting;
            self.resting.push(index as u16, GFP_KERNEL)?;
            if size > 256 && self.resting.len() > size / 4 {
                self.places[usize::from(self.resting.remove(0)?)] = Place::Awake;
            }
            Ok(())
        }
    }

    fn random_limits(random: &mut Random, size: usize) -> Limits {
        let ceiling = (size + 1 - random.below(size + 2) / 3) / (1 + random.below(8) / 5);
        let guarantee = random.below(ceiling + 2) / (1 + random.below(6));

        limits(guarantee as u32, ceiling as u32)
    }

    /// Random sequences against the model.
    #[test]
    fn random_sequences() -> Result {
        for (size, seeds) in [(1, 2), (65, 3), (321, 2), (1000, 1)] {
            for seed in 1..=seeds {
                let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
                let slots = allocator(size as u32)?;
                let mut model = Model::new(size)?;
                let mut held: Held<'_> = KVec::new();
                let mut leaked = 0;
                for _ in 0..size {
                    held.push(None, GFP_KERNEL)?;
                }

                // The share of reservations drifts, so that full and empty both occur. Slots are
                // lost only in the second half.
                for step in 0..1000 {
                    let bias = if (step / 100) % 2 == 0 { 75 } else { 35 };
                    // Seldom one that there is not.
                    let owner = (random.below(model.limits.len() * 9 + 1) / 9) as u16;
                    let index = random.below(size);
                    let several = 1 + random.below(size / 24 + 1);

                    match random.below(100) {
                        0..3 if model.limits.len() < OWNERS => {
                            let owner = model.limits.len() as u16;
                            let limits = random_limits(&mut random, size);

                            let expected = model.set_limits(owner, limits).map(|()| owner);
                            assert_eq!(slots.add_owner(limits), expected);
                        }
                        3..9 if model.limits(owner).is_ok() => {
                            let limits = random_limits(&mut random, size);

                            let expected = model.set_limits(owner, limits);
                            assert_eq!(slots.change_limits(owner, |now| *now = limits), expected);
                        }
                        9..11 if step >= 500 => {
                            if let Some(slot) = held[index].take() {
                                slot.retire();
                                model.places[index] = Place::Retired;
                            }
                        }
                        11 if step >= 500 => {
                            leaked += usize::from(held[index].is_some());
                            core::mem::forget(held[index].take());
                        }
                        12..20 => {
                            let expected = model.reserve(owner, several);
                            let block = slots.reserve_block(owner, several as u32);

                            assert_eq!(block.as_ref().err(), expected.as_ref().err());
                            if let (Ok(block), Ok(first)) = (block, expected) {
                                assert_eq!(block.len(), several);
                                for (index, slot) in (first..).zip(block) {
                                    assert_eq!((slot.index(), slot.owner()), (index, owner));
                                    held[usize::from(index)] = Some(slot);
                                }
                            }
                        }
                        dice if dice < bias => {
                            for _ in 0..several {
                                let expected = model.reserve(owner, 1);
                                let slot = slots.reserve(owner);

                                assert_eq!(slot.as_ref().err(), expected.as_ref().err());
                                let (Ok(slot), Ok(index)) = (slot, expected) else {
                                    break;
                                };
                                assert_eq!((slot.index(), slot.owner()), (index, owner));
                                held[usize::from(index)] = Some(slot);
                            }
                        }
                        _ => {
                            for index in (index..size).take(several) {
                                if held[index].take().is_some() {
                                    model.free(index)?;
                                }
                            }
                        }
                    }

                    let free = |place| matches!(place, Place::Awake | Place::Resting);
                    assert_eq!(slots.used(), size - model.count(free));
                    assert_eq!(slots.limits(owner), model.limits(owner));
                    assert_eq!(slots.used_by(owner), model.used_by(owner));
                }

                drop(held);
                let retired = model.count(|place| place == Place::Retired);
                assert_eq!(slots.used(), leaked + retired);
            }
        }
        Ok(())
    }
}
