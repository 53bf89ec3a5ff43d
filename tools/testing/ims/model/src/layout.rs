// SPDX-License-Identifier: GPL-2.0

//! Where things lie in the BARs, and how large the BARs are. Bytes.
//!
//! A driver finds the tables by the TABLE register; these offsets are the
//! model's own choice.

use crate::config::Config;
use crate::regs::TABLE_MULT;
use crate::testpage;

/// GRPCFG, 64 bytes for each group.
pub const GRPCFG: u64 = 0x1000;
pub const GRPCFG_STRIDE: u64 = 64;
/// WQCFG, 32 bytes for each work queue.
pub const WQCFG: u64 = 0x2000;
pub const WQCFG_STRIDE: u64 = 32;
/// MSIXPERM, 8 bytes for each vector.
pub const MSIXPERM: u64 = 0x3000;
pub const MSIXPERM_STRIDE: u64 = 8;
/// The MSI-X pending bits; QEMU keeps them.
pub const MSIX_PBA: u64 = 0x7000;
/// The MSI-X table; QEMU keeps it.
pub const MSIX_TABLE: u64 = 0x8000;
/// The IMS table, 16 bytes for each slot.
pub const IMS: u64 = 0x1_0000;
pub const IMS_STRIDE: u64 = 16;

/// Most vectors that MSI-X has, and that fit the tables above.
pub const MAX_VECTORS: u16 = 2048;
/// Most groups and engines: GRPCFG holds 64 engine bits.
pub const MAX_GROUPS: u8 = 64;
/// Most work queues: WQCFG ends where MSIXPERM begins.
pub const MAX_WQS: u16 = 128;
/// `GENCAP.max_ims_mult` is 6 bits of 256 slots.
pub const MAX_SLOTS: u32 = 63 * 256;

/// One portal page.
pub const PORTAL_PAGE: u64 = 0x1000;
/// Portal pages of a work queue: MSI-X unlimited and limited, IMS unlimited
/// and limited.
pub const PORTAL_PAGES: u64 = 4;

impl Config {
    pub fn bar0_size(&self) -> u64 {
        (IMS + u64::from(self.slots) * IMS_STRIDE).next_power_of_two()
    }

    pub fn bar2_size(&self) -> u64 {
        (u64::from(self.wqs) * PORTAL_PAGES * PORTAL_PAGE).next_power_of_two()
    }

    pub fn bar4_size(&self) -> u64 {
        (testpage::SLOT_ARRAY + u64::from(self.slots) * testpage::SLOT_STRIDE).next_power_of_two()
    }
}

/// `union offsets_reg`: grpcfg, wqcfg, msix_perm, ims; the second word
/// (perfmon) is 0. `ims` is in bytes.
pub fn table_offsets(ims: u64) -> u64 {
    let field = |offset: u64, shift: u32| (offset / TABLE_MULT) << shift;
    field(GRPCFG, 0) | field(WQCFG, 16) | field(MSIXPERM, 32) | field(ims, 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_do_not_overlap() {
        let groups = u64::from(MAX_GROUPS) * GRPCFG_STRIDE;
        let vectors = u64::from(MAX_VECTORS);
        assert!(GRPCFG + groups <= WQCFG);
        assert!(WQCFG + u64::from(MAX_WQS) * WQCFG_STRIDE <= MSIXPERM);
        assert!(MSIXPERM + vectors * MSIXPERM_STRIDE <= MSIX_PBA);
        assert!(MSIX_PBA + vectors / 8 <= MSIX_TABLE);
        assert!(MSIX_TABLE + vectors * 16 <= IMS);
    }

    #[test]
    fn bars_hold_their_tables() {
        let mut config = Config::default();
        assert_eq!(config.bar0_size(), 0x2_0000);
        assert_eq!(config.bar2_size(), 0x2_0000);
        assert_eq!(config.bar4_size(), 0x1_0000);
        config.slots = MAX_SLOTS;
        config.wqs = MAX_WQS;
        assert_eq!(config.bar0_size(), 0x8_0000);
        assert_eq!(config.bar2_size(), 0x20_0000);
        assert_eq!(config.bar4_size(), 0x4_0000);
    }

    #[test]
    fn offsets_register_fields() {
        let value = table_offsets(IMS);
        assert_eq!(value & 0xffff, 0x10, "grpcfg");
        assert_eq!(value >> 16 & 0xffff, 0x20, "wqcfg");
        assert_eq!(value >> 32 & 0xffff, 0x30, "msix_perm");
        assert_eq!(value >> 48, 0x100, "ims");
    }
}
