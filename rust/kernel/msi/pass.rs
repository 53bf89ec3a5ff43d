// SPDX-License-Identifier: GPL-2.0

//! Passes over all CPUs: a worker runs on each, with interrupts on, so that the CPU has taken what
//! it had been sent.
//!
//! One pass does for all who began to wait before it. That takes no lock, so this file depends on
//! nothing but atomics, and tools/testing/ims/loom checks all of its interleavings on the host.

use crate::sync::atomic::{
    Acquire,
    Atomic,
    Full,
    Relaxed, //
};

/// Counts passes. They have numbers from 1 on, in the order in which they begin. Both counts are 0
/// to begin with.
pub(super) struct Passes {
    /// Number of the last that has begun.
    pub(super) begun: Atomic<u64>,
    /// No lower than that of each that has ended.
    pub(super) ended: Atomic<u64>,
}

/// The number of a pass.
#[derive(Clone, Copy)]
pub(super) struct Pass(u64);

impl Passes {
    /// Returns the first pass that begins after now.
    #[inline]
    pub(super) fn next(&self) -> Pass {
        // It writes, so that the pass comes after all that was done before.
        Pass(self.begun.fetch_add(0, Full) + 1)
    }

    /// Returns when `pass`, or a later one, has ended. `run` makes one, if it takes that.
    pub(super) fn wait(&self, pass: Pass, run: impl FnOnce()) {
        if self.ended.load(Acquire) >= pass.0 {
            return;
        }
        let number = self.begun.fetch_add(1, Full) + 1;
        run();

        let mut ended = self.ended.load(Relaxed);
        while ended < number {
            match self.ended.cmpxchg(ended, number, Full) {
                Ok(_) => break,
                Err(now) => ended = now,
            }
        }
    }
}
