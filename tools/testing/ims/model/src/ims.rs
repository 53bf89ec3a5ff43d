// SPDX-License-Identifier: GPL-2.0

//! The IMS table (9.2.28): slots of 16 bytes, four dwords each.
//!
//! | dword | meaning |
//! | --- | --- |
//! | 0 | message address, low half |
//! | 1 | message address, high half |
//! | 2 | message data |
//! | 3 | ctrl: bit 0 mask, bit 1 pending (read-only), bit 2 ignore, bit 3 PASID enable, bits 31:12 PASID |

use crate::perm::{self, Permission};
use crate::regs::merge;

/// ctrl bit 0.
pub const CTRL_MASK: u32 = 1 << 0;
/// ctrl bit 1, read-only.
pub const CTRL_PENDING: u32 = 1 << 1;

/// Message address after a reset (table 9-3).
pub const RESET_ADDRESS: u64 = 0xfee0_0000;
/// The upper 44 bits of every message address.
const ADDRESS_MASK: u64 = !0xf_ffff;

/// A remappable message of an entry that does not exist: VT-d's 0x7fff + 0x7ff,
/// AMD-Vi's 0x7ff.
pub const LEFT_OVER: (u64, u32) = (0xfeef_fff8, 0x7ff);

const CTRL_WRITABLE: u32 = CTRL_MASK | perm::WRITABLE;

/// One slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    address: u64,
    data: u32,
    /// Without the pending bit.
    ctrl: u32,
    pending: bool,
}

impl Default for Slot {
    /// The reset state: masked, not pending.
    fn default() -> Self {
        Self {
            address: RESET_ADDRESS,
            data: 0,
            ctrl: CTRL_MASK,
            pending: false,
        }
    }
}

/// What an event did to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// The slot is masked and holds the event.
    Latched,
    /// The device has to send the slot's message.
    Send,
}

/// Defects of the table, from [`crate::fault::Fault`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Defects {
    pub no_pending: bool,
    pub stuck_mask: bool,
    pub stuck_pending: bool,
}

impl Slot {
    /// The dword with the mask.
    pub const CTRL: u64 = 3;

    /// As a driver may have left it that was not told to stop: unmasked, with
    /// its message. Remapping hardware has no entry for that any more.
    pub fn left_over() -> Self {
        Self {
            address: LEFT_OVER.0,
            data: LEFT_OVER.1,
            ctrl: 0,
            pending: false,
        }
    }

    /// The mask bit as it was written.
    pub fn mask_bit(&self) -> bool {
        self.ctrl & CTRL_MASK != 0
    }

    pub fn message(&self) -> (u64, u32) {
        (self.address, self.data)
    }

    pub fn permission(&self) -> Permission {
        Permission(self.ctrl)
    }

    fn masked(&self, defects: Defects) -> bool {
        self.mask_bit() && !defects.stuck_mask
    }

    pub fn read(&self, dword: u64, defects: Defects) -> u32 {
        match dword & 3 {
            0 => self.address as u32,
            1 => (self.address >> 32) as u32,
            2 => self.data,
            _ => {
                let mask = if self.masked(defects) { CTRL_MASK } else { 0 };
                let pending = if self.pending { CTRL_PENDING } else { 0 };
                self.ctrl & !CTRL_MASK | mask | pending
            }
        }
    }

    /// Writes the bits of `value` that `bits` has to the message address. An
    /// address that is not 0x00000000FEExxxxx is ignored as a whole, and the old
    /// one stays; bits 1:0 are ignored. Returns whether it was taken.
    ///
    /// A write of 4 bytes is judged together with the half that it leaves.
    pub fn write_address(&mut self, value: u64, bits: u64) -> bool {
        let new = self.address & !bits | value & bits;
        let is_taken = new & ADDRESS_MASK == RESET_ADDRESS & ADDRESS_MASK;
        if is_taken {
            self.address = new & !0x3;
        }
        is_taken
    }

    /// Writes the bits of `value` that `bits` has to dword 2 or 3. Unmasking a
    /// pending slot takes the pending state and asks for its message.
    pub fn write(&mut self, dword: u64, value: u32, bits: u32, defects: Defects) -> Effect {
        if dword & 3 == Self::CTRL {
            self.ctrl = merge(self.ctrl, value, bits & CTRL_WRITABLE);
            if self.pending && !self.masked(defects) && !defects.stuck_pending {
                self.pending = false;
                return Effect::Send;
            }
        } else {
            self.data = merge(self.data, value, bits);
        }
        Effect::Nothing
    }

