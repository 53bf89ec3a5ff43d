// SPDX-License-Identifier: GPL-2.0

//! GRPCFG: which work queues and engines form a group.

use crate::kind::Features;
use crate::regs::{half, merge};

/// GRPFLAGS that every device has: traffic classes A and B, read buffers
/// reserved and allowed.
const FLAGS: u64 = 0x3f | 0xff << 8 | 0xff << 20;
/// Limits of work and batch descriptors in progress.
const PROGRESS: u64 = 0x3 << 32 | 0x3 << 36;
/// Read and write bandwidth limit.
const BANDWIDTH: u64 = 0xff << 40;

/// GRPCFG of one group (9.2.23).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// One bit for each work queue.
    pub wqs: [u64; 4],
    /// One bit for each engine.
    pub engines: u64,
    flags: u64,
    writable: u64,
}

impl Group {
    /// The reset state: empty, every read buffer allowed (table 9-3).
    pub fn new(read_buffers: u64, features: Features) -> Self {
        let with = |feature, bits| if feature { bits } else { 0 };
        Self {
            wqs: [0; 4],
            engines: 0,
            flags: read_buffers << 20,
            writable: FLAGS
                | with(features.progress_limit, PROGRESS)
                | with(features.bandwidth_limit, BANDWIDTH),
        }
    }

    pub fn has_wqs(&self) -> bool {
        self.wqs.iter().any(|&bits| bits != 0)
    }

    pub fn rdbufs_reserved(&self) -> u64 {
        self.flags >> 8 & 0xff
    }

    pub fn rdbufs_allowed(&self) -> u64 {
        self.flags >> 20 & 0xff
    }

    /// Read and write bandwidth limit; 0 to 3 are defined.
    pub fn bandwidth_limits(&self) -> [u64; 2] {
        [self.flags >> 40 & 0xf, self.flags >> 44 & 0xf]
    }

    /// The dword at `offset` of the group's 64 bytes.
    pub fn read(&self, offset: u64) -> u32 {
        match offset / 8 {
            word @ 0..=3 => half(self.wqs[word as usize], offset),
            4 => half(self.engines, offset),
            5 => half(self.flags, offset),
            _ => 0,
        }
    }

    pub fn write(&mut self, offset: u64, value: u32, bits: u32) {
        let (word, writable) = match offset / 8 {
            word @ 0..=3 => (&mut self.wqs[word as usize], u64::MAX),
            4 => (&mut self.engines, u64::MAX),
            5 => (&mut self.flags, self.writable),
            _ => return,
        };
        let new = merge(half(*word, offset), value, bits & half(writable, offset));
        let shift = if offset & 4 == 0 { 0 } else { 32 };
        *word = *word & !(0xffff_ffff << shift) | u64::from(new) << shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    fn spr() -> Group {
        Group::new(96, Features::default())
    }

    #[test]
    fn reset_state() {
        let group = spr();
        for offset in (0..64).step_by(4) {
            let expected = if offset == 40 { 96 << 20 } else { 0 };
            assert_eq!(group.read(offset), expected, "{offset}");
        }
    }

    #[test]
    fn each_dword_is_its_own() {
        let mut group = spr();
        for offset in (0..40).step_by(4) {
            group.write(offset, 0x1111_1111 * (offset as u32 / 4 + 1), u32::MAX);
        }
        assert_eq!(group.wqs[0], 0x2222_2222_1111_1111);
        assert_eq!(group.wqs[3], 0x8888_8888_7777_7777);
        assert_eq!(group.engines, 0xaaaa_aaaa_9999_9999);
        for offset in (0..40).step_by(4) {
            assert_eq!(group.read(offset), 0x1111_1111 * (offset as u32 / 4 + 1));
        }
    }

    #[test]
    fn flag_fields() {
        let mut group = spr();
        group.write(40, u32::MAX, u32::MAX);
        group.write(44, u32::MAX, u32::MAX);
        // tc_a 2:0, tc_b 5:3, rdbufs_reserved 15:8, rdbufs_allowed 27:20.
        assert_eq!(group.read(40), 0x0ff0_ff3f);
        assert_eq!(group.read(44), 0);
        group.write(40, 96 << 20 | 8 << 8 | 1 << 3 | 1, u32::MAX);
        assert_eq!(group.rdbufs_allowed(), 96);
        assert_eq!(group.rdbufs_reserved(), 8);
        group.write(48, u32::MAX, u32::MAX);
        assert_eq!(group.read(48), 0);
        let upper = |kind: Kind| {
            let mut group = Group::new(96, kind.features());
            group.write(44, u32::MAX, u32::MAX);
            (group.read(44), group.bandwidth_limits())
        };
        assert_eq!(upper(Kind::V2), (0x33, [0, 0]));
        assert_eq!(upper(Kind::V3), (0xff33, [15, 15]));
    }
}
