// SPDX-License-Identifier: GPL-2.0

//! Where things lie in the BARs, and how large the BARs are. Bytes.
//!
//! This is the one place that knows. A driver finds the tables by OFFSETS and
//! the MSI-X capability (9.2.7, 9.1.2). Each has its place on Sapphire Rapids,
//! as long as it fits the room there; else it lies behind the first 64 KiB.

use crate::config::Config;
use crate::regs::TABLE_MULT;
use crate::testpage;

/// Of a GRPCFG entry (9.2.23).
pub const GRPCFG_STRIDE: u64 = 64;
/// Of an MSIXPERM entry (9.2.22).
pub const MSIXPERM_STRIDE: u64 = 8;
/// Of an MSI-X table entry (PCIe).
pub const MSIX_STRIDE: u64 = 16;
/// Of a slot (9.2.28).
pub const IMS_STRIDE: u64 = 16;

/// End of the registers at fixed offsets in the first page; tables follow.
pub const REGISTERS_END: u64 = 0x200;
/// Smallest size of BAR0 (9.1.1.1).
const BAR0_MIN: u64 = 0x1_0000;

/// Rooms on Sapphire Rapids: where a table begins, and where the next thing
/// does. That behind the slots' is CMDPARAM (9.2.20), before the dummy portal.
const MSIXPERM_ROOM: [u64; 2] = [0x200, 0x300];
const GRPCFG_ROOM: [u64; 2] = [0x300, 0x400];
const WQCFG_ROOM: [u64; 2] = [0x400, 0x1000];
const MSIX_TABLE_ROOM: [u64; 2] = [0x2000, 0x3000];
const MSIX_PBA_ROOM: [u64; 2] = [0x3000, 0x4000];
const IMS_ROOM: [u64; 2] = [0x4000, 0xe000];
/// Alignment of a table that lies behind them.
const PAGE: u64 = 0x1000;

/// Most vectors that MSI-X has.
pub const MAX_VECTORS: u16 = 2048;
/// Most groups and engines: GRPCFG holds 64 engine bits.
pub const MAX_GROUPS: u8 = 64;
/// Most work queues: their portals and tables fit a BAR of 2 MiB.
pub const MAX_WQS: u16 = 128;
/// `GENCAP.max_ims_mult` is 6 bits of 256 slots.
pub const MAX_SLOTS: u32 = 63 * 256;

/// One portal page (9.3).
pub const PORTAL_PAGE: u64 = 0x1000;
/// Portal pages of a work queue: MSI-X unlimited and limited, IMS unlimited
/// and limited (figure 9-2).
pub const PORTAL_PAGES: u64 = 4;

/// Offsets of the tables in BAR0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// MSI-X permissions.
    pub msixperm: u64,
    /// Groups.
    pub grpcfg: u64,
    /// Work queues.
    pub wqcfg: u64,
    /// Of one work queue: 32, or 64 with the operations (9.2.24).
    pub wqcfg_stride: u64,
    /// QEMU keeps the MSI-X table and the pending bits.
    pub msix_table: u64,
    /// The pending bits.
    pub msix_pba: u64,
    /// The slots.
    pub ims: u64,
    /// Not an offset: the size of BAR0.
    pub bar0_size: u64,
}

/// Hands out places.
struct Places {
    /// Where a table that does not fit its room can begin.
    free: u64,
}

impl Places {
    fn put(&mut self, [start, end]: [u64; 2], size: u64) -> u64 {
        if start + size <= end {
            return start;
        }
        let at = self.free;
        self.free = (at + size).next_multiple_of(PAGE);
        at
    }
}

impl Layout {
    /// Where the tables of this device are.
    pub fn new(config: &Config) -> Self {
        let vectors = u64::from(config.vectors);
        let wqcfg_stride = if config.features.op_config { 64 } else { 32 };
        let mut places = Places { free: BAR0_MIN };
        let mut put = |room, size| places.put(room, size);
        let layout = Self {
            msixperm: put(MSIXPERM_ROOM, vectors * MSIXPERM_STRIDE),
            grpcfg: put(GRPCFG_ROOM, u64::from(config.groups) * GRPCFG_STRIDE),
            wqcfg: put(WQCFG_ROOM, u64::from(config.wqs) * wqcfg_stride),
            wqcfg_stride,
            msix_table: put(MSIX_TABLE_ROOM, vectors * MSIX_STRIDE),
            msix_pba: put(MSIX_PBA_ROOM, vectors.div_ceil(64) * 8),
            ims: put(IMS_ROOM, u64::from(config.slots) * IMS_STRIDE),
            bar0_size: 0,
        };
        Self {
            bar0_size: places.free.next_power_of_two(),
            ..layout
        }
    }

