// SPDX-License-Identifier: GPL-2.0

//! What debugfs shows of a device, and how it is exercised from there.

use crate::{
    line::Line,
    State, //
};
use kernel::{
    debugfs::ScopedDir,
    fmt,
    held::Held,
    prelude::*,
    sync::atomic::Relaxed,
    types::ForLt,
    uaccess::UserSliceReader, //
};

pub(crate) type HeldState = Held<ForLt!(State<'_>)>;

/// Lines that one command can name, and descriptors that one command can submit.
const MAX_COUNT: usize = 1 << 16;

pub(crate) fn files<'data>(held: &'data HeldState, dir: &ScopedDir<'data, '_>) {
    dir.read_callback_file(c"slots", held, &slots);
    dir.read_callback_file(c"counters", held, &counters);
    dir.read_callback_file(c"interrupts", held, &interrupts);
    dir.write_only_callback_file(c"control", held, &control);
}

/// Slots in use: slot, virq, count as the core sees it, message, state.
fn slots(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| state.device.domain.show(f))
}

fn counters(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| {
        let (domain, events) = (state.device.domain, &state.device.events);

        writeln!(f, "slots {}", domain.size())?;
        writeln!(f, "used {}", domain.used())?;
        writeln!(f, "stale {}", domain.stale())?;
        writeln!(f, "commands {}", events.commands.load(Relaxed))?;
        writeln!(f, "errors {}", events.errors.load(Relaxed))?;
        writeln!(f, "last_error {:#x}", events.last_error.load(Relaxed))?;
        writeln!(f, "halts {}", events.halts.load(Relaxed))?;
        writeln!(
            f,
            "handles_revoked {}",
            events.handles_revoked.load(Relaxed)
        )?;
        for (index, queue) in state.work.lock().queues.iter().enumerate() {
            writeln!(f, "wq{index}_submitted {}", queue.submitted)?;
        }
        Ok(())
    })
}

/// The driver's interrupts by number: slot, virq, handled, state.
fn interrupts(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| {
        for (number, line) in state.work.lock().lines.iter().enumerate() {
            let Some(line) = line else { continue };
            let interrupt = line.interrupt();
            writeln!(
                f,
                "{number} {} {} {} {}",
                interrupt.slot().index,
                interrupt.as_ref().virq(),
                line.handled(),
                match line {
                    Line::Allocated(_) => "allocated",
                    Line::Requested { .. } => "requested",
                }
            )?;
        }
        Ok(())
    })
}

/// Runs a command: a word and numbers.
///
/// - `alloc COUNT`: allocate interrupts, all or none; they get the lowest numbers that are free.
/// - `request FIRST [COUNT]`, `release FIRST [COUNT]`, `free FIRST [COUNT]`: up to the first that
///   fails.
/// - `mask NUMBER`, `unmask NUMBER`.
/// - `noop WQ NUMBER [COUNT]`: submit no-operations that raise an interrupt.
/// - `memmove WQ NUMBER BYTES`: copy and compare.
///
/// Errors: [`EINVAL`] for anything else, [`EINTR`] for a signal, [`ENOENT`] for a number without
/// interrupt or work queue, and those of the operation.
fn control(held: &HeldState, reader: &mut UserSliceReader) -> Result {
    let mut text = [0u8; 64];
    let len = reader.len();
    let text = text.get_mut(..len).ok_or(EINVAL)?;
    reader.read_slice(text)?;

    let mut words = core::str::from_utf8(text)
        .map_err(|_| EINVAL)?
        .split_ascii_whitespace();
    let verb = words.next().ok_or(EINVAL)?;
    let mut numbers = [0; 3];
    let mut given = 0;
    for word in words {
        *numbers.get_mut(given).ok_or(EINVAL)? = word.parse::<usize>().map_err(|_| EINVAL)?;
        given += 1;
    }

    held.with(|state| match (verb, &numbers[..given]) {
        ("alloc", &[count @ 1..=MAX_COUNT]) => state.alloc(count),
        ("request", &[first]) => state.each(first, 1, State::request),
        ("request", &[first, count @ 1..=MAX_COUNT]) => state.each(first, count, State::request),
        ("release", &[first]) => state.each(first, 1, State::release),
        ("release", &[first, count @ 1..=MAX_COUNT]) => state.each(first, count, State::release),
        ("free", &[first]) => state.each(first, 1, State::free),
        ("free", &[first, count @ 1..=MAX_COUNT]) => state.each(first, count, State::free),
        ("mask", &[number]) => state.set_masked(number, true),
        ("unmask", &[number]) => state.set_masked(number, false),
        ("noop", &[wq, number]) => state.noop(wq, number, 1),
        ("noop", &[wq, number, count @ 1..=MAX_COUNT]) => state.noop(wq, number, count),
        ("memmove", &[wq, number, bytes]) => state.copy(wq, number, bytes),
        _ => Err(EINVAL),
    })
}
