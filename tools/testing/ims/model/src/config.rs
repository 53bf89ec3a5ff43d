// SPDX-License-Identifier: GPL-2.0

//! What kind of device to be: the numbers behind the capability registers.
//! [`crate::kind`] has those of real ones.

use crate::chaos::Chaos;
use crate::fault::Faults;
use crate::kind::{Features, Kind};

/// What REQUEST_INT_HANDLE gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HandleMode {
    /// A handle that never equals a valid index; see `handles.rs`.
    Mapped,
    /// There is no such command, and a handle is the table index (3.7).
    #[default]
    Identity,
}

/// One device. Counts are in items, sizes in work queue entries.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it has beyond DSA 1.0.
    pub features: Features,
    /// IMS slots, a multiple of 256.
    pub slots: u32,
    /// Work queues.
    pub wqs: u16,
    /// Engines.
    pub engines: u8,
    /// Groups.
    pub groups: u8,
    /// `WQCAP.total_wq_size`.
    pub wq_size_total: u16,
    /// MSI-X table size.
    pub vectors: u16,
    /// PCI device id.
    pub device_id: u16,
    /// `GENCAP.max_xfer_shift`: log2 of the largest transfer, in bytes.
    pub max_xfer_shift: u32,
    /// Contents of the VERSION register.
    pub version: u32,
    /// Commands for interrupt handles, and what they give.
    pub handles: HandleMode,
    /// `WQCAP.shared_mode`.
    pub shared: bool,
    /// Whether config space has the SIOV DVSEC.
    pub dvsec: bool,
    /// Whether config space has the ATS, PASID and PRS capabilities.
    pub pasid: bool,
    /// Whether RESET_DEVICE leaves slots, permissions and handles alone.
    pub reset_keeps_interrupts: bool,
    /// Whether the device loses its state in D3hot.
    pub d3_resets: bool,
    /// Whether slots are unmasked, with a message, when the machine starts.
    pub starts_unmasked: bool,
    /// Ways to be broken.
    pub faults: Faults,
    /// Ways to be hostile.
    pub chaos: Chaos,
}

impl Default for Config {
    fn default() -> Self {
        Kind::default().config()
    }
}

/// `GENCAP.max_batch_shift`: log2 of the most descriptors in a batch.
pub const MAX_BATCH_SHIFT: u32 = 10;
/// `GRPCAP.total_rdbufs` of Sapphire Rapids, as in public logs.
const READ_BUFFERS: u64 = 96;
/// Read buffers that each engine of a group has to be allowed (9.2.23).
pub const READ_BUFFERS_PER_ENGINE: u64 = 4;
/// ENGCAP's limits of descriptors in progress, the figures of section 7.5.8.
const IN_PROGRESS: u64 = 16 << 16 | 128 << 8;

/// Operation codes that the model performs, a bit for each (9.2.6): No-op,
/// Batch, Drain, Memory Move, Fill, Compare, CRC Generation.
pub const OPCAP: u64 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 16;

impl Config {
    /// GENCAP (9.2.2), for `slots` IMS slots.
    pub fn gencap(&self, slots: u32) -> u64 {
        let block_on_fault = 1 << 0;
        let overlap_copy = 1 << 1;
        let cache_control = 1 << 2;
        let dest_readback = 1 << 8;
        let config_en = 1 << 31;
        // Without a meaning in the specification; Sapphire Rapids has it set.
        let unused = 1 << 38;
        let features = &self.features;
        block_on_fault
            | overlap_copy
            | cache_control
            | u64::from(self.cmd_cap()) << 4
            | u64::from(features.durable_write) << 5
            | dest_readback
            | u64::from(features.fault_info) << 12
            | u64::from(features.batch_continuation) << 15
            | u64::from(self.max_xfer_shift) << 16
            | u64::from(MAX_BATCH_SHIFT) << 21
            | u64::from(slots / 256) << 25
            | config_en
            | unused
            | u64::from(features.batch1) << 52
    }

