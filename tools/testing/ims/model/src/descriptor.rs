// SPDX-License-Identifier: GPL-2.0

//! `struct dsa_hw_desc`: 64 bytes, little endian.

/// Bytes.
pub const SIZE: usize = 64;

/// `enum dsa_opcode`, those in [`crate::config::OPCAP`].
pub mod opcode {
    pub const NOOP: u8 = 0;
    pub const BATCH: u8 = 1;
    pub const DRAIN: u8 = 2;
    pub const MEMMOVE: u8 = 3;
    pub const MEMFILL: u8 = 4;
    pub const COMPARE: u8 = 5;
}

/// `IDXD_OP_FLAG_*`.
pub mod flag {
    pub const FENCE: u32 = 0x0001;
    /// Completion record address valid.
    pub const CRAV: u32 = 0x0004;
    /// Request completion record.
    pub const RCR: u32 = 0x0008;
    /// Request completion interrupt.
    pub const RCI: u32 = 0x0010;
    pub const CRSTS: u32 = 0x0020;
    /// Check result.
    pub const CR: u32 = 0x0080;
    /// Cache control.
    pub const CC: u32 = 0x0100;
    pub const ADDR1_TCS: u32 = 0x0200;
    pub const ADDR2_TCS: u32 = 0x0400;
    pub const CR_TCS: u32 = 0x1000;
    pub const STORD: u32 = 0x2000;
    pub const DSTS: u32 = 0x8000;
}

/// A descriptor as it stands in the portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor([u8; SIZE]);

impl From<[u8; SIZE]> for Descriptor {
    fn from(bytes: [u8; SIZE]) -> Self {
        Self(bytes)
    }
}

impl Descriptor {
    fn dword(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.0[offset..offset + 4].try_into().expect("four bytes"))
    }

    fn qword(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.0[offset..offset + 8].try_into().expect("eight bytes"))
    }

    /// Bits 19:0 of the first dword.
    pub fn pasid(&self) -> u32 {
        self.dword(0) & 0xf_ffff
    }

    /// 24 bits.
    pub fn flags(&self) -> u32 {
        self.dword(4) & 0xff_ffff
    }

    pub fn has(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    pub fn opcode(&self) -> u8 {
        self.0[7]
    }

    pub fn completion(&self) -> u64 {
        self.qword(8)
    }

    /// `src_addr`, `pattern` or `desc_list_addr`.
    pub fn source(&self) -> u64 {
        self.qword(16)
    }

    /// `dst_addr` or `src2_addr`.
    pub fn destination(&self) -> u64 {
        self.qword(24)
    }

    /// `xfer_size` (bytes) or `desc_count`.
    pub fn size(&self) -> u32 {
        self.dword(32)
    }

    pub fn handle(&self) -> u16 {
        u16::from_le_bytes([self.0[36], self.0[37]])
    }

    /// For COMPARE.
    pub fn expected_result(&self) -> u8 {
        self.0[40]
    }

    /// The flags that are reserved for this opcode and yet set, or `None` if
    /// the opcode is not in OPCAP.
    pub fn invalid_flags(&self) -> Option<u32> {
        use flag::*;
        let common = FENCE | CRAV | RCR | RCI | CRSTS | CR_TCS;
        let allowed = match self.opcode() {
            opcode::NOOP | opcode::DRAIN => common,
            opcode::BATCH => common | ADDR1_TCS,
            opcode::MEMMOVE => common | CC | ADDR1_TCS | ADDR2_TCS | STORD | DSTS,
            opcode::MEMFILL => common | CC | ADDR2_TCS | STORD | DSTS,
            opcode::COMPARE => common | CR | ADDR1_TCS | ADDR2_TCS,
            _ => return None,
        };
        let mut invalid = self.flags() & !allowed;
        // A record that is asked for needs an address.
        if self.has(RCR) && !self.has(CRAV) {
            invalid |= RCR;
        }
        Some(invalid)
    }

    /// Whether a field is set that this opcode does not have. PASID and `priv`
    /// are ignored, not reserved, in a dedicated work queue.
    pub fn reserved_set(&self) -> bool {
        let head = self.dword(0) & 0x7ff0_0000 != 0;
        let unused: &[(usize, usize)] = match self.opcode() {
            opcode::NOOP | opcode::DRAIN => &[(16, 36), (38, 64)],
            opcode::BATCH => &[(24, 32), (38, 64)],
            opcode::COMPARE => &[(38, 40), (41, 64)],
            _ => &[(38, 64)],
        };
        let set = |&(from, to): &(usize, usize)| self.0[from..to].iter().any(|&byte| byte != 0);
        head || unused.iter().any(set)
    }
}

