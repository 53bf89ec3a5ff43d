// SPDX-License-Identifier: GPL-2.0

//! Message signalled interrupts (MSI): messages, and chips that store and mask them.
//!
//! A device writes a [`Message`] to raise an interrupt. Where it keeps the message, and how the
//! message is masked, is for a [`Chip`]. The irq domain that uses the chip is
//! [`ims::Domain`](crate::ims::Domain).
//!
//! C header: [`include/linux/msi.h`](srctree/include/linux/msi.h)

use crate::{
    bindings,
    fmt,
    prelude::*, //
};

/// The write that raises an interrupt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Bus address of the write.
    pub address: u64,
    /// Value of the 4-byte write.
    pub data: u32,
}

impl From<&bindings::msi_msg> for Message {
    #[inline]
    fn from(msg: &bindings::msi_msg) -> Self {
        // SAFETY: All members of these unions are 32-bit words without invalid bit patterns.
        unsafe {
            let lo = msg.__bindgen_anon_1.address_lo;
            let hi = msg.__bindgen_anon_2.address_hi;
            Self {
                address: u64::from(hi) << 32 | u64::from(lo),
                data: msg.__bindgen_anon_3.data,
            }
        }
    }
}

/// The state of a slot, as the device reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The device does not send the message.
    pub masked: bool,
    /// The interrupt was raised while it was masked.
    pub pending: bool,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.masked { "masked" } else { "unmasked" })?;
        f.write_str(if self.pending { ",pending" } else { "" })
    }
}

/// An irq chip that stores messages in slots, and can mask each.
///
/// A chip is a value: it holds what its device needs, such as an array of registers or a queue of
/// commands. A device that cannot mask a message, or cannot tell whether one is pending, cannot
/// implement it.
///
/// [`Self::mask`], [`Self::unmask`], [`Self::state`] and [`Self::write_message`] run in atomic
/// context: with a raw spinlock held and interrupts off, on `PREEMPT_RT` too. They must not sleep,
/// allocate, or take a lock that may sleep. Calls for one slot are serialised, but for
/// [`Self::state`]; calls for different slots are not. They are not called while the domain is
/// suspended.
///
/// Writes may be posted: the domain calls [`Self::state`] after [`Self::mask`].
#[vtable]
pub trait Chip: Send + Sync {
    /// Name of the irq chip, in the style of `IDXD-IMS`.
    const NAME: &'static CStr;

    /// Masks `slot`: the device latches an interrupt instead of sending its message.
    fn mask(&self, slot: usize);

    /// Unmasks `slot`: a latched interrupt is sent once, and no longer latched.
    fn unmask(&self, slot: usize);

    /// Reads the state of `slot` from the device. When this returns, earlier writes have reached
    /// the device, and messages which it sent before have left it. `None` if the device does not
    /// respond.
    fn state(&self, slot: usize) -> Option<State>;

    /// Stores `message` in `slot`, which is masked.
    fn write_message(&self, slot: usize, message: Message);

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
