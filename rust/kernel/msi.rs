// SPDX-License-Identifier: GPL-2.0

//! Message signalled interrupts (MSI): chips that store and mask messages.
//!
//! A device writes a message to raise an interrupt. Where it keeps the message, and how the message
//! is masked, is for a [`Chip`]. The irq domain that uses the chip is
//! [`ims::Domain`](crate::ims::Domain).
//!
//! C header: [`include/linux/msi.h`](srctree/include/linux/msi.h)

use crate::prelude::*;

/// An irq chip that stores messages in slots, and can mask each.
///
/// A chip is a value: it holds what its device needs, such as an array of registers or a queue of
/// commands. A device that cannot mask a message, or cannot tell whether one is pending, cannot
/// implement it.
///
/// All methods but [`Self::enable`] and [`Self::flush`] may run in atomic context: with a raw
/// spinlock held and interrupts off, on `PREEMPT_RT` too. They must not sleep, allocate, or take a
/// lock that may sleep. Some calls are made with interrupts on. Calls for one slot are serialised,
/// but for those that only read; calls for different slots are not. They are not called while the
/// domain is suspended.
///
/// Writes may be posted: the domain reads after [`Self::mask`]. When [`Self::is_masked`] or
/// [`Self::is_pending`] returns, earlier writes have reached the device, and messages which it sent
/// before have left it.
#[vtable]
pub trait Chip: Send + Sync {
    /// Name of the irq chip, in the style of `IDXD-IMS`.
    const NAME: &'static CStr;

    /// Masks `slot`: the device latches an interrupt instead of sending its message.
    fn mask(&self, slot: usize);

    /// Unmasks `slot`: a latched interrupt is sent once, and no longer latched.
    fn unmask(&self, slot: usize);

    /// Reads from the device whether `slot` is masked. `None` if the device does not respond.
    fn is_masked(&self, slot: usize) -> Option<bool>;

    /// Reads from the device whether `slot` has latched an interrupt. `None` if the device does not
    /// respond.
    fn is_pending(&self, slot: usize) -> Option<bool>;

    /// Stores a message in `slot`, which is masked: the device writes the 4 bytes `data` to the bus
    /// address `address`.
    fn write_message(&self, slot: usize, address: u64, data: u32);

    /// Makes the slots visible to the device. All of them are masked. Sleeps.
    ///
    /// # Errors
    ///
    /// Any; the slots are not used then.
    fn enable(&self) -> Result {
        Ok(())
    }

    /// Makes the device use what was written to slots before, and waits until it does: a slot that
    /// is masked sends nothing any more. Only chips of slow stores implement it, whose device does
    /// not see writes by itself. Sleeps. Calls are serialised.
    ///
    /// # Errors
    ///
    /// Any, if the device may not use what was written. The domain does not call it again before it
    /// is resumed; until then interrupts can be freed, but not allocated, requested or masked.
    fn flush(&self) -> Result {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }
}
