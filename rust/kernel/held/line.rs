// SPDX-License-Identifier: GPL-2.0

//! Mask state of an interrupt with a handler.
//!
//! A task and the handler may mask it at the same time, without a lock. This file depends only on
//! atomics, so that tools/testing/ims/loom can check all of its interleavings on the host.

use crate::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// The irq core's view of one interrupt. It has a disable depth, which a lock guards, and runs the
/// handler only while the depth is zero.
pub(super) trait Core {
    /// Increments the disable depth.
    fn disable_nosync(&self);

    /// Waits until the handler is not running. Sleeps.
    fn synchronize(&self);

    /// Decrements the disable depth.
    fn enable(&self);
}

/// The mask flag of an interrupt. While it is set, it counts once in the core's disable depth.
pub(super) struct Mask(Atomic<bool>);

impl Mask {
    #[inline]
    pub(super) fn new(masked: bool) -> Self {
        Self(Atomic::new(masked))
    }

    /// Masks the interrupt, and returns `true` if it was unmasked. Only for the handler.
    #[inline]
    pub(super) fn mask_nosync(&self, core: &impl Core) -> bool {
        let was_masked = self.0.xchg(true, Relaxed);

        if !was_masked {
            core.disable_nosync();
        }
        !was_masked
    }

    /// Masks the interrupt, and waits until the handler is not running. It does not run before
    /// [`Self::unmask`]. Must not be called by two tasks at a time. Sleeps.
    #[inline]
    pub(super) fn mask(&self, core: &impl Core) {
        self.mask_nosync(core);
        core.synchronize();
    }

    /// Unmasks the interrupt, and returns `true` if it was masked. Must not be called by two tasks
    /// at a time. Sleeps.
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
