// SPDX-License-Identifier: GPL-2.0

//! The slot allocator.

use crate::{
    bitmap::BitmapVec,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

struct State {
    map: BitmapVec,
    /// No slot below this one is free.
    hint: usize,
    used: usize,
}

/// Hands out the slots of a message store, lowest index first.
///
/// A search takes O(words of the bitmap), from the lowest slot that may be free.
///
/// # Examples
///
/// ```
/// use kernel::{
///     ims::Allocator,
///     sync::Arc, //
/// };
///
/// let slots = Arc::pin_init(Allocator::new(2), GFP_KERNEL)?;
///
/// let first = slots.reserve()?;
/// let second = slots.reserve()?;
/// assert_eq!((first.index(), second.index()), (0, 1));
/// assert_eq!(slots.reserve().err(), Some(ENOSPC));
///
/// drop(first);
/// assert_eq!(slots.reserve()?.index(), 0);
/// # Ok::<(), Error>(())
/// ```
#[pin_data]
pub struct Allocator {
    #[pin]
    state: Mutex<State>,
}

impl Allocator {
    /// Creates an allocator of `slots` slots, all of them free.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `slots` is zero or more than 65536, [`ENOMEM`] if there is not enough memory.
    pub fn new(slots: u32) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            if slots == 0 || slots > 1 << 16 {
                return Err(EINVAL);
            }

            let map = BitmapVec::new(slots as usize, GFP_KERNEL)?;

            Ok(try_pin_init!(Self {
                state <- new_mutex!(State { map, hint: 0, used: 0 }),
            }))
        })
    }

    /// Reserves the lowest free slot, or fails with [`ENOSPC`]. May sleep.
    pub fn reserve(&self) -> Result<Reservation<'_>> {
        let mut state = self.state.lock();
        let hint = state.hint;
        if hint == state.map.len() {
            return Err(ENOSPC);
        }
        let index = state.map.next_zero_bit(hint).ok_or(ENOSPC)?;

        state.map.set_bit(index);
        state.hint = index + 1;
        state.used += 1;

        // CAST: `new()` allows at most 65536 slots.
        Ok(Reservation {
            slots: self,
            index: index as u16,
        })
    }

    /// Takes slot `index` out of use, if it is free. May sleep.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there is no such slot.
    pub fn retire(&self, index: u16) -> Result {
        let mut state = self.state.lock();
        let index = usize::from(index);
        if index >= state.map.len() {
            return Err(EINVAL);
        }

        if state.map.next_zero_bit(index) == Some(index) {
            state.map.set_bit(index);
            state.used += 1;
        }
        Ok(())
    }

    /// Returns how many slots are reserved. May sleep.
    pub fn used(&self) -> usize {
        self.state.lock().used
    }
}

/// A slot that belongs to the holder. Dropping it returns the slot, and may sleep.
///
/// # Invariants
///
/// Bit `index` is set in the bitmap of `slots`, for this object alone.
pub struct Reservation<'a> {
    slots: &'a Allocator,
    index: u16,
}

impl Reservation<'_> {
    /// Returns the index of the slot.
    #[inline]
    pub fn index(&self) -> u16 {
        self.index
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.slots.state.lock();
        let index = usize::from(self.index);

        state.map.clear_bit(index);
        state.hint = state.hint.min(index);
        state.used -= 1;
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

    #[test]
    fn sizes() -> Result {
        for size in [0, (1 << 16) + 1, u32::MAX] {
            let refused = Arc::pin_init(Allocator::new(size), GFP_KERNEL);
            assert_eq!(refused.err(), Some(EINVAL));
        }

        for size in [1, 63, 64, 65, 256, 16128, 1 << 16] {
            let slots = Arc::pin_init(Allocator::new(size), GFP_KERNEL)?;
            let mut held = KVec::new();

            for index in 0..size {
                let slot = slots.reserve()?;
                assert_eq!(u32::from(slot.index()), index);
                held.push(slot, GFP_KERNEL)?;
            }
            assert_eq!(slots.used(), size as usize);
            assert_eq!(slots.reserve().err(), Some(ENOSPC));
            drop(held);
            assert_eq!(slots.used(), 0);
        }
        Ok(())
    }

    #[test]
    fn lowest_first() -> Result {
        let slots = Arc::pin_init(Allocator::new(200), GFP_KERNEL)?;
        let mut held = KVec::new();

        for _ in 0..200 {
            held.push(Some(slots.reserve()?), GFP_KERNEL)?;
        }
        for index in [150, 3, 77] {
            held[index] = None;
        }
        let mut again = KVec::new();
        for index in [3, 77, 150] {
            let slot = slots.reserve()?;
            assert_eq!(slot.index(), index);
            again.push(slot, GFP_KERNEL)?;
        }
        assert_eq!(slots.reserve().err(), Some(ENOSPC));
        Ok(())
    }

    #[test]
    fn leaked_slot_stays_reserved() -> Result {
        let slots = Arc::pin_init(Allocator::new(2), GFP_KERNEL)?;

        core::mem::forget(slots.reserve()?);
        assert_eq!(slots.used(), 1);
        assert_eq!(slots.reserve()?.index(), 1);
        Ok(())
    }

    #[test]
    fn retired_slot_is_skipped() -> Result {
        let slots = Arc::pin_init(Allocator::new(3), GFP_KERNEL)?;

        slots.retire(1)?;
        slots.retire(1)?;
        assert_eq!(slots.retire(3), Err(EINVAL));
        assert_eq!(slots.used(), 1);
        let first = slots.reserve()?;
        let last = slots.reserve()?;
        assert_eq!((first.index(), last.index()), (0, 2));
        assert_eq!(slots.reserve().err(), Some(ENOSPC));
        Ok(())
    }

    /// Random sequences against a model that searches an array from the start.
    #[test]
    fn random_sequences() -> Result {
        const SIZE: usize = 321;

        for seed in 1..=16 {
            let mut random = Random(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
            let slots = Arc::pin_init(Allocator::new(SIZE as u32), GFP_KERNEL)?;
            let mut model: KVec<Option<Reservation<'_>>> = KVec::new();
            for _ in 0..SIZE {
                model.push(None, GFP_KERNEL)?;
            }

            // The share of reservations drifts, so that full and empty both occur.
            for step in 0..4000 {
                let bias = if (step / 1000) % 2 == 0 { 70 } else { 30 };
                if random.below(100) < bias {
                    let free = model.iter().position(Option::is_none);
                    match slots.reserve() {
                        Ok(slot) => {
                            let index = usize::from(slot.index());
                            assert_eq!(Some(index), free);
                            model[index] = Some(slot);
                        }
                        Err(error) => {
                            assert_eq!(error, ENOSPC);
                            assert_eq!(free, None);
                        }
                    }
                } else {
                    model[random.below(SIZE)] = None;
                }
                let used = model.iter().filter(|slot| slot.is_some()).count();
                assert_eq!(slots.used(), used);
            }
            drop(model);
            assert_eq!(slots.used(), 0);
        }
        Ok(())
    }
}