#[cfg(test)]
pub mod build {
    //! Descriptors for tests, written byte by byte from the header.

    use super::SIZE;

    #[derive(Clone, Copy, Default)]
    pub struct Fields {
        pub opcode: u8,
        pub flags: u32,
        pub completion: u64,
        pub source: u64,
        pub destination: u64,
        pub size: u32,
        pub handle: u16,
    }

    impl Fields {
        pub fn bytes(self) -> [u8; SIZE] {
            let mut bytes = [0; SIZE];
            bytes[4..8].copy_from_slice(&self.flags.to_le_bytes());
            bytes[7] = self.opcode;
            bytes[8..16].copy_from_slice(&self.completion.to_le_bytes());
            bytes[16..24].copy_from_slice(&self.source.to_le_bytes());
            bytes[24..32].copy_from_slice(&self.destination.to_le_bytes());
            bytes[32..36].copy_from_slice(&self.size.to_le_bytes());
            bytes[36..38].copy_from_slice(&self.handle.to_le_bytes());
            bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_byte_by_byte() {
        let mut bytes = [0; SIZE];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = index as u8;
        }
        let desc = Descriptor::from(bytes);
        assert_eq!(desc.pasid(), 0x2_0100);
        assert_eq!(desc.flags(), 0x06_0504);
        assert_eq!(desc.opcode(), 7);
        assert_eq!(desc.completion(), 0x0f0e_0d0c_0b0a_0908);
        assert_eq!(desc.source(), 0x1716_1514_1312_1110);
        assert_eq!(desc.destination(), 0x1f1e_1d1c_1b1a_1918);
        assert_eq!(desc.size(), 0x2322_2120);
        assert_eq!(desc.handle(), 0x2524);
        assert_eq!(desc.expected_result(), 0x28);
    }

    #[test]
    fn flags_of_each_opcode() {
        let invalid = |opcode, flags| {
            let fields = build::Fields {
                opcode,
                flags,
                ..Default::default()
            };
            Descriptor::from(fields.bytes()).invalid_flags()
        };
        let all = 0xff_ffff;
        assert_eq!(invalid(0, all), Some(all & !0x103d));
        assert_eq!(invalid(1, all), Some(all & !0x123d));
        assert_eq!(invalid(2, all), Some(all & !0x103d));
        assert_eq!(invalid(3, all), Some(all & !0xb73d));
        assert_eq!(invalid(4, all), Some(all & !0xb53d));
        assert_eq!(invalid(5, all), Some(all & !0x16bd));
        for opcode in 6..=255 {
            assert_eq!(invalid(opcode, 0), None);
        }
        assert_eq!(invalid(0, 0x8), Some(0x8), "record without address");
        assert_eq!(invalid(0, 0xc), Some(0));
    }

    #[test]
    fn reserved_fields_of_each_opcode() {
        let used: [(u8, &[(usize, usize)]); 6] = [
            (0, &[(8, 16), (36, 38)]),
            (1, &[(8, 24), (32, 38)]),
            (2, &[(8, 16), (36, 38)]),
            (3, &[(8, 38)]),
            (4, &[(8, 38)]),
            (5, &[(8, 38), (40, 41)]),
        ];
        for (opcode, used) in used {
            for byte in 8..SIZE {
                let mut bytes = [0; SIZE];
                bytes[7] = opcode;
                bytes[byte] = 1;
                let expected = !used.iter().any(|&(from, to)| (from..to).contains(&byte));
                assert_eq!(
                    Descriptor::from(bytes).reserved_set(),
                    expected,
                    "{opcode} {byte}"
                );
            }
        }
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&0x800f_ffffu32.to_le_bytes());
        assert!(!Descriptor::from(bytes).reserved_set(), "PASID and priv");
        assert_eq!(Descriptor::from(bytes).pasid(), 0xf_ffff);
        bytes[..4].copy_from_slice(&0x0010_0000u32.to_le_bytes());
        assert!(Descriptor::from(bytes).reserved_set());
    }
}
