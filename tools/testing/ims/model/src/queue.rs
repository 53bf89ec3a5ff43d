// SPDX-License-Identifier: GPL-2.0

//! The queue device, which keeps its interrupt messages in host memory.
//!
//! The device acts on its own copy of the contexts. It reads host memory when it
//! is enabled and during an UPDATE only, and writes nothing but status words and
//! messages.
//!
//! Register accesses come in through [`Device::read`] and [`Device::write`] and
//! never wait. What they cause on the bus is queued, and leaves in that order:
//! [`Device::start`] hands it out, [`Device::finish`] takes the host's answer.
//! Requests are started with the device locked, so that none starts after a
//! reset; [`worker`] waits for the answers with the device unlocked.
//!
#![doc = include_str!("../doc/queue-device.md")]

pub mod config;
mod context;
pub mod fault;
mod regs;
pub mod worker;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use log::{debug, trace};

use crate::bus::{Answer, Dma, DmaError, Pending};
use crate::pci::{ConfigSpace, Identity, Region};
use crate::queue::config::Config;
use crate::queue::context::{Context, Image, Message};
use crate::queue::fault::Fault;
use crate::queue::regs::error;
use crate::rules::Rules;
use crate::shared::Model;

pub use regs::SIZE;

/// Of the range that QEMU leaves for experiments.
const IDENTITY: Identity = Identity {
    vendor: 0x1af4,
    device: 0x10f0,
    class: 0xff00_0001, // unclassified, revision 1
};

/// Most requests in one go, so that an UPDATE gets its turn under any load.
const BURST: usize = 64;

/// Most messages and status words that wait for the host. Beyond that a doorbell is ignored.
const MAX_OUTGOING: usize = 0x1_0000;

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    sent: u32,
    latched: u32,
    replayed: u32,
    updates: u32,
    contexts: u32,
    ignored: u32,
    refused: u32,
}

/// What waits for its turn on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outgoing {
    Message {
        queue: u32,
        message: Message,
        replay: bool,
    },
    /// A context's status word.
    Status { queue: u32, value: u32 },
    /// All that an UPDATE has to wait for is before this.
    End,
}

/// What was asked of the host, and before which reset.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    epoch: u64,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Message(u32),
    Status(u32),
    Context(u32),
    End,
}

/// A request that is on its way.
pub struct Request {
    /// What the answer is for.
    pub tag: Tag,
    /// The answer, which may still be on its way.
    pub answer: Pending,
}

/// An UPDATE in flight, or what ENABLE does: it takes all contexts.
#[derive(Clone, Debug)]
struct Update {
    enables: bool,
    /// Not before this time.
    due: Instant,
    /// Contexts that are still to be read.
    left: Range<u32>,
    /// Whether the host owes an answer, or [`Outgoing::End`] is queued.
    waits: bool,
    /// What it ends with.
    error: u8,
}

/// The device: its registers, its contexts, and what is to be sent.
pub struct Device {
    config: Config,
    pci: ConfigSpace,

    table: u64,
    enabled: bool,
    /// Of the last UPDATE.
    error: u8,
    update: Option<Update>,
    /// An UPDATE that waits until ENABLE is done.
    next: Option<Range<u32>>,
    contexts: Vec<Context>,
    /// What the driver does with the contexts.
    rules: Rules,
    outgoing: VecDeque<Outgoing>,

    counters: Counters,
    /// Number of the last reset, by CONTROL or of the whole device.
    epoch: u64,
    /// Number of the last reset of the whole device.
    flr_epoch: u64,
    /// UPDATEs that were begun, ever.
    begun: u64,
}

impl Device {
    /// A device as it is when the machine starts.
    pub fn new(config: Config) -> Self {
        let mut device = Self {
            pci: ConfigSpace::plain(IDENTITY, regs::SIZE),
            table: 0,
            enabled: false,
            error: error::NONE,
            update: None,
            next: None,
            contexts: vec![Context::default(); config.queues.into()],
            rules: Rules::new(config.queues.into()),
            outgoing: VecDeque::new(),
            counters: Counters::default(),
            epoch: 0,
            flr_epoch: 0,
            begun: 0,
            config,
        };
        device.start_machine();
        device
    }

    /// The machine starts.
    fn start_machine(&mut self) {
        if self.config.starts_unmasked {
            self.contexts.fill(Context::left_over());
        }
    }

