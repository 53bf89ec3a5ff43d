// SPDX-License-Identifier: GPL-2.0

//! The IMS table: slots of 16 bytes, four dwords each.
//!
//! | dword | meaning |
//! | --- | --- |
//! | 0 | message address, low half |
//! | 1 | message address, high half |
//! | 2 | message data |
//! | 3 | ctrl: bit 0 mask, bit 1 pending (read-only), bit 3 PASID enable, bits 31:12 PASID |

use crate::regs::merge;

/// ctrl bit 0.
pub const CTRL_MASK: u32 = 1 << 0;
/// ctrl bit 1, read-only.
pub const CTRL_PENDING: u32 = 1 << 1;
/// ctrl bit 3.
pub const CTRL_PASID_EN: u32 = 1 << 3;
/// ctrl bits 31:12.
pub const CTRL_PASID_SHIFT: u32 = 12;

/// A remappable message of an entry that does not exist: VT-d's 0x7fff + 0x7ff,
/// AMD-Vi's 0x7ff.
pub const LEFT_OVER: (u64, u32) = (0xfeef_fff8, 0x7ff);

const CTRL_WRITABLE: u32 = CTRL_MASK | CTRL_PASID_EN | 0xffff_f000;

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
    /// The reset state: masked, not pending, everything else 0.
    fn default() -> Self {
        Self {
            address: 0,
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

    /// The PASID that a descriptor must have, if PASID enable is set.
    pub fn pasid(&self) -> Option<u32> {
        (self.ctrl & CTRL_PASID_EN != 0).then_some(self.ctrl >> CTRL_PASID_SHIFT)
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

    /// Writes the bits of `value` that `bits` has. Unmasking a pending slot
    /// takes the pending state and asks for its message.
    pub fn write(&mut self, dword: u64, value: u32, bits: u32, defects: Defects) -> Effect {
        let low = self.address as u32;
        let high = (self.address >> 32) as u32;
        match dword & 3 {
            0 => self.address = u64::from(high) << 32 | u64::from(merge(low, value, bits)),
            1 => self.address = u64::from(merge(high, value, bits)) << 32 | u64::from(low),
            2 => self.data = merge(self.data, value, bits),
            _ => {
                self.ctrl = merge(self.ctrl, value, bits & CTRL_WRITABLE);
                if self.pending && !self.masked(defects) && !defects.stuck_pending {
                    self.pending = false;
                    return Effect::Send;
                }
            }
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
        for dword in 0..3 {
            assert_eq!(slot.read(dword, SOUND), 0);
        }
        assert_eq!(slot.read(3, SOUND), 0x1);
        assert_eq!(slot.pasid(), None);
    }

    #[test]
    fn every_bit_is_stored_or_reserved() {
        let mut slot = Slot::default();
        for dword in 0..4 {
            slot.write(dword, ALL, ALL, SOUND);
        }
        assert_eq!(slot.message(), (u64::MAX, ALL));
        // Bits 11:4, 2 and 1 of ctrl do not take a write.
        assert_eq!(slot.read(3, SOUND), 0xffff_f009);
        for dword in 0..4 {
            slot.write(dword, 0, ALL, SOUND);
        }
        assert_eq!(slot.message(), (0, 0));
        assert_eq!(slot.read(3, SOUND), 0);
    }

    #[test]
    fn dwords_and_bytes_do_not_touch_their_neighbours() {
        let mut slot = Slot::default();
        slot.write(0, 0x1111_1110, ALL, SOUND);
        slot.write(1, 0x2222_2222, ALL, SOUND);
        slot.write(2, 0x3333_3333, ALL, SOUND);
        slot.write(0, 0x0000_ab00, 0x0000_ff00, SOUND);
        assert_eq!(slot.message(), (0x2222_2222_1111_ab10, 0x3333_3333));
        assert_eq!(slot.read(0, SOUND), 0x1111_ab10);
        assert_eq!(slot.read(1, SOUND), 0x2222_2222);
        assert_eq!(slot.read(2, SOUND), 0x3333_3333);
    }

    #[test]
    fn pasid_fields() {
        let mut slot = Slot::default();
        slot.write(3, 0xabcd_e000, ALL, SOUND);
        assert_eq!(slot.pasid(), None);
        slot.write(3, 0xabcd_e008, ALL, SOUND);
        assert_eq!(slot.pasid(), Some(0xabcde));
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
