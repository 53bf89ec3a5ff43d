// SPDX-License-Identifier: GPL-2.0

//! The asynchronous source: raises random slots at a rate, from a seed.
//!
//! The sequence is that of [`crate::random`]: a raise goes to SOURCE_FIRST + z
//! mod SOURCE_SLOTS, so that a test can compute the sequence itself.
//!
//! Two messages of a slot are one interrupt if the CPU has not taken the first
//! when the second comes. A paced source raises a slot only while that is
//! allowed, which ends with a message: who counts interrupts allows the slot
//! again when that one has come.

use std::time::{Duration, Instant};

use crate::random::SplitMix64;

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
    random: SplitMix64,
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
        self.random = SplitMix64::new(self.seed);
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
            let random = self.random.draw();
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