    /// WQCAP (9.2.3).
    pub fn wqcap(&self) -> u64 {
        let dedicated_mode = 1 << 49;
        let priority = 1 << 51;
        let occupancy = 1 << 52;
        // WQCFG Size 0: 32 bytes for each work queue; 1: 64.
        let op_config = u64::from(self.features.op_config);
        u64::from(self.wq_size_total)
            | u64::from(self.wqs) << 16
            | op_config << 24
            | u64::from(self.shared) << 48
            | dedicated_mode
            | priority
            | occupancy
            | op_config << 54
    }

    /// GRPCAP (9.2.4).
    pub fn grpcap(&self) -> u64 {
        let rdbuf_ctrl = 1 << 16;
        u64::from(self.groups)
            | self.read_buffers() << 8
            | rdbuf_ctrl
            | u64::from(self.features.progress_limit) << 18
            | u64::from(self.features.bandwidth_limit) << 19
    }

    /// `GRPCAP.total_rdbufs`: enough for all engines in one group, while 8 bits
    /// hold that.
    pub fn read_buffers(&self) -> u64 {
        let engines = u64::from(self.engines) * READ_BUFFERS_PER_ENGINE;
        engines.clamp(READ_BUFFERS, 255)
    }

    /// ENGCAP (9.2.5).
    pub fn engcap(&self) -> u64 {
        let limits = match self.features.progress_limit {
            true => IN_PROGRESS,
            false => 0,
        };
        u64::from(self.engines) | limits
    }

    /// Whether there is a CMDCAP. Commands for interrupt handles need one.
    fn cmd_cap(&self) -> bool {
        self.features.cmd_cap || self.handles == HandleMode::Mapped
    }

    /// CMDCAP (9.2.14), 0 if there is none.
    pub fn cmdcap(&self) -> u32 {
        match self.cmd_cap() {
            true => self.commands(),
            false => 0,
        }
    }

