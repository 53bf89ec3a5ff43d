// SPDX-License-Identifier: GPL-2.0

//! BAR0 register offsets, bits and codes, by their names in `registers.h`.

/// Byte offsets in BAR0.
pub mod offset {
    pub const VER: u64 = 0x00;
    pub const GENCAP: u64 = 0x10;
    pub const WQCAP: u64 = 0x20;
    pub const GRPCAP: u64 = 0x30;
    pub const ENGCAP: u64 = 0x38;
    /// Four 64-bit words.
    pub const OPCAP: u64 = 0x40;
    /// Two 64-bit words: `union offsets_reg`.
    pub const TABLE: u64 = 0x60;
    pub const GENCFG: u64 = 0x80;
    pub const GENCTRL: u64 = 0x88;
    pub const GENSTATS: u64 = 0x90;
    pub const INTCAUSE: u64 = 0x98;
    pub const CMD: u64 = 0xa0;
    pub const CMDSTS: u64 = 0xa8;
    pub const CMDCAP: u64 = 0xb0;
    /// Four 64-bit words: `union sw_err_reg`.
    pub const SWERR: u64 = 0xc0;
}

/// `IDXD_TABLE_MULT`: unit of the fields of `TABLE`, in bytes.
pub const TABLE_MULT: u64 = 0x100;

/// `union gencfg_reg`: `rdbuf_limit` and `user_int_en`; `evl_en` is reserved
/// because `GENCAP.evl_support` is 0.
pub const GENCFG_WRITABLE: u32 = 0xff | 1 << 12;

/// `union genctrl_reg`.
pub mod genctrl {
    pub const SOFTERR_INT_EN: u32 = 1 << 0;
    pub const HALT_INT_EN: u32 = 1 << 1;
    /// `evl_int_en` is reserved without an event log.
    pub const WRITABLE: u32 = SOFTERR_INT_EN | HALT_INT_EN;
}

/// `IDXD_INTC_*`: bits of INTCAUSE, write 1 to clear.
pub mod intcause {
    pub const ERR: u32 = 0x01;
    pub const CMD: u32 = 0x02;
    pub const HALT_STATE: u32 = 0x10;
    pub const INT_HANDLE_REVOKED: u32 = 0x8000_0000;
}

/// `union idxd_command_reg`.
pub mod command {
    pub const OPERAND_MASK: u32 = 0xf_ffff;
    pub const CODE_SHIFT: u32 = 20;
    pub const CODE_MASK: u32 = 0x1f;
    pub const INT_REQ: u32 = 1 << 31;
    /// `CMD_INT_HANDLE_IMS`: the table index is a slot.
    pub const INT_HANDLE_IMS: u32 = 1 << 16;
    /// Bits 15:0 of the operand: table index or handle.
    pub const INT_HANDLE_INDEX: u32 = 0xffff;

    /// `enum idxd_cmd`.
    pub const ENABLE_DEVICE: u32 = 1;
    pub const DISABLE_DEVICE: u32 = 2;
    pub const DRAIN_ALL: u32 = 3;
    pub const ABORT_ALL: u32 = 4;
    pub const RESET_DEVICE: u32 = 5;
    pub const ENABLE_WQ: u32 = 6;
    pub const DISABLE_WQ: u32 = 7;
    pub const DRAIN_WQ: u32 = 8;
    pub const ABORT_WQ: u32 = 9;
    pub const RESET_WQ: u32 = 10;
    pub const DRAIN_PASID: u32 = 11;
    pub const ABORT_PASID: u32 = 12;
    pub const REQUEST_INT_HANDLE: u32 = 13;
    pub const RELEASE_INT_HANDLE: u32 = 14;
}

/// `union cmdsts_reg`: error in bits 7:0, result in bits 23:8.
pub mod cmdsts {
    pub const ACTIVE: u32 = 1 << 31;
    pub const RESULT_SHIFT: u32 = 8;
}

/// `enum idxd_cmdsts_err`.
///
/// The header numbers the four group errors and does not describe them; the
/// model's reading stands beside each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CmdError {
    InvalCmd = 0x01,
    InvalWqIdx = 0x02,
    HwErr = 0x03,
    DevEnabled = 0x10,
    /// Any other inconsistency: an index beyond the count, read buffers.
    Config = 0x11,
    BusMasterEn = 0x12,
    /// PASID enabled in config space without ATS.
    PasidInval = 0x13,
    /// The sum of the sizes exceeds `WQCAP.total_wq_size`.
    WqSizeErange = 0x14,
    /// A group has work queues and no engines, or engines and no work queues.
    GrpConfig = 0x15,
    /// A work queue is in two groups.
    GrpConfig2 = 0x16,
    /// A work queue with a size is in no group.
    GrpConfig3 = 0x17,
    /// An engine is in two groups.
    GrpConfig4 = 0x18,
    DevNotEn = 0x20,
    WqEnabled = 0x21,
    WqSize = 0x22,
    WqPrior = 0x23,
    WqMode = 0x24,
    BofEn = 0x25,
    PasidEn = 0x26,
    MaxBatchSize = 0x27,
    MaxXferSize = 0x28,
    DisDevEn = 0x31,
    /// `IDXD_CMDSTS_ERR_DEV_NOT_EN`, said of disable, drain, abort and reset
    /// WQ: one of the work queues is not enabled.
    WqNotEn = 0x32,
    InvalIntIdx = 0x41,
    NoHandle = 0x42,
    /// Release of a handle that is not held. Not in the header of 7.3; the
    /// number is from a public series by the vendor.
    InvalIntIdxRelease = 0x43,
}

/// `enum idxd_device_status_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    Disabled = 0,
    Enabled = 1,
    Drain = 2,
    Halt = 3,
}

/// `enum idxd_device_reset_type`, in GENSTATS bits 3:2.
pub mod reset_type {
    pub const SOFTWARE: u32 = 0;
    pub const FLR: u32 = 1;
}

/// The half of a 64-bit register that the dword at `offset` shows.
pub fn half(value: u64, offset: u64) -> u32 {
    if offset & 4 == 0 {
        value as u32
    } else {
        (value >> 32) as u32
    }
}

/// `old` with the bits in `mask` taken from `new`.
pub fn merge(old: u32, new: u32, mask: u32) -> u32 {
    old & !mask | new & mask
}
