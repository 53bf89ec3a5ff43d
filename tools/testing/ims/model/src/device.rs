// SPDX-License-Identifier: GPL-2.0

//! The device: its state, and what moves it.
//!
//! Register accesses come in through [`Device::read`] and [`Device::write`],
//! time through [`Device::tick`]. None of them waits for DMA: they run while
//! QEMU waits for the answer. Descriptors are handed out by [`Device::take`]
//! and given back by [`Device::finish`], with the DMA in between, where the
//! device is not locked.
//!
#![doc = include_str!("../doc/dsa.md")]
#![doc = include_str!("../doc/test-page.md")]
#![doc = include_str!("../doc/rules.md")]

mod commands;
mod interrupts;
mod page;
mod queue;
mod registers;
mod reset;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Instant;

use log::debug;

use crate::bus::{Bus, Pending};
use crate::chaos::Act;
use crate::config::Config;
use crate::counters::{Counters, SlotCounters};
use crate::fault::Fault;
use crate::group::Group;
use crate::handles::Handles;
use crate::ims::{Defects, Slot};
use crate::layout::Layout;
use crate::pci::ConfigSpace;
use crate::portal::Assembler;
use crate::regs::{genctrl, intcause, reset_type, State};
use crate::rules::Rules;
use crate::shared::Model;
use crate::source::Source;
use crate::swerr::{code, SwErr, SwError};
use crate::wq::{Wq, WqState};

pub use crate::pci::Region;
pub use interrupts::Interrupt;
pub use queue::Job;

/// Whether a job may still use the bus. A reset, an abort or the loss of bus
/// mastering closes it.
pub type Gate = Arc<AtomicBool>;

/// The device.
pub struct Device {
    config: Config,
    layout: Layout,
    bus: Arc<dyn Bus>,
    pci: ConfigSpace,

    state: State,
    reset_type: u32,
    gencfg: u32,
    genctrl: u32,
    intcause: u32,
    cmdsts: u32,
    swerr: SwErr,
    running: Option<commands::Running>,
    ending: Option<commands::Ending>,
    /// Whether messages were sent since a command last ended.
    posted: bool,

    groups: Vec<Group>,
    wqs: Vec<Wq>,
    /// MSIXPERM.
    permissions: Vec<u32>,
    slots: Vec<Slot>,
    /// What the driver does with the slots.
    rules: Rules,
    handles: Handles,

    portals: Assembler,
    queue: VecDeque<queue::Queued>,
    in_flight: Option<queue::InFlight>,
    /// Number of the next descriptor.
    sequence: u64,

    source: Source,
    /// The slots that a paced source may raise.
    allowed: Vec<bool>,
    /// Slots whose message the host may not have taken yet, and the answer that comes after it.
    unconfirmed: VecDeque<(Pending, usize)>,
    /// Until the host has all messages that were sent before SYNC.
    sync: Option<Pending>,
    counters: Counters,
    slot_counters: Vec<SlotCounters>,
    /// Posted writes that had failed at the last COUNTER_RESET.
    post_errors_base: u64,
    /// Reads of BAR0 and BAR2 that `all-ones-after` still allows.
    reads_left: u64,
    /// Messages since the last that `drop-message` lost.
    since_drop: u64,
    raise_first: u32,
    fault_arg: u64,
}

impl Device {
    /// A device as it is when the machine starts.
    pub fn new(config: Config, bus: Arc<dyn Bus>) -> Self {
        let slots = config.slots as usize;
        let mut device = Self {
            layout: config.layout(),
            pci: ConfigSpace::new(&config),
            bus,
            state: State::Disabled,
            reset_type: 0,
            gencfg: 0,
            genctrl: 0,
            intcause: 0,
            cmdsts: 0,
            swerr: SwErr::default(),
            running: None,
            ending: None,
            posted: false,
            groups: vec![reset::group(&config); config.groups.into()],
            wqs: vec![reset::wq(&config); config.wqs.into()],
            permissions: vec![0; config.vectors.into()],
            slots: vec![Slot::default(); slots],
            rules: Rules::new(slots),
            handles: Handles::new(config.handles),
            portals: Assembler::default(),
            queue: VecDeque::new(),
            in_flight: None,
            sequence: 0,
            source: Source::default(),
            allowed: vec![false; slots],
            unconfirmed: VecDeque::new(),
            sync: None,
            counters: Counters::default(),
            slot_counters: vec![SlotCounters::default(); slots],
            post_errors_base: 0,
            reads_left: 0,
            since_drop: 0,
            raise_first: 0,
            fault_arg: 0,
            config,
        };
        device.faults_changed();
        device.start_machine();
        device
    }

    /// An access of any width; what lies beyond the region reads as ones. BAR0
    /// has registers and tables, BAR2 portals, BAR4 the test page.
    pub fn read(&mut self, region: Region, offset: u64, data: &mut [u8]) {
        // The test page is no driver's, and reads of BAR2 push nothing (9.3).
        if region == Region::Bar0 {
            self.rules.read();
        }
        match region {
            Region::Config => self.pci.read(offset as usize, data),
            Region::Bar4 => self.read_page(offset, data),
            _ if self.asleep() => data.fill(0xff),
            Region::Bar0 if self.answers() => {
                self.read_registers(offset, data);
                self.config.chaos.read(offset, data);
            }
            // Portals are write-only.
            Region::Bar0 | Region::Bar2 => data.fill(0xff),
        }
    }

