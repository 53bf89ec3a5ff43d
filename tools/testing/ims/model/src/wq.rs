// SPDX-License-Identifier: GPL-2.0

//! WQCFG (9.2.24): the configuration of a work queue, and its state.

use crate::config::OPCAP;
use crate::regs::{half, merge};

/// `wq_state`, WQCFG dword 6 bits 31:30.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum WqState {
    #[default]
    Disabled = 0,
    Enabled = 1,
    /// Stops: takes no descriptor, and waits for those it has.
    Busy = 2,
}

/// Writable bits of dwords 0 to 3. Dword 0 is `wq_size`, 1 `wq_thresh`. In
/// dword 2 `wq_ats_disable`, `wq_prs_disable` and `rsvd3` are reserved, as WQCAP
/// states neither; in dword 3 everything above `max_batch_shift`. Dwords 4 and 5
/// (occupancy interrupt) are reserved because WQCAP does not state it; 6 is
/// read-only.
const WRITABLE: [u32; 4] = [0xffff, 0xffff, 0x3fff_fff3, 0x1ff];

/// OPCFG after a reset: as OPCAP.
const OPERATIONS: [u64; 4] = [OPCAP, 0, 0, 0];

/// One work queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wq {
    config: [u32; 4],
    /// OPCFG, if `WQCAP.op_config`.
    operations: Option<[u64; 4]>,
    pub state: WqState,
    /// Descriptors in the queue, not yet taken by an engine.
    pub occupancy: u16,
}

impl Wq {
    /// The reset state (table 9-3), with or without OPCFG.
    pub fn new(op_config: bool) -> Self {
        Self {
            config: [0; 4],
            operations: op_config.then_some(OPERATIONS),
            state: WqState::Disabled,
            occupancy: 0,
        }
    }

    /// In entries.
    pub fn size(&self) -> u16 {
        self.config[0] as u16
    }

    pub fn dedicated(&self) -> bool {
        self.config[2] & 1 != 0
    }

    /// Block on fault.
    pub fn bof(&self) -> bool {
        self.config[2] & 1 << 1 != 0
    }

    pub fn priority(&self) -> u32 {
        self.config[2] >> 4 & 0xf
    }

    /// The PASID, if PASID enable is set.
    pub fn pasid(&self) -> Option<u32> {
        (self.config[2] & 1 << 28 != 0).then_some(self.config[2] >> 8 & 0xf_ffff)
    }

    /// Ignored without PASID enable.
    pub fn privileged(&self) -> bool {
        self.config[2] & 1 << 29 != 0 && self.pasid().is_some()
    }

    /// Log2 of the largest transfer in bytes.
    pub fn max_xfer_shift(&self) -> u32 {
        self.config[3] & 0x1f
    }

    /// Log2 of the most descriptors in a batch.
    pub fn max_batch_shift(&self) -> u32 {
        self.config[3] >> 5 & 0xf
    }

    /// OPCFG, a bit for each operation code.
    pub fn operations(&self) -> Option<[u64; 4]> {
        self.operations
    }

    /// Whether descriptors may have that operation code.
    pub fn performs(&self, opcode: u8) -> bool {
        let [operations, ..] = self.operations.unwrap_or(OPERATIONS);
        opcode < 64 && operations & OPCAP & 1 << opcode != 0
    }

    /// The dword at `offset` of the work queue's 32 or 64 bytes.
    pub fn read(&self, offset: u64) -> u32 {
        match offset / 4 {
            dword @ 0..=3 => self.config[dword as usize],
            6 => u32::from(self.occupancy) | (self.state as u32) << 30,
            8..=15 => self.operations.map_or(0, |operations| {
                half(operations[(offset as usize - 32) / 8], offset)
            }),
            _ => 0,
        }
    }

    /// The size can be written while the device is disabled, the threshold
    /// always, the rest while the work queue is disabled (table 9-7).
    pub fn write(&mut self, offset: u64, value: u32, bits: u32, device_disabled: bool) {
        let dword = (offset / 4) as usize;
        let is_open = match dword {
            0 => device_disabled,
            1 => true,
            _ => self.state == WqState::Disabled,
        };
        if !is_open {
            return;
        }
        if let Some(&writable) = WRITABLE.get(dword) {
            self.config[dword] = merge(self.config[dword], value, bits & writable);
        } else if let (8..=15, Some(operations)) = (dword, &mut self.operations) {
            let word = &mut operations[(dword - 8) / 2];
            let new = merge(half(*word, offset), value, bits);
            let shift = if offset & 4 == 0 { 0 } else { 32 };
            *word = *word & !(0xffff_ffff << shift) | u64::from(new) << shift;
        }
    }

