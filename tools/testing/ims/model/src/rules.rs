// SPDX-License-Identifier: GPL-2.0

//! Rules that a driver has to keep, and the count of those that it broke.
//!
//! On a bus, a read of the device returns after the messages that the device
//! sent before. On the bench it does not, so that no test can tell a driver
//! which reads from one which does not. The device checks the order instead.
//!
//! A reset of the slots begins a new history: reset slots are masked, and have
//! no message.

use std::fmt;

use log::warn;

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The device found a slot unmasked without a valid address since the reset:
    /// none was written, or the last was none for messages.
    Blank,
    /// The message of an unmasked slot was written.
    Unmasked,
    /// A slot was masked, and its message written before the device was read.
    Unread,
    /// As [`Self::Unread`], with its interrupt handle requested or released.
    Handle,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blank => "unmasked without a message",
            Self::Unmasked => "message written while unmasked",
            Self::Unread => "message written after masking, before a read",
            Self::Handle => "handle requested or released after masking, before a read",
        })
    }
}

/// Violations by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    pub blank: u64,
    pub unmasked: u64,
    pub unread: u64,
    pub handle: u64,
    /// The slot of the last one, plus 1; 0 if there is none.
    pub last: u32,
}

/// Most lines in the log of one device.
const MOST_LINES: u32 = 20;

/// What happened to a slot since the reset.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    has_message: bool,
    /// How often the device had been read when the slot was masked, unless
    /// that has been counted already.
    masked_at: Option<u64>,
}

#[derive(Debug)]
pub struct Rules {
    slots: Vec<Past>,
    reads: u64,
    /// Writes were lost: the driver is not judged before the next reset.
    lost: bool,
    counts: Violations,
    lines: u32,
}

