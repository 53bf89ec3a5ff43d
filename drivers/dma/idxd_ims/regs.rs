// SPDX-License-Identifier: GPL-2.0

//! Registers and structures of the Data Streaming Accelerator.
//!
//! Names and layouts follow `drivers/dma/idxd/registers.h` and `include/uapi/linux/idxd.h`. Those
//! of the slots follow the Intel Scalable I/O Virtualization specification and the DSA architecture
//! specification (Interrupt Message Storage).

use kernel::{
    bitfield,
    io::register,
    num::Bounded, //
};

/// BAR of the registers and tables.
pub(crate) const REGISTERS_BAR: u32 = 0;
/// Bytes of an entry of MSIXPERM.
pub(crate) const MSIX_PERMISSION_SIZE: usize = 8;
/// BAR of the work queue portals.
pub(crate) const PORTALS_BAR: u32 = 2;
/// Size of the fixed registers in BAR 0, in bytes; tables follow.
pub(crate) const END: usize = 0x100;
/// Unit of the table offsets, in bytes.
pub(crate) const TABLE_MULT: usize = 0x100;
/// Unit of `GENCAP.max_ims_mult`, in slots.
pub(crate) const IMS_MULT: u32 = 256;

register! {
    /// Version of the architecture, 0x100 for 1.0.
    pub(crate) VERSION(u32) @ 0x00 {
        15:0 version;
    }

    /// General capabilities.
    pub(crate) GENCAP(u64) @ 0x10 {
        4:4 cmd_cap => bool;
        20:16 max_xfer_shift;
        24:21 max_batch_shift;
        30:25 max_ims_mult;
        31:31 config_en => bool;
    }

    /// Work queue capabilities.
    pub(crate) WQCAP(u64) @ 0x20 {
        15:0 total_wq_size;
        23:16 num_wqs;
        27:24 wqcfg_size;
        49:49 dedicated_mode => bool;
        54:54 op_config => bool;
    }

    /// Group capabilities.
    pub(crate) GRPCAP(u64) @ 0x30 {
        7:0 num_groups;
        15:8 total_rdbufs;
    }

    /// Engine capabilities.
    pub(crate) ENGCAP(u64) @ 0x38 {
        7:0 num_engines;
    }

    /// Table offsets, in units of [`TABLE_MULT`].
    pub(crate) OFFSETS(u64) @ 0x60 {
        15:0 grpcfg;
        31:16 wqcfg;
        47:32 msix_perm;
        63:48 ims;
    }

    /// Which events raise MSI-X vector 0.
    pub(crate) GENCTRL(u32) @ 0x88 {
        0:0 softerr_int_en => bool;
        1:1 halt_int_en => bool;
    }

    /// Device state.
    pub(crate) GENSTS(u32) @ 0x90 {
        1:0 state;
        /// Kind of reset that a halted device needs.
        3:2 reset_type;
    }

    /// Causes of MSI-X vector 0, cleared by writing ones.
    pub(crate) INTCAUSE(u32) @ 0x98 {
        0:0 err => bool;
        1:1 cmd => bool;
        4:4 halt => bool;
        31:31 int_handle_revoked => bool;
    }

    /// Command.
    pub(crate) CMD(u32) @ 0xa0 {
        19:0 operand;
        24:20 cmd;
        31:31 int_req => bool;
    }

    /// Command status.
    pub(crate) CMDSTS(u32) @ 0xa8 {
        7:0 err;
        23:8 result;
        31:31 active => bool;
    }

    /// Bit n: command n is supported. Valid if `GENCAP.cmd_cap`.
    pub(crate) CMDCAP(u32) @ 0xb0 {
        31:0 commands;
    }

    /// First software error, held until `valid` is cleared by writing one.
    pub(crate) SWERR(u64) @ 0xc0 {
        0:0 valid => bool;
        1:1 overflow => bool;
        2:2 desc_valid => bool;
        3:3 wq_idx_valid => bool;
        15:8 error;
        23:16 wq_idx;
        39:32 operation;
    }
}

/// `VERSION` of architecture 2.0.
pub(crate) const VERSION_2: u32 = 0x200;

/// Operations of the device, a bit for each.
pub(crate) const OPCAP: usize = 0x40;
/// Size of [`OPCAP`], and of the operations of a work queue, in bytes.
pub(crate) const OPCAP_SIZE: usize = 32;

/// `GENSTS.state` of a device that was reset.
pub(crate) const STATE_DISABLED: u32 = 0;
/// `GENSTS.state` of a device that accepts descriptors.
pub(crate) const STATE_ENABLED: u32 = 1;
/// `GENSTS.state` of a device that accepts no descriptors before it is reset.
pub(crate) const STATE_HALTED: u32 = 3;
/// `GENSTS.reset_type`: a reset of the function, `IDXD_DEVICE_RESET_FLR`. Larger values need more.
pub(crate) const RESET_FLR: u32 = 1;

