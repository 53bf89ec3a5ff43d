// SPDX-License-Identifier: GPL-2.0

//! The queue device as a driver and its memory see it, on a fake host.

mod enable;
mod faults;
mod messages;
mod registers;
mod resets;
mod rules;
mod updates;

use std::ops::Range;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::config::Config;
use super::worker::Shared;
use super::{Device, Request};
use crate::bus::{Answer, Dma, DmaError, Pending};
use crate::pci::Region;
use crate::shared::Model;

// Offsets as numbers, so that a wrong constant shows.
const MAGIC: u64 = 0x00;
const QUEUES: u64 = 0x04;
const TABLE_LO: u64 = 0x08;
const TABLE_HI: u64 = 0x0c;
const CONTROL: u64 = 0x10;
const UPDATE: u64 = 0x14;
const STATUS: u64 = 0x18;
const DOORBELL: u64 = 0x1c;
const SENT: u64 = 0x80;
const LATCHED: u64 = 0x84;
const REPLAYED: u64 = 0x88;
const UPDATES: u64 = 0x8c;
const CONTEXTS: u64 = 0x90;
const IGNORED: u64 = 0x94;
const REFUSED: u64 = 0x98;
const BLANK: u64 = 0x9c;
const UNMASKED: u64 = 0xa0;
const UNREAD: u64 = 0xa4;
const LAST: u64 = 0xa8;

/// The context table's place in the fake memory.
const TABLE: u64 = 0x4000;
/// Where messages go: queue n has data n.
const TARGET: u64 = 0xfee0_1000;

const BUSY: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Read(u64, usize),
    Write(u64, Vec<u8>),
}

/// What a queue's message looks like on the bus.
fn message(queue: u32) -> Event {
    Event::Write(TARGET, queue.to_le_bytes().into())
}

/// A context's status word as it is written.
fn status(queue: u64, value: u32) -> Event {
    Event::Write(TABLE + queue * 32 + 16, value.to_le_bytes().into())
}

/// Answers that are held back, and where they belong.
type Held = Vec<(Sender<Answer>, Answer)>;

/// Takes what requests it gets, with memory from address 0 on; writes beyond it
/// have no effect.
#[derive(Default)]
struct Host {
    memory: Mutex<Vec<u8>>,
    events: Mutex<Vec<Event>>,
    refused: Mutex<Vec<Range<u64>>>,
    held: Mutex<Option<Held>>,
}

impl Host {
    fn fill(&self, address: u64, data: &[u8]) {
        let start = address as usize;
        let mut memory = self.memory.lock().unwrap();
        let len = memory.len().max(start + data.len());
        memory.resize(len, 0);
        memory[start..start + data.len()].copy_from_slice(data);
    }

    fn word(&self, address: u64) -> u32 {
        let memory = self.memory.lock().unwrap();
        let start = address as usize;
        u32::from_le_bytes(memory[start..start + 4].try_into().unwrap())
    }

    /// Requests since the last call.
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }

    fn refuse(&self, range: Range<u64>) {
        self.refused.lock().unwrap().push(range);
    }

    /// Holds answers back from now on.
    fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// How many are held back.
    fn holds(&self) -> usize {
        self.held.lock().unwrap().as_ref().map_or(0, Vec::len)
    }

    fn release(&self) {
        for (sender, answer) in self.held.lock().unwrap().take().into_iter().flatten() {
            sender.send(answer).unwrap();
        }
    }

    fn answer(&self, event: Event, address: u64, answer: impl FnOnce() -> Vec<u8>) -> Pending {
        self.events.lock().unwrap().push(event);
        let refused = self.refused.lock().unwrap();
        let answer = if refused.iter().any(|range| range.contains(&address)) {
            Err(DmaError)
        } else {
            Ok(answer())
        };
        let (sender, pending) = Pending::channel();
        match &mut *self.held.lock().unwrap() {
            Some(held) => held.push((sender, answer)),
            None => sender.send(answer).unwrap(),
        }
        pending
    }
}

impl Dma for Host {
    fn start_read(&self, address: u64, len: usize) -> Pending {
        self.answer(Event::Read(address, len), address, || {
            let start = address as usize;
            self.memory.lock().unwrap()[start..start + len].to_vec()
        })
    }

    fn start_write(&self, address: u64, data: &[u8]) -> Pending {
        self.answer(Event::Write(address, data.into()), address, || {
            if address < TARGET {
                self.fill(address, data);
            }
            Vec::new()
        })
    }
}

struct Bench {
    shared: Arc<Shared>,
    host: Arc<Host>,
}

impl Bench {
    /// Bus mastering is on; the contexts in host memory are masked.
    fn new(config: Config) -> Self {
        let host = Arc::new(Host::default());
        let queues = u64::from(config.queues);
        host.fill(TABLE, &vec![0; 32 * queues as usize]);
        for queue in 0..queues {
            host.fill(TABLE + queue * 32 + 12, &1u32.to_le_bytes());
            host.fill(TABLE + queue * 32 + 20, &[0xa5; 12]);
        }
        let bench = Self {
            shared: Arc::new(Shared::new(Device::new(config), host.clone())),
            host,
        };
        bench.set_command(0x6);
        bench
    }

