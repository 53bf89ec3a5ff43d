// SPDX-License-Identifier: GPL-2.0

//! Completion records (8.2): 32 bytes, little endian.

/// Bytes; also the alignment of the record's address.
pub const SIZE: usize = 32;

/// Operation status codes (table 5-6).
pub mod status {
    pub const SUCCESS: u8 = 0x01;
    /// The result is not the expected one.
    pub const SUCCESS_PRED: u8 = 0x02;
    /// Page fault, and the descriptor does not block on it.
    pub const PAGE_FAULT: u8 = 0x03;
    /// Page fault, and the page request was refused.
    pub const PAGE_REQUEST_FAILED: u8 = 0x04;
    pub const BATCH_FAIL: u8 = 0x05;
    pub const BATCH_PAGE_FAULT: u8 = 0x06;
    pub const BAD_OPCODE: u8 = 0x10;
    pub const INVALID_FLAGS: u8 = 0x11;
    pub const NOZERO_RESERVE: u8 = 0x12;
    pub const XFER_ERANGE: u8 = 0x13;
    pub const DESC_CNT_ERANGE: u8 = 0x14;
    pub const DESCLIST_ALIGN: u8 = 0x18;
    pub const INT_HANDLE_INVAL: u8 = 0x19;
    /// The completion record could not be written.
    pub const CRA_XLAT: u8 = 0x1a;
    pub const CRA_ALIGN: u8 = 0x1b;
    /// Another address is misaligned: that of a CRC seed.
    pub const ADDR_ALIGN: u8 = 0x1c;
    /// A read failed; with ATS disabled also by a translation fault.
    pub const HW_READ: u8 = 0x20;
    /// A write failed, or the readback of the destination.
    pub const HW_WRITE: u8 = 0x21;
    /// `DSA_COMP_STATUS_WRITE`: the fault was on a write.
    pub const WRITE: u8 = 0x80;
}

/// Which address faulted (table 8-13).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Operand {
    #[default]
    Unknown = 0,
    /// Also a descriptor list.
    Source = 1,
    /// Also the seed of a CRC.
    Source2 = 2,
    Destination = 3,
    Record = 5,
}

/// What a descriptor came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    pub status: u8,
    pub result: u8,
    /// What faulted. Only in the record if `GENCAP` says so.
    pub operand: Operand,
    /// Bytes, if it stopped before the end (8.2.4), or descriptors of a batch.
    pub completed: u32,
    pub fault_address: u64,
    /// If the status is that flags are invalid (8.2.6).
    pub invalid_flags: u32,
    /// CRC Value, of CRC Generation (8.3.12), in the place of the invalid flags.
    pub crc: u32,
}

impl Completion {
    pub fn new(status: u8) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// Whether it is told even if no record was asked for: in a record, or
    /// without a valid address in SWERR (table 8-3, 5.8.1).
    pub fn is_error(&self) -> bool {
        !matches!(
            self.status,
            status::SUCCESS | status::SUCCESS_PRED | status::BATCH_FAIL
        )
    }

    /// With the Fault Info field (8.2.3) or without.
    pub fn bytes(&self, fault_info: bool) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0] = self.status;
        bytes[1] = self.result;
        if fault_info {
            bytes[2] = (self.operand as u8) << 1;
        }
        bytes[4..8].copy_from_slice(&self.completed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.fault_address.to_le_bytes());
        let word = match self.status {
            status::INVALID_FLAGS => self.invalid_flags,
            _ => self.crc,
        };
        bytes[16..20].copy_from_slice(&word.to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout() {
        let record = Completion {
            status: 0x83,
            result: 0x22,
            operand: Operand::Destination,
            completed: 0x0706_0504,
            fault_address: 0x0f0e_0d0c_0b0a_0908,
            invalid_flags: 0,
            crc: 0x1312_1110,
        };
        let mut expected = [0u8; 32];
        expected[0] = 0x83;
        expected[1] = 0x22;
        for (index, byte) in expected.iter_mut().enumerate().take(20).skip(4) {
            *byte = index as u8;
        }
        assert_eq!(record.bytes(false), expected);
        expected[2] = 6;
        assert_eq!(record.bytes(true), expected);
    }

    #[test]
    fn invalid_flags_and_crc_share_a_place() {
        let record = |status| Completion {
            invalid_flags: 0x0012_3456,
            crc: 0x89ab_cdef,
            ..Completion::new(status)
        };
        let place = |status| record(status).bytes(true)[16..24].to_vec();
        assert_eq!(place(0x11), [0x56, 0x34, 0x12, 0, 0, 0, 0, 0]);
        assert_eq!(place(0x01), [0xef, 0xcd, 0xab, 0x89, 0, 0, 0, 0]);
    }

    #[test]
    fn errors_are_all_but_three() {
        let no_errors: Vec<u8> = (0..=255)
            .filter(|&status| !Completion::new(status).is_error())
            .collect();
        assert_eq!(no_errors, [1, 2, 5]);
    }
}
