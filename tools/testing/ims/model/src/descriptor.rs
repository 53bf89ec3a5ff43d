// SPDX-License-Identifier: GPL-2.0

//! Descriptors (chapter 8): 64 bytes, little endian.

use crate::kind::Features;

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
    pub const CRCGEN: u8 = 0x10;
}

/// Flags (table 8-3), by their names in `enum dsa_op_flags`.
pub mod flag {
    pub const FENCE: u32 = 1 << 0;
    /// Block on fault.
    pub const BOF: u32 = 1 << 1;
    /// Completion record address valid.
    pub const CRAV: u32 = 1 << 2;
    /// Request completion record.
    pub const RCR: u32 = 1 << 3;
    /// Request completion interrupt.
    pub const RCI: u32 = 1 << 4;
    /// Cache control 3.
    pub const CC3: u32 = 1 << 5;
    /// Check result.
    pub const CR: u32 = 1 << 7;
    /// Cache control 1.
    pub const CC1: u32 = 1 << 8;
    pub const ADDR1_TCS: u32 = 1 << 9;
    pub const ADDR2_TCS: u32 = 1 << 10;
    pub const ADDR3_TCS: u32 = 1 << 11;
    /// Traffic class of the completion record.
    pub const CR_TCS: u32 = 1 << 12;
    /// Strict ordering.
    pub const STORD: u32 = 1 << 13;
    /// Cache control 2: with destination readback.
    pub const CC2: u32 = 1 << 14;
    /// Of BATCH: continues one that had an error (table 8-14).
    pub const BATCH_ERROR: u32 = 1 << 16;
    /// Of CRCGEN: the seed is in memory (table 8-19).
    pub const READ_SEED: u32 = 1 << 16;
    /// Of CRCGEN: seed and result are neither inverted nor reflected.
    pub const BYPASS_INVERSION: u32 = 1 << 17;
    /// Of CRCGEN: bit 7 of a byte comes first, not bit 0.
    pub const BYPASS_REFLECTION: u32 = 1 << 18;
    /// Of DRAIN: no implicit readback on traffic class A, B (table 8-15).
    pub const SUPPRESS_TCA: u32 = 1 << 18;
    pub const SUPPRESS_TCB: u32 = 1 << 19;
}

/// What the work queue and the device let a descriptor do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub features: Features,
    /// By operation code.
    pub operations: [bool; OPERATIONS],
    /// Most bytes of a transfer.
    pub max_xfer: u64,
    /// Most descriptors in a batch.
    pub max_batch: u32,
    pub block_on_fault: bool,
    /// Whether completion interrupts may be asked for (table 5-4).
    pub interrupts: bool,
    /// Whether ATS is enabled, so that the device hears of page faults (3.13.1).
    pub translates: bool,
}

