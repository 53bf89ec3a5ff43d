// SPDX-License-Identifier: GPL-2.0

//! Work queues: from a portal into a queue, and out to the engine.

use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use log::debug;

use super::{Device, Gate};
use crate::descriptor::Descriptor;
use crate::handles::Table;
use crate::portal::{Arrival, Portal};
use crate::regs::State;
use crate::swerr::{code, SwError};
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
    pub descriptor: Descriptor,
    pub wq: u16,
    /// Where its interrupt handle is looked up.
    pub table: Table,
    /// From the work queue, if its PASID enable is set.
    pub pasid: Option<u32>,
    /// Most bytes of a transfer.
    pub max_xfer: u64,
    /// Most descriptors in a batch.
    pub max_batch: u32,
    pub gate: Gate,
}

impl Device {
    pub(super) fn write_portal(&mut self, offset: u64, data: &[u8]) {
        let portal = Portal::at(offset);
        if usize::from(portal.wq) >= self.wqs.len() {
            return;
        }
        match self.portals.write(offset, data) {
            Arrival::Partial => {}
            Arrival::Refused => self.refuse(portal.wq, code::PORTAL_ACCESS, None),
            Arrival::Descriptor(bytes) => self.submit(portal, bytes.into()),
        }
    }

    fn submit(&mut self, portal: Portal, descriptor: Descriptor) {
        let wq = &self.wqs[usize::from(portal.wq)];
        let error = if self.state != State::Enabled || wq.state != WqState::Enabled {
            code::WQ_NOT_ENABLED
        } else if !wq.dedicated() {
            code::WQ_SHARED
        } else if wq.occupancy >= wq.size() {
            code::WQ_FULL
        } else {
            return self.enqueue(portal, descriptor);
        };
        self.refuse(portal.wq, error, Some(descriptor));
    }

    fn refuse(&mut self, wq: u16, code: u8, descriptor: Option<Descriptor>) {
        self.counters.portal_refused += 1;
        self.software_error(SwError {
            code,
            wq: Some(wq),
            descriptor: descriptor.map(|desc| (desc.opcode(), desc.pasid())),
            ..SwError::default()
        });
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
        if self.in_flight.is_some() {
            return None;
        }
        let Queued {
            entry,
            table,
            descriptor,
        } = self.queue.pop_front()?;
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
            max_xfer: 1 << wq.max_xfer_shift(),
            max_batch: 1 << wq.max_batch_shift(),
            gate,
        })
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
