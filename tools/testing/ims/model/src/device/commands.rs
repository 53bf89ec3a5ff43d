// SPDX-License-Identifier: GPL-2.0

//! The command register: one command at a time, with its end in CMDSTS.

use std::time::{Duration, Instant};

use log::debug;

use super::queue::Entry;
use super::Device;
use crate::bus::Pending;
use crate::enable;
use crate::fault::Fault;
use crate::handles::Table;
use crate::regs::{cmdsts, command, intcause, reset_type, CmdError, State};
use crate::swerr::{code, SwError};
use crate::wq::WqState;

/// A command that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Running {
    code: u32,
    operand: u32,
    /// A bit is set that has to be 0.
    reserved: bool,
    int_req: bool,
    /// Not before this time.
    due: Instant,
    /// Descriptors before this one have to end first; `None`: not begun.
    barrier: Option<u64>,
}

/// A command that has ended, but for telling it.
pub(super) struct Ending {
    status: u32,
    int_req: bool,
    /// Until the host has all messages that were sent before. On a bus, reading the status would
    /// push them.
    pushed: Pending,
}

/// How often to ask whether messages have been pushed.
const PUSH_POLL: Duration = Duration::from_micros(50);

/// How far a command got: its result, or not yet.
type Progress = Result<Option<u16>, CmdError>;

const DONE: Progress = Ok(Some(0));
const WAIT: Progress = Ok(None);

impl Device {
    /// A write to CMD.
    pub(super) fn command(&mut self, value: u32, now: Instant) {
        if self.running.is_some() || self.ending.is_some() {
            self.software_error(SwError {
                code: code::CMD_REG,
                ..SwError::default()
            });
            return;
        }
        let code = value >> command::CODE_SHIFT & command::CODE_MASK;
        let operand = value & command::OPERAND_MASK;
        if let Some(slot) = self.slot_of(code, operand) {
            self.rules.handle(slot.into());
        }
        let delay = self.config.faults.arg(Fault::CmdDelay).unwrap_or(0);
        self.cmdsts = cmdsts::ACTIVE;
        self.running = Some(Running {
            code,
            operand,
            reserved: value & command::RESERVED != 0 || operand & command::reserved(code) != 0,
            int_req: value & command::INT_REQ != 0,
            due: now + Duration::from_millis(delay),
            barrier: None,
        });
        self.advance(now);
    }

    /// When to try again, unless it waits for descriptors.
    pub(super) fn command_deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.running.as_ref().map(|running| running.due);
        let polled = self.ending.as_ref().map(|_| now + PUSH_POLL);

