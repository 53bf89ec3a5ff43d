// SPDX-License-Identifier: GPL-2.0

//! `struct dsa_completion_record`: 32 bytes, little endian.

/// Bytes; also the alignment of the record's address.
pub const SIZE: usize = 32;

/// `enum dsa_completion_status`.
pub mod status {
    pub const SUCCESS: u8 = 0x01;
    /// The result is not the expected one.
    pub const SUCCESS_PRED: u8 = 0x02;
    pub const PAGE_FAULT_NOBOF: u8 = 0x03;
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
    /// `DSA_COMP_STATUS_WRITE`: the fault was on a write.
    pub const WRITE: u8 = 0x80;
}

/// What a descriptor came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    pub status: u8,
    pub result: u8,
    /// Bytes, or descriptors of a batch.
    pub completed: u32,
    pub fault_address: u64,
    pub invalid_flags: u32,
}

impl Completion {
    pub fn new(status: u8) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub fn is_error(&self) -> bool {
        self.status > status::SUCCESS_PRED
    }

    pub fn bytes(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[0] = self.status;
        bytes[1] = self.result;
        bytes[4..8].copy_from_slice(&self.completed.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.fault_address.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.invalid_flags.to_le_bytes());
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
            completed: 0x0706_0504,
            fault_address: 0x0f0e_0d0c_0b0a_0908,
            invalid_flags: 0x0012_1110,
        };
        let mut expected = [0u8; 32];
        expected[0] = 0x83;
        expected[1] = 0x22;
        for (index, byte) in expected.iter_mut().enumerate().take(19).skip(4) {
            *byte = index as u8;
        }
        assert_eq!(record.bytes(), expected);
    }

    #[test]
    fn errors_begin_after_success_with_false_predicate() {
        assert!(!Completion::new(1).is_error());
        assert!(!Completion::new(2).is_error());
        assert!(Completion::new(3).is_error());
    }
}
