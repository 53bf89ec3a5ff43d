// SPDX-License-Identifier: GPL-2.0

//! Rate limit of an interrupt.
//!
//! An interrupt that arrives too often is masked by its handler, so that a device cannot keep a CPU
//! busy. User space can unmask it at the same time, without a lock. Therefore this file depends on
//! nothing but atomics, and tools/testing/ims/loom checks all interleavings on the host.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Counts an interrupt by the second.
pub(crate) struct Storm {
    /// Number of times that the interrupt may arrive in a second; 0 for no limit.
    limit: u32,
    /// Begin of the current second, and number of interrupts since. Only used by the handler, which
    /// does not run on two CPUs at a time.
    begin: Atomic<i64>,
    count: Atomic<u32>,
    /// The first excess has been reported.
    reported: Atomic<bool>,
}

impl Storm {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            begin: Atomic::new(0),
            count: Atomic::new(0),
            reported: Atomic::new(false),
        }
    }

    /// Returns the number of times that the interrupt may arrive in a second; 0 for no limit.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// Counts an interrupt, at a time in nanoseconds that begins with 0. Returns whether it exceeds
    /// the limit. To be called by the handler.
    #[inline(always)]
    pub(crate) fn is_exceeded(&self, now: impl FnOnce() -> i64) -> bool {
        if self.limit == 0 {
            return false;
        }
        let now = now();
        if now.wrapping_sub(self.begin.load(Relaxed)) >= SECOND {
            self.begin.store(now, Relaxed);
            self.count.store(0, Relaxed);
        }

        let count = self.count.load(Relaxed).wrapping_add(1);
        if count > self.limit {
            // A new second begins when the interrupt is unmasked.
            self.count.store(0, Relaxed);
            return true;
        }
        self.count.store(count, Relaxed);
        false
    }

    /// Returns whether the excess has to be reported: only the first is.
    pub(crate) fn report_once(&self) -> bool {
        !self.reported.xchg(true, Relaxed)
    }
}
