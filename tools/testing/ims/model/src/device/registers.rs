// SPDX-License-Identifier: GPL-2.0

//! BAR0: registers and tables, dword by dword.

use std::ops::Range;
use std::time::Instant;

use log::trace;

use super::Device;
use crate::config::OPCAP;
use crate::fault::Fault;
use crate::ims::{Effect, Slot};
use crate::layout::{GRPCFG_STRIDE, IMS_STRIDE, MSIXPERM_STRIDE, REGISTERS_END};
use crate::perm;
use crate::regs::{genctrl, half, merge, offset as reg, State, GENCFG_WRITABLE, TABLE_MULT};

/// A dword of BAR0.
enum Place {
    /// By its offset.
    Register(u64),
    /// Table entry and byte offset in it.
    Group(usize, u64),
    Wq(usize, u64),
    Permission(usize, u64),
    Slot(usize, u64),
    Nothing,
}

impl Device {
    fn place(&self, offset: u64) -> Place {
        let layout = &self.layout;
        let entry = |base: u64, stride: u64, count: usize| {
            let at = offset.checked_sub(base)?;
            let index = (at / stride) as usize;
            (index < count).then_some((index, at % stride))
        };
        let (groups, wqs) = (self.groups.len(), self.wqs.len());
        if offset < REGISTERS_END {
            Place::Register(offset)
        } else if let Some((index, at)) = entry(layout.grpcfg, GRPCFG_STRIDE, groups) {
            Place::Group(index, at)
        } else if let Some((index, at)) = entry(layout.wqcfg, layout.wqcfg_stride, wqs) {
            Place::Wq(index, at)
        } else if let Some((index, at)) =
            entry(layout.msixperm, MSIXPERM_STRIDE, self.permissions.len())
        {
            Place::Permission(index, at)
        } else if let Some((index, at)) = entry(layout.ims, IMS_STRIDE, self.slot_count() as usize)
        {
            Place::Slot(index, at)
        } else {
            Place::Nothing
        }
    }

    pub(super) fn read_registers(&mut self, offset: u64, data: &mut [u8]) {
        if self.ims_table().contains(&offset) {
            self.counters.ims_reads += 1;
        }
        for (at, bytes) in units::<4>(offset, data.len()) {
            if let Place::Slot(index, _) = self.place(at) {
                self.count_late(index);
            }
            let value = self.read_dword(at).to_le_bytes();
            for byte in bytes {
                data[(at + byte as u64 - offset) as usize] = value[byte];
            }
        }
        trace!("BAR0 {offset:#x} reads {data:02x?}");
    }

    pub(super) fn write_registers(&mut self, offset: u64, data: &[u8]) {
        trace!("BAR0 {offset:#x} is written {data:02x?}");
        if self.ims_table().contains(&offset) {
            self.counters.ims_writes += 1;
        }
        // CMD acts on a write, so only a whole one counts: of 4 bytes, or of 8 with the unused dword
        // behind it (chapter 9).
        if offset == reg::CMD {
            if let (4 | 8, Some(value)) = (data.len(), data.first_chunk()) {
                self.command(u32::from_le_bytes(*value), Instant::now());
            }
            return;
        }
        for (at, bytes) in units::<8>(offset, data.len()) {
            let (mut value, mut mask) = ([0; 8], [0; 8]);
            for byte in bytes {
                value[byte] = data[(at + byte as u64 - offset) as usize];
                mask[byte] = 0xff;
            }
            self.write_qword(at, u64::from_le_bytes(value), u64::from_le_bytes(mask));
        }
    }

    /// Writes the bits of `value` that `mask` has. The halves are registers of
    /// their own, but for a slot's address.
    fn write_qword(&mut self, offset: u64, value: u64, mask: u64) {
        if let Place::Slot(index, 0) = self.place(offset) {
            return self.write_address(index, value, mask);
        }
        for at in [offset, offset + 4] {
            if half(mask, at) != 0 {
                self.write_dword(at, half(value, at), half(mask, at));
            }
        }
    }

    fn ims_table(&self) -> Range<u64> {
        let start = self.layout.ims;
        start..start + u64::from(self.slot_count()) * IMS_STRIDE
    }

    fn read_dword(&self, offset: u64) -> u32 {
        match self.place(offset) {
            Place::Register(offset) => self.read_register(offset),
            Place::Group(index, at) => self.groups[index].read(at),
            Place::Wq(index, at) => self.wqs[index].read(at),
            Place::Permission(index, 0) => self.permissions[index],
            Place::Slot(index, at) => self.slots[index].read(at / 4, self.defects()),
            Place::Permission(..) | Place::Nothing => 0,
        }
    }

