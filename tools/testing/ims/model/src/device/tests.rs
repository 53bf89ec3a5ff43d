// SPDX-License-Identifier: GPL-2.0

//! The device as a driver sees it, on a fake bus.

mod batch;
mod chaos;
mod commands;
mod descriptors;
mod enable;
mod faults;
mod interrupts;
mod page;
mod portals;
mod registers;
mod reset;
mod rules;

use std::sync::Arc;
use std::time::Instant;

use super::{Device, Region};
use crate::bus::fake::{Event, FakeBus};
use crate::config::Config;
use crate::descriptor::build::Fields;
use crate::kind::Kind;
use crate::processor::Shared;

// Offsets as numbers, so that a wrong constant shows.
const GENCFG: u64 = 0x80;
const GENCTRL: u64 = 0x88;
const GENSTATS: u64 = 0x90;
const INTCAUSE: u64 = 0x98;
const CMD: u64 = 0xa0;
const CMDSTS: u64 = 0xa8;
const SWERR: u64 = 0xc0;
const MSIXPERM: u64 = 0x200;
const GRPCFG: u64 = 0x300;
const WQCFG: u64 = 0x400;
const IMS: u64 = 0x4000;

/// A completion record's place in the fake memory.
const RECORD: u64 = 0x8000;

/// With commands for interrupt handles.
fn with_handles() -> Config {
    Kind::Virtual.config()
}

struct Bench {
    shared: Shared,
    bus: Arc<FakeBus>,
}

impl Bench {
    fn new(config: Config) -> Self {
        let bus = Arc::new(FakeBus::default());
        let device = Device::new(config, bus.clone());
        let bench = Self {
            shared: Shared::new(device, bus.clone()),
            bus,
        };
        bench.set_command(0x6);
        bench
    }

    /// Group 0 with engine 0 and work queue 0: dedicated, size 2, priority 1,
    /// transfers of 1 MiB, batches of 4; all enabled.
    fn enabled(config: Config) -> Self {
        let bench = Self::new(config);
        bench.enable();
        bench
    }

    fn enable(&self) {
        self.configure(0, 2);
        assert_eq!(self.command(1, 0), 0);
        assert_eq!(self.command(6, 0), 0);
    }

    /// Work queue `wq` alone in the group of its number.
    fn configure(&self, wq: u64, size: u32) {
        self.put64(GRPCFG + wq * 64, 1 << wq);
        self.put64(GRPCFG + wq * 64 + 32, 1 << wq);
        let at = WQCFG + wq * self.shared.device().layout.wqcfg_stride;
        self.put(at, size);
        self.put(at + 8, 1 | 1 << 4);
        self.put(at + 12, 20 | 2 << 5);
    }

    fn set_command(&self, value: u16) {
        let mut device = self.shared.device();
        device.write(Region::Config, 4, &value.to_le_bytes());
    }

    fn get(&self, offset: u64) -> u32 {
        self.get_in(Region::Bar0, offset)
    }

    fn get_in(&self, region: Region, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.shared.device().read(region, offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn get64(&self, offset: u64) -> u64 {
        let mut data = [0; 8];
        self.shared.device().read(Region::Bar0, offset, &mut data);
        u64::from_le_bytes(data)
    }

    fn put(&self, offset: u64, value: u32) {
        self.put_in(Region::Bar0, offset, value);
    }

    fn put_in(&self, region: Region, offset: u64, value: u32) {
        self.shared
            .device()
            .write(region, offset, &value.to_le_bytes());
    }

    fn put64(&self, offset: u64, value: u64) {
        let mut device = self.shared.device();
        device.write(Region::Bar0, offset, &value.to_le_bytes());
    }

    /// Gives a command, without an interrupt; its status, without waiting.
    fn command(&self, code: u32, operand: u32) -> u32 {
        self.put(CMD, code << 20 | operand);
        self.get(CMDSTS)
    }

    fn page(&self, offset: u64) -> u32 {
        self.get_in(Region::Bar4, offset)
    }

    fn set_page(&self, offset: u64, value: u32) {
        self.put_in(Region::Bar4, offset, value);
    }

    /// The state of a work queue.
    fn wq_state(&self, wq: u64) -> u32 {
        self.get(WQCFG + wq * 32 + 24) >> 30
    }

    fn occupancy(&self, wq: u64) -> u32 {
        self.get(WQCFG + wq * 32 + 24) & 0xffff
    }

    /// Writes a descriptor into portal page `page` (0..4) of a work queue.
    fn submit_to(&self, wq: u64, page: u64, bytes: [u8; 64]) {
        let base = (wq * 4 + page) * 0x1000;
        for (index, part) in bytes.chunks(8).enumerate() {
            let mut device = self.shared.device();
            device.write(Region::Bar2, base + index as u64 * 8, part);
        }
    }

    /// Into the unlimited IMS portal of work queue 0.
    fn submit(&self, fields: Fields) {
        self.submit_to(0, 2, fields.bytes());
    }

    /// Submits, executes, and gives the status in the record (0: none).
    fn run(&self, fields: Fields) -> u8 {
        self.bus.fill(RECORD, &[0; 32]);
        self.submit(fields);
        self.process();
        self.bus.peek(RECORD, 1)[0]
    }

    fn process(&self) {
        while self.shared.process() {}
    }

    fn tick(&self) -> Option<Instant> {
        self.shared.device().tick(Instant::now())
    }

    /// Points a slot at `address` and unmasks it.
    fn arm(&self, slot: u64, address: u64, data: u32) {
        let at = IMS + slot * 16;
        self.put64(at, address);
        self.put(at + 8, data);
        self.put(at + 12, 0);
    }

    /// Messages and vectors since the last call.
    fn interrupts(&self) -> Vec<Event> {
        let mut events = self.bus.take();
        events.retain(|event| !matches!(event, Event::Write(..)));
        events
    }
}

/// Completion record wanted, at [`RECORD`].
const WITH_RECORD: u32 = 0x4 | 0x8;
/// And an interrupt.
const WITH_INTERRUPT: u32 = WITH_RECORD | 0x10;

/// A NOOP that wants its record.
fn noop() -> Fields {
    Fields {
        flags: WITH_RECORD,
        completion: RECORD,
        ..Fields::default()
    }
}