    /// The hardware raises the slot.
    pub fn raise(&mut self, defects: Defects) -> Effect {
        if !self.masked(defects) {
            return Effect::Send;
        }
        self.pending = !defects.no_pending;
        Effect::Latched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Defects = Defects {
        no_pending: false,
        stuck_mask: false,
        stuck_pending: false,
    };
    const ALL: u32 = u32::MAX;

    #[test]
    fn reset_state_is_masked_and_clean() {
        let slot = Slot::default();
        let dwords: Vec<_> = (0..4).map(|dword| slot.read(dword, SOUND)).collect();
        assert_eq!(dwords, [0xfee0_0000, 0, 0, 0x1]);
        assert!(slot.permission().allows(None) && !slot.permission().ignores());
    }

    #[test]
    fn every_bit_is_stored_or_reserved() {
        let mut slot = Slot::default();
        for dword in [2, 3] {
            slot.write(dword, ALL, ALL, SOUND);
        }
        assert_eq!(slot.message().1, ALL);
        // Bits 11:4 and 1 of ctrl do not take a write.
        assert_eq!(slot.read(3, SOUND), 0xffff_f00d);
        for dword in [2, 3] {
            slot.write(dword, 0, ALL, SOUND);
        }
        assert_eq!(slot.message().1, 0);
        assert_eq!(slot.read(3, SOUND), 0);
    }

    #[test]
    fn addresses_outside_of_the_range_are_ignored() {
        let mut slot = Slot::default();
        assert!(slot.write_address(0xfeef_ffff, u64::MAX));
        assert_eq!(slot.message().0, 0xfeef_fffc, "bits 1:0 are ignored");
        for address in [0, 0xfed0_1000, 0xfef0_1000, 0x1_fee0_1000, u64::MAX] {
            assert!(!slot.write_address(address, u64::MAX), "{address:#x}");
            assert_eq!(slot.message().0, 0xfeef_fffc, "the old one stays");
        }
    }

    #[test]
    fn halves_of_an_address_are_judged_with_what_they_leave() {
        const LOW: u64 = 0xffff_ffff;
        let mut slot = Slot::default();
        assert!(slot.write_address(0xfee0_1230, LOW));
        assert!(slot.write_address(0, !LOW));
        assert!(!slot.write_address(0, LOW));
        assert!(!slot.write_address(1 << 32, !LOW));
        assert!(slot.write_address(0xab00, 0xff00), "one byte");
        assert_eq!(slot.read(0, SOUND), 0xfee0_ab30);
        assert_eq!(slot.read(1, SOUND), 0);
    }

    #[test]
    fn masked_raises_collapse_and_replay_once() {
        let mut slot = Slot::default();
        for _ in 0..3 {
            assert_eq!(slot.raise(SOUND), Effect::Latched);
            assert_eq!(slot.read(3, SOUND), 0x3);
        }
        assert_eq!(slot.write(3, 0, ALL, SOUND), Effect::Send);
        assert_eq!(slot.read(3, SOUND), 0);
        assert_eq!(slot.write(3, 0, ALL, SOUND), Effect::Nothing);
        assert_eq!(slot.raise(SOUND), Effect::Send);
        assert_eq!(slot.read(3, SOUND), 0);
    }

    #[test]
    fn pending_is_read_only_and_survives_masked_writes() {
        let mut slot = Slot::default();
        assert_eq!(slot.write(3, 0x3, ALL, SOUND), Effect::Nothing);
        assert_eq!(slot.read(3, SOUND), 0x1);
        slot.raise(SOUND);
        assert_eq!(slot.write(3, 0x1, ALL, SOUND), Effect::Nothing);
        assert_eq!(slot.read(3, SOUND), 0x3);
        assert_eq!(slot.write(2, 5, ALL, SOUND), Effect::Nothing);
        assert_eq!(slot.read(3, SOUND), 0x3);
    }

    #[test]
    fn defects_show() {
        let no_pending = Defects {
            no_pending: true,
            ..SOUND
        };
        let mut slot = Slot::default();
        assert_eq!(slot.raise(no_pending), Effect::Latched);
        assert_eq!(slot.read(3, no_pending), 0x1);
        assert_eq!(slot.write(3, 0, ALL, no_pending), Effect::Nothing);

        let stuck = Defects {
            stuck_mask: true,
            ..SOUND
        };
        let mut slot = Slot::default();
        assert_eq!(slot.read(3, stuck), 0);
        slot.write(3, 1, ALL, stuck);
        assert_eq!(slot.read(3, stuck), 0);
        assert_eq!(slot.raise(stuck), Effect::Send);
    }

    #[test]
    fn stuck_pending_sends_nothing() {
        let stuck = Defects {
            stuck_pending: true,
            ..SOUND
        };
        let mut slot = Slot::default();
        assert_eq!(slot.raise(stuck), Effect::Latched);
        assert_eq!(slot.write(3, 0, ALL, stuck), Effect::Nothing);
        assert_eq!(slot.read(3, stuck), 0x2);
        assert_eq!(slot.write(3, 0, ALL, SOUND), Effect::Send);
        assert_eq!(slot.read(3, SOUND), 0);
    }
}
