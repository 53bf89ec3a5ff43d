// SPDX-License-Identifier: GPL-2.0

//! Registers of the queue device (BAR0). `doc/queue-device.md` describes them.

/// Size of BAR0, in bytes.
pub const SIZE: u32 = 4096;

pub const MAGIC: u64 = 0x00;
pub const QUEUES: u64 = 0x04;
pub const TABLE_LO: u64 = 0x08;
pub const TABLE_HI: u64 = 0x0c;
pub const CONTROL: u64 = 0x10;
pub const UPDATE: u64 = 0x14;
pub const STATUS: u64 = 0x18;
pub const DOORBELL: u64 = 0x1c;
pub const SENT: u64 = 0x80;
pub const LATCHED: u64 = 0x84;
pub const REPLAYED: u64 = 0x88;
pub const UPDATES: u64 = 0x8c;
pub const CONTEXTS: u64 = 0x90;
pub const IGNORED: u64 = 0x94;
pub const REFUSED: u64 = 0x98;
pub const BLANK: u64 = 0x9c;
pub const UNMASKED: u64 = 0xa0;
pub const UNREAD: u64 = 0xa4;
pub const LAST: u64 = 0xa8;

pub const MAGIC_VALUE: u32 = 0x5153_4d49;

/// Alignment of the context table, in bytes.
pub const TABLE_ALIGN: u32 = 64;

/// CONTROL bit 0.
pub const ENABLE: u32 = 1 << 0;

/// STATUS bit 0, and where its error begins.
pub const BUSY: u32 = 1 << 0;
pub const ERROR_SHIFT: u32 = 8;

/// Errors of an UPDATE.
pub mod error {
    pub const NONE: u8 = 0;
    pub const NOT_ENABLED: u8 = 1;
    pub const RANGE: u8 = 2;
    /// Another was in flight, which goes on.
    pub const IN_FLIGHT: u8 = 3;
    /// Host memory cannot be read or written.
    pub const HOST: u8 = 4;
    /// Reserved bits are set in a context.
    pub const RESERVED: u8 = 5;
}
