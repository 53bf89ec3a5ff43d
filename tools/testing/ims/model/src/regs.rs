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

/// GENCFG bit 12: user-mode descriptors may ask for interrupts (9.2.8).
pub const GENCFG_USER_INT_EN: u32 = 1 << 12;
/// The rest is reserved: GRPCAP states no global read buffer limit, GENCAP no
/// event log.
pub const GENCFG_WRITABLE: u32 = GENCFG_USER_INT_EN;

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
    /// Bits 30:25 are reserved.
    pub const RESERVED: u32 = 0x3f << 25;
    pub const INT_REQ: u32 = 1 << 31;
    /// `CMD_INT_HANDLE_IMS`: the table index is a slot.
    pub const INT_HANDLE_IMS: u32 = 1 << 16;
    /// Bits 15:0 of the operand: table index. That of RELEASE_INT_HANDLE was
    /// the handle before revision 1.2 of the specification.
    pub const INT_HANDLE_INDEX: u32 = 0xffff;

    /// `enum idxd_cmd`.
    pub const ENABLE_DEVICE: u32 = 1;
    pub const DISABLE_DEVICE: u32 = 2;
    pub const DRAIN_ALL: u32 = 3;
    pub const ABORT_ALL: u32 = 4;
    pub const RESET_DEVICE: u32 = 5;
    pub const ENABLE_WQ: u32 = 6;
    pub const DISABLE_WQ: u32 = 7;
    #[expect(dead_code, reason = "treated as the others of work queues")]
    pub const DRAIN_WQ: u32 = 8;
    pub const ABORT_WQ: u32 = 9;
    pub const RESET_WQ: u32 = 10;
    pub const DRAIN_PASID: u32 = 11;
    pub const ABORT_PASID: u32 = 12;
    pub const REQUEST_INT_HANDLE: u32 = 13;
    pub const RELEASE_INT_HANDLE: u32 = 14;

    /// Bits of the operand that a command has no use for (table 9-5).
    pub fn reserved(code: u32) -> u32 {
        match code {
            ENABLE_DEVICE..=RESET_DEVICE => OPERAND_MASK,
            ENABLE_WQ => OPERAND_MASK & !0xff,
            REQUEST_INT_HANDLE | RELEASE_INT_HANDLE => {
                OPERAND_MASK & !(INT_HANDLE_IMS | INT_HANDLE_INDEX)
            }
            _ => 0,
        }
    }
}

/// `union cmdsts_reg`: error in bits 7:0, result in bits 23:8.
pub mod cmdsts {
    pub const ACTIVE: u32 = 1 << 31;
    pub const RESULT_SHIFT: u32 = 8;
}

/// Error codes of commands (9.2.13, table 5-8). The specification does not say
/// which of several errors is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CmdError {
    /// Undefined, or not in CMDCAP.
    InvalCmd = 0x01,
    InvalWqIdx = 0x02,
    /// The device halted while the command was in progress.
    HwErr = 0x03,
    /// A reserved bit of the command or its operand is set.
    Reserved = 0x04,
    /// The device was halted already.
    Halted = 0x05,

    /// ENABLE_DEVICE: not disabled.
    DevEnabled = 0x10,
    BusMasterEn = 0x12,
    /// PRS is enabled, with no or too many page requests allowed.
    PageRequests = 0x13,
    /// The sum of the sizes exceeds `WQCAP.total_wq_size`.
    WqSizeErange = 0x14,
    /// A group has work queues and no engines, or engines and no work queues.
    GrpConfig = 0x15,
    /// A work queue is in two groups, or in none with a size, or in one without
    /// a size, or does not exist.
    GrpWqs = 0x16,
    /// An engine is in two groups, or does not exist.
    GrpEngines = 0x17,
    /// Read buffers or bandwidth limits.
    ReadBuffers = 0x18,

    /// ENABLE_WQ: the device is not enabled.
    DevNotEn = 0x20,
    /// Not disabled.
    WqEnabled = 0x21,
    WqSize = 0x22,
    WqPrior = 0x23,
    WqMode = 0x24,
    BofEn = 0x25,
    PasidEn = 0x26,
    MaxBatchSize = 0x27,
    MaxXferSize = 0x28,
    /// Privileged, and PASIDs are not.
    Priv = 0x2a,
    /// OPCFG has an operation that OPCAP does not have.
    Operations = 0x2d,

    /// DISABLE_DEVICE: not enabled.
    DisDevEn = 0x31,
    /// DISABLE, DRAIN and ABORT WQ: one of the work queues is not enabled.
    WqNotEn = 0x32,
    /// REQUEST and RELEASE_INT_HANDLE: no entry of the table has that index, or,
    /// for the latter, no handle is held for it.
    InvalIntIdx = 0x41,
    NoHandle = 0x42,
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