    /// Bit n for command code n: those of table 9-6, and for interrupt handles.
    pub fn commands(&self) -> u32 {
        let always = 0x1ffe;
        match self.handles {
            HandleMode::Mapped => always | 1 << 13 | 1 << 14,
            HandleMode::Identity => always,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(value: u64, high: u32, low: u32) -> u64 {
        value >> low & ((1 << (high - low + 1)) - 1)
    }

    #[test]
    fn gencap_bit_by_bit() {
        let cap = Config::default().gencap(2048);
        assert_eq!(cap, 0x40_915f_0107, "as a Sapphire Rapids says");
        assert_eq!(bits(cap, 0, 0), 1, "block_on_fault");
        assert_eq!(bits(cap, 1, 1), 1, "overlap_copy");
        assert_eq!(bits(cap, 2, 2), 1, "cache_control_mem");
        assert_eq!(bits(cap, 3, 3), 0, "unused");
        assert_eq!(bits(cap, 4, 4), 0, "cmd_cap");
        assert_eq!(bits(cap, 5, 5), 0, "durable write");
        assert_eq!(bits(cap, 7, 6), 0, "inter-domain, stride");
        assert_eq!(bits(cap, 8, 8), 1, "dest_readback");
        assert_eq!(bits(cap, 9, 9), 0, "drain_readback");
        assert_eq!(bits(cap, 11, 10), 0, "16 byte fill, CRC64");
        assert_eq!(bits(cap, 12, 12), 0, "fault info");
        assert_eq!(bits(cap, 14, 13), 0, "evl_support");
        assert_eq!(bits(cap, 15, 15), 0, "batch_continuation");
        assert_eq!(bits(cap, 20, 16), 31, "max_xfer_shift");
        assert_eq!(bits(cap, 24, 21), 10, "max_batch_shift");
        assert_eq!(bits(cap, 30, 25), 8, "max_ims_mult");
        assert_eq!(bits(cap, 31, 31), 1, "config_en");
        assert_eq!(bits(Config::default().gencap(16128), 30, 25), 63);
        assert_eq!(bits(Config::default().gencap(0), 30, 25), 0);
    }

    #[test]
    fn gencap_of_the_other_kinds() {
        let gencap = |kind: Kind| kind.config().gencap(2048);
        assert_eq!(gencap(Kind::Virtual), 0x40_915f_0117);
        assert_eq!(gencap(Kind::V2), 0x40_915f_9117);
        assert_eq!(gencap(Kind::V3), 0x10_0040_915f_9137);
    }

    #[test]
    fn wqcap_bit_by_bit() {
        let mut config = Config {
            wq_size_total: 0x1234,
            wqs: 128,
            ..Config::default()
        };
        let cap = config.wqcap();
        assert_eq!(bits(cap, 15, 0), 0x1234, "total_wq_size");
        assert_eq!(bits(cap, 23, 16), 128, "num_wqs");
        assert_eq!(bits(cap, 27, 24), 0, "wqcfg_size");
        assert_eq!(bits(cap, 47, 28), 0, "rsvd");
        assert_eq!(bits(cap, 48, 48), 1, "shared_mode");
        assert_eq!(bits(cap, 49, 49), 1, "dedicated_mode");
        assert_eq!(bits(cap, 50, 50), 0, "wq_ats_support");
        assert_eq!(bits(cap, 51, 51), 1, "priority");
        assert_eq!(bits(cap, 52, 52), 1, "occupancy");
        assert_eq!(bits(cap, 53, 53), 0, "occupancy_int");
        assert_eq!(cap >> 54, 0, "op_config, wq_prs_support, rsvd4");
        config.shared = false;
        assert_eq!(bits(config.wqcap(), 48, 48), 0);
        let second = Kind::V2.config().wqcap();
        assert_eq!(bits(second, 27, 24), 1, "64 bytes");
        assert_eq!(second >> 54, 1, "op_config");
    }

    #[test]
    fn grpcap_bit_by_bit() {
        let cap = Config {
            groups: 7,
            ..Config::default()
        }
        .grpcap();
        assert_eq!(bits(cap, 7, 0), 7, "num_groups");
        assert_eq!(bits(cap, 15, 8), 96, "total_rdbufs");
        assert_eq!(bits(cap, 16, 16), 1, "rdbuf_ctrl");
        assert_eq!(bits(cap, 17, 17), 0, "rdbuf_limit");
        assert_eq!(cap >> 18, 0, "progress_limit, bandwidth limit");
        assert_eq!(Kind::V2.config().grpcap() >> 18, 1);
        assert_eq!(Kind::V3.config().grpcap() >> 18, 3);
        let engines = |engines| Config {
            engines,
            ..Config::default()
        };
        assert_eq!(engines(25).read_buffers(), 100);
        assert_eq!(engines(64).read_buffers(), 255);
    }

    #[test]
    fn engcap_of_each_version() {
        assert_eq!(Config::default().engcap(), 4);
        assert_eq!(Kind::V2.config().engcap(), 0x10_8004);
    }

    #[test]
    fn commands_are_listed() {
        let spr = Config::default();
        assert_eq!((spr.cmdcap(), spr.commands()), (0, 0x1ffe));
        let handles = Kind::Virtual.config();
        assert_eq!((handles.cmdcap(), handles.commands()), (0x7ffe, 0x7ffe));
        let without = Config {
            handles: HandleMode::Identity,
            ..handles
        };
        assert_eq!((without.cmdcap(), without.commands()), (0x1ffe, 0x1ffe));
        let with = Config {
            handles: HandleMode::Mapped,
            ..spr
        };
        assert_eq!(with.cmdcap(), 0x7ffe);
        assert_eq!(with.gencap(0) >> 4 & 1, 1);
    }
}
