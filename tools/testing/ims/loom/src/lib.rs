// SPDX-License-Identifier: GPL-2.0

//! Model checks of flags and counters that interrupt handlers and tasks share without a lock.
//!
//! KCSAN does not see Rust code. So the kernel's own files are compiled here with atomics of loom,
//! which runs each test for all interleavings, up to a number of preemptions, and for all values that
//! a relaxed load may return.

#![cfg(test)]

extern crate self as kernel;

#[path = "../../../../../rust/kernel/held/line.rs"]
mod line;

// The log, which is not compiled here, shows the limit.
#[allow(dead_code)]
#[path = "../../../../../drivers/dma/idxd_ims/storm.rs"]
mod storm;

mod genirq;
mod sync;
mod tests;