        due.filter(|&due| due > now).or(polled)
    }

    /// Moves the running command on, if there is one.
    pub(super) fn advance(&mut self, now: Instant) {
        self.end();
        let Some(running) = self.running.take() else {
            return;
        };
        let stuck = self.has(Fault::CmdNeverCompletes)
            || running.code == command::RESET_DEVICE && self.has(Fault::NeverResets);
        if running.due > now || stuck {
            self.running = Some(running);
            return;
        }
        let status = match self.config.faults.arg(Fault::CmdError) {
            Some(error) if error >> 8 == u64::from(running.code) => error as u32 & 0xff,
            _ => match self.progress(&running) {
                Ok(Some(result)) => u32::from(result) << cmdsts::RESULT_SHIFT,
                Err(error) => error as u32,
                WAIT => {
                    self.running = Some(Running {
                        barrier: running.barrier.or(Some(self.sequence)),
                        ..running
                    });
                    return;
                }
            },
        };
        debug!(
            "command {} operand {:#x}: status {status:#x}",
            running.code, running.operand
        );
        self.counters.commands += 1;
        let pushed = match std::mem::take(&mut self.posted) {
            true => self.bus.sync(),
            false => Pending::known(Ok(Vec::new())),
        };
        self.ending = Some(Ending {
            status,
            int_req: running.int_req,
            pushed,
        });
        self.end();
    }

    /// Tells that a command has ended, if it is time to.
    fn end(&mut self) {
        let Some(ending) = self.ending.take_if(|ending| ending.pushed.is_over()) else {
            return;
        };
        self.cmdsts = ending.status;
        if ending.int_req && !self.has(Fault::CmdSilent) {
            self.cause(intcause::CMD);
        }
    }

    fn progress(&mut self, running: &Running) -> Progress {
        let Running { code, operand, .. } = *running;
        if self.config.commands() >> code & 1 == 0 {
            return Err(CmdError::InvalCmd);
        }
        if running.reserved {
            return Err(CmdError::Reserved);
        }
        // What needs a stronger reset is not cured by the command (9.2.10).
        let soft_reset = code == command::RESET_DEVICE && self.reset_type == reset_type::SOFTWARE;
        if self.state == State::Halt && !soft_reset {
            return Err(match running.barrier {
                None => CmdError::Halted,
                Some(_) => CmdError::HwErr,
            });
        }
        match code {
            command::ENABLE_DEVICE => self.enable_device(),
            command::ENABLE_WQ => self.enable_wq(operand),
            command::REQUEST_INT_HANDLE => self.request_handle(operand),
            command::RELEASE_INT_HANDLE => self.release_handle(operand),
            command::RESET_DEVICE => Ok(self.reset_device()),
            command::DISABLE_DEVICE => self.disable_device(running),
            command::DRAIN_ALL | command::ABORT_ALL => Ok(self.settle(running, |_| true)),
            command::DRAIN_PASID | command::ABORT_PASID => {
                let pasid = Some(operand);
                Ok(self.settle(running, |entry| entry.pasid == pasid))
            }
            _ => self.settle_wqs(running),
        }
    }

    fn enable_device(&mut self) -> Progress {
        if self.state != State::Disabled {
            return Err(CmdError::DevEnabled);
        }
        enable::check_device(&self.config, &self.pci, &self.groups, &self.wqs)?;
        self.state = State::Enabled;
        for index in 0..self.slot_count() as usize {
            if !self.slots[index].mask_bit() {
                self.rules.live(index);
            }
        }
        DONE
    }

    fn enable_wq(&mut self, operand: u32) -> Progress {
        if self.state != State::Enabled {
            return Err(CmdError::DevNotEn);
        }
        let index = operand as usize;
        let state = self.wqs.get(index).ok_or(CmdError::InvalWqIdx)?.state;
        if state != WqState::Disabled {
            return Err(CmdError::WqEnabled);
        }
        enable::check_wq(&self.config, &self.pci, &self.wqs[index])?;
        self.wqs[index].state = WqState::Enabled;
        DONE
    }

    /// The slot whose handle a command requests or releases.
    fn slot_of(&self, code: u32, operand: u32) -> Option<u16> {
        let (Table::Ims, value) = interrupt(operand) else {
            return None;
        };
        let entries = self.entries(Table::Ims);
        match code {
            _ if self.config.commands() >> code & 1 == 0 => None,
            command::REQUEST_INT_HANDLE | command::RELEASE_INT_HANDLE => {
                (u32::from(value) < entries).then_some(value)
            }
            _ => None,
        }
    }

    fn request_handle(&mut self, operand: u32) -> Progress {
        let (table, index) = interrupt(operand);
        let limit = self
            .config
            .faults
            .arg(Fault::HandleLimit)
            .unwrap_or(u64::MAX);
        let entries = self.entries(table);
        let handle = self.handles.request(table, index, entries, limit)?;
        if let Some(said) = self.config.faults.arg(Fault::HandlesRevoked) {
            self.handles.revoke();
            if said != 0 {
                self.cause(intcause::INT_HANDLE_REVOKED);
            }
        }
        Ok(Some(handle))
    }

    fn release_handle(&mut self, operand: u32) -> Progress {
        let (table, index) = interrupt(operand);
        self.handles.release(table, index)?;
        DONE
    }

    /// Aborts everything, then resets the registers. Disabled or not (3.15).
    fn reset_device(&mut self) -> Option<u16> {
        self.discard(|_| true);
        if self.in_flight.is_some() {
            self.stop_all();
            return None;
        }
        self.reset_registers();
        if !self.config.reset_keeps_interrupts {
            self.reset_interrupts();
        }
        Some(0)
    }

    /// Takes no descriptors any more (9.2.10, 9.2.24).
    fn stop_all(&mut self) {
        self.state = State::Drain;
        for wq in &mut self.wqs {
            if wq.state == WqState::Enabled {
                wq.state = WqState::Busy;
            }
        }
    }

    fn disable_device(&mut self, running: &Running) -> Progress {
        if running.barrier.is_none() {
            if self.state != State::Enabled {
                return Err(CmdError::DisDevEn);
            }
            self.stop_all();
        }
        if self.busy(|_| true) {
            return WAIT;
        }
        for wq in &mut self.wqs {
            wq.state = WqState::Disabled;
        }
        self.state = State::Disabled;
        DONE
    }

    /// DRAIN and ABORT, ALL and PASID: waits for the descriptors concerned. None
    /// of them has an error code (table 5-8).
    fn settle(&mut self, running: &Running, concerns: impl Fn(&Entry) -> bool) -> Option<u16> {
        let barrier = self.begin(running, &concerns);
        let busy = self.busy(|entry| concerns(entry) && entry.sequence < barrier);
        (!busy).then_some(0)
    }

    /// DISABLE, DRAIN, ABORT and RESET WQ. A reset concerns work queues that are
    /// disabled as well: it resets their configuration.
    fn settle_wqs(&mut self, running: &Running) -> Progress {
        let chosen = self.chosen_wqs(running.operand)?;
        let is_enabled = |&wq: &usize| self.wqs[wq].state == WqState::Enabled;
        if running.barrier.is_none()
            && running.code != command::RESET_WQ
            && !chosen.iter().all(is_enabled)
        {
            return Err(CmdError::WqNotEn);
        }
        let stops = matches!(running.code, command::DISABLE_WQ | command::RESET_WQ);
        if stops {
            for &wq in &chosen {
                let state = &mut self.wqs[wq].state;
                if *state == WqState::Enabled {
                    *state = WqState::Busy;
                }
            }
        }
        let in_chosen = |entry: &Entry| chosen.contains(&usize::from(entry.wq));
        let barrier = self.begin(running, in_chosen);
        if self.busy(|entry| in_chosen(entry) && entry.sequence < barrier) {
            return WAIT;
        }
        for &wq in &chosen {
            match running.code {
                command::DISABLE_WQ => self.wqs[wq].state = WqState::Disabled,
                command::RESET_WQ => self.wqs[wq].reset(),
                _ => {}
            }
        }
        DONE
    }

    /// The work queues of an operand: bits 15:0 choose among the 16 that bits
    /// 19:16 name (9.2.12). What to choose none means is the model's choice.
    fn chosen_wqs(&self, operand: u32) -> Result<Vec<usize>, CmdError> {
        let base = (operand >> 16) as usize * 16;
        let chosen: Vec<usize> = (0..16)
            .filter(|bit| operand >> bit & 1 != 0)
            .map(|bit| base + bit)
            .collect();
        if chosen.is_empty() || chosen.iter().any(|&wq| wq >= self.wqs.len()) {
            return Err(CmdError::InvalWqIdx);
        }
        Ok(chosen)
    }

    /// On the first call, discards what the command aborts. Returns the
    /// barrier.
    fn begin(&mut self, running: &Running, concerns: impl Fn(&Entry) -> bool) -> u64 {
        let aborts = matches!(
            running.code,
            command::ABORT_ALL | command::ABORT_PASID | command::ABORT_WQ | command::RESET_WQ
        );
        running.barrier.unwrap_or_else(|| {
            if aborts {
                self.discard(concerns);
            }
            self.sequence
        })
    }
}

/// Table and index of an interrupt handle command.
fn interrupt(operand: u32) -> (Table, u16) {
    let table = if operand & command::INT_HANDLE_IMS != 0 {
        Table::Ims
    } else {
        Table::Msix
    };
    (table, (operand & command::INT_HANDLE_INDEX) as u16)
}
