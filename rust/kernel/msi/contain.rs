// SPDX-License-Identifier: GPL-2.0

//! Whether an interrupt with a handler is masked: by a call, or because it came too often.
//!
//! A call and the handler may be at it at the same time, without a lock. So this file depends on
//! nothing but atomics, and tools/testing/ims/loom checks all of its interleavings on the host.

use crate::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// An interrupt that has a handler, as the core has it: it counts how often it is disabled, under a
/// lock, and the handler only runs while that is zero.
pub(super) trait Line {
    /// Returns the time, which wraps.
    fn now(&self) -> usize;

    /// Disables the interrupt once more.
    fn disable_nosync(&self);

    /// Returns when the handler is not running, once. Sleeps.
    fn synchronize(&self);

    /// Disables the interrupt once less.
    fn enable(&self);
}

/// Who has masked an interrupt, and whether it comes too often.
pub(super) struct Mask {
    /// How often it may come in a second; 0 for any.
    limit: u32,
    /// How long a second is, as the line has the time.
    length: usize,
    /// When the second began, and how often it has come since. Only the handler, which does not run
    /// twice at a time, uses these.
    second: Atomic<usize>,
    count: Atomic<u32>,
    /// By a call or by the handler. The core has the interrupt disabled once then.
    masked: Atomic<bool>,
    reported: Atomic<bool>,
}

impl Mask {
    #[inline]
    pub(super) fn new(limit: u32, length: usize) -> Self {
        Self {
            limit,
            length,
            second: Atomic::new(0),
            count: Atomic::new(0),
            masked: Atomic::new(false),
            reported: Atomic::new(false),
        }
    }

    /// The handler of `line` has just run: returns whether that exceeds the limit. For the handler
    /// itself to call.
    #[inline(always)]
    pub(super) fn exceeds(&self, line: &impl Line) -> bool {
        if self.limit == 0 {
            return false;
        }
        let now = line.now();
        if now.wrapping_sub(self.second.load(Relaxed)) >= self.length {
            self.second.store(now, Relaxed);
            self.count.store(0, Relaxed);
        }

        let count = self.count.load(Relaxed).wrapping_add(1);
        if count > self.limit {
            // Whoever unmasks it has a full second.
            self.count.store(0, Relaxed);
            return true;
        }
        self.count.store(count, Relaxed);
        false
    }

    /// Masks `line`, which exceeds its limit. The first time, returns the limit. For the handler
    /// itself to call.
    pub(super) fn contain(&self, line: &impl Line) -> Option<u32> {
        if self.masked.xchg(true, Relaxed) {
            return None;
        }
        line.disable_nosync();
        (!self.reported.xchg(true, Relaxed)).then_some(self.limit)
    }

    /// Masks `line`: its handler does not run when this returns, and will not before
    /// [`Self::unmask`]. Returns whether it was unmasked. Not for two tasks at a time. Sleeps.
    #[inline]
    pub(super) fn mask(&self, line: &impl Line) -> bool {
        let was_masked = self.masked.xchg(true, Relaxed);

        if !was_masked {
            line.disable_nosync();
        }
        line.synchronize();
        !was_masked
    }

    /// Unmasks `line`, whoever masked it, and returns whether it was masked. Not for two tasks at a
    /// time. Sleeps.
    #[inline]
    pub(super) fn unmask(&self, line: &impl Line) -> bool {
        if !self.masked.load(Relaxed) {
            return false;
        }
        // Who set `masked` has disabled the interrupt, or is a handler that runs and is about to.
        line.synchronize();
        self.masked.store(false, Relaxed);
        line.enable();
        true
    }
}
