// SPDX-License-Identifier: GPL-2.0

//! Configuration of work queues, groups and engines.

use crate::{
    device::Device,
    regs::*, //
};
use kernel::{
    io::{
        poll::read_poll_timeout,
        Io, //
    },
    prelude::*,
    sync::atomic::Relaxed,
    time::Delta, //
};

impl Device<'_> {
    /// Configures `wqs` work queues in one group with all engines, and enables the device.
    pub(crate) fn configure(&self, wqs: u32) -> Result {
        let caps = &self.caps;
        let entries = caps.wq_entries / wqs;
        if entries == 0 {
            dev_err!(
                self.dev,
                "{} entries for {wqs} work queues\n",
                caps.wq_entries
            );
            return Err(EINVAL);
        }

        for wq in 0..caps.wqs {
            let entries = if wq < wqs { entries } else { 0 };
            self.configure_wq(wq, entries)?;
        }
        self.configure_group(wqs)?;

        self.regs.write_reg(
            GENCTRL::zeroed()
                .with_softerr_int_en(true)
                .with_halt_int_en(true),
        );
        self.command(Command::EnableDevice, 0)?;
        if self.regs.read(GENSTS).state().get() != STATE_ENABLED {
            dev_err!(self.dev, "enabled, but not in the enabled state\n");
            return Err(EIO);
        }
        Ok(())
    }

    /// Gives `entries` entries to work queue `wq`; 0 if it is not used.
    fn configure_wq(&self, wq: u32, entries: u32) -> Result {
        let caps = &self.caps;
        let used = entries != 0;
        let at = caps.wqcfg + wq as usize * caps.wqcfg_stride;
        let mode = WqMode::zeroed()
            .with_dedicated(true)
            .with_const_priority::<10>();
        let limits = WqLimits::zeroed()
            .try_with_max_xfer_shift(caps.max_transfer_shift)?
            .try_with_max_batch_shift(caps.max_batch_shift)?;

        for word in (0..wqcfg::OPERATIONS).step_by(size_of::<u32>()) {
            let value = match word {
                wqcfg::SIZE if used => entries,
                wqcfg::MODE if used => mode.into_raw(),
                wqcfg::LIMITS if used => limits.into_raw(),
                _ => 0,
            };
            self.regs.try_write32(value, at + word)?;
        }
        if caps.op_config {
            for word in (0..OPCAP_SIZE).step_by(size_of::<u32>()) {
                let all = self.regs.try_read32(OPCAP + word)?;
                self.regs.try_write32(all, at + wqcfg::OPERATIONS + word)?;
            }
        }
        Ok(())
    }

    /// Puts work queues 0 to `wqs` - 1 and all engines into group 0.
    fn configure_group(&self, wqs: u32) -> Result {
        let caps = &self.caps;
        for word in 0..4 {
            let first = word * 64;
            let bits = wqs.saturating_sub(first).min(64);
            let mask = if bits == 64 {
                u64::MAX
            } else {
                (1 << bits) - 1
            };
            let at = caps.grpcfg + grpcfg::WQS + word as usize * size_of::<u64>();
            self.regs.try_write64(mask, at)?;
        }
        let engines = u64::MAX >> (64 - caps.engines.min(64));
        self.regs
            .try_write64(engines, caps.grpcfg + grpcfg::ENGINES)?;
        // The driver idxd chooses the same traffic classes.
        let tc_a = u64::from(self.regs.read(VERSION).version().get() <= VERSION_2);
        // All read buffers.
        let flags = GroupFlags::zeroed()
            .try_with_tc_a(tc_a)?
            .with_const_tc_b::<1>()
            .with_rdbufs_allowed(caps.rdbufs);
        self.regs
            .try_write64(flags.into_raw(), caps.grpcfg + grpcfg::FLAGS)
    }

    /// Waits for the interrupt that [`Self::configure`] requests for the enable command. Without
    /// it, no error, halt or revocation would be delivered either.
    pub(crate) fn wait_enabled(&self) -> Result {
        read_poll_timeout(
            || Ok(self.events.enabled.load(Relaxed)),
            |&times| times != 0,
            Delta::from_micros(50),
            self.timeout,
        )
        .map(|_| ())
        .map_err(|_| self.report(fmt!("EnableDevice sent no interrupt")))
    }

    /// Enables work queue `wq`.
    pub(crate) fn enable_wq(&self, wq: u32) -> Result {
        self.command(Command::EnableWq, wq).map(|_| ())
    }
}
