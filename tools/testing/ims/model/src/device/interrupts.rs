// SPDX-License-Identifier: GPL-2.0

//! Interrupts: who may raise them, and what leaves the device (3.7).

use log::debug;

use super::Device;
use crate::bus::Pending;
use crate::config::HandleMode;
use crate::fault::Fault;
use crate::handles::Table;
use crate::ims::Effect;
use crate::perm::Permission;

/// An interrupt, by its table and index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupt {
    table: Table,
    index: u16,
}

/// Most messages that are followed until the host has taken them.
const UNCONFIRMED: usize = 1024;

impl Device {
    /// The hardware raises a slot, for another reason than a descriptor.
    pub(super) fn raise(&mut self, slot: u32) {
        if slot >= self.slot_count() {
            return;
        }
        let defects = self.defects();
        match self.slots[slot as usize].raise(defects) {
            Effect::Latched => {
                self.counters.latched += 1;
                self.slot_counters[slot as usize].latched += 1;
                debug!("slot {slot}: latched");
            }
            _ => self.send(slot as usize),
        }
    }

    /// Sends the message of a slot.
    pub(super) fn send(&mut self, slot: usize) {
        self.allowed[slot] = false;
        let (address, data) = self.slots[slot].message();
        let counters = &mut self.slot_counters[slot];
        if !self.pci.bus_master() || !self.pci.powered() {
            self.counters.refused += 1;
            counters.refused = counters.refused.wrapping_add(1);
            debug!("slot {slot}: message {data:#x} to {address:#x} refused");
            return;
        }
        self.counters.sent += 1;
        counters.sent = counters.sent.wrapping_add(1);
        if let Some(period) = self.config.faults.arg(Fault::DropMessage) {
            self.since_drop += 1;
            if self.since_drop >= period {
                self.since_drop = 0;
                debug!("slot {slot}: message lost");
                return;
            }
        }
        debug!("slot {slot}: message {data:#x} to {address:#x}");
        self.config.chaos.sent(address, data);
        self.post(address, data);
        if self.config.handles == HandleMode::Identity && self.unconfirmed.len() < UNCONFIRMED {
            self.unconfirmed.push_back((self.bus.sync(), slot));
        }
    }

    /// A slot is read: messages that it sent before it was masked should have arrived.
    pub(super) fn count_late(&mut self, slot: usize) {
        let taken = |(answer, _): &(Pending, usize)| answer.is_over();
        while self.unconfirmed.front().is_some_and(taken) {
            self.unconfirmed.pop_front();
        }
        if self.slots[slot].mask_bit() {
            let before = self.unconfirmed.len();
            self.unconfirmed.retain(|&(_, other)| other != slot);
            self.counters.late += (before - self.unconfirmed.len()) as u64;
        }
    }

    pub(super) fn post(&mut self, address: u64, data: u32) {
        self.bus.post(address, &data.to_le_bytes());
        self.posted = true;
    }

    /// Raises MSI-X vector `vector`.
    pub(super) fn signal(&mut self, vector: u16) {
        if !self.pci.bus_master() || !self.pci.powered() {
            self.counters.vectors_refused += 1;
            return;
        }
        self.counters.vectors_sent += 1;
        debug!("vector {vector}");
        self.bus.signal(vector);
    }

    /// Raises the interrupt that a descriptor asked for, now that it completes.
    pub fn interrupt(&mut self, interrupt: Interrupt) {
        if self.permission(interrupt).ignores() {
            debug!("{interrupt:?} is ignored");
            return;
        }
        match interrupt.table {
            Table::Msix => self.signal(interrupt.index),
            Table::Ims => self.raise(interrupt.index.into()),
        }
    }

    /// Looks up the interrupt handle of a descriptor with that PASID.
    pub fn resolve(&self, table: Table, handle: u16, pasid: Option<u32>) -> Option<Interrupt> {
        let index = self.handles.index(table, handle, self.entries(table))?;
        let interrupt = Interrupt { table, index };
        self.permission(interrupt)
            .allows(pasid)
            .then_some(interrupt)
    }

    pub(super) fn permission(&self, interrupt: Interrupt) -> Permission {
        let index = usize::from(interrupt.index);
        match interrupt.table {
            Table::Msix => Permission(self.permissions[index]),
            Table::Ims => self.slots[index].permission(),
        }
    }

    /// Entries of an interrupt table.
    pub(super) fn entries(&self, table: Table) -> u32 {
        match table {
            Table::Msix => self.config.vectors.into(),
            Table::Ims => self.slot_count(),
        }
    }

    /// Sets bits of INTCAUSE and tells the driver, by vector 0.
    pub(super) fn cause(&mut self, bits: u32) {
        self.intcause |= bits;
        self.signal(0);
    }
}
