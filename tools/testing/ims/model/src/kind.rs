// SPDX-License-Identifier: GPL-2.0

//! The devices that the model can be (`--like`).
//!
//! Sections and tables are those of the DSA architecture specification, Intel
//! document 341204, revision 006. It says what a feature is, and leaves to each
//! device which ones it has; [`Features`] is what the capability registers of a
//! kind of device state.

use crate::chaos::Chaos;
use crate::config::{Config, HandleMode};
use crate::fault::Faults;

/// A kind of device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Sapphire Rapids, with the numbers that public logs of real machines have.
    #[default]
    Spr,
    /// A virtual device: as Sapphire Rapids, with CMDCAP and commands for
    /// interrupt handles, and without ATS, PASID and PRS (7.5.3, 7.5.4).
    /// Unlike what 7.5.1 says it can be configured: the driver under test
    /// refuses a device that cannot.
    Virtual,
    /// Version 2.0: CMDCAP, operations for each work queue, progress limits,
    /// fault info, continued batches.
    V2,
    /// Version 3.0: as 2.0, with bandwidth limits, batches of one, durable
    /// writes, DSACAP.
    V3,
}

/// What a device has. The names are those of the capability registers' fields
/// (9.2.2 to 9.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// GENCAP bit 4: CMDCAP exists, also if it lists no interrupt handles.
    pub cmd_cap: bool,
    /// GENCAP bit 5: the cache control flag for durable memory is valid.
    pub durable_write: bool,
    /// GENCAP bit 12: completion records say which operand faulted.
    pub fault_info: bool,
    /// GENCAP bit 15.
    pub batch_continuation: bool,
    /// GENCAP bit 52: a batch may have one descriptor.
    pub batch1: bool,
    /// WQCAP bit 54: WQCFG has 64 bytes, with the operations that it allows.
    pub op_config: bool,
    /// GRPCAP bit 18: limits on the descriptors in progress.
    pub progress_limit: bool,
    /// GRPCAP bit 19.
    pub bandwidth_limit: bool,
    /// SWERROR bit 7: page faults and invalid handles have information, too (9.2.15).
    pub error_info: bool,
}

impl Kind {
    /// What the device has beyond DSA 1.0.
    pub fn features(self) -> Features {
        let second = Features {
            cmd_cap: true,
            fault_info: true,
            batch_continuation: true,
            op_config: true,
            progress_limit: true,
            error_info: true,
            ..Features::default()
        };
        match self {
            Self::Spr => Features::default(),
            Self::Virtual => Features {
                cmd_cap: true,
                ..Features::default()
            },
            Self::V2 => second,
            Self::V3 => Features {
                durable_write: true,
                batch1: true,
                bandwidth_limit: true,
                ..second
            },
        }
    }

    /// The PCI device id, as in the kernel's `idxd_pci_tbl`, and VERSION.
    fn identity(self) -> (u16, u32) {
        match self {
            Self::Spr | Self::Virtual => (0x0b25, 0x100),
            Self::V2 => (0x11fb, 0x200),
            Self::V3 => (0x1212, 0x300),
        }
    }

    /// A device of this kind. All have the counts of Sapphire Rapids.
    pub fn config(self) -> Config {
        let (device_id, version) = self.identity();
        let handles = match self {
            Self::Virtual => HandleMode::Mapped,
            _ => HandleMode::Identity,
        };
        Config {
            features: self.features(),
            slots: 2048,
            wqs: 8,
            engines: 4,
            groups: 4,
            wq_size_total: 128,
            vectors: 9,
            device_id,
            max_xfer_shift: 31,
            version,
            handles,
            shared: true,
            dvsec: true,
            pasid: self != Self::Virtual,
            reset_keeps_interrupts: false,
            d3_resets: false,
            starts_unmasked: false,
            faults: Faults::default(),
            chaos: Chaos::default(),
        }
    }
}
