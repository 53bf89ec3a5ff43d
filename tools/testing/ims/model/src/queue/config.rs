// SPDX-License-Identifier: GPL-2.0

//! What kind of queue device to be.

use std::time::Duration;

use crate::fault::Faults;
use crate::queue::fault::Fault;

/// Most queues: a table of 128 KiB.
pub const MAX_QUEUES: u16 = 4096;
/// Longest time for an UPDATE, in microseconds.
pub const MAX_UPDATE_US: u32 = 1_000_000;

#[derive(Clone, Debug)]
/// What `queue-model` is told on its command line.
pub struct Config {
    /// Number of queues.
    pub queues: u16,
    /// What an UPDATE takes at least.
    pub update: Duration,
    /// Whether contexts are unmasked, with a message, when the machine starts.
    pub starts_unmasked: bool,
    /// Ways to be broken.
    pub faults: Faults<Fault>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queues: 64,
            update: Duration::from_micros(500),
            starts_unmasked: false,
            faults: Faults::default(),
        }
    }
}