    fn write_dword(&mut self, offset: u64, value: u32, mask: u32) {
        let disabled = self.state == State::Disabled;
        match self.place(offset) {
            Place::Register(offset) => self.write_register(offset, value, mask),
            Place::Group(index, at) if disabled => self.groups[index].write(at, value, mask),
            Place::Wq(index, at) => self.wqs[index].write(at, value, mask, disabled),
            Place::Permission(index, 0) => {
                let entry = &mut self.permissions[index];
                *entry = merge(*entry, value, mask & perm::WRITABLE);
            }
            Place::Slot(index, at) => self.write_slot(index, at / 4, value, mask),
            Place::Group(..) | Place::Permission(..) | Place::Nothing => {}
        }
    }

    fn write_address(&mut self, index: usize, value: u64, mask: u64) {
        let slot = &mut self.slots[index];
        let is_masked = slot.mask_bit();
        let is_taken = slot.write_address(value, mask);
        // A slot does not get a message by the upper half alone, which is 0.
        let is_valid = (!is_taken || half(mask, 0) != 0).then_some(is_taken);
        self.rules.message(index, is_masked, is_valid);
    }

    fn write_slot(&mut self, index: usize, dword: u64, value: u32, mask: u32) {
        let defects = self.defects();
        let slot = &mut self.slots[index];
        let was_masked = slot.mask_bit();
        let effect = slot.write(dword, value, mask, defects);
        if dword == Slot::CTRL {
            self.rules.mask(index, was_masked, slot.mask_bit());
        } else {
            self.rules.message(index, was_masked, None);
        }
        if effect == Effect::Send {
            let counters = &mut self.slot_counters[index];
            counters.replayed = counters.replayed.wrapping_add(1);
            self.send(index);
        }
    }

    fn read_register(&self, offset: u64) -> u32 {
        match offset & !7 {
            // VERSION and the 32-bit registers have nothing in the upper half.
            reg::VER if offset == reg::VER => self.config.version,
            reg::GENCAP => half(self.config.gencap(self.slot_count()), offset),
            reg::WQCAP => half(self.config.wqcap(), offset),
            reg::GRPCAP => half(self.config.grpcap(), offset),
            reg::ENGCAP => half(self.config.engcap(), offset),
            reg::OPCAP => half(OPCAP, offset),
            reg::TABLE => half(self.layout.offsets(self.stated_ims_offset()), offset),
            reg::GENCFG if offset == reg::GENCFG => self.gencfg,
            reg::GENCTRL if offset == reg::GENCTRL => self.genctrl,
            reg::GENSTATS if offset == reg::GENSTATS => self.state as u32 | self.reset_type << 2,
            reg::INTCAUSE if offset == reg::INTCAUSE => self.intcause,
            reg::CMDSTS if offset == reg::CMDSTS => self.cmdsts,
            reg::CMDCAP if offset == reg::CMDCAP => self.config.cmdcap(),
            at @ 0xc0..=0xd8 => half(self.swerr.word(((at - reg::SWERR) / 8) as usize), offset),
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32, mask: u32) {
        match offset {
            reg::GENCFG if self.state == State::Disabled => {
                self.gencfg = merge(self.gencfg, value, mask & GENCFG_WRITABLE);
            }
            reg::GENCTRL => self.genctrl = merge(self.genctrl, value, mask & genctrl::WRITABLE),
            reg::INTCAUSE => self.intcause &= !(value & mask),
            reg::SWERR => self.swerr.acknowledge(value & mask),
            _ => {}
        }
    }

    /// The offset that TABLE states for the IMS table. Bytes.
    fn stated_ims_offset(&self) -> u64 {
        if self.slot_count() == 0 {
            0
        } else if self.has(Fault::ImsTableOverRegisters) {
            self.layout.wqcfg
        } else if self.has(Fault::ImsTableOverMsix) {
            self.layout.msix_table
        } else if self.has(Fault::ImsTableBeyondBar) {
            self.layout.bar0_size - TABLE_MULT
        } else {
            self.layout.ims
        }
    }
}

/// The aligned units of so many bytes that an access touches: offset, and the
/// bytes in it.
fn units<const BYTES: u64>(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let end = offset + len as u64;
    (offset / BYTES * BYTES..end)
        .step_by(BYTES as usize)
        .map(move |at| {
            let from = offset.saturating_sub(at) as usize;
            let to = (end - at).min(BYTES) as usize;
            (at, from..to)
        })
}

#[cfg(test)]
mod tests {
    use super::units;

    #[test]
    fn accesses_split_into_units() {
        let split = |offset, len| units::<4>(offset, len).collect::<Vec<_>>();
        assert_eq!(split(8, 4), [(8, 0..4)]);
        assert_eq!(split(8, 8), [(8, 0..4), (12, 0..4)]);
        assert_eq!(split(9, 1), [(8, 1..2)]);
        assert_eq!(split(10, 2), [(8, 2..4)]);
        assert_eq!(split(10, 4), [(8, 2..4), (12, 0..2)]);
        let split = |offset, len| units::<8>(offset, len).collect::<Vec<_>>();
        assert_eq!(split(12, 4), [(8, 4..8)]);
        assert_eq!(split(8, 16), [(8, 0..8), (16, 0..8)]);
    }
}
