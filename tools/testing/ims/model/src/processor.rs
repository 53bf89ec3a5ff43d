// SPDX-License-Identifier: GPL-2.0

//! The engine: executes descriptors, on a thread that may wait for DMA.

use std::sync::atomic::Ordering;
use std::time::Instant;

use log::debug;

use crate::bus::{Bus, DmaError};
use crate::completion::{self, status, Completion, Operand};
use crate::descriptor::{self, flag, opcode, Descriptor};
use crate::device::{Device, Interrupt, Job};
use crate::operation::{self, Memory};
use crate::shared;
use crate::swerr::{Culprit, SwError};

/// The device, shared by register accesses and the engine.
pub type Shared = shared::Shared<Device, dyn Bus>;

impl Shared {
    /// Executes descriptors, and lets time pass for the device, until
    /// [`Self::stop`].
    pub fn run(&self) {
        loop {
            while self.process() {}
            let mut device = self.device();
            if self.stopped() {
                return;
            }
            let now = Instant::now();
            let deadline = device.tick(now);
            if device.idle() {
                self.sleep(device, deadline.map(|at| at.saturating_duration_since(now)));
            }
        }
    }

    /// Executes one descriptor; `false` if there is none.
    pub fn process(&self) -> bool {
        let Some(job) = self.device().take() else {
            return false;
        };
        Execution {
            shared: self,
            job: &job,
        }
        .run();
        let mut device = self.device();
        device.finish(&job);
        device.tick(Instant::now());
        true
    }
}

/// One job while it runs.
struct Execution<'a> {
    shared: &'a Shared,
    job: &'a Job,
}

impl Memory for Execution<'_> {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        self.transfer(|bus| bus.read(address, data))
    }

    /// Nobody tells a device without ATS that a posted write failed (3.13.1).
    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        let result = self.transfer(|bus| bus.write(address, data));
        if self.job.limits.translates || !self.open() {
            result
        } else {
            Ok(())
        }
    }
}

