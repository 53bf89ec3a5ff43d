// SPDX-License-Identifier: GPL-2.0

//! Resets: the state that they bring (table 9-3).

use log::debug;

use super::Device;
use crate::config::Config;
use crate::fault::Fault;
use crate::group::Group;
use crate::ims::Slot;
use crate::regs::State;
use crate::swerr::SwErr;
use crate::wq::Wq;

impl Device {
    /// The machine starts.
    pub(super) fn start_machine(&mut self) {
        if self.config.starts_unmasked {
            self.slots.fill(Slot::left_over());
        }
    }

    /// FLR, the way out of D3hot, or a reset by QEMU: everything but the test page.
    pub fn reset(&mut self) {
        debug!("reset");
        self.counters.resets += 1;
        if self.has(Fault::NeverResets) {
            return;
        }
        self.discard(|_| true);
        self.pci.reset();
        self.faults_changed();
        self.reset_registers();
        self.reset_interrupts();
        self.running = None;
        self.ending = None;
        self.cmdsts = 0;
        self.swerr = SwErr::default();
        self.source.stop();
    }

    /// What RESET_DEVICE resets besides the interrupts' tables. It preserves CMD,
    /// CMDSTS and SWERR (table 9-3).
    pub(super) fn reset_registers(&mut self) {
        self.state = State::Disabled;
        self.reset_type = 0;
        self.gencfg = 0;
        self.genctrl = 0;
        self.intcause = 0;
        self.groups.fill(group(&self.config));
        self.wqs.fill(wq(&self.config));
        self.portals.clear();
    }

    pub(super) fn reset_interrupts(&mut self) {
        self.permissions.fill(0);
        self.slots.fill(Slot::default());
        self.rules.reset();
        self.unconfirmed.clear();
        self.handles.clear();
    }
}

pub(super) fn group(config: &Config) -> Group {
    Group::new(config.read_buffers(), config.features)
}

pub(super) fn wq(config: &Config) -> Wq {
    Wq::new(config.features.op_config)
}