    /// An access of any width; what lies beyond the region is ignored.
    pub fn write(&mut self, region: Region, offset: u64, data: &[u8]) {
        match region {
            Region::Config => self.write_config(offset, data),
            Region::Bar4 => self.write_page(offset, data),
            _ if self.asleep() => {}
            _ if self.gone() => self.rules.lose(),
            Region::Bar0 => {
                let data = self.config.chaos.write(offset, data);
                self.write_registers(offset, &data);
            }
            Region::Bar2 => self.write_portal(offset, data),
        }
    }

    /// Lets time-driven work happen; returns when there is more.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        for slot in self.source.due(now, self.slot_count()) {
            let allowed = self.allowed.get(slot as usize) == Some(&true);
            if allowed || !self.source.paced {
                self.counters.source_raises += 1;
                self.raise(slot);
            }
        }
        for act in self.config.chaos.due(now) {
            self.act(act);
        }
        self.advance(now);
        [
            self.command_deadline(now),
            self.source.deadline(),
            self.config.chaos.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let effect = self.pci.write(offset as usize, data);
        if effect.master_off {
            self.close_gates();
        }
        if effect.master_off || effect.translation {
            self.unsupported_change();
        }
        if effect.reset {
            self.reset();
        }
    }

    /// PCI configuration changed that must not unless the device is disabled
    /// (9.1.3, 5.7). Which reset is needed then is the model's choice.
    fn unsupported_change(&mut self) {
        if matches!(self.state, State::Enabled | State::Drain) {
            self.software_error(SwError {
                code: code::PCI_CFG,
                ..SwError::default()
            });
            self.halt(reset_type::FLR);
        }
    }

    /// Whether an access finds the device in another power state than D0.
    fn asleep(&mut self) -> bool {
        let asleep = !self.pci.powered();
        self.counters.unpowered += u64::from(asleep);
        asleep
    }

    /// Whether the device is not on the bus any more.
    fn gone(&self) -> bool {
        self.has(Fault::AllOnes) || self.has(Fault::AllOnesAfter) && self.reads_left == 0
    }

    /// Whether the device is there for a read.
    fn answers(&mut self) -> bool {
        let gone = self.gone();
        self.reads_left = self.reads_left.saturating_sub(1);
        !gone
    }

    fn has(&self, fault: Fault) -> bool {
        self.config.faults.is_on(fault)
    }

    /// Takes over what faults change in the device's state.
    fn faults_changed(&mut self) {
        self.pci.set_ims(!self.has(Fault::NoImsDvsec));
        self.reads_left = self.config.faults.arg(Fault::AllOnesAfter).unwrap_or(0);
        self.since_drop = 0;
    }

    fn slot_count(&self) -> u32 {
        if self.has(Fault::NoIms) {
            0
        } else {
            self.config.slots
        }
    }

    fn defects(&self) -> Defects {
        Defects {
            no_pending: self.has(Fault::NoPending),
            stuck_mask: self.has(Fault::StuckMask),
            stuck_pending: self.has(Fault::StuckPending),
        }
    }

    /// Does what a sound device does not.
    fn act(&mut self, act: Act) {
        match act {
            Act::Event => self.signal(0),
            Act::Raise(slot) => {
                let slot = slot.unwrap_or_else(|| self.config.chaos.any_slot());
                self.raise(slot);
            }
            Act::Replay if self.pci.bus_master() && self.pci.powered() => {
                if let Some((address, data)) = self.config.chaos.replay() {
                    debug!("message {data:#x} to {address:#x} once more");
                    self.post(address, data);
                }
            }
            Act::Replay => {}
        }
    }

    /// Reports an error in SWERR.
    pub fn software_error(&mut self, error: SwError) {
        debug!("software error {error:x?}");
        let is_new = self.swerr.record(&error);
        if is_new && self.genctrl & genctrl::SOFTERR_INT_EN != 0 {
            self.cause(intcause::ERR);
        }
    }

    /// Stops until a reset of that type.
    fn halt(&mut self, reset_type: u32) {
        debug!("halt, reset type {reset_type}");
        self.discard(|_| true);
        for wq in &mut self.wqs {
            wq.state = WqState::Disabled;
        }
        self.state = State::Halt;
        self.reset_type = reset_type & 3;
        if self.genctrl & genctrl::HALT_INT_EN != 0 {
            self.cause(intcause::HALT_STATE);
        }
    }

    /// Keeps the job in flight from using the bus any more.
    fn close_gates(&self) {
        if let Some(in_flight) = &self.in_flight {
            in_flight.gate.store(false, Ordering::Release);
        }
    }

    /// Whether the engine has nothing to take.
    pub fn idle(&self) -> bool {
        self.queue.is_empty() || self.config.faults.arg(Fault::Stalled) == Some(0)
    }

    /// Counts a transfer that was refused.
    pub fn dma_error(&mut self) {
        self.counters.dma_errors += 1;
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
