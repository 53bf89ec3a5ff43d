// SPDX-License-Identifier: GPL-2.0

//! Events of the device: MSI-X vector 0.

use crate::{
    device::Registers,
    limit::RateLimit,
    regs::*,
    vector::VectorQueues, //
};
use core::num::Wrapping;
use kernel::{
    held::{
        Handler,
        Line,
        PciFunction, //
    },
    io::Io,
    irq::IrqReturn,
    new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLockIrq, //
    }, //
};

/// Values of [`Events::health`].
pub(crate) mod health {
    pub(crate) const WORKING: u32 = 0;
    /// It halted, or something never completed: a reset may help.
    pub(crate) const BROKEN: u32 = 1;
    /// A reset did not help.
    pub(crate) const DEAD: u32 = 2;
}

/// The events so far.
#[pin_data]
pub(crate) struct Events<'a> {
    dev: PciFunction<'a>,
    regs: Registers<'a>,
    pub(crate) health: Atomic<u32>,
    /// Number of times that interrupt handles became invalid. The lock is held from acknowledging
    /// the cause until that is noted. A reset makes all handles invalid as well.
    #[pin]
    pub(crate) epoch: SpinLockIrq<Wrapping<u32>>,
    /// Number of times that the device was enabled.
    pub(crate) enabled: Atomic<u64>,
    pub(crate) errors: Atomic<u64>,
    pub(crate) last_error: Atomic<u64>,
    pub(crate) halts: Atomic<u64>,
    pub(crate) handles_revoked: Atomic<u64>,
}

impl<'a> Events<'a> {
    pub(crate) fn new(dev: PciFunction<'a>, regs: Registers<'a>) -> impl PinInit<Self> + 'a {
        pin_init!(Self {
            dev,
            regs,
            health: Atomic::new(health::WORKING),
            epoch <- new_spinlock_irq!(Wrapping(0)),
            enabled: Atomic::new(0),
            errors: Atomic::new(0),
            last_error: Atomic::new(0),
            halts: Atomic::new(0),
            handles_revoked: Atomic::new(0),
        })
    }

    /// Notes that the device works only after a reset.
    pub(crate) fn mark_broken(&self) {
        // A dead device stays dead.
        let _ = self
            .health
            .cmpxchg(health::WORKING, health::BROKEN, Relaxed);
    }

    /// Notes that the device revoked its handles, if it did: the interrupt may be late, or masked.
    pub(crate) fn poll_revocation(&self) {
        self.acknowledge(INTCAUSE::zeroed().with_int_handle_revoked(true));
    }

    /// Acknowledges those of the causes `wanted` that are set, and returns them.
    fn acknowledge(&self, wanted: INTCAUSE) -> INTCAUSE {
        let causes = {
            let mut epoch = self.epoch.lock();
            let causes = match self.regs.read(INTCAUSE).into_raw() {
                u32::MAX => INTCAUSE::zeroed(),
                causes => INTCAUSE::from_raw(causes & wanted.into_raw()),
            };
            if causes.into_raw() != 0 {
                self.regs.write_reg(causes);
            }
            if causes.int_handle_revoked() {
                *epoch += 1;
            }
            causes
        };
        if causes.int_handle_revoked() && self.handles_revoked.fetch_add(1, Relaxed) == 0 {
            dev_warn!(
                self.dev,
                "interrupt handles were revoked: requesting new ones\n"
            );
        }
        causes
    }

    /// Returns whether the device has halted.
    fn handle(&self) -> bool {
        // Its other bits are reserved, or of interrupts that are not enabled.
        let cause = self.acknowledge(
            INTCAUSE::zeroed()
                .with_err(true)
                .with_cmd(true)
                .with_halt(true)
                .with_int_handle_revoked(true),
        );

        if cause.err() {
            let error = self.regs.try_read(SWERR).unwrap_or(SWERR::zeroed());
            acknowledge_error(self.regs);
            self.last_error.store(error.into_raw(), Relaxed);
            if self.errors.fetch_add(1, Relaxed) == 0 {
                dev_err!(
                    self.dev,
                    "software error {:#x}, operation {:#x}; later ones are only counted\n",
                    error.error().get(),
                    error.operation().get(),
                );
            }
        }
        if cause.halt() {
            self.mark_broken();
            if self.halts.fetch_add(1, Relaxed) == 0 {
                dev_err!(
                    self.dev,
                    "the device halted; later halts are only counted\n"
                );
            }
        }
        if cause.cmd() {
            self.enabled.fetch_add(1, Relaxed);
        }
        cause.halt()
    }
}

/// The handler of MSI-X vector 0.
pub(crate) struct EventHandler<'a> {
    pub(crate) events: Arc<Events<'a>>,
    pub(crate) queues: VectorQueues<'a>,
    pub(crate) limit: RateLimit<'a>,
}

impl Handler for EventHandler<'_> {
    fn handle(&self, line: &Line) -> IrqReturn {
        if self.events.handle() {
            self.queues.wake_all();
        }
        // They may have no vector of their own.
        if !self.queues.reap() {
            self.limit.count(line);
        }
        IrqReturn::Handled
    }
}

pub(crate) fn acknowledge_error(regs: Registers<'_>) {
    // Fails only if the BAR is not aligned.
    let _ = regs.try_write_reg(SWERR::zeroed().with_valid(true).with_overflow(true));
}
