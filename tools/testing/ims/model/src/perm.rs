// SPDX-License-Identifier: GPL-2.0

//! MSIXPERM (`union msix_perm`), and the PASID check of interrupt handles.

/// `ignore`, `pasid_en`, `pasid`; the rest is reserved.
pub const WRITABLE: u32 = 1 << 2 | 1 << 3 | 0xffff_f000;

/// The permission of an entry, from MSIXPERM or from a slot's ctrl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Any descriptor may use the entry.
    Any,
    /// Only descriptors without a PASID.
    NoPasid,
    /// Only descriptors with this PASID.
    Pasid(u32),
}

impl Permission {
    /// From an MSIXPERM entry.
    pub fn from_msix_perm(entry: u32) -> Self {
        if entry & 1 << 2 != 0 {
            Self::Any
        } else if entry & 1 << 3 != 0 {
            Self::Pasid(entry >> 12)
        } else {
            Self::NoPasid
        }
    }

    /// From a slot's PASID field, if its PASID enable is set.
    pub fn from_slot(pasid: Option<u32>) -> Self {
        pasid.map_or(Self::NoPasid, Self::Pasid)
    }

    /// Whether a descriptor with that PASID may use the entry.
    pub fn allows(self, pasid: Option<u32>) -> bool {
        match self {
            Self::Any => true,
            Self::NoPasid => pasid.is_none(),
            Self::Pasid(own) => pasid == Some(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn msix_perm_bit_by_bit() {
        assert_eq!(Permission::from_msix_perm(0), Permission::NoPasid);
        assert_eq!(Permission::from_msix_perm(1 << 2), Permission::Any);
        assert_eq!(Permission::from_msix_perm(0xabcd_e000), Permission::NoPasid);
        assert_eq!(
            Permission::from_msix_perm(0xabcd_e008),
            Permission::Pasid(0xabcde)
        );
    }

    #[test]
    fn pasids_must_match() {
        assert!(Permission::NoPasid.allows(None));
        assert!(!Permission::NoPasid.allows(Some(0)));
        assert!(Permission::Pasid(5).allows(Some(5)));
        assert!(!Permission::Pasid(5).allows(Some(4)));
        assert!(!Permission::Pasid(0).allows(None));
        assert!(Permission::Any.allows(Some(9)) && Permission::Any.allows(None));
    }
}
