// SPDX-License-Identifier: GPL-2.0

//! The interrupt core, as far as masking depends on it: one interrupt with the flow of
//! `handle_edge_irq()`, and the DSA driver's handler.

use crate::{
    line::{Core, Mask},
    storm::Storm,
};
use loom::sync::{Condvar, Mutex, MutexGuard};

/// Parts of `struct irq_desc`.
#[derive(Default)]
struct Desc {
    depth: u32,
    in_progress: bool,
    pending: bool,
    handled: u32,
    reported: u32,
}

pub(crate) struct Irq {
    mask: Mask,
    storm: Storm,
    desc: Mutex<Desc>,
    /// The handler has returned.
    idle: Condvar,
}

impl Irq {
    /// Requests an interrupt, masked or not, that the handler masks beyond `limit`.
    pub(crate) fn new(masked: bool, limit: u32) -> Self {
        let desc = Desc {
            depth: masked.into(),
            ..Desc::default()
        };
        Self {
            mask: Mask::new(masked),
            storm: Storm::new(limit),
            desc: Mutex::new(desc),
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

    /// Runs the handler, unless it has to wait or is running on another CPU.
    fn deliver<'a>(&'a self, mut desc: MutexGuard<'a, Desc>) {
        while desc.pending && desc.depth == 0 && !desc.in_progress {
            desc.pending = false;
            desc.in_progress = true;
            drop(desc);
            let reported = self.handle();
            desc = self.lock();
            desc.handled += 1;
            desc.reported += u32::from(reported);
            desc.in_progress = false;
            self.idle.notify_all();
        }
    }

    /// The handler. Returns whether it reports that the interrupt arrives too often. The second
    /// does not end.
    fn handle(&self) -> bool {
        self.storm.is_exceeded(|| 0) && self.mask.mask_nosync(self) && self.storm.report_once()
    }

    pub(crate) fn mask(&self) {
        self.mask.mask(self);
    }

    /// Returns whether the interrupt was masked.
    pub(crate) fn unmask(&self) -> bool {
        self.mask.unmask(self)
    }

    /// Returns the number of times that the handler has begun to run.
    pub(crate) fn handled(&self) -> u32 {
        let desc = self.lock();
        desc.handled + u32::from(desc.in_progress)
    }

    /// Returns whether the handler is running.
    pub(crate) fn is_in_progress(&self) -> bool {
        self.lock().in_progress
    }

    /// Returns the number of times that the interrupt is disabled.
    pub(crate) fn depth(&self) -> u32 {
        self.lock().depth
    }

    /// Returns the number of times that the handler has reported its limit.
    pub(crate) fn reported(&self) -> u32 {
        self.lock().reported
    }
}

impl Core for Irq {
    fn disable_nosync(&self) {
        self.lock().depth += 1;
    }

    fn synchronize(&self) {
        let mut desc = self.lock();
        while desc.in_progress {
            desc = self.idle.wait(desc).unwrap();
        }
    }

    /// A pending interrupt is sent again: to any CPU, for example to this one.
    fn enable(&self) {
        let mut desc = self.lock();
        desc.depth = desc.depth.checked_sub(1).expect("unbalanced enable");
        self.deliver(desc);
    }
}
