// SPDX-License-Identifier: GPL-2.0

//! What kind of device to be: the numbers behind the capability registers.

use crate::chaos::Chaos;
use crate::fault::Faults;

/// What REQUEST_INT_HANDLE gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HandleMode {
    /// A handle that never equals a valid index; see [`crate::handles`].
    #[default]
    Mapped,
    /// CMDCAP does not list the command, and a handle is the table index.
    Identity,
}

/// One device. Counts are in items, sizes in work queue entries.
#[derive(Clone, Debug)]
pub struct Config {
    /// IMS slots, a multiple of 256.
    pub slots: u32,
    pub wqs: u16,
    pub engines: u8,
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
    pub handles: HandleMode,
    /// `WQCAP.shared_mode`.
    pub shared: bool,
    /// Whether config space has the SIOV DVSEC.
    pub dvsec: bool,
    /// Whether config space has the ATS and PASID capabilities.
    pub pasid: bool,
    /// Whether RESET_DEVICE leaves slots, permissions and handles alone.
    pub reset_keeps_interrupts: bool,
    /// Whether the device loses its state in D3hot.
    pub d3_resets: bool,
    /// Whether slots are unmasked, with a message, when the machine starts.
    pub starts_unmasked: bool,
    pub faults: Faults,
    pub chaos: Chaos,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            slots: 2048,
            wqs: 8,
            engines: 4,
            groups: 4,
            wq_size_total: 128,
            vectors: 9,
            device_id: 0x0b25,
            max_xfer_shift: 31,
            version: 0x100,
            handles: HandleMode::Mapped,
            shared: true,
            dvsec: true,
            pasid: false,
            reset_keeps_interrupts: false,
            d3_resets: false,
            starts_unmasked: false,
            faults: Faults::default(),
            chaos: Chaos::default(),
        }
    }
}

/// `GENCAP.max_batch_shift`: log2 of the most descriptors in a batch.
pub const MAX_BATCH_SHIFT: u32 = 10;
/// `GRPCAP.total_rdbufs`.
pub const READ_BUFFERS: u64 = 96;

/// `enum dsa_opcode` bits of the operations that the model performs: NOOP,
/// BATCH, DRAIN, MEMMOVE, MEMFILL, COMPARE.
pub const OPCAP: u64 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5;

impl Config {
    /// `union gen_cap_reg`, for `slots` IMS slots.
    pub fn gencap(&self, slots: u32) -> u64 {
        let overlap_copy = 1 << 1;
        let cache_control_mem = 1 << 2;
        let cmd_cap = 1 << 4;
        let config_en = 1 << 31;
        overlap_copy
            | cache_control_mem
            | cmd_cap
            | u64::from(self.max_xfer_shift) << 16
            | u64::from(MAX_BATCH_SHIFT) << 21
            | u64::from(slots / 256) << 25
            | config_en
    }

    /// `union wq_cap_reg`. `wqcfg_size` 0: 32 bytes for each work queue.
    pub fn wqcap(&self) -> u64 {
        let dedicated_mode = 1 << 49;
        let priority = 1 << 51;
        let occupancy = 1 << 52;
        u64::from(self.wq_size_total)
            | u64::from(self.wqs) << 16
            | u64::from(self.shared) << 48
            | dedicated_mode
            | priority
            | occupancy
    }

    /// `union group_cap_reg`.
    pub fn grpcap(&self) -> u64 {
        let rdbuf_ctrl = 1 << 16;
        u64::from(self.groups) | READ_BUFFERS << 8 | rdbuf_ctrl
    }

    /// CMDCAP: bit n for command code n.
    pub fn cmdcap(&self) -> u32 {
        let all = 0x7ffe;
        match self.handles {
            HandleMode::Mapped => all,
            HandleMode::Identity => all & !(1 << 13 | 1 << 14),
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
        assert_eq!(bits(cap, 0, 0), 0, "block_on_fault");
        assert_eq!(bits(cap, 1, 1), 1, "overlap_copy");
        assert_eq!(bits(cap, 2, 2), 1, "cache_control_mem");
        assert_eq!(bits(cap, 3, 3), 0, "cache_control_cache");
        assert_eq!(bits(cap, 4, 4), 1, "cmd_cap");
        assert_eq!(bits(cap, 7, 5), 0, "rsvd");
        assert_eq!(bits(cap, 8, 8), 0, "dest_readback");
        assert_eq!(bits(cap, 9, 9), 0, "drain_readback");
        assert_eq!(bits(cap, 12, 10), 0, "rsvd2");
        assert_eq!(bits(cap, 14, 13), 0, "evl_support");
        assert_eq!(bits(cap, 15, 15), 0, "batch_continuation");
        assert_eq!(bits(cap, 20, 16), 31, "max_xfer_shift");
        assert_eq!(bits(cap, 24, 21), 10, "max_batch_shift");
        assert_eq!(bits(cap, 30, 25), 8, "max_ims_mult");
        assert_eq!(bits(cap, 31, 31), 1, "config_en");
        assert_eq!(cap >> 32, 0, "rsvd3");
        assert_eq!(bits(Config::default().gencap(16128), 30, 25), 63);
        assert_eq!(bits(Config::default().gencap(0), 30, 25), 0);
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
        assert_eq!(cap >> 18, 0, "progress_limit, rsvd");
    }

    #[test]
    fn cmdcap_lists_commands() {
        let mut config = Config::default();
        for code in 0..32 {
            assert_eq!(config.cmdcap() >> code & 1 == 1, (1..=14).contains(&code));
        }
        config.handles = HandleMode::Identity;
        for code in 0..32 {
            assert_eq!(config.cmdcap() >> code & 1 == 1, (1..=12).contains(&code));
        }
    }
}
