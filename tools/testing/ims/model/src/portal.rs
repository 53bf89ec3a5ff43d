// SPDX-License-Identifier: GPL-2.0

//! Portals (BAR2): descriptors arrive here.
//!
//! Hardware takes 64 bytes in one write. QEMU cannot pass one on, so a
//! descriptor may come as eight 8-byte or sixteen 4-byte writes to the same 64
//! bytes; it is taken when the last of its bytes is written.

use std::collections::HashMap;

use crate::descriptor::SIZE;
use crate::handles::Table;
use crate::layout::{PORTAL_PAGE, PORTAL_PAGES};

/// A portal page of a work queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portal {
    pub wq: u16,
    /// Where the descriptor's interrupt handle is looked up.
    pub table: Table,
    pub limited: bool,
}

impl Portal {
    /// The portal at `offset` in BAR2.
    pub fn at(offset: u64) -> Self {
        let page = offset / PORTAL_PAGE;
        Self {
            wq: (page / PORTAL_PAGES) as u16,
            table: if page & 2 == 0 {
                Table::Msix
            } else {
                Table::Ims
            },
            limited: page & 1 != 0,
        }
    }
}

/// What a write to a portal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// More is to come.
    Partial,
    Descriptor([u8; SIZE]),
    /// Wrong width or alignment, or the last bytes without the others.
    Refused,
}

#[derive(Clone)]
struct Partial {
    bytes: [u8; SIZE],
    /// Bit n: byte n has been written.
    filled: u64,
}

/// Puts descriptors together.
#[derive(Default)]
pub struct Assembler(HashMap<u64, Partial>);

impl Assembler {
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Arrival {
        let len = data.len();
        if !matches!(len, 4 | 8 | SIZE) || offset % len as u64 != 0 {
            return Arrival::Refused;
        }
        let line = offset / SIZE as u64;
        let at = (offset % SIZE as u64) as usize;
        let partial = self.0.entry(line).or_insert(Partial {
            bytes: [0; SIZE],
            filled: 0,
        });
        partial.bytes[at..at + len].copy_from_slice(data);
        partial.filled |= (u64::MAX >> (SIZE - len)) << at;
        if at + len < SIZE {
            return Arrival::Partial;
        }
        match self.0.remove(&line) {
            Some(whole) if whole.filled == u64::MAX => Arrival::Descriptor(whole.bytes),
            _ => Arrival::Refused,
        }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_order() {
        let kinds: Vec<_> = (0..8)
            .map(|page| Portal::at(page * 0x1000 + 0xfc0))
            .collect();
        for (page, portal) in kinds.iter().enumerate() {
            assert_eq!(portal.wq, page as u16 / 4);
            assert_eq!(portal.limited, page % 2 == 1);
            let table = if page % 4 < 2 {
                Table::Msix
            } else {
                Table::Ims
            };
            assert_eq!(portal.table, table);
        }
    }

    fn bytes() -> [u8; SIZE] {
        std::array::from_fn(|index| index as u8 + 1)
    }

    #[test]
    fn taken_at_the_last_write_of_each_width() {
        for width in [4, 8, 64] {
            let mut assembler = Assembler::default();
            let mut arrivals = Vec::new();
            for (index, part) in bytes().chunks(width).enumerate() {
                arrivals.push(assembler.write(0x1040 + (index * width) as u64, part));
            }
            assert_eq!(arrivals.pop(), Some(Arrival::Descriptor(bytes())));
            assert!(arrivals.iter().all(|arrival| *arrival == Arrival::Partial));
        }
    }

    #[test]
    fn incomplete_and_odd_writes_are_refused() {
        let mut assembler = Assembler::default();
        assert_eq!(assembler.write(56, &[0; 8]), Arrival::Refused);
        for part in 0..7 {
            assembler.write(part * 8, &[1; 8]);
        }
        // The last eight bytes in halves, the first half missing.
        assert_eq!(assembler.write(60, &[1; 4]), Arrival::Refused);
        // Nothing of it is left over.
        assert_eq!(assembler.write(56, &[1; 8]), Arrival::Refused);
        for (offset, len) in [(0, 1), (0, 2), (4, 8), (32, 64), (2, 4), (0, 16)] {
            assert_eq!(
                assembler.write(offset, &vec![0; len]),
                Arrival::Refused,
                "{offset} {len}"
            );
        }
    }

    #[test]
    fn lines_do_not_mix() {
        let mut assembler = Assembler::default();
        for part in 0..8 {
            let (one, two) = (
                assembler.write(part * 8, &[1; 8]),
                assembler.write(64 + part * 8, &[2; 8]),
            );
            if part == 7 {
                assert_eq!(one, Arrival::Descriptor([1; SIZE]));
                assert_eq!(two, Arrival::Descriptor([2; SIZE]));
            }
        }
    }

    #[test]
    fn clear_forgets() {
        let mut assembler = Assembler::default();
        for part in 0..7 {
            assembler.write(part * 8, &[1; 8]);
        }
        assembler.clear();
        assert_eq!(assembler.write(56, &[1; 8]), Arrival::Refused);
    }
}
