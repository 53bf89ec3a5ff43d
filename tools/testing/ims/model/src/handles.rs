// SPDX-License-Identifier: GPL-2.0

//! Interrupt handles: what REQUEST_INT_HANDLE gives for a table index.
//!
//! A driver must pass the handle, not the index, in a descriptor. So that one
//! which confuses them is caught, mapped handles count down from a base that
//! is far above every index, and the two tables have different bases:
//!
//! | table | handle of index i | range |
//! | --- | --- | --- |
//! | MSI-X | 0x7fff - i | 0x7800..=0x7fff |
//! | IMS | 0xbfff - i | 0x8100..=0xbfff |
//!
//! Each time that all are revoked, index i + 1 gets what index i had: whoever
//! goes on with a revoked handle may interrupt somebody else.

use std::collections::BTreeSet;

use crate::config::HandleMode;
use crate::regs::CmdError;

/// Where interrupts are looked up. The portal page decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Msix,
    Ims,
}

impl Table {
    fn base(self) -> u16 {
        match self {
            Self::Msix => 0x7fff,
            Self::Ims => 0xbfff,
        }
    }
}

/// The handles that are held.
#[derive(Debug, Default)]
pub struct Handles {
    mode: HandleMode,
    msix: BTreeSet<u16>,
    ims: BTreeSet<u16>,
    revoked: usize,
}

impl Handles {
    pub fn new(mode: HandleMode) -> Self {
        Self {
            mode,
            ..Self::default()
        }
    }

    fn held(&mut self, table: Table) -> &mut BTreeSet<u16> {
        match table {
            Table::Msix => &mut self.msix,
            Table::Ims => &mut self.ims,
        }
    }

    /// Gives the handle for `index` of a table with `entries` entries; the
    /// same one if it is held already. At most `limit` are held in all.
    pub fn request(
        &mut self,
        table: Table,
        index: u16,
        entries: u32,
        limit: u64,
    ) -> Result<u16, CmdError> {
        if u32::from(index) >= entries {
            return Err(CmdError::InvalIntIdx);
        }
        let used = (self.msix.len() + self.ims.len()) as u64;
        if !self.held(table).contains(&index) && used >= limit {
            return Err(CmdError::NoHandle);
        }
        self.held(table).insert(index);
        Ok(table.base() - self.place(index, entries))
    }

    /// Releases the handle of `index` (9.2.12: the operand is the table index).
    pub fn release(&mut self, table: Table, index: u16) -> Result<(), CmdError> {
        match self.held(table).remove(&index) {
            true => Ok(()),
            false => Err(CmdError::InvalIntIdx),
        }
    }

    /// How far the handle of `index` is from the base. `entries` is at most
    /// 65536, and above `index`.
    fn place(&self, index: u16, entries: u32) -> u16 {
        let entries = entries as usize;
        ((usize::from(index) + entries - self.revoked % entries) % entries) as u16
    }

    /// The index whose handle is so far from the base.
    fn at_place(&self, place: u16, entries: u32) -> Option<u16> {
        let (place, entries) = (usize::from(place), entries as usize);
        (place < entries).then(|| ((place + self.revoked) % entries) as u16)
    }

    /// The table index that `handle` stands for, if it is valid.
    pub fn index(&self, table: Table, handle: u16, entries: u32) -> Option<u16> {
        match self.mode {
            HandleMode::Identity => (u32::from(handle) < entries).then_some(handle),
            HandleMode::Mapped => {
                let index = self.at_place(table.base().wrapping_sub(handle), entries)?;
                let held = match table {
                    Table::Msix => &self.msix,
                    Table::Ims => &self.ims,
                };
                held.contains(&index).then_some(index)
            }
        }
    }

    /// Makes every handle invalid.
    pub fn clear(&mut self) {
        self.msix.clear();
        self.ims.clear();
    }

    /// As [`Self::clear`], and gives other handles from then on.
    pub fn revoke(&mut self) {
        self.clear();
        self.revoked = self.revoked.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMIT: u64 = u64::MAX;

    #[test]
    fn a_handle_is_never_an_index() {
        let mut handles = Handles::new(HandleMode::Mapped);
        let mut seen = BTreeSet::new();
        for index in 0..16128 {
            let handle = handles.request(Table::Ims, index, 16128, NO_LIMIT).unwrap();
            assert!(u32::from(handle) >= 16128);
            assert!(seen.insert(handle));
            assert_eq!(handles.index(Table::Ims, handle, 16128), Some(index));
        }
        for index in 0..2048 {
            let handle = handles.request(Table::Msix, index, 2048, NO_LIMIT).unwrap();
            assert!(handle >= 2048);
            assert!(seen.insert(handle));
        }
    }

    #[test]
    fn valid_from_request_to_release() {
        let mut handles = Handles::new(HandleMode::Mapped);
        let handle = handles.request(Table::Ims, 5, 256, NO_LIMIT).unwrap();
        assert_eq!(handle, 0xbffa);
        assert_eq!(handles.request(Table::Ims, 5, 256, NO_LIMIT), Ok(handle));
        assert_eq!(handles.index(Table::Msix, handle, 9), None);
        assert_eq!(handles.index(Table::Ims, 5, 256), None);
        let invalid = Err(CmdError::InvalIntIdx);
        assert_eq!(handles.release(Table::Msix, 5), invalid);
        assert_eq!(handles.release(Table::Ims, handle), invalid);
        assert_eq!(handles.release(Table::Ims, 5), Ok(()));
        assert_eq!(handles.index(Table::Ims, handle, 256), None);
        assert_eq!(handles.release(Table::Ims, 5), invalid);
    }

    #[test]
    fn what_is_revoked_is_given_to_the_next() {
        let mut handles = Handles::new(HandleMode::Mapped);
        let before: Vec<u16> = (0..256)
            .map(|index| handles.request(Table::Ims, index, 256, NO_LIMIT).unwrap())
            .collect();
        handles.revoke();
        assert_eq!(handles.index(Table::Ims, before[1], 256), None);
        for index in 0..256 {
            let handle = handles.request(Table::Ims, index, 256, NO_LIMIT).unwrap();
            assert_eq!(handle, before[(usize::from(index) + 255) % 256]);
            assert_eq!(handles.index(Table::Ims, handle, 256), Some(index));
        }
        assert_eq!(handles.release(Table::Ims, 2), Ok(()));
        assert_eq!(handles.index(Table::Ims, before[1], 256), None);
        assert_eq!(handles.index(Table::Ims, before[2], 256), Some(3));
    }

    #[test]
    fn range_and_limit() {
        let mut handles = Handles::new(HandleMode::Mapped);
        assert_eq!(
            handles.request(Table::Ims, 256, 256, NO_LIMIT),
            Err(CmdError::InvalIntIdx)
        );
        assert!(handles.request(Table::Ims, 255, 256, 2).is_ok());
        assert!(handles.request(Table::Msix, 0, 9, 2).is_ok());
        assert_eq!(
            handles.request(Table::Msix, 1, 9, 2),
            Err(CmdError::NoHandle)
        );
        assert!(handles.request(Table::Msix, 0, 9, 2).is_ok());
        handles.clear();
        assert!(handles.request(Table::Msix, 1, 9, 2).is_ok());
        assert_eq!(handles.index(Table::Msix, 0x7fff, 9), None);
    }

    #[test]
    fn identity_takes_every_index() {
        let handles = Handles::new(HandleMode::Identity);
        assert_eq!(handles.index(Table::Ims, 255, 256), Some(255));
        assert_eq!(handles.index(Table::Ims, 256, 256), None);
    }
}
