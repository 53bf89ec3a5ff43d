// SPDX-License-Identifier: GPL-2.0

//! Slot allocator.

use crate::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// Number of slots that an owner may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Number of slots that are reserved for the owner.
    pub min: u32,
    /// Maximum number of slots.
    pub max: u32,
}

#[derive(Clone, Copy, Default)]
struct Owner {
    quota: Quota,
    used: u32,
}

impl Owner {
    /// Returns the number of free slots that are reserved for this owner.
    fn reserved(&self) -> i32 {
        // CAST: There are at most 65536 slots.
        self.quota.min.saturating_sub(self.used) as i32
    }
}

struct State {
    size: u32,
    /// A bit for each slot, set if the slot is free.
    ///
    /// The checks and calls of [`BitmapVec`](crate::bitmap::BitmapVec) would add half of their cost
    /// to [`Allocator::take`] and [`Allocator::free`].
    free: KVVec<u64>,
    /// Start of the search for a free slot: after the last slot that was allocated.
    cursor: usize,
    /// Number of free slots that are not reserved.
    spare: i32,
    owners: KVVec<Owner>,
}

impl State {
    fn new(size: u32) -> Result<Self> {
        if size == 0 || size > 1 << 16 {
            return Err(EINVAL);
        }
        let mut free = KVVec::from_elem(!0, size.div_ceil(64) as usize, GFP_KERNEL)?;

        // The last word may have bits without a slot.
        free[(size - 1) as usize / 64] >>= size.wrapping_neg() % 64;
        Ok(Self {
            size,
            free,
            cursor: 0,
            // CAST: Checked above.
            spare: size as i32,
            owners: KVVec::new(),
        })
    }

    /// Clears the first bit that is set from `start` on, and returns its index.
    fn clear_next(free: &mut [u64], start: usize) -> Option<usize> {
        let mut index = start / 64;
        let mut mask = !0 << (start % 64);

        while let Some(word) = free.get_mut(index) {
            let found = *word & mask;
            if found != 0 {
                let bit = found.trailing_zeros();
                *word ^= 1 << bit;
                return Some(index << 6 | bit as usize);
            }
            mask = !0;
            index += 1;
        }
        None
    }

    /// Changes the reservation of an owner from `reserved` slots to that of `owner`, which has the
    /// new quota.
    fn reserve(&mut self, owner: &Owner, reserved: i32) -> Result {
        let Quota { min, max } = owner.quota;

        if max == 0 || min > max {
            return Err(EINVAL);
        }
        if max > self.size {
            return Err(ERANGE);
        }
        let more = owner.reserved() - reserved;
        if more > self.spare {
            return Err(ENOSPC);
        }
        self.spare -= more;
        Ok(())
    }
}

/// Allocates the slots of a message store for owners, such as work queues, each with a quota.
///
/// Allocation is round-robin: the search for a free slot starts after the slot that was allocated
/// last, and continues at slot 0. So a slot is reused as late as possible.
///
/// # Examples
///
/// ```
/// use kernel::ims::{
///     Allocator,
///     Quota, //
/// };
///
/// let slots = KBox::pin_init(Allocator::new(4), GFP_KERNEL)?;
/// let a = slots.add_owner(Quota { min: 0, max: 3 })?;
/// let b = slots.add_owner(Quota { min: 2, max: 4 })?;
///
/// assert_eq!(slots.take(a), Ok(0));
/// assert_eq!(slots.take(a), Ok(1));
/// // The other two are reserved for `b`.
/// assert_eq!(slots.take(a), Err(ENOSPC));
///
/// slots.free(a, 0);
/// assert_eq!(slots.take(b), Ok(2));
/// assert_eq!(slots.take(b), Ok(3));
/// assert_eq!(slots.take(b), Ok(0));
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub struct Allocator {
    // A mutex: all callers may sleep, and adding an owner allocates memory.
    #[pin]
    state: Mutex<State>,
}

