// SPDX-License-Identifier: GPL-2.0

//! Who may use an entry of an interrupt table: the control bits that MSIXPERM
//! (9.2.22) and the slots (9.2.28) have in common.

/// Bit 2: descriptors' completions raise nothing, and set nothing pending.
pub const IGNORE: u32 = 1 << 2;
/// Bit 3: PASID enable.
pub const PASID_EN: u32 = 1 << 3;
/// Bits 31:12.
pub const PASID_SHIFT: u32 = 12;
pub const PASID: u32 = 0xf_ffff << PASID_SHIFT;

/// Ignore, PASID enable, PASID. The rest of MSIXPERM is reserved.
pub const WRITABLE: u32 = IGNORE | PASID_EN | PASID;

/// The bits of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission(pub u32);

impl Permission {
    /// Whether a descriptor with that PASID may use the entry: PASID enable is
    /// as in the descriptor's work queue, and so is the PASID (5.4).
    pub fn allows(self, pasid: Option<u32>) -> bool {
        let own = (self.0 & PASID_EN != 0).then_some(self.0 >> PASID_SHIFT);
        own == pasid
    }

    /// Whether completions raise nothing. Looked at when a descriptor
    /// completes, unlike the PASID (3.7).
    pub fn ignores(self) -> bool {
        self.0 & IGNORE != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasids_must_match() {
        let without = Permission(0xabcd_e000);
        assert!(without.allows(None));
        assert!(!without.allows(Some(0xabcde)));
        let with = Permission(0xabcd_e008);
        assert!(with.allows(Some(0xabcde)));
        assert!(!with.allows(Some(0xabcdf)) && !with.allows(None));
        assert!(!Permission(0x8).allows(None));
    }

    #[test]
    fn ignore_is_no_permission() {
        let entry = Permission(0x4);
        assert!(entry.ignores() && entry.allows(None));
        assert!(!entry.allows(Some(9)));
        assert!(!Permission(0xffff_fffb).ignores());
    }
}