    /// RESET_WQ: back to the reset state, but for the size (3.15).
    pub fn reset(&mut self) {
        *self = Self {
            config: [self.config[0], 0, 0, 0],
            ..Self::new(self.operations.is_some())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: u32) -> Wq {
        let mut wq = Wq::new(false);
        for offset in (0..32).step_by(4) {
            wq.write(offset, value, u32::MAX, true);
        }
        wq
    }

    #[test]
    fn writable_bits() {
        let wq = written(u32::MAX);
        let read: Vec<u32> = (0..32).step_by(4).map(|offset| wq.read(offset)).collect();
        assert_eq!(read, [0xffff, 0xffff, 0x3fff_fff3, 0x1ff, 0, 0, 0, 0]);
    }

    #[test]
    fn fields_bit_by_bit() {
        let mut wq = Wq::new(false);
        assert!(!wq.dedicated() && !wq.bof() && !wq.privileged());
        wq.write(0, 0x1234, u32::MAX, true);
        assert_eq!(wq.size(), 0x1234);
        wq.write(8, 1 << 0, u32::MAX, true);
        assert!(wq.dedicated() && !wq.bof());
        wq.write(8, 1 << 1, u32::MAX, true);
        assert!(wq.bof() && !wq.dedicated());
        wq.write(8, 0xa << 4, u32::MAX, true);
        assert_eq!(wq.priority(), 0xa);
        wq.write(8, 0xabcde << 8, u32::MAX, true);
        assert_eq!((wq.pasid(), wq.priority()), (None, 0));
        wq.write(8, 0xabcde << 8 | 1 << 28, u32::MAX, true);
        assert_eq!(wq.pasid(), Some(0xabcde));
        wq.write(8, 1 << 29, u32::MAX, true);
        assert!(!wq.privileged());
        wq.write(8, 3 << 28, u32::MAX, true);
        assert!(wq.privileged());
        wq.write(12, 0x15 | 0x9 << 5, u32::MAX, true);
        assert_eq!((wq.max_xfer_shift(), wq.max_batch_shift()), (0x15, 0x9));
    }

    #[test]
    fn state_and_occupancy_are_in_dword_6() {
        let mut wq = Wq {
            occupancy: 0x1234,
            ..Wq::new(false)
        };
        assert_eq!(wq.read(24), 0x1234);
        wq.state = WqState::Enabled;
        assert_eq!(wq.read(24), 0x4000_1234);
        wq.state = WqState::Busy;
        assert_eq!(wq.read(24), 0x8000_1234);
    }

    #[test]
    fn locks() {
        let mut wq = Wq::new(false);
        wq.write(0, 16, u32::MAX, false);
        assert_eq!(wq.size(), 0, "device enabled");
        wq.write(0, 16, u32::MAX, true);
        wq.write(8, 1, u32::MAX, false);
        assert!(wq.dedicated(), "work queue disabled");
        wq.state = WqState::Enabled;
        wq.write(8, 0, u32::MAX, false);
        assert!(wq.dedicated(), "work queue enabled");
        wq.write(4, 5, u32::MAX, false);
        assert_eq!(wq.read(4), 5, "the threshold is always open");
    }

    #[test]
    fn reset_keeps_the_size() {
        let mut wq = written(u32::MAX);
        wq.state = WqState::Enabled;
        wq.occupancy = 3;
        wq.reset();
        assert_eq!(wq.size(), 0xffff);
        for offset in (4..32).step_by(4) {
            assert_eq!(wq.read(offset), 0, "{offset}");
        }
    }

    #[test]
    fn operations_only_if_there() {
        let mut wq = Wq::new(false);
        wq.write(32, 1, u32::MAX, true);
        assert_eq!((wq.read(32), wq.operations()), (0, None));
        assert!(wq.performs(5) && wq.performs(16) && !wq.performs(6) && !wq.performs(255));

        let mut wq = Wq::new(true);
        assert_eq!((wq.read(32), wq.read(36)), (0x1_003f, 0));
        wq.write(32, 1, u32::MAX, true);
        wq.write(60, 9, u32::MAX, true);
        assert_eq!(wq.operations(), Some([1, 0, 0, 9 << 32]));
        assert!(wq.performs(0) && !wq.performs(3));
        wq.state = WqState::Enabled;
        wq.write(32, 0, u32::MAX, true);
        assert_eq!(wq.read(32), 1);
        wq.reset();
        assert_eq!((wq.read(32), wq.read(60)), (0x1_003f, 0));
    }
}
