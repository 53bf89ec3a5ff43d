// SPDX-License-Identifier: GPL-2.0

//! Model checks of what the kernel's message store library shares without a lock.
//!
//! KCSAN does not see Rust code. So the files that have the logic, the kernel's own, are compiled here
//! with atomics of loom, which runs each test for every interleaving, up to a number of preemptions,
//! and for every value that a relaxed load may see.

#![cfg(test)]

#[path = "../../../../../rust/kernel/msi/contain.rs"]
mod contain;

#[path = "../../../../../rust/kernel/msi/pass.rs"]
mod pass;

mod genirq;
mod passes;
mod sync;
mod tests;