    /// UPDATEs take no time of their own.
    fn quick() -> Config {
        Config {
            update: Duration::ZERO,
            ..Config::default()
        }
    }

    /// Enabled, with the table in place.
    fn enabled(config: Config) -> Self {
        let bench = Self::new(config);
        bench.enable();
        bench
    }

    /// As [`Self::enabled`], with other contexts.
    fn enabled_with(prepare: impl FnOnce(&Self)) -> Self {
        let bench = Self::new(Self::quick());
        prepare(&bench);
        bench.enable();
        bench
    }

    fn enable(&self) {
        self.put(TABLE_LO, TABLE as u32);
        self.put(CONTROL, 1);
        self.process();
        self.host.take();
    }

    /// As enabled, and queues 0 to 3 can send.
    fn armed() -> Self {
        let bench = Self::enabled(Self::quick());
        for queue in 0..4 {
            bench.context(queue, false);
        }
        assert_eq!(bench.update(0, 4), 0);
        bench.host.take();
        bench
    }

    fn set_command(&self, value: u16) {
        let mut device = self.shared.device();
        device.write(Region::Config, 4, &value.to_le_bytes());
    }

    fn flr(&self) {
        let mut device = self.shared.device();
        device.write(Region::Config, 0x48, &[0, 0x80]);
    }

    fn get_in(&self, region: Region, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.shared.device().read(region, offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn get(&self, offset: u64) -> u32 {
        self.get_in(Region::Bar0, offset)
    }

    fn put(&self, offset: u64, value: u32) {
        let mut device = self.shared.device();
        device.write(Region::Bar0, offset, &value.to_le_bytes());
        drop(device);
        self.shared.notify();
    }

    fn ring(&self, queue: u32) {
        self.put(DOORBELL, queue);
    }

    /// The host writes its words of a context: the queue's message, and MASK.
    fn context(&self, queue: u32, masked: bool) {
        self.context_with(queue, queue, masked.into());
    }

    fn context_with(&self, queue: u32, data: u32, control: u32) {
        let at = TABLE + u64::from(queue) * 32;
        self.host.fill(at, &TARGET.to_le_bytes());
        self.host.fill(at + 8, &data.to_le_bytes());
        self.host.fill(at + 12, &control.to_le_bytes());
    }

    /// The status word of a context in host memory.
    fn status_word(&self, queue: u64) -> u32 {
        self.host.word(TABLE + queue * 32 + 16)
    }

    fn begin_update(&self, first: u32, number: u32) {
        self.put(UPDATE, first | (number - 1) << 16);
    }

    /// An UPDATE from begin to end; the error it ends with.
    fn update(&self, first: u32, number: u32) -> u32 {
        self.begin_update(first, number);
        self.process();
        let status = self.get(STATUS);
        assert_eq!(status & !0xff00, 0, "not busy, nothing reserved");
        status >> 8
    }

    /// Masks or unmasks one queue; what the device then did on the bus besides
    /// reading.
    fn mask(&self, queue: u32, masked: bool) -> Vec<Event> {
        self.context(queue, masked);
        assert_eq!(self.update(queue, 1), 0);
        self.writes()
    }

    fn process(&self) {
        while self.shared.process() {}
    }

    /// Starts what is due at once, and leaves the answers to the test.
    fn start(&self) -> Vec<Request> {
        let now = Instant::now();
        self.shared.device().start(&*self.host, now)
    }

    fn finish(&self, requests: Vec<Request>) {
        for request in requests {
            let answer = request.answer.wait();
            self.shared.device().finish(request.tag, answer);
        }
    }

    /// Writes on the bus since the last look.
    fn writes(&self) -> Vec<Event> {
        let mut events = self.host.take();
        events.retain(|event| matches!(event, Event::Write(..)));
        events
    }

    fn counters(&self) -> [u32; 7] {
        [SENT, LATCHED, REPLAYED, UPDATES, CONTEXTS, IGNORED, REFUSED].map(|at| self.get(at))
    }

    /// BLANK, UNMASKED, UNREAD, LAST.
    fn violations(&self) -> [u32; 4] {
        [BLANK, UNMASKED, UNREAD, LAST].map(|at| self.get(at))
    }

    /// Has a thread work for the device while `test` runs.
    fn with_thread(&self, test: impl FnOnce()) {
        let shared = self.shared.clone();
        let thread = thread::spawn(move || shared.run());
        test();
        self.shared.stop();
        wait(|| thread.is_finished());
        thread.join().unwrap();
    }
}

/// Polls until `done`, for ten seconds at most.
fn wait(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "too late");
        thread::sleep(Duration::from_micros(200));
    }
}
