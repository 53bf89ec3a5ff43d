// SPDX-License-Identifier: GPL-2.0

//! Bits of BAR0 that do not arrive as they should.

use crate::layout::IMS_STRIDE;
use crate::random::SplitMix64;

/// Where a [`Twist`] is, in BAR0.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The 8 bytes at an offset.
    Register(u64),
    /// The control words of so many slots, whose table begins there.
    Controls {
        table: u64,
        slots: u64,
    },
    Anywhere,
}

impl Place {
    /// The offset of the bytes that are twisted in an access.
    fn base(self, offset: u64, len: usize) -> Option<u64> {
        let end = offset + len as u64;
        let base = match self {
            Self::Register(at) => at,
            Self::Controls { table, slots } => {
                let slot = offset.checked_sub(table)? / IMS_STRIDE;
                (slot < slots).then_some(table + slot * IMS_STRIDE + 12)?
            }
            Self::Anywhere => offset & !7,
        };
        (base < end && offset < base + 8).then_some(base)
    }
}

/// Bits that an access to BAR0 does not carry as it should.
#[derive(Clone, Debug)]
pub struct Twist {
    pub place: Place,
    pub mask: u64,
    /// What the bits are; random if `None`.
    pub value: Option<u64>,
    /// One access in so many.
    pub one_in: u64,
    /// Not before so many reads of BAR0.
    pub after: u64,
    pub random: SplitMix64,
}

impl Twist {
    pub fn apply(&mut self, reads: u64, offset: u64, data: &mut [u8]) {
        let Some(base) = self.place.base(offset, data.len()) else {
            return;
        };
        if reads < self.after || self.random.below(self.one_in) != 0 {
            return;
        }
        let value = self.value.unwrap_or_else(|| self.random.draw());
        for (at, byte) in (offset..).zip(data) {
            let Some(index @ 0..8) = at.checked_sub(base) else {
                continue;
            };
            let (mask, value) = (
                (self.mask >> (8 * index)) as u8,
                (value >> (8 * index)) as u8,
            );
            *byte = *byte & !mask | value & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMS: u64 = 0x4000;

    fn register(at: u64, mask: u64, value: Option<u64>) -> Twist {
        Twist {
            place: Place::Register(at),
            mask,
            value,
            one_in: 1,
            after: 0,
            random: SplitMix64::default(),
        }
    }

    fn read(twist: &mut Twist, offset: u64, data: u64, len: usize) -> u64 {
        let mut bytes = data.to_le_bytes();
        twist.apply(0, offset, &mut bytes[..len]);
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn a_twist_concerns_its_bits_only_however_they_are_accessed() {
        let mut twist = register(0x20, 0xff_0000_ff00, Some(0x12_3456_7890));
        assert_eq!(read(&mut twist, 0x20, 0, 8), 0x12_0000_7800);
        assert_eq!(read(&mut twist, 0x20, u64::MAX, 8), 0xffff_ff12_ffff_78ff);
        assert_eq!(read(&mut twist, 0x20, 0, 4), 0x7800);
        assert_eq!(read(&mut twist, 0x24, 0, 4), 0x12);
        assert_eq!(read(&mut twist, 0x21, 0, 1), 0x78);
        for (offset, len) in [(0x18, 8), (0x1c, 4), (0x28, 8)] {
            assert_eq!(read(&mut twist, offset, 5, len), 5, "{offset:#x}");
        }
    }

    #[test]
    fn control_words_are_found_in_every_slot() {
        let mut twist = register(0, 3, Some(2));
        twist.place = Place::Controls {
            table: IMS,
            slots: 2,
        };
        assert_eq!(read(&mut twist, IMS + 12, 1, 4), 2);
        assert_eq!(read(&mut twist, IMS + 28, 0, 4), 2);
        assert_eq!(read(&mut twist, IMS + 24, 0, 8), 2 << 32);
        for offset in [0, IMS - 4, IMS, IMS + 8, IMS + 44] {
            assert_eq!(read(&mut twist, offset, 1, 4), 1, "{offset:#x}");
        }
    }

    #[test]
    fn a_twist_waits_and_chooses() {
        let mut twist = register(0, u64::MAX, Some(9));
        twist.after = 3;
        let mut data = [0; 8];
        twist.apply(2, 0, &mut data);
        assert_eq!(data[0], 0);
        twist.apply(3, 0, &mut data);
        assert_eq!(data[0], 9);

        let mut twist = register(0, u64::MAX, Some(1));
        twist.one_in = 8;
        let hits: u64 = (0..800).map(|_| read(&mut twist, 0, 0, 8)).sum();
        assert!((50..150).contains(&hits), "{hits}");

        let mut twist = register(0, 0xff, None);
        let values: Vec<_> = (0..8).map(|_| read(&mut twist, 0, 0, 8)).collect();
        assert!(values.iter().all(|value| *value < 0x100));
        assert!(values.iter().any(|value| *value != values[0]));
    }
}