/// Commands, `enum idxd_cmd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Command {
    EnableDevice = 1,
    DisableDevice = 2,
    ResetDevice = 5,
    EnableWq = 6,
    RequestIntHandle = 13,
    ReleaseIntHandle = 14,
}

impl Command {
    #[inline(always)]
    pub(crate) fn code(self) -> Bounded<u32, 5> {
        Bounded::from_expr(self as u32)
    }
}

/// Operand bit of the interrupt handle commands: the index is one of the message store.
pub(crate) const INT_HANDLE_IMS: u32 = 1 << 16;

bitfield! {
    /// WQCFG bytes 8-11.
    pub(crate) struct WqMode(u32) {
        0:0 dedicated => bool;
        7:4 priority;
    }
}

bitfield! {
    /// WQCFG bytes 12-15.
    pub(crate) struct WqLimits(u32) {
        4:0 max_xfer_shift;
        8:5 max_batch_shift;
    }
}

bitfield! {
    /// GRPCFG flags.
    pub(crate) struct GroupFlags(u64) {
        2:0 tc_a;
        5:3 tc_b;
        27:20 rdbufs_allowed;
    }
}

bitfield! {
    /// Bytes 12-15 of a slot of the message store.
    pub(crate) struct SlotControl(u32) {
        0:0 mask => bool;
        1:1 pending => bool;
    }
}

/// Offsets within a WQCFG entry, in bytes.
pub(crate) mod wqcfg {
    pub(crate) const SIZE: usize = 0;
    pub(crate) const MODE: usize = 8;
    pub(crate) const LIMITS: usize = 12;
    /// Only if `WQCAP.op_config`.
    pub(crate) const OPERATIONS: usize = 32;
    /// `WQCAP.wqcfg_size` is the logarithm of the entry's size above this one.
    pub(crate) const MIN_SHIFT: u32 = 5;
}

/// Offsets within a GRPCFG entry, in bytes.
pub(crate) mod grpcfg {
    pub(crate) const WQS: usize = 0;
    pub(crate) const ENGINES: usize = 32;
    pub(crate) const FLAGS: usize = 40;
    pub(crate) const STRIDE: usize = 64;
}

/// A slot of the message store.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct SlotRegisters {
    pub(crate) address_lo: u32,
    pub(crate) address_hi: u32,
    pub(crate) data: u32,
    pub(crate) control: u32,
}

/// Bytes of one portal. Each work queue has four.
pub(crate) const PORTAL_SIZE: usize = 4096;
/// Portals of one work queue: MSI-X unlimited and limited, then message store the same.
pub(crate) const PORTALS_PER_WQ: usize = 4;
/// The portal whose descriptors name interrupt handles of the MSI-X table, unlimited.
pub(crate) const PORTAL_MSIX: usize = 0;
/// The portal whose descriptors name interrupt handles of the message store, unlimited.
pub(crate) const PORTAL_IMS: usize = 2;

bitfield! {
    /// Bytes 0-7 of a descriptor, `struct dsa_hw_desc`.
    pub(crate) struct DescriptorHead(u64) {
        /// The completion record address is valid.
        34:34 completion_valid => bool;
        /// Write a completion record.
        35:35 request_completion => bool;
        /// Raise an interrupt when complete.
        36:36 request_interrupt => bool;
        63:56 opcode;
    }
}

bitfield! {
    /// Bytes 32-39 of a descriptor.
    pub(crate) struct DescriptorTail(u64) {
        31:0 size;
        47:32 int_handle;
    }
}

bitfield! {
    /// Bytes 0-7 of a completion record, `struct dsa_completion_record`. Bytes 16-23 are the result
    /// of [`OPCODE_CRC`].
    pub(crate) struct CompletionHead(u64) {
        7:0 status;
        15:8 result;
        63:32 bytes;
    }
}

/// `DSA_OPCODE_NOOP`.
pub(crate) const OPCODE_NOOP: u8 = 0;
/// `DSA_OPCODE_BATCH`.
pub(crate) const OPCODE_BATCH: u8 = 1;
/// `DSA_OPCODE_MEMMOVE`.
pub(crate) const OPCODE_MEMMOVE: u8 = 3;
/// `DSA_OPCODE_MEMFILL`.
pub(crate) const OPCODE_MEMFILL: u8 = 4;
/// `DSA_OPCODE_COMPARE`.
pub(crate) const OPCODE_COMPARE: u8 = 5;
/// `DSA_OPCODE_CRCGEN`.
pub(crate) const OPCODE_CRC: u8 = 0x10;
/// `DSA_COMP_SUCCESS`, in byte 0 of a completion record.
pub(crate) const COMPLETION_SUCCESS: u8 = 1;
/// `DSA_COMP_BATCH_FAIL`: a descriptor of the batch has failed.
pub(crate) const COMPLETION_BATCH_FAIL: u8 = 5;
/// `DSA_COMP_INT_HANDLE_INVAL`.
pub(crate) const COMPLETION_INVALID_HANDLE: u8 = 0x19;