/// Operation codes that [`crate::config::OPCAP`] can have, and more.
pub const OPERATIONS: usize = 64;

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

    /// For CRCGEN without [`flag::READ_SEED`].
    pub fn seed(&self) -> u32 {
        self.dword(40)
    }

    /// For CRCGEN with [`flag::READ_SEED`].
    pub fn seed_address(&self) -> u64 {
        self.qword(48)
    }

    /// Whether the operation is one, in this place (5.4). There are no batches
    /// in a batch, and no drains.
    pub fn is_supported(&self, limits: &Limits, in_batch: bool) -> bool {
        let in_place = !matches!(self.opcode(), opcode::BATCH | opcode::DRAIN) || !in_batch;
        let operation = limits.operations.get(usize::from(self.opcode()));
        in_place && operation == Some(&true)
    }

    /// The flags that are set and reserved, or clear and required (5.5, tables
    /// 5-3 to 5-5).
    pub fn invalid_flags(&self, limits: &Limits, in_batch: bool) -> u32 {
        use flag::*;
        let mut allowed = CRAV;
        if in_batch {
            allowed |= FENCE;
        }
        if limits.interrupts {
            allowed |= RCI;
        }
        if self.has(CRAV) {
            allowed |= RCR | CR_TCS;
        }
        let block = if limits.block_on_fault { BOF } else { 0 };
        let cache = self.valid_cache_control(limits);
        let required = match self.opcode() {
            opcode::COMPARE | opcode::CRCGEN => CRAV | RCR,
            opcode::DRAIN if !self.has(RCR | RCI) => RCR | RCI,
            _ => 0,
        };
        allowed |= match self.opcode() {
            opcode::BATCH if limits.features.batch_continuation => ADDR1_TCS | BATCH_ERROR,
            opcode::BATCH => ADDR1_TCS,
            // GENCAP states no readback addresses, whose classes ADDR1_TCS and ADDR2_TCS are.
            opcode::DRAIN => SUPPRESS_TCA | SUPPRESS_TCB,
            opcode::MEMMOVE => block | cache | ADDR1_TCS | ADDR2_TCS | STORD,
            opcode::MEMFILL => block | cache | ADDR2_TCS | STORD,
            opcode::COMPARE => block | CR | ADDR1_TCS | ADDR2_TCS,
            // GENCAP has no CRC of 64 bits, whose flag would be 19.
            opcode::CRCGEN => {
                block | ADDR1_TCS | ADDR3_TCS | READ_SEED | BYPASS_INVERSION | BYPASS_REFLECTION
            }
            _ => 0,
        };
        self.flags() & !allowed | required & !self.flags()
    }

    /// The cache control flags, unless their combination is reserved. GENCAP has
    /// cache control and destination readback.
    ///
    /// That is table 8-4, to which table 5-4 refers. The text of 5.5 reserves flag
    /// 5, cache control 3, for all operations; the model does not.
    fn valid_cache_control(&self, limits: &Limits) -> u32 {
        use flag::*;
        let is_valid = match (self.has(CC3), self.has(CC2), self.has(CC1)) {
            (false, ..) | (true, true, false) => true,
            (true, false, false) => limits.features.durable_write,
            (true, _, true) => false,
        };
        if is_valid {
            CC1 | CC2 | CC3
        } else {
            0
        }
    }

    /// Whether a field is set that this descriptor does not have (tables 5-3
    /// and 5-4). Of a CRC those are the seed that its flags do not select and
    /// the upper half of the other (8.3.12); table 5-3 lists the address of a
    /// seed as reserved in all cases. PASID and privilege are ignored, not reserved, in a dedicated
    /// work queue and in a batch (8.1.1).
    pub fn reserved_set(&self) -> bool {
        let head = self.dword(0) & 0x7ff0_0000 != 0;
        let record = !self.has(flag::CRAV) && self.completion() != 0;
        let handle = !self.has(flag::RCI) && self.handle() != 0;
        let unused: &[(usize, usize)] = match self.opcode() {
            opcode::NOOP | opcode::DRAIN => &[(16, 36), (38, 64)],
            opcode::BATCH => &[(24, 32), (38, 64)],
            opcode::COMPARE => &[(38, 40), (41, 64)],
            opcode::CRCGEN if self.has(flag::READ_SEED) => &[(24, 32), (38, 48), (56, 64)],
            opcode::CRCGEN => &[(24, 32), (38, 40), (44, 64)],
            _ => &[(38, 64)],
        };
        let set = |&(from, to): &(usize, usize)| self.0[from..to].iter().any(|&byte| byte != 0);
        head || record || handle || unused.iter().any(set)
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
        pub seed: u32,
        pub seed_address: u64,
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
            bytes[40..44].copy_from_slice(&self.seed.to_le_bytes());
            bytes[48..56].copy_from_slice(&self.seed_address.to_le_bytes());
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
        assert_eq!(desc.seed(), 0x2b2a_2928);
        assert_eq!(desc.seed_address(), 0x3736_3534_3332_3130);
    }

    fn limits() -> Limits {
        Limits {
            features: Features::default(),
            operations: std::array::from_fn(|opcode| opcode < 6 || opcode == 16),
            max_xfer: 1 << 20,
            max_batch: 4,
            block_on_fault: true,
            interrupts: true,
            translates: true,
        }
    }

    fn desc(opcode: u8, flags: u32) -> Descriptor {
        let fields = build::Fields {
            opcode,
            flags,
            ..Default::default()
        };
        fields.bytes().into()
    }

    #[test]
    fn operations_in_their_place() {
        for opcode in 0..=255 {
            let desc = desc(opcode, 0);
            let alone = opcode < 6 || opcode == 16;
            assert_eq!(desc.is_supported(&limits(), false), alone, "{opcode}");
            let in_batch = matches!(opcode, 0 | 3 | 4 | 5 | 16);
            assert_eq!(desc.is_supported(&limits(), true), in_batch, "{opcode}");
        }
    }

    #[test]
    fn flags_of_each_opcode() {
        let all = 0xff_ffff;
        // All but cache control 3, which makes reserved combinations.
        let invalid =
            |opcode, in_batch| desc(opcode, all & !0x20).invalid_flags(&limits(), in_batch) | 0x20;
        for (opcode, allowed) in [
            (0, 0x101c),
            (1, 0x121c),
            (2, 0xc_101c),
            (3, 0x771e),
            (4, 0x751e),
            (5, 0x169e),
            (16, 0x7_1a1e),
        ] {
            assert_eq!(invalid(opcode, false), all & !allowed, "{opcode}");
            assert_eq!(invalid(opcode, true), all & !allowed & !1, "fence");
        }
    }

    #[test]
    fn flags_that_depend_on_others() {
        let invalid = |opcode, flags| desc(opcode, flags).invalid_flags(&limits(), false);
        assert_eq!(invalid(0, 0x8), 0x8, "record without address");
        assert_eq!(invalid(0, 0x1000), 0x1000, "its traffic class");
        assert_eq!(invalid(0, 0x100c), 0);
        assert_eq!(invalid(2, 0x4), 0x18, "a drain that nobody hears of");
        assert_eq!((invalid(2, 0x10), invalid(2, 0xc)), (0, 0));
        assert_eq!(invalid(5, 0), 0xc, "a comparison has a record");
        assert_eq!(invalid(5, 0x4), 0x8);
        assert_eq!(invalid(16, 0), 0xc, "so has a CRC");
        assert_eq!(invalid(16, 0x4), 0x8);
        assert_eq!(invalid(16, 0x8_000c), 0x8_0000, "of 64 bits");
    }

    #[test]
    fn flags_that_depend_on_the_work_queue() {
        let none = Limits {
            block_on_fault: false,
            interrupts: false,
            ..limits()
        };
        assert_eq!(desc(3, 0x12).invalid_flags(&none, false), 0x12);
        assert_eq!(desc(3, 0x12).invalid_flags(&limits(), false), 0);
    }

    #[test]
    fn cache_control_of_each_version() {
        let durable = Limits {
            features: crate::kind::Kind::V3.features(),
            ..limits()
        };
        // Cache control 1, 2, 3 are flags 8, 14 and 5.
        for (flags, first, third) in [
            (0x0000, 0, 0),
            (0x0100, 0, 0),
            (0x4000, 0, 0),
            (0x4100, 0, 0),
            (0x0020, 0x0020, 0),
            (0x0120, 0x0120, 0x0120),
            (0x4020, 0, 0),
            (0x4120, 0x4120, 0x4120),
        ] {
            let desc = desc(3, flags);
            assert_eq!(desc.invalid_flags(&limits(), false), first, "{flags:#x}");
            assert_eq!(desc.invalid_flags(&durable, false), third, "{flags:#x}");
        }
        let continued = desc(1, 1 << 16);
        assert_eq!(continued.invalid_flags(&limits(), false), 1 << 16);
        assert_eq!(continued.invalid_flags(&durable, false), 0);
    }

    #[test]
    fn reserved_fields_of_each_opcode() {
        type Used = (u8, u8, &'static [(usize, usize)]);
        let used: [Used; 8] = [
            (0, 0, &[(8, 16), (36, 38)]),
            (1, 0, &[(8, 24), (32, 38)]),
            (2, 0, &[(8, 16), (36, 38)]),
            (3, 0, &[(8, 38)]),
            (4, 0, &[(8, 38)]),
            (5, 0, &[(8, 38), (40, 41)]),
            (16, 0, &[(8, 24), (32, 38), (40, 44)]),
            (16, 1, &[(8, 24), (32, 38), (48, 56)]),
        ];
        for (opcode, flags, used) in used {
            for byte in 8..SIZE {
                let mut bytes = [0; SIZE];
                bytes[4] = 0x14;
                bytes[6] = flags;
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
        for (byte, flag) in [(8, 0x4), (15, 0x4), (36, 0x10), (37, 0x10)] {
            let mut bytes = [0; SIZE];
            bytes[byte] = 1;
            assert!(Descriptor::from(bytes).reserved_set(), "{byte}");
            bytes[4] = flag;
            assert!(!Descriptor::from(bytes).reserved_set(), "{byte}");
        }
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&0x800f_ffffu32.to_le_bytes());
        assert!(!Descriptor::from(bytes).reserved_set(), "PASID and priv");
        assert_eq!(Descriptor::from(bytes).pasid(), 0xf_ffff);
        bytes[..4].copy_from_slice(&0x0010_0000u32.to_le_bytes());
        assert!(Descriptor::from(bytes).reserved_set());
    }
}
