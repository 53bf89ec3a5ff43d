// SPDX-License-Identifier: GPL-2.0

//! The interrupt core, as far as masking depends on it: one interrupt, with the flow of
//! `handle_edge_irq()`.

use crate::contain::{Line, Mask};
use loom::sync::{Condvar, Mutex, MutexGuard};

/// Of `struct irq_desc`.
#[derive(Default)]
struct Desc {
    depth: u32,
    in_progress: bool,
    pending: bool,
    handled: u32,
    reported: u32,
}

pub(crate) struct Irq {
    pub(crate) mask: Mask,
    desc: Mutex<Desc>,
    /// The handler has ended.
    idle: Condvar,
}

impl Irq {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            mask: Mask::new(limit, 1),
            desc: Mutex::default(),
            idle: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desc> {
        self.desc.lock().unwrap()
    }

    /// A message arrives at a CPU.
    pub(crate) fn arrive(&self) {
        let mut desc = self.lock();
        desc.pending = true;
        self.deliver(desc);
    }

    /// Runs the handler, unless it has to wait or another CPU does that.
    fn deliver<'a>(&'a self, mut desc: MutexGuard<'a, Desc>) {
        while desc.pending && desc.depth == 0 && !desc.in_progress {
            desc.pending = false;
            desc.in_progress = true;
            drop(desc);
            let reported = self.mask.exceeds(self) && self.mask.contain(self).is_some();
            desc = self.lock();
            desc.handled += 1;
            desc.reported += u32::from(reported);
            desc.in_progress = false;
            self.idle.notify_all();
        }
    }

    /// Returns how often the handler has begun to run.
    pub(crate) fn handled(&self) -> u32 {
        let desc = self.lock();
        desc.handled + u32::from(desc.in_progress)
    }

    /// Returns whether the handler is running.
    pub(crate) fn is_in_progress(&self) -> bool {
        self.lock().in_progress
    }

    /// Returns how often the interrupt is disabled.
    pub(crate) fn depth(&self) -> u32 {
        self.lock().depth
    }

    /// Returns how often the log says that the interrupt came too often.
    pub(crate) fn reported(&self) -> u32 {
        self.lock().reported
    }
}

impl Line for Irq {
    /// The second does not end.
    fn now(&self) -> usize {
        0
    }

    fn disable_nosync(&self) {
        self.lock().depth += 1;
    }

    fn synchronize(&self) {
        let mut desc = self.lock();
        while desc.in_progress {
            desc = self.idle.wait(desc).unwrap();
        }
    }

    /// What is pending is sent again: any CPU may take it, this one for example.
    fn enable(&self) {
        let mut desc = self.lock();
        desc.depth = desc.depth.checked_sub(1).expect("unbalanced enable");
        self.deliver(desc);
    }
}
