// SPDX-License-Identifier: GPL-2.0

//! Work queues: from a portal into a queue, and out to the engine.

use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use log::debug;

use super::{Device, Gate};
use crate::descriptor::{Descriptor, Limits};
use crate::fault::Fault;
use crate::handles::Table;
use crate::portal::{Arrival, Portal};
use crate::regs::{State, GENCFG_USER_INT_EN};
use crate::swerr::{code, Culprit, SwError};
use crate::wq::WqState;

/// What commands want to know of a descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) wq: u16,
    pub(super) pasid: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Queued {
    entry: Entry,
    table: Table,
    descriptor: Descriptor,
}

#[derive(Clone, Debug)]
pub(super) struct InFlight {
    entry: Entry,
    pub(super) gate: Gate,
}

/// A descriptor on its way through the engine.
#[derive(Clone, Debug)]
pub struct Job {
    /// As it was written to the portal.
    pub descriptor: Descriptor,
    /// Its work queue.
    pub wq: u16,
    /// Where its interrupt handle is looked up.
    pub table: Table,
    /// PASID and privilege are the work queue's (8.1.1); none, if its PASID
    /// enable is clear.
    pub pasid: Option<u32>,
    /// Whether the work queue is privileged.
    pub privileged: bool,
    /// What it may do.
    pub limits: Limits,
    /// Whether it may still use the bus.
    pub gate: Gate,
}

impl Device {
    /// What becomes of a write to a portal (5.3, table 9-11). Most that hardware
    /// refuses it drops without a word; the test page counts it.
    pub(super) fn write_portal(&mut self, offset: u64, data: &[u8]) {
        let portal = Portal::at(offset);
        let no_such = portal.table == Table::Ims && self.slot_count() == 0;
        if usize::from(portal.wq) >= self.wqs.len() || no_such {
            return;
        }
        match self.portals.write(offset, data) {
            Arrival::Partial => {}
            Arrival::Refused => self.counters.portal_refused += 1,
            Arrival::Descriptor(bytes) => self.submit(portal, bytes.into()),
        }
    }

    fn submit(&mut self, portal: Portal, descriptor: Descriptor) {
        let wq = &self.wqs[usize::from(portal.wq)];
        let is_enabled = self.state == State::Enabled && wq.state == WqState::Enabled;
        if is_enabled && wq.dedicated() && wq.occupancy < wq.size() {
            return self.enqueue(portal, descriptor);
        }
        self.counters.portal_refused += 1;
        // A posted write is no submission to a shared work queue.
        if is_enabled && wq.dedicated() {
            let culprit = Culprit {
                opcode: descriptor.opcode(),
                pasid: wq.pasid().unwrap_or(0),
                privileged: wq.privileged(),
                batch: None,
            };
            self.software_error(SwError {
                code: code::WQ_FULL,
                wq: Some(portal.wq),
                descriptor: Some(culprit),
                ..SwError::default()
            });
        }
    }

    fn enqueue(&mut self, portal: Portal, descriptor: Descriptor) {
        debug!(
            "work queue {}: opcode {:#x} flags {:#x}",
            portal.wq,
            descriptor.opcode(),
            descriptor.flags()
        );
        let wq = &mut self.wqs[usize::from(portal.wq)];
        wq.occupancy += 1;
        let entry = Entry {
            sequence: self.sequence,
            wq: portal.wq,
            pasid: wq.pasid(),
        };
        self.sequence += 1;
        self.counters.descriptors_taken += 1;
        self.queue.push_back(Queued {
            entry,
            table: portal.table,
            descriptor,
        });
    }

    /// The next descriptor, if the engine is idle. Its entry in the queue is
    /// free from now on.
    pub fn take(&mut self) -> Option<Job> {
        if self.in_flight.is_some() || self.idle() {
            return None;
        }
        if let Some(left) = self.config.faults.arg(Fault::Stalled) {
            self.config.faults.set(Fault::Stalled, left - 1);
        }
        let Queued {
            entry,
            table,
            descriptor,
        } = self.queue.pop_front()?;
        let limits = self.limits(usize::from(entry.wq));
        let wq = &mut self.wqs[usize::from(entry.wq)];
        wq.occupancy -= 1;
        let gate = Arc::new(AtomicBool::new(self.pci.bus_master()));
        self.in_flight = Some(InFlight {
            entry,
            gate: gate.clone(),
        });
        Some(Job {
            descriptor,
            wq: entry.wq,
            table,
            pasid: entry.pasid,
            privileged: wq.privileged(),
            limits,
            gate,
        })
    }

    /// What descriptors of a work queue may do now.
    fn limits(&self, wq: usize) -> Limits {
        let wq = &self.wqs[wq];
        let is_user = wq.pasid().is_some() && !wq.privileged();
        Limits {
            features: self.config.features,
            operations: std::array::from_fn(|opcode| wq.performs(opcode as u8)),
            max_xfer: 1 << wq.max_xfer_shift(),
            max_batch: 1 << wq.max_batch_shift(),
            block_on_fault: wq.bof(),
            interrupts: !is_user || self.gencfg & GENCFG_USER_INT_EN != 0,
            translates: self.pci.ats_enabled(),
        }
    }

    /// The engine is done with a job.
    pub fn finish(&mut self, job: &Job) {
        // A reset in the meantime has already counted it as discarded.
        let current = |in_flight: &mut InFlight| Arc::ptr_eq(&in_flight.gate, &job.gate);
        if self.in_flight.take_if(current).is_some() {
            if job.gate.load(std::sync::atomic::Ordering::Acquire) {
                self.counters.descriptors_completed += 1;
            } else {
                self.counters.descriptors_discarded += 1;
            }
        }
    }

    /// Whether a descriptor that is queued or in flight matches.
    pub(super) fn busy(&self, matches: impl Fn(&Entry) -> bool) -> bool {
        let in_flight = self.in_flight.iter().map(|job| &job.entry);
        let queued = self.queue.iter().map(|queued| &queued.entry);
        in_flight.chain(queued).any(matches)
    }

    /// Drops the queued descriptors that match; one in flight loses the bus.
    pub(super) fn discard(&mut self, matches: impl Fn(&Entry) -> bool) {
        let before = self.queue.len();
        self.queue.retain(|queued| {
            let keep = !matches(&queued.entry);
            if !keep {
                self.wqs[usize::from(queued.entry.wq)].occupancy -= 1;
            }
            keep
        });
        self.counters.descriptors_discarded += (before - self.queue.len()) as u64;
        if self
            .in_flight
            .as_ref()
            .is_some_and(|job| matches(&job.entry))
        {
            self.close_gates();
        }
    }
}