impl Allocator {
    /// Creates an allocator of `slots` free slots, without owners.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `slots` is 0 or above 65536, [`ENOMEM`].
    pub fn new(slots: u32) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            state <- new_mutex!(State::new(slots)?),
        })
    }

    /// Adds an owner and returns its index. Owners are never removed.
    ///
    /// # Errors
    ///
    /// Those of [`Self::change_quota`]; [`ENOSPC`] if there are 65536 owners; [`ENOMEM`].
    pub fn add_owner(&self, quota: Quota) -> Result<u16> {
        let mut state = self.state.lock();
        let index = u16::try_from(state.owners.len()).map_err(|_| ENOSPC)?;
        let owner = Owner { quota, used: 0 };

        state.owners.reserve(1, GFP_KERNEL)?;
        state.reserve(&owner, 0)?;
        state.owners.push(owner, GFP_KERNEL)?;
        Ok(index)
    }

    /// Changes the quota of `owner`. The owner keeps slots beyond its new maximum.
    ///
    /// `change` must not use the allocator.
    ///
    /// # Errors
    ///
    /// - [`EINVAL`] if there is no such owner, or the maximum is 0 or below the minimum.
    /// - [`ERANGE`] if the maximum is above the number of slots.
    /// - [`ENOSPC`] if there are not enough slots to reserve the minimum.
    pub fn change_quota(&self, owner: u16, change: impl FnOnce(&mut Quota)) -> Result {
        let mut state = self.state.lock();
        let index = usize::from(owner);
        let old = *state.owners.get(index).ok_or(EINVAL)?;
        let mut new = old;

        change(&mut new.quota);
        state.reserve(&new, old.reserved())?;
        state.owners[index] = new;
        Ok(())
    }

    fn owner(&self, index: u16) -> Owner {
        let state = self.state.lock();
        let owner = state.owners.get(usize::from(index));

        owner.copied().unwrap_or_default()
    }

    /// Returns the quota of `owner`, which is zero if there is no such owner.
    pub fn quota(&self, owner: u16) -> Quota {
        self.owner(owner).quota
    }

    /// Returns the number of slots that `owner` has.
    pub fn used_by(&self, owner: u16) -> u32 {
        self.owner(owner).used
    }

    /// Returns the number of slots that owners have.
    pub fn used(&self) -> u32 {
        let state = self.state.lock();

        state.owners.iter().map(|owner| owner.used).sum()
    }

    /// Allocates a slot for `owner`. May sleep.
    ///
    /// # Errors
    ///
    /// - [`EDQUOT`] if the owner has its maximum, or there is no such owner.
    /// - [`ENOSPC`] if no slot is free, or all free slots are reserved for other owners.
    pub fn take(&self, owner: u16) -> Result<u16> {
        let state = &mut *self.state.lock();
        let owner = state.owners.get_mut(usize::from(owner)).ok_or(EDQUOT)?;

        if owner.used >= owner.quota.max {
            return Err(EDQUOT);
        }
        let reserved = owner.used < owner.quota.min;
        if !reserved && state.spare == 0 {
            return Err(ENOSPC);
        }
        let slot = State::clear_next(&mut state.free, state.cursor)
            .or_else(|| State::clear_next(&mut state.free, 0))
            .ok_or(ENOSPC)?;

        state.cursor = slot + 1;
        state.spare -= i32::from(!reserved);
        owner.used += 1;
        // CAST: There are at most 65536 slots.
        Ok(slot as u16)
    }

    /// Frees `slot`, which `owner` must have. May sleep.
    ///
    /// Not all invalid arguments are detected: [`Self::take`] could then return a slot that is in
    /// use, or that does not exist.
    #[inline]
    pub fn free(&self, owner: u16, slot: u16) {
        let state = &mut *self.state.lock();
        let owner = state.owners.get_mut(usize::from(owner));
        let word = state.free.get_mut(usize::from(slot / 64));

        if let (Some(owner), Some(word)) = (owner, word) {
            *word |= 1 << (slot % 64);
            // Wrapping, to save checks for an overflow that cannot happen: the owner has a slot.
            owner.used = owner.used.wrapping_sub(1);
            let spare = owner.used >= owner.quota.min;
            state.spare = state.spare.wrapping_add(spare.into());
        }
    }
}