impl Rules {
    /// For so many slots, just reset.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: vec![Past::default(); slots],
            reads: 0,
            lost: false,
            counts: Violations::default(),
            lines: 0,
        }
    }

    pub fn counts(&self) -> Violations {
        self.counts
    }

    /// Zeroes the counts.
    pub fn clear(&mut self) {
        self.counts = Violations::default();
    }

    /// All slots were reset.
    pub fn reset(&mut self) {
        self.slots.fill(Past::default());
        self.lost = false;
    }

    /// The device lost a write by its own fault.
    pub fn lose(&mut self) {
        self.lost = true;
    }

    /// The device was read: it has sent nothing that is still on its way from
    /// the slots that were masked before.
    pub fn read(&mut self) {
        self.reads += 1;
    }

    /// The mask of a slot was written.
    pub fn mask(&mut self, slot: usize, was_masked: bool, is_masked: bool) {
        match (was_masked, is_masked) {
            (false, true) => self.slots[slot].masked_at = Some(self.reads),
            (_, false) => {
                self.slots[slot].masked_at = None;
                self.live(slot);
            }
            (true, true) => {}
        }
    }

    /// The message of a slot was written. `is_valid` tells whether the slot has
    /// one since, if the write says.
    pub fn message(&mut self, slot: usize, is_masked: bool, is_valid: Option<bool>) {
        if !is_masked {
            self.count(slot, Violation::Unmasked);
        } else if self.take_unread(slot) {
            self.count(slot, Violation::Unread);
        }
        if let Some(is_valid) = is_valid {
            self.slots[slot].has_message = is_valid;
        }
    }

    /// The interrupt handle of a slot is requested or released.
    pub fn handle(&mut self, slot: usize) {
        if self.take_unread(slot) {
            self.count(slot, Violation::Handle);
        }
    }

    /// The device finds a slot unmasked.
    pub fn live(&mut self, slot: usize) {
        if !self.slots[slot].has_message {
            self.count(slot, Violation::Blank);
        }
    }

    /// Whether the device has not been read since the slot was masked. Says so
    /// once.
    fn take_unread(&mut self, slot: usize) -> bool {
        self.slots[slot].masked_at.take() == Some(self.reads)
    }

    fn count(&mut self, slot: usize, violation: Violation) {
        if self.lost {
            return;
        }
        let counts = &mut self.counts;
        *match violation {
            Violation::Blank => &mut counts.blank,
            Violation::Unmasked => &mut counts.unmasked,
            Violation::Unread => &mut counts.unread,
            Violation::Handle => &mut counts.handle,
        } += 1;
        counts.last = slot as u32 + 1;
        if self.lines < MOST_LINES {
            self.lines += 1;
            warn!("violation: slot {slot}: {violation}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: Option<bool> = Some(true);

    /// One slot, unmasked with a message; nothing is counted.
    fn live() -> Rules {
        let mut rules = Rules::new(2);
        rules.message(1, true, VALID);
        rules.mask(1, true, false);
        assert_eq!(rules.counts(), Violations::default());
        rules
    }

    /// The counts, of violations that were slot 1's.
    fn counts(rules: &Rules) -> [u64; 4] {
        let Violations {
            blank,
            unmasked,
            unread,
            handle,
            last,
        } = rules.counts();
        let counts = [blank, unmasked, unread, handle];
        assert_eq!(last, if counts == [0; 4] { 0 } else { 2 });
        counts
    }

    #[test]
    fn unmasked_needs_an_address() {
        let mut rules = Rules::new(2);
        rules.mask(1, true, true);
        rules.mask(1, true, false);
        assert_eq!(counts(&rules), [1, 0, 0, 0]);
        let mut rules = live();
        rules.mask(1, false, true);
        rules.read();
        rules.message(1, true, None);
        rules.message(1, true, Some(false));
        assert_eq!(counts(&rules), [0; 4]);
        rules.mask(1, true, false);
        assert_eq!(counts(&rules), [1, 0, 0, 0]);
        rules.live(1);
        assert_eq!(counts(&rules), [2, 0, 0, 0]);
    }

    #[test]
    fn message_of_an_unmasked_slot_stays() {
        let mut rules = live();
        rules.message(1, false, VALID);
        assert_eq!(counts(&rules), [0, 1, 0, 0]);
    }

    #[test]
    fn masking_counts_once_the_device_was_read() {
        type Change = fn(&mut Rules);
        let message: Change = |rules| rules.message(1, true, VALID);
        let handle: Change = |rules| rules.handle(1);
        for (change, expected) in [(message, [0, 0, 1, 0]), (handle, [0, 0, 0, 1])] {
            let mut rules = live();
            rules.read();
            rules.mask(1, false, true);
            change(&mut rules);
            change(&mut rules);
            assert_eq!(counts(&rules), expected, "once");

            let mut rules = live();
            rules.mask(1, false, true);
            rules.read();
            change(&mut rules);
            assert_eq!(counts(&rules), [0; 4]);
            rules.mask(1, true, true);
            change(&mut rules);
            assert_eq!(counts(&rules), [0; 4], "it was masked already");
        }
    }

    #[test]
    fn masked_twice_and_not_read() {
        let mut rules = live();
        rules.mask(1, false, true);
        rules.mask(1, true, true);
        rules.message(1, true, VALID);
        assert_eq!(counts(&rules), [0, 0, 1, 0]);
    }

    #[test]
    fn masked_and_unmasked_with_the_same_message() {
        let mut rules = live();
        rules.mask(1, false, true);
        rules.mask(1, true, false);
        rules.handle(1);
        assert_eq!(counts(&rules), [0; 4]);
    }

    #[test]
    fn a_reset_begins_anew() {
        let mut rules = live();
        rules.mask(1, false, true);
        rules.reset();
        rules.message(1, true, VALID);
        rules.mask(1, true, false);
        rules.reset();
        rules.mask(1, true, false);
        assert_eq!(counts(&rules), [1, 0, 0, 0], "no message any more");
        rules.clear();
        assert_eq!(counts(&rules), [0; 4]);
    }

    #[test]
    fn lost_writes_excuse_until_a_reset() {
        let mut rules = live();
        rules.lose();
        rules.message(1, false, Some(false));
        rules.mask(1, false, false);
        assert_eq!(counts(&rules), [0; 4]);
        rules.reset();
        rules.mask(1, true, false);
        assert_eq!(counts(&rules), [1, 0, 0, 0]);
    }
}
