// SPDX-License-Identifier: GPL-2.0

//! The CRC of 32 bits (appendix A): CRC-32C, as in iSCSI.
//!
//! With seed 0 and no flags the value is what others call the CRC-32C, and the value
//! of the first part of some data, as the seed of the second part, gives that of the
//! whole (8.3.12). Unlike what the CRC32 instruction takes and gives, seed and value
//! are inverted.
//!
//! Appendix A has data padded with zeros to a multiple of 32 bits. Then the value of
//! an odd part could not be a seed, which 8.3.12 wants it to be, and a CRC-32C of odd
//! bytes were none: the model pads nothing.

/// The polynomial 0x11edc6f41 without its highest term, bit 0 for the next.
const POLYNOMIAL: u32 = 0x1edc_6f41u32.reverse_bits();

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = rest >> 1 ^ if rest & 1 != 0 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

/// A CRC of some data that more may follow.
#[derive(Clone, Copy, Debug)]
pub struct Crc {
    /// The remainder, bit 0 for the highest term.
    rest: u32,
    bypass_inversion: bool,
    bypass_reflection: bool,
}

impl Crc {
    /// With the flags of table 8-19: `bypass_inversion` leaves seed and value as they
    /// are, and in reverse order; `bypass_reflection` has bit 7 of a byte come first.
    pub fn new(seed: u32, bypass_inversion: bool, bypass_reflection: bool) -> Self {
        Self {
            rest: Self::turn(seed, bypass_inversion),
            bypass_inversion,
            bypass_reflection,
        }
    }

    /// From a seed to a remainder, and back.
    fn turn(value: u32, bypass_inversion: bool) -> u32 {
        match bypass_inversion {
            true => value.reverse_bits(),
            false => !value,
        }
    }

    pub fn add(&mut self, data: &[u8]) {
        for &byte in data {
            let byte = match self.bypass_reflection {
                true => byte.reverse_bits(),
                false => byte,
            };
            let index = (self.rest as u8 ^ byte) as usize;
            self.rest = self.rest >> 8 ^ TABLE[index];
        }
    }

    /// Of the data so far.
    pub fn value(&self) -> u32 {
        Self::turn(self.rest, self.bypass_inversion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &[u8] = b"123456789";

    fn crc(seed: u32, flags: (bool, bool), data: &[u8]) -> u32 {
        let mut crc = Crc::new(seed, flags.0, flags.1);
        crc.add(data);
        crc.value()
    }

    /// As a book has it: a division, bit by bit, with the highest term first.
    fn divide(mut rest: u32, data: impl Iterator<Item = u8>) -> u32 {
        for byte in data {
            for bit in (0..8).rev() {
                let carry = rest >> 31 ^ u32::from(byte >> bit) & 1;
                rest = (rest << 1) ^ (carry * 0x1edc_6f41);
            }
        }
        rest
    }

    #[test]
    fn known_values() {
        // The check value of CRC-32C in catalogues is that of a normal CRC (appendix A).
        assert_eq!(crc(0, (false, false), DIGITS), 0xe306_9283);
        // Of RFC 3720, appendix B.4.
        assert_eq!(crc(0, (false, false), &[0; 32]), 0x8a91_36aa);
        assert_eq!(crc(0, (false, false), &[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc(0, (false, false), &rising), 0x46dd_794e);
        let falling: Vec<u8> = (0..32).rev().collect();
        assert_eq!(crc(0, (false, false), &falling), 0x113f_db5c);
    }

    #[test]
    fn value_of_a_part_is_the_seed_of_the_next() {
        for flags in [(false, false), (false, true), (true, false), (true, true)] {
            for at in 0..=DIGITS.len() {
                let first = crc(0x1234_5678, flags, &DIGITS[..at]);
                let whole = crc(0x1234_5678, flags, DIGITS);
                assert_eq!(crc(first, flags, &DIGITS[at..]), whole, "{flags:?} {at}");
            }
        }
    }

    #[test]
    fn flags_bypass_inversion_and_reflection() {
        let reflected = || DIGITS.iter().map(|byte| byte.reverse_bits());
        let plain = || DIGITS.iter().copied();
        let seed = 0x89ab_cdef;
        assert_eq!(crc(seed, (true, true), DIGITS), divide(seed, plain()));
        assert_eq!(crc(seed, (true, false), DIGITS), divide(seed, reflected()));
        let inverted = |rest: u32| !rest.reverse_bits();
        let start = (!seed).reverse_bits();
        assert_eq!(
            crc(seed, (false, true), DIGITS),
            inverted(divide(start, plain()))
        );
        assert_eq!(
            crc(seed, (false, false), DIGITS),
            inverted(divide(start, reflected()))
        );
    }
}
