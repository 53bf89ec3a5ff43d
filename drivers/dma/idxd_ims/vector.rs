// SPDX-License-Identifier: GPL-2.0

//! The MSI-X vectors for items without an interrupt of a program.

use crate::{
    device::Queues,
    limit::RateLimit, //
};
use kernel::{
    held::{
        Handler,
        Line, //
    },
    irq::IrqReturn,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// The work queues that share a vector.
pub(crate) struct VectorQueues<'a> {
    queues: Queues<'a>,
    /// The first, and the distance between them.
    first: usize,
    step: usize,
    /// Interrupts so far that a completion record explains.
    explained: Atomic<u64>,
}

impl<'a> VectorQueues<'a> {
    pub(crate) fn new(queues: Queues<'a>, first: usize, step: usize) -> Self {
        Self {
            queues,
            first,
            step,
            explained: Atomic::new(0),
        }
    }

    /// Ends the items that the device has completed. Returns whether completion records explain one
    /// more interrupt. Only for the handler.
    pub(crate) fn reap(&self) -> bool {
        // So many can be in flight: what is explained by older ones has arrived, or was merged.
        const MOST: u64 = 64;
        let mut records = 0;

        for entries in self.queues.iter().skip(self.first).step_by(self.step) {
            entries.reap();
            records += entries.records();
        }
        let more = self
            .explained
            .load(Relaxed)
            .max(records.saturating_sub(MOST))
            + 1;
        if more <= records {
            self.explained.store(more, Relaxed);
        }
        more <= records
    }

    /// Wakes all that wait for an item.
    pub(crate) fn wake_all(&self) {
        for entries in self.queues.iter() {
            entries.wake_all();
        }
    }
}

/// The handler of a vector.
pub(crate) struct VectorHandler<'a> {
    pub(crate) queues: VectorQueues<'a>,
    pub(crate) limit: RateLimit<'a>,
}

impl Handler for VectorHandler<'_> {
    fn handle(&self, line: &Line) -> IrqReturn {
        if !self.queues.reap() {
            self.limit.count(line);
        }
        IrqReturn::Handled
    }
}
