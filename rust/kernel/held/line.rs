// SPDX-License-Identifier: GPL-2.0

//! Whether an interrupt with a handler is masked.
//!
//! A task and the handler may mask it at the same time, without a lock. So this file depends on
//! nothing but atomics, and tools/testing/ims/loom checks all of its interleavings on the host.

use crate::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// The interrupt core's view of one interrupt. It counts how often the interrupt is disabled, under
/// a lock, and runs the handler only while that count is zero.
pub(super) trait Core {
    /// Disables the interrupt once more.
    fn disable_nosync(&self);

    /// Waits until the handler is not running. Sleeps.
    fn synchronize(&self);

    /// Disables the interrupt once less.
    fn enable(&self);
}

/// The mask flag of an interrupt. While it is set, the core has the interrupt disabled once.
pub(super) struct Mask(Atomic<bool>);

impl Mask {
    #[inline]
    pub(super) fn new(masked: bool) -> Self {
        Self(Atomic::new(masked))
    }

    /// Masks the interrupt, and returns whether it was unmasked. Only for the handler.
    #[inline]
    pub(super) fn mask_nosync(&self, core: &impl Core) -> bool {
        let was_masked = self.0.xchg(true, Relaxed);

        if !was_masked {
            core.disable_nosync();
        }
        !was_masked
    }

    /// Masks the interrupt. The handler does not run when this returns, nor before
    /// [`Self::unmask`]. Not for two tasks at a time. Sleeps.
    #[inline]
    pub(super) fn mask(&self, core: &impl Core) {
        self.mask_nosync(core);
        core.synchronize();
    }

    /// Unmasks the interrupt, and returns whether it was masked. Not for two tasks at a time.
    /// Sleeps.
    #[inline]
    pub(super) fn unmask(&self, core: &impl Core) -> bool {
        if !self.0.load(Relaxed) {
            return false;
        }
        // A handler that has set the flag may still be about to disable the interrupt.
        core.synchronize();
        self.0.store(false, Relaxed);
        core.enable();
        true
    }
}
