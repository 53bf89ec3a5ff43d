// SPDX-License-Identifier: GPL-2.0

//! The asynchronous source: raises random slots at a rate, from a seed.
//!
//! The sequence is SplitMix64 (public domain, Vigna): state += 0x9e3779b97f4a7c15;
//! z = state; z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9; z = (z ^ z >> 27) *
//! 0x94d049bb133111eb; z ^ z >> 31. A raise goes to SOURCE_FIRST + z mod
//! SOURCE_SLOTS, so that a test can compute the sequence itself.
//!
//! Two messages of a slot are one interrupt if the CPU has not taken the first
//! when the second comes. A paced source raises a slot only while that is
//! allowed, which ends with a message: who counts interrupts allows the slot
//! again when that one has come.

use std::time::{Duration, Instant};

/// Raises in one go, so that register accesses get their turn.
const BURST: u32 = 64;

/// The registers SOURCE_*, and the state of a run.
#[derive(Clone, Debug, Default)]
pub struct Source {
    pub seed: u64,
    pub count: u32,
    /// Raises in a second; 0 for as fast as possible.
    pub rate: u32,
    pub first: u32,
    /// 0 for all slots from `first` on.
    pub slots: u32,
    /// Passes over slots that it is not allowed to raise.
    pub paced: bool,
    state: u64,
    remaining: u32,
    started: Option<Instant>,
}

impl Source {
    pub fn running(&self) -> bool {
        self.started.is_some()
    }

    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    pub fn start(&mut self, now: Instant) {
        self.state = self.seed;
        self.remaining = self.count;
        self.started = (self.count != 0).then_some(now);
    }

    pub fn stop(&mut self) {
        self.started = None;
    }

    /// When the next raise is due.
    pub fn deadline(&self) -> Option<Instant> {
        let done = self.count.wrapping_sub(self.remaining);
        self.started.map(|started| started + self.offset(done))
    }

    fn offset(&self, index: u32) -> Duration {
        match self.rate {
            0 => Duration::ZERO,
            rate => Duration::from_nanos(u64::from(index) * 1_000_000_000 / u64::from(rate)),
        }
    }

    /// The slots to raise now, of `total` slots, whether allowed or not.
    pub fn due(&mut self, now: Instant, total: u32) -> Vec<u32> {
        let mut due = Vec::new();
        let choice = match self.slots {
            0 => total.saturating_sub(self.first),
            slots => slots,
        };
        while self.deadline().is_some_and(|at| at <= now) && due.len() < BURST as usize {
            let random = self.next_random();
            if choice != 0 {
                due.push(self.first.wrapping_add((random % u64::from(choice)) as u32));
            }
            self.remaining -= 1;
            if self.remaining == 0 {
                self.stop();
            }
        }
        due
    }

    fn next_random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            seed: 1_234_567,
            count: 100,
            first: 10,
            slots: 5,
            ..Source::default()
        }
    }

    #[test]
    fn known_sequence() {
        let mut source = source();
        source.start(Instant::now());
        // Reference values of SplitMix64 from this seed.
        assert_eq!(source.next_random(), 6_457_827_717_110_365_317);
        assert_eq!(source.next_random(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn all_at_once_in_bursts() {
        let mut source = source();
        let now = Instant::now();
        source.start(now);
        let first = source.due(now, 256);
        assert_eq!(first.len(), 64);
        assert!(first.iter().all(|slot| (10..15).contains(slot)));
        assert_eq!(source.remaining(), 36);
        assert!(source.running());
        assert_eq!(source.due(now, 256).len(), 36);
        assert!(!source.running());
        assert!(source.due(now, 256).is_empty());
        source.start(now);
        assert_eq!(source.due(now, 256), first, "the same seed, the same slots");
    }

    #[test]
    fn rate_sets_the_pace() {
        let mut source = source();
        source.rate = 10;
        let now = Instant::now();
        source.start(now);
        assert_eq!(source.due(now, 256).len(), 1);
        assert_eq!(source.deadline(), Some(now + Duration::from_millis(100)));
        assert!(source.due(now + Duration::from_millis(99), 256).is_empty());
        assert_eq!(source.due(now + Duration::from_millis(500), 256).len(), 5);
        source.stop();
        assert!(source.due(now + Duration::from_secs(9), 256).is_empty());
        assert_eq!(source.remaining(), 94);
    }

    #[test]
    fn no_slots_means_all_from_the_first() {
        let mut source = source();
        source.slots = 0;
        let now = Instant::now();
        source.start(now);
        assert!(source
            .due(now, 12)
            .iter()
            .all(|slot| (10..12).contains(slot)));
        source.first = 12;
        source.start(now);
        assert!(source.due(now, 12).is_empty(), "none to choose from");
    }
}