    /// Registers are read as a whole; anything else reads as ones.
    pub fn read(&mut self, region: Region, offset: u64, data: &mut [u8]) {
        match (region, &mut *data) {
            (Region::Config, data) => return self.pci.read(offset as usize, data),
            (Region::Bar0, data) if is_register(offset, data) && self.present() => {
                if offset == regs::STATUS && self.update.is_none() {
                    self.rules.read();
                }
                data.copy_from_slice(&self.register(offset).to_le_bytes());
            }
            (_, data) => data.fill(0xff),
        }
        trace!("{region:?} {offset:#x} reads {data:02x?}");
    }

    /// An access of any width. Only a whole register is written.
    pub fn write(&mut self, region: Region, offset: u64, data: &[u8]) {
        if region == Region::Config {
            if self.pci.write(offset as usize, data).reset {
                self.reset();
            }
            return;
        }
        trace!("{region:?} {offset:#x} is written {data:02x?}");
        if region == Region::Bar0 && self.present() && is_register(offset, data) {
            if let Ok(value) = data.try_into() {
                self.set_register(offset, u32::from_le_bytes(value), Instant::now());
            }
        }
    }

    /// FLR, or a reset by QEMU.
    pub fn reset(&mut self) {
        debug!("reset");
        self.pci.reset();
        self.table = 0;
        self.forget();
        self.counters = Counters::default();
        self.rules.clear();
        self.flr_epoch = self.epoch;
    }

    /// What clearing ENABLE does.
    fn forget(&mut self) {
        self.enabled = false;
        self.error = error::NONE;
        self.update = None;
        self.next = None;
        self.contexts.fill(Context::default());
        self.rules.reset();
        self.outgoing.clear();
        self.epoch += 1;
    }

    /// Whether the device is on the bus at all.
    fn present(&self) -> bool {
        self.pci.powered() && !self.has(Fault::AllOnes)
    }

    /// Whether the device may use the bus.
    fn is_master(&self) -> bool {
        self.pci.powered() && self.pci.bus_master()
    }

    fn has(&self, fault: Fault) -> bool {
        self.config.faults.is_on(fault)
    }

