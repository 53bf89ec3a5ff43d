// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs: counters, and the slots in use.

use crate::{
    chip::Chip,
    device::Device,
    HeldState, //
};
use kernel::{
    debugfs::ScopedDir,
    fmt,
    io::io_read,
    sync::atomic::Relaxed, //
};

pub(crate) fn files<'data>(held: &'data HeldState, dir: &ScopedDir<'data, '_>) {
    dir.read_callback_file(c"slots", held, &show_slots);
    dir.read_callback_file(c"counters", held, &show_counters);
}

/// Prints the slots in use: slot, virq, number of interrupts, message and state.
fn show_slots(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(
        f,
        " slot  virq      count            address     data state"
    )?;
    held.with(|state| {
        let device = &state.device;
        let mut result = Ok(());

        device.domain.for_each(|slot, virq, count| {
            result = result.and_then(|()| {
                write!(f, "{slot:>5} {virq:>5} {count:>10} ")?;
                show_slot(device, slot.into(), f)
            });
        });
        result
    })
}

/// Reads address and data of the message in `slot`.
fn message(chip: &Chip<'_>, slot: usize) -> Option<(u64, u32)> {
    let slot = chip.0.get(slot)?;
    let hi = u64::from(io_read!(slot, .address_hi));
    let address = hi << 32 | u64::from(io_read!(slot, .address_lo));

    Some((address, io_read!(slot, .data)))
}

/// Prints message and state of `slot`, from its registers.
fn show_slot(device: &Device<'_>, slot: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let domain = device.domain;
    let (Some(pending), Some(masked), Some((address, data))) = (
        domain.is_pending(slot),
        domain.is_masked(slot),
        domain.read(slot, |chip| message(chip, slot)),
    ) else {
        return writeln!(f, "{:>18} {:>8} unknown", "-", "-");
    };
    let masked = if masked { "masked" } else { "unmasked" };
    let pending = if pending { ",pending" } else { "" };

    writeln!(f, "{address:#018x} {data:08x} {masked}{pending}")
}

fn show_counters(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| {
        let device = &state.device;
        let (domain, events) = (device.domain, &device.events);
        let counters = [
            ("enabled", &events.enabled),
            ("errors", &events.errors),
            ("halts", &events.halts),
            ("handles_revoked", &events.handles_revoked),
            ("failures", &device.failures),
            ("recoveries", &device.recoveries),
        ];

        writeln!(f, "slots {}", domain.size())?;
        writeln!(f, "used {}", domain.used())?;
        writeln!(f, "stuck {}", domain.stuck())?;
        writeln!(f, "last_error {:#x}", events.last_error.load(Relaxed))?;
        let queues = || device.queues.iter();
        let accepted: u64 = queues().map(|entries| entries.accepted()).sum();
        let completed: u64 = queues().map(|entries| entries.completed()).sum();
        writeln!(f, "accepted {accepted}")?;
        writeln!(f, "completed {completed}")?;
        for (name, counter) in counters {
            writeln!(f, "{name} {}", counter.load(Relaxed))?;
        }
        Ok(())
    })
}
