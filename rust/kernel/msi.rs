// SPDX-License-Identifier: GPL-2.0

//! Message signalled interrupts (MSI): chips that store and mask messages.
//!
//! A device writes a message to raise an interrupt. A [`Chip`] stores the message in the device and
//! masks it. The irq domain that uses the chip is [`ims::Domain`](crate::ims::Domain).
//!
//! C header: [`include/linux/msi.h`](srctree/include/linux/msi.h)

use crate::prelude::*;

/// An irq chip that stores messages in slots, and can mask each slot.
///
/// A chip is a value: it holds the resources of its device, such as an array of registers or a
/// command queue. The trait cannot be implemented for a device that cannot mask a message, or
/// cannot report whether an interrupt is pending.
///
/// All methods except [`Self::enable`] and [`Self::flush`] may run in atomic context: with a raw
/// spinlock held and interrupts off, on `PREEMPT_RT` too. They must not sleep, allocate, or take a
/// lock that may sleep. Some calls are made with interrupts on. Calls for one slot are serialised,
/// except for those that only read. Calls for different slots are not. They are not called while
/// the domain is suspended.
///
/// Writes may be posted: the domain reads after [`Self::mask`]. When [`Self::is_masked`] or
/// [`Self::is_pending`] returns, earlier writes have reached the device, and messages that it sent
/// before have left it.
#[vtable]
pub trait Chip: Send + Sync {
    /// Name of the irq chip, in the style of `IDXD-IMS`.
    const NAME: &'static CStr;

    /// Masks `slot`: the device latches an interrupt instead of sending its message.
    fn mask(&self, slot: usize);

    /// Unmasks `slot`: the device sends a latched interrupt once.
    fn unmask(&self, slot: usize);

    /// Reads from the device whether `slot` is masked. `None` if the device does not respond.
    fn is_masked(&self, slot: usize) -> Option<bool>;

    /// Reads from the device whether `slot` has latched an interrupt. `None` if the device does not
    /// respond.
    fn is_pending(&self, slot: usize) -> Option<bool>;

    /// Stores the message of `slot`, which is masked: to raise the interrupt, the device writes the
    /// 4 bytes `data` to the bus address `address`.
    fn write_message(&self, slot: usize, address: u64, data: u32);

    /// Makes the slots visible to the device. All of them are masked. Sleeps.
    ///
    /// # Errors
    ///
    /// Any. The domain does not use the slots then.
    fn enable(&self) -> Result {
        Ok(())
    }

    /// Makes the device reload the slots that were written, and waits for completion: after that,
    /// masked slots send no message. Only for stores that the device does not read by itself.
    /// Sleeps. Calls are serialised.
    ///
    /// # Errors
    ///
    /// Any, if the device may not have reloaded the slots. The domain does not call it again before
    /// it is resumed. Until then interrupts can be freed, but not allocated, requested or masked.
    fn flush(&self) -> Result {
        build_error!(crate::error::VTABLE_DEFAULT_ERROR)
    }
}
