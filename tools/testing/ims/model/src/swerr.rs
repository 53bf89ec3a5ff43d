// SPDX-License-Identifier: GPL-2.0

//! SWERR (9.2.15): errors that no completion record can report.

/// Error codes that are not completion statuses (table 5-7).
pub mod code {
    /// PCI configuration changed in a way that needs a disabled device.
    pub const PCI_CFG: u8 = 0x51;
    /// CMD was written while a command was active.
    pub const CMD_REG: u8 = 0x52;
    /// The dedicated work queue is full.
    pub const WQ_FULL: u8 = 0x53;
}

/// What SWERR says of a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Culprit {
    pub opcode: u8,
    pub pasid: u32,
    pub privileged: bool,
    /// Index in the batch.
    pub batch: Option<u16>,
}

/// One error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwError {
    pub code: u8,
    pub wq: Option<u16>,
    pub descriptor: Option<Culprit>,
    /// Error information, and whether bit 7 says that it is valid.
    pub info: u32,
    pub info_valid: bool,
    /// Address of the failed write or read, and whether it was a write.
    pub fault: Option<(u64, bool)>,
}

/// The register: four 64-bit words.
#[derive(Debug, Default)]
pub struct SwErr([u64; 4]);

const VALID: u64 = 1 << 0;
const OVERFLOW: u64 = 1 << 1;

impl SwErr {
    /// Records an error; if there is one already, only that it overflowed.
    /// Returns whether it was recorded, which is when an interrupt is due.
    pub fn record(&mut self, error: &SwError) -> bool {
        if self.0[0] & VALID != 0 {
            self.0[0] |= OVERFLOW;
            return false;
        }
        let (fault_address, fault_write) = error.fault.unwrap_or_default();
        let Culprit {
            opcode,
            pasid,
            privileged,
            batch,
        } = error.descriptor.unwrap_or_default();
        // Overflow can be left from an error that was acknowledged without it.
        self.0 = [
            self.0[0] & OVERFLOW
                | VALID
                | u64::from(error.descriptor.is_some()) << 2
                | u64::from(error.wq.is_some()) << 3
                | u64::from(batch.is_some()) << 4
                | u64::from(fault_write) << 5
                | u64::from(privileged) << 6
                | u64::from(error.info_valid) << 7
                | u64::from(error.code) << 8
                | u64::from(error.wq.unwrap_or(0) & 0xff) << 16
                | u64::from(opcode) << 32
                | u64::from(pasid) << 40,
            u64::from(batch.unwrap_or(0)) | u64::from(error.info) << 32,
            fault_address,
            0,
        ];
        true
    }

    pub fn word(&self, index: usize) -> u64 {
        self.0[index]
    }

    /// Write 1 to clear; without `valid` all but `overflow` is undefined, and 0
    /// here.
    pub fn acknowledge(&mut self, bits: u32) {
        self.0[0] &= !(u64::from(bits) & (VALID | OVERFLOW));
        if self.0[0] & VALID == 0 {
            self.0 = [self.0[0] & OVERFLOW, 0, 0, 0];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_bit_by_bit() {
        let mut reg = SwErr::default();
        assert!(reg.record(&SwError {
            code: 0x1a,
            wq: Some(0x7f),
            descriptor: Some(Culprit {
                opcode: 0x03,
                pasid: 0xabcde,
                privileged: true,
                batch: Some(0x1234),
            }),
            info: 0x5678,
            info_valid: true,
            fault: Some((0x1122_3344_5566_7788, true)),
        }));
        let word = reg.word(0);
        assert_eq!(word & 1, 1, "valid");
        assert_eq!(word >> 1 & 1, 0, "overflow");
        assert_eq!(word >> 2 & 1, 1, "desc_valid");
        assert_eq!(word >> 3 & 1, 1, "wq_idx_valid");
        assert_eq!(word >> 4 & 1, 1, "batch");
        assert_eq!(word >> 5 & 1, 1, "fault_rw");
        assert_eq!(word >> 6 & 1, 1, "priv");
        assert_eq!(word >> 7 & 1, 1, "info valid");
        assert_eq!(word >> 8 & 0xff, 0x1a, "error");
        assert_eq!(word >> 16 & 0xff, 0x7f, "wq_idx");
        assert_eq!(word >> 24 & 0xff, 0, "rsvd2");
        assert_eq!(word >> 32 & 0xff, 3, "operation");
        assert_eq!(word >> 40 & 0xf_ffff, 0xabcde, "pasid");
        assert_eq!(word >> 60, 0, "rsvd3");
        assert_eq!(reg.word(1), 0x5678 << 32 | 0x1234);
        assert_eq!(reg.word(2), 0x1122_3344_5566_7788);
        assert_eq!(reg.word(3), 0);
    }

    #[test]
    fn nothing_is_said_that_is_not_known() {
        let mut reg = SwErr::default();
        reg.record(&SwError {
            code: 0x52,
            ..SwError::default()
        });
        assert_eq!(reg.word(0), 0x5201);
        assert_eq!([reg.word(1), reg.word(2), reg.word(3)], [0; 3]);
    }

    #[test]
    fn second_error_only_overflows() {
        let mut reg = SwErr::default();
        let error = |code| SwError {
            code,
            ..SwError::default()
        };
        assert!(reg.record(&error(0x51)));
        assert!(!reg.record(&error(0x52)));
        assert_eq!(reg.word(0), 0x5103);
        reg.acknowledge(2);
        assert_eq!(reg.word(0), 0x5101);
        reg.acknowledge(0);
        assert_eq!(reg.word(0), 0x5101);
        reg.acknowledge(1);
        assert_eq!(reg.word(0), 0);
        assert!(reg.record(&error(0x52)));
        assert_eq!(reg.word(0), 0x5201);
        reg.record(&error(0x53));
        reg.acknowledge(1);
        assert_eq!(reg.word(0), 0x2, "overflow is acknowledged by itself");
    }
}