    /// OFFSETS (9.2.7), with `ims` bytes for the slots' table. The second word
    /// (performance monitor, inter-domain permissions) is 0.
    pub fn offsets(&self, ims: u64) -> u64 {
        let field = |offset: u64, shift: u32| (offset / TABLE_MULT) << shift;
        field(self.grpcfg, 0) | field(self.wqcfg, 16) | field(self.msixperm, 32) | field(ims, 48)
    }
}

impl Config {
    /// Where the tables of this device are.
    pub fn layout(&self) -> Layout {
        Layout::new(self)
    }

    /// Size of the portals, in bytes.
    pub fn bar2_size(&self) -> u64 {
        (u64::from(self.wqs) * PORTAL_PAGES * PORTAL_PAGE).next_power_of_two()
    }

    /// Size of the test page, in bytes.
    pub fn bar4_size(&self) -> u64 {
        (testpage::SLOT_ARRAY + u64::from(self.slots) * testpage::SLOT_STRIDE).next_power_of_two()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    #[test]
    fn sapphire_rapids() {
        let config = Config::default();
        let layout = config.layout();
        assert_eq!(layout.msixperm, 0x200);
        assert_eq!(layout.grpcfg, 0x300);
        assert_eq!((layout.wqcfg, layout.wqcfg_stride), (0x400, 32));
        assert_eq!((layout.msix_table, layout.msix_pba), (0x2000, 0x3000));
        assert_eq!(layout.ims, 0x4000);
        assert_eq!(layout.bar0_size, 0x1_0000);
        assert_eq!(
            (config.bar2_size(), config.bar4_size()),
            (0x2_0000, 0x1_0000)
        );
        assert_eq!(Kind::V2.config().layout().wqcfg_stride, 64);
    }

    /// Start and end of every table, and of what has a fixed place.
    fn places(config: &Config) -> Vec<[u64; 2]> {
        let layout = config.layout();
        let vectors = u64::from(config.vectors);
        let at = |start, size| [start, start + size];
        let wqs = u64::from(config.wqs) * layout.wqcfg_stride;
        vec![
            at(0, REGISTERS_END),
            at(layout.msixperm, vectors * 8),
            at(layout.grpcfg, u64::from(config.groups) * 64),
            at(layout.wqcfg, wqs),
            at(layout.msix_table, vectors * 16),
            at(layout.msix_pba, vectors.div_ceil(64) * 8),
            at(0xe000, 0x2000),
            at(layout.ims, u64::from(config.slots) * 16),
        ]
    }

    #[test]
    fn tables_do_not_overlap() {
        let mut largest = Kind::V3.config();
        largest.slots = MAX_SLOTS;
        largest.wqs = MAX_WQS;
        largest.groups = MAX_GROUPS;
        largest.vectors = MAX_VECTORS;
        let slots = |slots| Config {
            slots,
            ..Config::default()
        };
        let vectors = Config {
            vectors: 33,
            ..Config::default()
        };
        for config in [
            Config::default(),
            slots(2560),
            slots(2816),
            vectors,
            largest,
        ] {
            let mut places = places(&config);
            places.sort();
            assert!(places.iter().all(|[start, _]| start % 0x100 == 0));
            assert!(places.windows(2).all(|pair| pair[0][1] <= pair[1][0]));
            assert!(places.last().unwrap()[1] <= config.layout().bar0_size);
        }
    }

    #[test]
    fn what_does_not_fit_lies_behind() {
        let config = Config {
            slots: MAX_SLOTS,
            wqs: MAX_WQS,
            ..Config::default()
        };
        let layout = config.layout();
        assert_eq!((layout.wqcfg, layout.ims), (0x1_0000, 0x1_1000));
        assert_eq!(layout.grpcfg, 0x300, "the others stay");
        assert_eq!(layout.bar0_size, 0x8_0000);
        assert_eq!(
            (config.bar2_size(), config.bar4_size()),
            (0x20_0000, 0x4_0000)
        );
    }

    #[test]
    fn offsets_register_fields() {
        let layout = Layout {
            grpcfg: 0x1000,
            wqcfg: 0x2000,
            msixperm: 0x3000,
            ..Layout::default()
        };
        let value = layout.offsets(0x1_0000);
        assert_eq!(value & 0xffff, 0x10, "grpcfg");
        assert_eq!(value >> 16 & 0xffff, 0x20, "wqcfg");
        assert_eq!(value >> 32 & 0xffff, 0x30, "msix_perm");
        assert_eq!(value >> 48, 0x100, "ims");
    }
}
