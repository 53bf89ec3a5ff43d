// SPDX-License-Identifier: GPL-2.0

//! WQCFG: the configuration of a work queue, and its state.

use crate::regs::merge;

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
/// dword 2 `wq_ats_disable`, `wq_prs_disable` and `rsvd3` are reserved, in
/// dword 3 everything above `max_batch_shift`. Dwords 4 and 5 (occupancy
/// interrupt) are reserved because WQCAP does not state it; 6 is read-only.
const WRITABLE: [u32; 4] = [0xffff, 0xffff, 0x3fff_fff3, 0x1ff];

/// One work queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wq {
    config: [u32; 4],
    pub state: WqState,
    /// Descriptors in the queue, not yet taken by an engine.
    pub occupancy: u16,
}

impl Wq {
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

    pub fn privileged(&self) -> bool {
        self.config[2] & 1 << 29 != 0
    }

    /// Log2 of the largest transfer in bytes.
    pub fn max_xfer_shift(&self) -> u32 {
        self.config[3] & 0x1f
    }

    /// Log2 of the most descriptors in a batch.
    pub fn max_batch_shift(&self) -> u32 {
        self.config[3] >> 5 & 0xf
    }

    /// The dword at `offset` of the work queue's 32 bytes.
    pub fn read(&self, offset: u64) -> u32 {
        match offset / 4 {
            dword @ 0..=3 => self.config[dword as usize],
            6 => u32::from(self.occupancy) | (self.state as u32) << 30,
            _ => 0,
        }
    }

    /// The size can be written while the device is disabled, the rest while
    /// the work queue is.
    pub fn write(&mut self, offset: u64, value: u32, bits: u32, device_disabled: bool) {
        let dword = (offset / 4) as usize;
        let open = match dword {
            0 => device_disabled,
            _ => self.state == WqState::Disabled,
        };
        if let (true, Some(&writable)) = (open, WRITABLE.get(dword)) {
            self.config[dword] = merge(self.config[dword], value, bits & writable);
        }
    }

    /// RESET_WQ: back to the reset state, but for the size, which belongs to
    /// the enabled device.
    pub fn reset(&mut self) {
        *self = Self {
            config: [self.config[0], 0, 0, 0],
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: u32) -> Wq {
        let mut wq = Wq::default();
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
        let mut wq = Wq::default();
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
        assert!(wq.privileged() && wq.pasid().is_none());
        wq.write(12, 0x15 | 0x9 << 5, u32::MAX, true);
        assert_eq!((wq.max_xfer_shift(), wq.max_batch_shift()), (0x15, 0x9));
    }

    #[test]
    fn state_and_occupancy_are_in_dword_6() {
        let mut wq = Wq {
            occupancy: 0x1234,
            ..Wq::default()
        };
        assert_eq!(wq.read(24), 0x1234);
        wq.state = WqState::Enabled;
        assert_eq!(wq.read(24), 0x4000_1234);
        wq.state = WqState::Busy;
        assert_eq!(wq.read(24), 0x8000_1234);
    }

    #[test]
    fn locks() {
        let mut wq = Wq::default();
        wq.write(0, 16, u32::MAX, false);
        assert_eq!(wq.size(), 0, "device enabled");
        wq.write(0, 16, u32::MAX, true);
        wq.write(8, 1, u32::MAX, false);
        assert!(wq.dedicated(), "work queue disabled");
        wq.state = WqState::Enabled;
        wq.write(8, 0, u32::MAX, false);
        wq.write(4, 5, u32::MAX, false);
        assert!(wq.dedicated() && wq.read(4) == 0, "work queue enabled");
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
}
