// SPDX-License-Identifier: GPL-2.0

//! The engine: executes descriptors, on a thread that may wait for DMA.

use std::sync::atomic::Ordering;
use std::time::Instant;

use log::debug;

use crate::bus::{Bus, DmaError};
use crate::completion::{self, status, Completion};
use crate::descriptor::{self, flag, opcode, Descriptor};
use crate::device::{Device, Interrupt, Job};
use crate::operation::{self, Memory};
use crate::shared;
use crate::swerr::SwError;

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

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        self.transfer(|bus| bus.write(address, data))
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
        let interrupt = desc.has(flag::RCI).then(|| self.resolve(desc));
        let completion = match self.check(desc, batch.is_some(), interrupt) {
            Err(error) => error,
            Ok(()) if desc.opcode() == opcode::BATCH => self.batch(desc),
            Ok(()) => operation::perform(desc, self),
        };
        debug!("work queue {}: {completion:x?}", self.job.wq);
        self.record(desc, &completion, batch);
        if let (Some(Some(interrupt)), true) = (interrupt, self.open()) {
            self.shared.device().interrupt(interrupt);
        }
        completion
    }

    fn resolve(&self, desc: &Descriptor) -> Option<Interrupt> {
        let Job { table, pasid, .. } = *self.job;
        self.shared.device().resolve(table, desc.handle(), pasid)
    }

    /// Checks a descriptor; the error is what its completion record will say.
    fn check(
        &self,
        desc: &Descriptor,
        in_batch: bool,
        interrupt: Option<Option<Interrupt>>,
    ) -> Result<(), Completion> {
        let fail = |status| Err(Completion::new(status));
        let Some(invalid_flags) = desc.invalid_flags() else {
            return fail(status::BAD_OPCODE);
        };
        if in_batch && desc.opcode() == opcode::BATCH {
            return fail(status::BAD_OPCODE);
        }
        if invalid_flags != 0 {
            return Err(Completion {
                invalid_flags,
                ..Completion::new(status::INVALID_FLAGS)
            });
        }
        if desc.reserved_set() {
            return fail(status::NOZERO_RESERVE);
        }
        if desc.has(flag::CRAV) && desc.completion() % completion::SIZE as u64 != 0 {
            return fail(status::CRA_ALIGN);
        }
        if interrupt == Some(None) {
            return fail(status::INT_HANDLE_INVAL);
        }
        self.check_size(desc)
    }

    fn check_size(&self, desc: &Descriptor) -> Result<(), Completion> {
        let status = match desc.opcode() {
            opcode::NOOP | opcode::DRAIN => return Ok(()),
            // A batch of one is not a batch.
            opcode::BATCH if !(2..=self.job.max_batch).contains(&desc.size()) => {
                status::DESC_CNT_ERANGE
            }
            opcode::BATCH if desc.source() % descriptor::SIZE as u64 != 0 => status::DESCLIST_ALIGN,
            opcode::BATCH => return Ok(()),
            _ if !(1..=self.job.max_xfer).contains(&desc.size().into()) => status::XFER_ERANGE,
            _ => return Ok(()),
        };
        Err(Completion::new(status))
    }

    fn batch(&self, desc: &Descriptor) -> Completion {
        let mut result = Completion::new(status::SUCCESS);
        for index in 0..desc.size() {
            let address = desc.source() + u64::from(index) * descriptor::SIZE as u64;
            let mut bytes = [0; descriptor::SIZE];
            if self.read(address, &mut bytes).is_err() {
                return Completion {
                    status: status::BATCH_PAGE_FAULT,
                    fault_address: address,
                    ..result
                };
            }
            let part = self.execute(&bytes.into(), Some(index as u16));
            if part.is_error() {
                result.status = status::BATCH_FAIL;
            }
            result.completed += 1;
        }
        result
    }

    /// Writes the completion record. An error that no record can tell goes to
    /// SWERR. The write is done when this returns, so that an interrupt cannot
    /// overtake it.
    fn record(&self, desc: &Descriptor, completion: &Completion, batch: Option<u16>) {
        let error = SwError {
            code: completion.status & !status::WRITE,
            wq: Some(self.job.wq),
            descriptor: Some((desc.opcode(), self.job.pasid.unwrap_or(0))),
            batch,
            invalid_flags: completion.invalid_flags,
            fault: Some((
                completion.fault_address,
                completion.status & status::WRITE != 0,
            )),
        };
        let address = desc.completion();
        let writable = desc.has(flag::CRAV) && address % completion::SIZE as u64 == 0;
        if !writable {
            if completion.is_error() && self.open() {
                self.shared.device().software_error(error);
            }
            return;
        }
        if !desc.has(flag::RCR) && !completion.is_error() {
            return;
        }
        if self.write(address, &completion.bytes()).is_err() && self.open() {
            self.shared.device().software_error(SwError {
                code: status::CRA_XLAT,
                fault: Some((address, true)),
                ..error
            });
        }
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