#[cfg(CONFIG_RUST_IMS_KUNIT_TEST)]
#[macros::kunit_tests(rust_kernel_ims_slots)]
mod tests {
    use super::*;

    /// xorshift64, for reproducible sequences.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    const fn quota(min: u32, max: u32) -> Quota {
        Quota { min, max }
    }

    fn allocator(slots: u32) -> Result<Pin<KBox<Allocator>>> {
        KBox::pin_init(Allocator::new(slots), GFP_KERNEL)
    }

    /// Checks that `owner` gets these slots, in this order.
    fn expect(slots: &Allocator, owner: u16, expected: impl IntoIterator<Item = u16>) {
        for slot in expected {
            assert_eq!(slots.take(owner), Ok(slot));
        }
    }

    #[test]
    fn sizes() -> Result {
        for size in [0, (1 << 16) + 1, u32::MAX] {
            assert_eq!(allocator(size).err(), Some(EINVAL));
        }
        for size in [1, 63, 64, 65, 256, 257, 16128, 1 << 16] {
            let slots = allocator(size)?;
            let owner = slots.add_owner(quota(0, size))?;
            let other = slots.add_owner(quota(0, size))?;
            let all = || (0..size).map(|slot| slot as u16);

            for _ in 0..2 {
                expect(&slots, owner, all());
                assert_eq!((slots.used(), slots.used_by(owner)), (size, size));
                assert_eq!(slots.take(owner), Err(EDQUOT));
                assert_eq!(slots.take(other), Err(ENOSPC));
                all().for_each(|slot| slots.free(owner, slot));
                assert_eq!((slots.used(), slots.used_by(owner)), (0, 0));
            }
        }
        Ok(())
    }

    #[test]
    fn allocation_goes_round() -> Result {
        for size in [3u16, 64, 100, 128, 300] {
            let slots = allocator(size.into())?;
            let owner = slots.add_owner(quota(0, size.into()))?;

            // One slot at a time: no slot is reused before all others were used.
            for round in 0..2 * size {
                expect(&slots, owner, [round % size]);
                slots.free(owner, round % size);
            }
            // The search skips slots that are freed behind the cursor.
            expect(&slots, owner, 0..size - 1);
            slots.free(owner, size - 2);
            slots.free(owner, 0);
            expect(&slots, owner, [size - 1, 0, size - 2]);
            // The only free slot is found wherever the cursor is.
            for slot in (0..size).rev() {
                slots.free(owner, slot);
                expect(&slots, owner, [slot]);
            }
        }
        Ok(())
    }

    #[test]
    fn maximum() -> Result {
        let slots = allocator(8)?;
        let owner = slots.add_owner(quota(0, 3))?;

        expect(&slots, owner, 0..3);
        assert_eq!(slots.take(owner), Err(EDQUOT));
        slots.free(owner, 1);
        expect(&slots, owner, [3]);

        // Lowered below what the owner has, then raised.
        slots.change_quota(owner, |quota| quota.max = 1)?;
        assert_eq!(slots.used_by(owner), 3);
        for slot in [0, 2, 3] {
            assert_eq!(slots.take(owner), Err(EDQUOT));
            slots.free(owner, slot);
        }
        expect(&slots, owner, [4]);
        assert_eq!(slots.take(owner), Err(EDQUOT));
        slots.change_quota(owner, |quota| quota.max = 8)?;
        expect(&slots, owner, [5, 6, 7, 0, 1, 2, 3]);
        Ok(())
    }

    #[test]
    fn minimums_hold_against_a_greedy_owner() -> Result {
        let slots = allocator(20)?;
        let greedy = slots.add_owner(quota(1, 20))?;
        let a = slots.add_owner(quota(4, 6))?;
        let b = slots.add_owner(quota(5, 5))?;

        expect(&slots, greedy, 0..11);
        assert_eq!(slots.take(greedy), Err(ENOSPC));
        expect(&slots, a, 11..15);
        // The others are reserved for `b`. A slot that `greedy` frees is not reserved.
        assert_eq!(slots.take(a), Err(ENOSPC));
        assert_eq!(slots.take(greedy), Err(ENOSPC));
        slots.free(greedy, 3);
        expect(&slots, a, [15]);
        expect(&slots, b, [16, 17, 18, 19, 3]);
        assert_eq!(slots.used(), 20);
        assert_eq!(slots.take(b), Err(EDQUOT));
        assert_eq!(slots.take(a), Err(ENOSPC));

        // `a` is one above its minimum: only the next slot that it frees is reserved for it.
        slots.free(a, 11);
        expect(&slots, greedy, [11]);
        slots.free(a, 12);
        assert_eq!(slots.take(greedy), Err(ENOSPC));
        expect(&slots, a, [12]);
        Ok(())
    }

    #[test]
    fn quotas_change_or_stay() -> Result {
        let slots = allocator(10)?;
        let a = slots.add_owner(quota(4, 10))?;
        let b = slots.add_owner(quota(6, 6))?;

        for (refused, error) in [
            (quota(3, 2), EINVAL),
            (quota(0, 0), EINVAL),
            (quota(u32::MAX, 10), EINVAL),
            (quota(0, 11), ERANGE),
            (quota(u32::MAX, u32::MAX), ERANGE),
            (quota(5, 10), ENOSPC),
        ] {
            assert_eq!(slots.change_quota(a, |quota| *quota = refused), Err(error));
            assert_eq!(slots.quota(a), quota(4, 10));
        }
        assert_eq!(slots.add_owner(quota(1, 1)), Err(ENOSPC));
        assert_eq!(slots.add_owner(quota(2, 1)), Err(EINVAL));
        for missing in [2, u16::MAX] {
            assert_eq!(slots.change_quota(missing, |_| ()), Err(EINVAL));
            assert_eq!(slots.quota(missing), quota(0, 0));
            assert_eq!(slots.used_by(missing), 0);
            assert_eq!(slots.take(missing), Err(EDQUOT));
            slots.free(missing, 0);
        }
        slots.free(a, u16::MAX);
        assert_eq!(slots.used(), 0);

        // An owner can get the reservation of another, but not slots in use.
        slots.change_quota(b, |quota| (quota.min, quota.max) = (2, 3))?;
        expect(&slots, a, 0..8);
        assert_eq!(slots.take(a), Err(ENOSPC));
        slots.change_quota(a, |quota| (quota.min, quota.max) = (0, 1))?;
        assert_eq!(slots.change_quota(b, |quota| quota.min = 3), Err(ENOSPC));
        (0..8).for_each(|slot| slots.free(a, slot));
        slots.change_quota(b, |now| *now = quota(10, 10))?;
        assert_eq!(slots.add_owner(quota(0, 1)), Ok(2));
        assert_eq!(slots.take(2), Err(ENOSPC));
        expect(&slots, b, [8, 9, 0, 1, 2, 3, 4, 5, 6, 7]);
        Ok(())
    }

    const OWNERS: usize = 6;

    #[derive(Clone, Copy, PartialEq)]
    enum Slot {
        Free,
        Used(u16),
    }

    /// A reference implementation, which counts on each call.
    struct Model {
        slots: KVec<Slot>,
        cursor: usize,
        quotas: KVec<Quota>,
    }

    impl Model {
        fn count(&self, slot: Slot) -> usize {
            self.slots.iter().filter(|other| **other == slot).count()
        }

        fn used_by(&self, owner: usize) -> usize {
            self.count(Slot::Used(owner as u16))
        }

        fn reserved(&self, owner: usize) -> usize {
            (self.quotas[owner].min as usize).saturating_sub(self.used_by(owner))
        }

        /// Returns the number of free slots that are not reserved, or with `without`, those that
        /// are not reserved for the other owners.
        fn spare(&self, without: Option<usize>) -> usize {
            let others = (0..self.quotas.len()).filter(|owner| Some(*owner) != without);
            let reserved = others.map(|owner| self.reserved(owner)).sum();

            self.count(Slot::Free).saturating_sub(reserved)
        }

        fn set_quota(&mut self, owner: usize, quota: Quota) -> Result {
            let used = self.used_by(owner);
            let needed = |quota: &Quota| (quota.min as usize).saturating_sub(used);
            let before = self.quotas.get(owner).map_or(0, needed);

            if quota.max == 0 || quota.max < quota.min {
                return Err(EINVAL);
            }
            if quota.max as usize > self.slots.len() {
                return Err(ERANGE);
            }
            if needed(&quota) > before && needed(&quota) > self.spare(Some(owner)) {
                return Err(ENOSPC);
            }
            match self.quotas.get_mut(owner) {
                Some(entry) => *entry = quota,
                None => self.quotas.push(quota, GFP_KERNEL)?,
            }
            Ok(())
        }

        fn take(&mut self, owner: usize) -> Result<u16> {
            let quota = self.quotas.get(owner).ok_or(EDQUOT)?;

            if self.used_by(owner) >= quota.max as usize {
                return Err(EDQUOT);
            }
            if self.reserved(owner) == 0 && self.spare(None) == 0 {
                return Err(ENOSPC);
            }
            for step in 0..self.slots.len() {
                let slot = (self.cursor + step) % self.slots.len();
                if self.slots[slot] == Slot::Free {
                    self.slots[slot] = Slot::Used(owner as u16);
                    self.cursor = slot + 1;
                    return Ok(slot as u16);
                }
            }
            Err(ENOSPC)
        }
    }

    fn random_quota(random: &mut Random, size: usize) -> Quota {
        let max = (size + 1 - random.below(size + 2) / 3) / (1 + random.below(8) / 5);
        let min = random.below(max + 2) / (1 + random.below(6));

        quota(min as u32, max as u32)
    }

    fn random_sequence(random: &mut Random, size: usize) -> Result {
        let slots = allocator(size as u32)?;
        let mut model = Model {
            slots: KVec::from_elem(Slot::Free, size, GFP_KERNEL)?,
            cursor: 0,
            quotas: KVec::new(),
        };

        // The share of allocations changes, so that the allocator gets both full and empty.
        for step in 0..1000 {
            let bias = if (step / 100) % 2 == 0 { 75 } else { 35 };
            // Rarely an owner that does not exist.
            let owner = random.below(model.quotas.len() * 9 + 1) / 9;
            let several = 1 + random.below(size / 24 + 1);
            let first = random.below(size);

            match random.below(100) {
                0..3 if model.quotas.len() < OWNERS => {
                    let owner = model.quotas.len();
                    let quota = random_quota(random, size);
                    let expected = model.set_quota(owner, quota).map(|()| owner as u16);
                    assert_eq!(slots.add_owner(quota), expected);
                }
                3..9 if owner < model.quotas.len() => {
                    let quota = random_quota(random, size);
                    let expected = model.set_quota(owner, quota);
                    let changed = slots.change_quota(owner as u16, |now| *now = quota);
                    assert_eq!(changed, expected);
                }
                dice if dice < bias => {
                    for _ in 0..several {
                        assert_eq!(slots.take(owner as u16), model.take(owner));
                    }
                }
                _ => {
                    for slot in (first..size).take(several) {
                        if let Slot::Used(owner) = model.slots[slot] {
                            slots.free(owner, slot as u16);
                            model.slots[slot] = Slot::Free;
                        }
                    }
                }
            }
            let quota = model.quotas.get(owner).copied().unwrap_or_default();
            assert_eq!(slots.quota(owner as u16), quota);
            assert_eq!(slots.used_by(owner as u16) as usize, model.used_by(owner));
            assert_eq!(slots.used() as usize, size - model.count(Slot::Free));
        }
        Ok(())
    }

    #[test]
    fn random_sequences() -> Result {
        for (size, seeds) in [(1, 2), (65, 3), (321, 2)] {
            for seed in 1..=seeds {
                let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
                random_sequence(&mut random, size)?;
            }
        }
        Ok(())
    }
}
