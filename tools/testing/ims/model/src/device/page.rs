// SPDX-License-Identifier: GPL-2.0

//! BAR4: the test page; [`crate::testpage`] has the layout.

use std::time::Instant;

use super::Device;
use crate::config::HandleMode;
use crate::counters::{Counters, SlotCounters};
use crate::fault::Fault;
use crate::regs::{half, intcause};
use crate::testpage as page;

impl Device {
    pub(super) fn read_page(&mut self, offset: u64, data: &mut [u8]) {
        for (index, bytes) in data.chunks_mut(4).enumerate() {
            let value = self.page_dword(offset + index as u64 * 4).to_le_bytes();
            bytes.copy_from_slice(&value[..bytes.len()]);
        }
    }

    pub(super) fn write_page(&mut self, offset: u64, data: &[u8]) {
        for (index, bytes) in data.chunks_exact(4).enumerate() {
            let value = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
            self.write_page_dword(offset + index as u64 * 4, value);
        }
    }

    fn page_dword(&mut self, offset: u64) -> u32 {
        let mut counters = self.counters;
        counters.dma_errors += self.bus.post_errors() - self.post_errors_base;
        match offset {
            0x00 => page::MAGIC,
            0x04 => page::LAYOUT,
            0x08 => self.config.slots,
            0x0c => page::SLOT_ARRAY as u32,
            0x10 => page::SLOT_STRIDE as u32,
            0x14 => self.config.vectors.into(),
            0x18 => (self.config.handles == HandleMode::Mapped).into(),
            page::RAISE_FIRST => self.raise_first,
            at if at & !7 == page::FAULT_ARG => half(self.fault_arg, at),
            page::FAULT => self.config.faults.bitmap(),
            at if at & !7 == page::SOURCE_SEED => half(self.source.seed, at),
            page::SOURCE_COUNT => self.source.count,
            page::SOURCE_RATE => self.source.rate,
            page::SOURCE_FIRST => self.source.first,
            page::SOURCE_SLOTS => self.source.slots,
            page::SOURCE_CONTROL if !self.source.running() => 0,
            page::SOURCE_CONTROL => 1 | u32::from(self.source.paced) << 1,
            page::SOURCE_REMAINING => self.source.remaining(),
            at if at & !7 == page::SOURCE_RAISES => half(counters.source_raises, at),
            page::LAST_VIOLATION => self.rules.counts().last,
            page::SYNC => {
                self.sync.take_if(|sync| sync.is_over());
                self.sync.is_none().into()
            }
            at => page::counter(&counters, at)
                .or_else(|| page::violation(&self.rules.counts(), at))
                .or_else(|| page::slot_counter(&self.slot_counters, at))
                .unwrap_or(0),
        }
    }

    fn write_page_dword(&mut self, offset: u64, value: u32) {
        match offset {
            page::RAISE => self.raise(value),
            page::COUNTER_RESET => {
                self.counters = Counters::default();
                self.slot_counters.fill(SlotCounters::default());
                self.rules.clear();
                self.post_errors_base = self.bus.post_errors();
            }
            page::RAISE_FIRST => self.raise_first = value,
            page::RAISE_COUNT => {
                let end = self
                    .raise_first
                    .saturating_add(value)
                    .min(self.slot_count());
                for slot in self.raise_first..end {
                    self.raise(slot);
                }
            }
            at if at & !7 == page::FAULT_ARG => set_half(&mut self.fault_arg, at, value),
            page::FAULT => self.switch_fault(value),
            page::REVOKE => {
                self.handles.revoke();
                self.cause(intcause::INT_HANDLE_REVOKED);
            }
            page::HALT => self.halt(value),
            at if at & !7 == page::SOURCE_SEED => set_half(&mut self.source.seed, at, value),
            page::SOURCE_COUNT if !self.source.running() => self.source.count = value,
            page::SOURCE_RATE if !self.source.running() => self.source.rate = value,
            page::SOURCE_FIRST => self.source.first = value,
            page::SOURCE_SLOTS => self.source.slots = value,
            page::SOURCE_CONTROL if value & 1 != 0 => {
                self.source.paced = value & 2 != 0;
                self.source.start(Instant::now());
            }
            page::SOURCE_CONTROL => self.source.stop(),
            page::ALLOW => self.allow(value, true),
            page::DENY => self.allow(value, false),
            page::SYNC => self.sync = Some(self.bus.sync()),
            _ => {}
        }
    }

    fn allow(&mut self, slot: u32, allowed: bool) {
        if let Some(entry) = self.allowed.get_mut(slot as usize) {
            *entry = allowed;
        }
    }

    fn switch_fault(&mut self, number: u32) {
        if number == 0 {
            self.config.faults.clear();
        } else if let Some((fault, arg)) = Fault::from_register(number, self.fault_arg) {
            self.config.faults.set(fault, arg);
        }
        self.faults_changed();
    }
}

fn set_half(word: &mut u64, offset: u64, value: u32) {
    let shift = if offset & 4 == 0 { 0 } else { 32 };
    *word = *word & !(0xffff_ffff << shift) | u64::from(value) << shift;
}