impl Execution<'_> {
    fn transfer(
        &self,
        transfer: impl FnOnce(&dyn Bus) -> Result<(), DmaError>,
    ) -> Result<(), DmaError> {
        let result = if self.open() {
            transfer(&*self.shared.bus)
        } else {
            Err(DmaError)
        };
        if result.is_err() {
            self.shared.device().dma_error();
        }
        result
    }

    fn open(&self) -> bool {
        self.job.gate.load(Ordering::Acquire)
    }

    fn run(&self) {
        self.execute(&self.job.descriptor, None);
    }

    /// Executes a descriptor, or number `batch` of a batch, and reports its
    /// end: record first, then interrupt.
    fn execute(&self, desc: &Descriptor, batch: Option<u16>) -> Completion {
        let wanted = desc.has(flag::RCI) && self.job.limits.interrupts;
        let interrupt = wanted.then(|| self.resolve(desc)).flatten();
        let completion = match self.check(desc, batch.is_some(), interrupt) {
            Err(error) => error,
            Ok(()) if desc.opcode() == opcode::BATCH => self.batch(desc),
            Ok(()) => operation::perform(desc, self),
        };
        let completion = self.as_translated(desc, completion);
        debug!("work queue {}: {completion:x?}", self.job.wq);
        let is_reported = self.report(desc, &completion, batch);
        if let (Some(interrupt), true) = (interrupt, is_reported && self.open()) {
            self.shared.device().interrupt(interrupt);
        }
        completion
    }

    fn resolve(&self, desc: &Descriptor) -> Option<Interrupt> {
        let Job { table, pasid, .. } = *self.job;
        self.shared.device().resolve(table, desc.handle(), pasid)
    }

    /// What a fault looks like from the device (table 5-6). With ATS it hears of
    /// a page fault; without, only that a read failed. A batch tells in either case
    /// how far it got (8.3.2). The device has no page requests: those of a
    /// descriptor that blocks on faults are as if refused.
    fn as_translated(&self, desc: &Descriptor, completion: Completion) -> Completion {
        let kind = completion.status & status::WRITE;
        match completion.status & !status::WRITE {
            status::PAGE_FAULT if !self.job.limits.translates => Completion::new(status::HW_READ),
            status::BATCH_PAGE_FAULT if !self.job.limits.translates => Completion {
                result: completion.result,
                completed: completion.completed,
                ..Completion::new(status::HW_READ)
            },
            status::PAGE_FAULT if desc.has(flag::BOF) => Completion {
                status: status::PAGE_REQUEST_FAILED | kind,
                ..completion
            },
            _ => completion,
        }
    }

    /// The checks of section 5.4, in its order; hardware may have another. The
    /// error is what the completion record will say.
    ///
    /// Not there: the privilege of shared work queues, which nobody can submit
    /// to; overlapping buffers, which GENCAP allows for a copy; traffic classes
    /// without a VC capability.
    fn check(
        &self,
        desc: &Descriptor,
        in_batch: bool,
        interrupt: Option<Interrupt>,
    ) -> Result<(), Completion> {
        let limits = &self.job.limits;
        let fail = |status| Err(Completion::new(status));
        if desc.has(flag::CRAV) && desc.completion() % completion::SIZE as u64 != 0 {
            return fail(status::CRA_ALIGN);
        }
        if !desc.is_supported(limits, in_batch) {
            return fail(status::BAD_OPCODE);
        }
        let invalid_flags = desc.invalid_flags(limits, in_batch);
        if invalid_flags != 0 {
            return Err(Completion {
                invalid_flags,
                ..Completion::new(status::INVALID_FLAGS)
            });
        }
        if desc.reserved_set() {
            return fail(status::NOZERO_RESERVE);
        }
        let is_transfer = !matches!(desc.opcode(), opcode::NOOP | opcode::DRAIN | opcode::BATCH);
        if is_transfer && !(1..=limits.max_xfer).contains(&desc.size().into()) {
            return fail(status::XFER_ERANGE);
        }
        if desc.has(flag::RCI) && interrupt.is_none() {
            return fail(status::INT_HANDLE_INVAL);
        }
        let reads_seed = desc.opcode() == opcode::CRCGEN && desc.has(flag::READ_SEED);
        if reads_seed && desc.seed_address() % 4 != 0 {
            return fail(status::ADDR_ALIGN);
        }
        if desc.opcode() == opcode::BATCH {
            let least = if limits.features.batch1 { 1 } else { 2 };
            if !(least..=limits.max_batch).contains(&desc.size()) {
                return fail(status::DESC_CNT_ERANGE);
            }
            if desc.source() % descriptor::SIZE as u64 != 0 {
                return fail(status::DESCLIST_ALIGN);
            }
        }
        Ok(())
    }

    /// Executes the descriptors of a batch (8.3.2). After one that did not end
    /// with success, a fence abandons itself and what follows (3.9).
    fn batch(&self, desc: &Descriptor) -> Completion {
        let mut result = Completion::new(status::SUCCESS);
        let mut failed = desc.has(flag::BATCH_ERROR);
        for index in 0..desc.size() {
            let offset = u64::from(index) * descriptor::SIZE as u64;
            let address = desc.source().wrapping_add(offset);
            let mut bytes = [0; descriptor::SIZE];
            if self.read(address, &mut bytes).is_err() {
                result.status = status::BATCH_PAGE_FAULT;
                result.operand = Operand::Source;
                result.fault_address = address;
                break;
            }
            let part = Descriptor::from(bytes);
            if failed && part.has(flag::FENCE) {
                break;
            }
            failed |= self.execute(&part, Some(index as u16)).status != status::SUCCESS;
            result.completed += 1;
        }
        if failed && result.status == status::SUCCESS {
            result.status = status::BATCH_FAIL;
        }
        if self.job.limits.features.batch_continuation {
            result.result = failed.into();
        }
        result
    }

    /// Writes the completion record, or reports in SWERR what no record can
    /// tell (table 5-1, 5.8.1). The write is done when this returns, so that an
    /// interrupt cannot overtake it. Returns `false` if the descriptor was
    /// discarded, for which there is no interrupt.
    fn report(&self, desc: &Descriptor, completion: &Completion, batch: Option<u16>) -> bool {
        let features = &self.job.limits.features;
        let is_invalid_handle = completion.status == status::INT_HANDLE_INVAL;
        if completion.status == status::CRA_ALIGN {
            self.software_error(desc, completion, batch);
            return false;
        }
        if !desc.has(flag::CRAV) {
            if completion.is_error() {
                self.software_error(desc, completion, batch);
            }
            return true;
        }
        if is_invalid_handle {
            self.software_error(desc, completion, batch);
        }
        if !desc.has(flag::RCR) && !completion.is_error() {
            return true;
        }
        let address = desc.completion();
        let is_written = self
            .write(address, &completion.bytes(features.fault_info))
            .is_ok();
        if !is_written {
            let error = Completion {
                operand: Operand::Record,
                fault_address: address,
                ..Completion::new(status::CRA_XLAT | status::WRITE)
            };
            self.software_error(desc, &error, batch);
        }
        is_written
    }

    fn software_error(&self, desc: &Descriptor, completion: &Completion, batch: Option<u16>) {
        if !self.open() {
            return;
        }
        let code = completion.status & !status::WRITE;
        let has_info = self.job.limits.features.error_info;
        // Of the codes that have information, these are the model's (9.2.15).
        let info = match code {
            status::INVALID_FLAGS => Some(completion.invalid_flags),
            _ if !has_info => None,
            status::INT_HANDLE_INVAL => Some(desc.handle().into()),
            status::PAGE_FAULT | status::PAGE_REQUEST_FAILED | status::BATCH_PAGE_FAULT => {
                Some((completion.operand as u32) << 29)
            }
            _ => None,
        };
        let is_fault = completion.operand != Operand::Unknown;
        let is_write = completion.status & status::WRITE != 0;
        self.shared.device().software_error(SwError {
            code,
            wq: Some(self.job.wq),
            descriptor: Some(Culprit {
                opcode: desc.opcode(),
                pasid: self.job.pasid.unwrap_or(0),
                privileged: self.job.privileged,
                batch,
            }),
            info: info.unwrap_or(0),
            info_valid: has_info && info.is_some(),
            fault: is_fault.then_some((completion.fault_address, is_write)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::fake::FakeBus;
    use crate::config::Config;
    use crate::device::Region;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    /// Polls until `done`, for ten seconds at most.
    fn wait(done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "too late");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn thread_does_what_is_due_and_ends_when_told() {
        let bus = Arc::new(FakeBus::default());
        let device = Device::new(Config::default(), bus.clone());
        let shared = Arc::new(Shared::new(device, bus));
        let engine = {
            let shared = shared.clone();
            thread::spawn(move || shared.run())
        };
        let set = |offset: u64, value: u32| {
            let mut device = shared.device();
            device.write(Region::Bar4, offset, &value.to_le_bytes());
            drop(device);
            shared.notify();
        };
        let get = |offset: u64| {
            let mut data = [0; 4];
            shared.device().read(Region::Bar4, offset, &mut data);
            u32::from_le_bytes(data)
        };
        set(0x108, 200); // SOURCE_COUNT
        set(0x10c, 2000); // SOURCE_RATE
        set(0x118, 1); // SOURCE_CONTROL
        wait(|| get(0x11c) == 0);
        assert_eq!(get(0x48), 200, "raises latched");
        shared.stop();
        wait(|| engine.is_finished());
        engine.join().unwrap();
    }
}