    fn register(&self, offset: u64) -> u32 {
        let counters = &self.counters;
        let violations = self.rules.counts();
        match offset {
            regs::MAGIC if self.has(Fault::NoMagic) => 0,
            regs::MAGIC => regs::MAGIC_VALUE,
            regs::QUEUES => self.config.queues.into(),
            regs::TABLE_LO => self.table as u32,
            regs::TABLE_HI => (self.table >> 32) as u32,
            regs::CONTROL if self.enabled => regs::ENABLE,
            regs::STATUS => {
                let busy = if self.update.is_some() { regs::BUSY } else { 0 };
                u32::from(self.error) << regs::ERROR_SHIFT | busy
            }
            regs::SENT => counters.sent,
            regs::LATCHED => counters.latched,
            regs::REPLAYED => counters.replayed,
            regs::UPDATES => counters.updates,
            regs::CONTEXTS => counters.contexts,
            regs::IGNORED => counters.ignored,
            regs::REFUSED => counters.refused,
            regs::BLANK => violations.blank as u32,
            regs::UNMASKED => violations.unmasked as u32,
            regs::UNREAD => violations.unread as u32,
            regs::LAST => violations.last,
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u32, now: Instant) {
        let low = u64::from(u32::MAX);
        match offset {
            regs::TABLE_LO if !self.enabled => {
                self.table = self.table & !low | u64::from(value & !(regs::TABLE_ALIGN - 1));
            }
            regs::TABLE_HI if !self.enabled => {
                self.table = self.table & low | u64::from(value) << 32;
            }
            regs::CONTROL if value & regs::ENABLE == 0 => {
                debug!("disabled");
                self.forget();
            }
            regs::CONTROL if !self.enabled => {
                debug!("enabled, table at {:#x}", self.table);
                self.enabled = true;
                self.update = Some(Update {
                    enables: true,
                    due: now,
                    left: 0..self.config.queues.into(),
                    waits: false,
                    error: error::NONE,
                });
            }
            regs::UPDATE => self.update(value & 0xffff, (value >> 16) + 1, now),
            regs::DOORBELL => self.doorbell(value),
            _ => {}
        }
    }

    /// A queue completes an entry.
    fn doorbell(&mut self, queue: u32) {
        let full = self.outgoing.len() >= MAX_OUTGOING;
        if !self.enabled || queue >= self.config.queues.into() || full {
            count(&mut self.counters.ignored);
            debug!("doorbell {queue} ignored");
            return;
        }
        match self.contexts[queue as usize].raise() {
            Some(message) => {
                self.rules.live(queue as usize);
                self.outgoing.push_back(Outgoing::Message {
                    queue,
                    message,
                    replay: false,
                });
            }
            None => {
                count(&mut self.counters.latched);
                debug!("queue {queue}: latched");
                self.outgoing.push_back(Outgoing::Status {
                    queue,
                    value: context::PENDING,
                });
            }
        }
    }

    /// The command UPDATE.
    fn update(&mut self, first: u32, number: u32, now: Instant) {
        self.error = if !self.enabled {
            error::NOT_ENABLED
        } else if self.is_updating() {
            error::IN_FLIGHT
        } else if first + number > self.config.queues.into() {
            error::RANGE
        } else {
            error::NONE
        };
        debug!("update of {number} from {first}: {}", self.error);
        if self.error == error::NONE {
            let contexts = first..first + number;
            match &self.update {
                Some(_) => self.next = Some(contexts),
                None => self.begin(contexts, now),
            }
        }
    }

    fn is_updating(&self) -> bool {
        self.update.as_ref().is_some_and(|update| !update.enables) || self.next.is_some()
    }

    fn begin(&mut self, contexts: Range<u32>, now: Instant) {
        self.begun += 1;
        let error = self.imposed();
        let left = if error == error::NONE { contexts } else { 0..0 };
        self.update = Some(Update {
            enables: false,
            due: now + self.config.update,
            left,
            waits: false,
            error,
        });
    }

    /// The error that a fault imposes on the UPDATE that begins.
    fn imposed(&self) -> u8 {
        let faults = &self.config.faults;
        let code = faults.arg(Fault::UpdateError);
        match faults.arg(Fault::UpdateErrorAfter) {
            Some(good) if self.begun <= good => error::NONE,
            Some(_) => code.map_or(error::HOST, |code| code as u8),
            None => code.map_or(error::NONE, |code| code as u8),
        }
    }

    /// Whether the UPDATE in flight can go on.
    fn update_is_due(&self, now: Instant) -> bool {
        let due = |update: &Update| update.due <= now && !update.waits;
        !self.has(Fault::UpdateNeverCompletes) && self.update.as_ref().is_some_and(due)
    }

    /// When there will be more to do, if nothing happens until then.
    pub fn deadline(&self) -> Option<Instant> {
        let update = self.update.as_ref().filter(|update| !update.waits)?;
        (!self.has(Fault::UpdateNeverCompletes)).then_some(update.due)
    }

    /// Whether [`Self::start`] has something to do.
    pub fn has_work(&self, now: Instant) -> bool {
        !self.outgoing.is_empty() || self.update_is_due(now)
    }

    /// Starts what there is to do, in order.
    pub fn start(&mut self, dma: &dyn Dma, now: Instant) -> Vec<Request> {
        let mut requests = Vec::new();
        if self.update_is_due(now) {
            requests.extend(self.advance(dma));
        }
        while requests.len() < BURST {
            let Some(outgoing) = self.outgoing.pop_front() else {
                break;
            };
            requests.push(match outgoing {
                Outgoing::Message {
                    queue,
                    message,
                    replay,
                } => self.send(dma, queue, message, replay),
                Outgoing::Status { queue, value } => {
                    let address = self.context(queue).wrapping_add(context::STATUS);
                    let answer = if self.is_master() {
                        dma.start_write(address, &value.to_le_bytes())
                    } else {
                        Pending::known(Err(DmaError))
                    };
                    self.request(What::Status(queue), answer)
                }
                Outgoing::End => self.request(What::End, Pending::known(Ok(Vec::new()))),
            });
        }
        requests
    }

    fn request(&self, what: What, answer: Pending) -> Request {
        let tag = Tag {
            epoch: self.epoch,
            what,
        };
        Request { tag, answer }
    }

    /// Where a context is in host memory.
    fn context(&self, queue: u32) -> u64 {
        self.table
            .wrapping_add(u64::from(queue).wrapping_mul(context::SIZE))
    }

    /// Reads the next context of the UPDATE in flight, or ends it.
    fn advance(&mut self, dma: &dyn Dma) -> Option<Request> {
        let update = self.update.as_mut()?;
        update.waits = true;
        let Some(queue) = update.left.next() else {
            self.outgoing.push_back(Outgoing::End);
            return None;
        };
        let answer = if self.is_master() {
            dma.start_read(self.context(queue), context::READ)
        } else {
            Pending::known(Err(DmaError))
        };
        Some(self.request(What::Context(queue), answer))
    }

    fn send(&mut self, dma: &dyn Dma, queue: u32, message: Message, replay: bool) -> Request {
        let Message { address, data } = message;
        let answer = if self.is_master() && address % 4 == 0 {
            debug!("queue {queue}: message {data:#x} to {address:#x}");
            count(&mut self.counters.sent);
            if replay {
                count(&mut self.counters.replayed);
            }
            dma.start_write(address, &data.to_le_bytes())
        } else {
            Pending::known(Err(DmaError))
        };
        self.request(What::Message(queue), answer)
    }

    /// The host has answered a request.
    pub fn finish(&mut self, tag: Tag, answer: Answer) {
        let Tag { epoch, what } = tag;
        match what {
            What::Message(queue) if answer.is_err() && epoch >= self.flr_epoch => {
                debug!("queue {queue}: message refused");
                count(&mut self.counters.refused);
            }
            What::Message(_) => {}
            // What a reset overtook concerns nobody any more.
            _ if epoch != self.epoch => {}
            What::Status(queue) if answer.is_err() => {
                debug!("queue {queue}: status word refused");
                self.fail(error::HOST);
            }
            What::Status(_) => {}
            What::Context(queue) => self.take(queue, answer),
            What::End => self.complete(),
        }
    }

    /// An UPDATE takes a context, and goes on with the next in any case.
    fn take(&mut self, queue: u32, answer: Answer) {
        if let Some(update) = &mut self.update {
            update.waits = false;
        }
        let Some(bytes) = answer.ok().and_then(|bytes| bytes.try_into().ok()) else {
            return self.fail(error::HOST);
        };
        let Some(image) = Image::parse(bytes) else {
            return self.fail(error::RESERVED);
        };
        debug!("queue {queue}: {image:x?}");
        let enables = self.update.as_ref().is_some_and(|update| update.enables);
        if !enables {
            count(&mut self.counters.contexts);
        }
        let context = &mut self.contexts[queue as usize];
        context.judge(image, enables, &mut self.rules, queue as usize);
        if let Some(message) = context.take(image) {
            self.outgoing.push_back(Outgoing::Message {
                queue,
                message,
                replay: true,
            });
            self.outgoing
                .push_back(Outgoing::Status { queue, value: 0 });
        }
    }

    /// Something went wrong: the UPDATE in flight will tell, if there is one
    /// and this is the first thing.
    fn fail(&mut self, code: u8) {
        if let Some(update) = &mut self.update {
            if update.error == error::NONE {
                update.error = code;
            }
        }
    }

    fn complete(&mut self) {
        let Some(update) = self.update.take() else {
            return;
        };
        if let Some(contexts) = self.next.take() {
            debug!("enabling done: {}", update.error);
            return self.begin(contexts, Instant::now());
        }
        if !update.enables {
            count(&mut self.counters.updates);
        }
        // One that came meanwhile is the last, and its error stays.
        if self.error == error::NONE {
            self.error = update.error;
        }
        debug!("update done: {}", update.error);
    }
}

impl Model for Device {
    fn read(&mut self, region: Region, offset: u64, data: &mut [u8]) {
        Self::read(self, region, offset, data);
    }

    fn write(&mut self, region: Region, offset: u64, data: &[u8]) {
        Self::write(self, region, offset, data);
    }

    fn reset(&mut self) {
        Self::reset(self);
        self.start_machine();
    }
}

/// Whether an access is to one register, as a whole.
fn is_register(offset: u64, data: &[u8]) -> bool {
    data.len() == 4 && offset % 4 == 0 && offset < regs::SIZE.into()
}

/// Counters wrap.
fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}
