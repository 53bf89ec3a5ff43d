// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs that measure when they are read. contestant.h and allocator.h have the same
//! loops in C.

use crate::{
    HeldState,
    Interrupt,
    State, //
};
use kernel::{
    debugfs::ScopedDir,
    fmt,
    held::Source,
    ims::{
        Allocator,
        Quota, //
    },
    prelude::*,
    sync::Arc,
    time::{
        delay::fsleep,
        Delta,
        Instant,
        Monotonic, //
    }, //
};

const REPEATS: usize = 201;
/// Samples at most whose middle stands for each of them.
const AROUND: usize = 511;
/// Vectors that MSI-X has at most, beside the first and the one that stays: so many are measured
/// once.
const ALL_OF_MSIX: usize = 2046;
const CONTENDED: u32 = 2000;

fn now() -> Instant<Monotonic> {
    Instant::now()
}

fn since(start: Instant<Monotonic>, end: Instant<Monotonic>) -> i64 {
    (end - start).as_nanos()
}

type Samples = KVVec<i64>;

fn samples() -> Result<Samples> {
    Ok(KVVec::with_capacity(REPEATS, GFP_KERNEL)?)
}

/// They are few, and `core`'s sort makes code that objtool does not like.
fn sort(samples: &mut [i64]) {
    for end in 1..samples.len() {
        let mut at = end;
        while at > 0 && samples[at - 1] > samples[at] {
            samples.swap(at - 1, at);
            at -= 1;
        }
    }
}

fn median(samples: &mut [i64]) -> i64 {
    sort(samples);
    samples[samples.len() / 2]
}

/// Has an error end a callback of debugfs.
fn or_fail<T, E>(result: Result<T, E>) -> Result<T, fmt::Error>
where
    Error: From<E>,
{
    result.map_err(|error| {
        pr_err!("bench: {:?}\n", Error::from(error));
        fmt::Error
    })
}

fn virq(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| writeln!(f, "{}", Source::virq(state.requested.source())))
}

const LIFE: [&str; 7] = [
    "clock",
    "alloc",
    "request",
    "free_irq",
    "free",
    "alloc_free",
    "whole_life",
];

fn life_once(state: &State<'_>, samples: &mut [Samples; 7]) -> Result {
    let mut add = |index: usize, value| samples[index].push(value, GFP_KERNEL);

    let start = now();
    let end = now();
    add(0, since(start, end))?;

    let t0 = now();
    let interrupt = state.alloc()?;
    let t1 = now();
    let requested = state.request(interrupt)?;
    let t2 = now();
    let interrupt = requested.release();
    let t3 = now();
    drop(interrupt);
    let t4 = now();
    add(1, since(t0, t1))?;
    add(2, since(t1, t2))?;
    add(3, since(t2, t3))?;
    add(4, since(t3, t4))?;

    let start = now();
    drop(state.alloc()?);
    let end = now();
    add(5, since(start, end))?;

    let start = now();
    drop(state.request(state.alloc()?)?.release());
    let end = now();
    add(6, since(start, end))?;
    Ok(())
}

fn life(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let measure = |state: &State<'_>| -> Result<_> {
        let mut all = [
            samples()?,
            samples()?,
            samples()?,
            samples()?,
            samples()?,
            samples()?,
            samples()?,
        ];
        for _ in 0..REPEATS {
            life_once(state, &mut all)?;
        }
        Ok(all)
    };
    let mut all = or_fail(held.with(|state| measure(state)))?;

    for (name, samples) in LIFE.iter().zip(&mut all) {
        writeln!(f, "{name} {}", median(samples))?;
    }
    Ok(())
}

/// After how many allocations the cost of one is shown.
const STATIONS: [usize; 15] = [
    16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 6144, 8192, 10240, 12288, 14336, 16128,
];

/// The mean of the middle half, as that is not what interrupts came into. Sorts them.
fn middle(samples: &mut [i64]) -> i64 {
    sort(samples);
    let first = samples.len() / 4;
    let half = &samples[first..samples.len() - first];

    half.iter().sum::<i64>() / half.len() as i64
}

fn total(samples: &mut [i64]) -> i64 {
    let chunks = samples.chunks_mut(AROUND);
    chunks.map(|some| some.len() as i64 * middle(some)).sum()
}

/// What each of `count` interrupts costs to allocate and to free.
fn up_down(state: &State<'_>, count: usize) -> Result<(Samples, Samples)> {
    let mut interrupts = KVVec::with_capacity(count, GFP_KERNEL)?;
    let mut ups = Samples::with_capacity(count, GFP_KERNEL)?;
    let mut downs = Samples::with_capacity(count, GFP_KERNEL)?;

    for _ in 0..count {
        let start = now();
        let interrupt = state.alloc()?;
        ups.push(since(start, now()), GFP_KERNEL)?;
        interrupts.push(interrupt, GFP_KERNEL)?;
    }
    for interrupt in interrupts {
        let start = now();
        drop(interrupt);
        downs.push(since(start, now()), GFP_KERNEL)?;
    }
    Ok((ups, downs))
}

/// What the last of so many took.
fn show_growth(f: &mut fmt::Formatter<'_>, ups: &mut [i64]) -> Result {
    let mut from = 0;

    for station in STATIONS {
        // The one that stays was the first.
        let end = station - 1;
        from = from.max(end.saturating_sub(AROUND));
        let Some(some) = ups.get_mut(from..end) else {
            break;
        };
        writeln!(f, "grow {station} {}", middle(some))?;
        from = end;
    }
    Ok(())
}

/// So many allocated and freed, several times if they are few.
fn bulk_of(state: &State<'_>, count: usize, f: &mut fmt::Formatter<'_>, shows: bool) -> Result {
    let repeats = (ALL_OF_MSIX / count) | 1;
    let mut up = Samples::with_capacity(repeats, GFP_KERNEL)?;
    let mut down = Samples::with_capacity(repeats, GFP_KERNEL)?;
    let mut copy = Samples::with_capacity(count, GFP_KERNEL)?;

    // What others freed before RCU would free while this is measured.
    fsleep(Delta::from_secs(1));
    for _ in 0..repeats {
        let (mut ups, mut downs) = up_down(state, count)?;

        copy.clear();
        copy.extend_from_slice(&ups, GFP_KERNEL)?;
        if shows {
            show_growth(f, &mut copy)?;
        }
        up.push(total(&mut ups), GFP_KERNEL)?;
        down.push(total(&mut downs), GFP_KERNEL)?;
    }
    writeln!(f, "up {count} {}", median(&mut up))?;
    writeln!(f, "down {count} {}", median(&mut down))?;
    Ok(())
}

fn bulk(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| {
        let room = state.room as usize;

        for count in [1, 64, 256, ALL_OF_MSIX] {
            if count < room {
                or_fail(bulk_of(state, count, f, false))?;
            }
        }
        or_fail(bulk_of(state, room, f, true))
    })
}

/// Several at a time, one a CPU.
fn contend(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| {
        let start = now();
        for _ in 0..CONTENDED {
            drop(or_fail(state.alloc())?);
        }
        writeln!(f, "contend {}", since(start, now()))
    })
}

/// Each operation once, after a write that QEMU's trace has.
fn trace(held: &HeldState, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
    or_fail(held.with(|state| -> Result {
        state.mark(1);
        let interrupt = state.alloc()?;
        state.mark(2);
        let requested = state.request(interrupt)?;
        state.mark(3);
        let interrupt = requested.release();
        state.mark(4);
        drop(interrupt);
        state.mark(0);
        Ok(())
    }))
}

/// What the owner of an interrupt has of it, in bytes.
fn size(_held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "{}", size_of::<Interrupt<'_>>())
}

const FILLED: u32 = 16128;
const CHURN: usize = 20000;
/// Allocators that "keep" makes.
const KEPT: usize = 4096;

fn draw(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn measure_slots(
    f: &mut fmt::Formatter<'_>,
    slots: &Allocator,
    owner: u16,
    name: &str,
) -> fmt::Result {
    let mut times = or_fail(KVVec::from_elem([0; 2], REPEATS, GFP_KERNEL))?;

    for time in times.iter_mut() {
        let t0 = now();
        let slot = slots.take(owner);
        let t1 = now();
        if let Ok(slot) = slot {
            slots.free(owner, slot);
        }
        let t2 = now();
        *time = [since(t0, t1), since(t1, t2)];
    }
    for (index, operation) in ["reserve", "release"].into_iter().enumerate() {
        let mut one = or_fail(samples())?;
        for time in times.iter() {
            or_fail(one.push(time[index], GFP_KERNEL))?;
        }
        writeln!(f, "{operation} {name} {}", median(&mut one))?;
    }
    Ok(())
}

/// The allocator alone: what taking and freeing a slot costs by how full it is.
fn slots(_held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let slots = or_fail(KBox::pin_init(Allocator::new(FILLED), GFP_KERNEL))?;
    let quota = Quota {
        min: 0,
        max: FILLED,
    };
    let owner = or_fail(slots.add_owner(quota))?;
    let mut random = 88172645463325252;
    let mut taken = or_fail(KVVec::with_capacity(FILLED as usize, GFP_KERNEL))?;
    let fill = |taken: &mut KVVec<_>, count| -> Result {
        while taken.len() < count {
            taken.push(slots.take(owner)?, GFP_KERNEL)?;
        }
        Ok(())
    };
    let filled = FILLED as usize;

    measure_slots(f, &slots, owner, "0")?;
    or_fail(fill(&mut taken, filled / 2))?;
    measure_slots(f, &slots, owner, "50")?;
    for _ in 0..CHURN {
        let one = &mut taken[draw(&mut random) as usize % (filled / 2)];

        slots.free(owner, *one);
        *one = or_fail(slots.take(owner))?;
    }
    measure_slots(f, &slots, owner, "churned")?;
    or_fail(fill(&mut taken, filled * 99 / 100))?;
    measure_slots(f, &slots, owner, "99")?;
    or_fail(fill(&mut taken, filled))?;
    measure_slots(f, &slots, owner, "100")
}

/// The first time makes allocators and keeps them; the next frees them.
fn keep(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| {
        let mut kept = state.kept.lock();

        if kept.take().is_some() {
            return Ok(());
        }
        let make = || -> Result<_> {
            let mut kept = KVVec::with_capacity(KEPT, GFP_KERNEL)?;
            for _ in 0..KEPT {
                let slots = Arc::pin_init(Allocator::new(FILLED), GFP_KERNEL)?;
                kept.push(slots, GFP_KERNEL)?;
            }
            Ok(kept)
        };
        *kept = Some(or_fail(make())?);
        writeln!(f, "kept {KEPT} of {FILLED} slots")
    })
}

pub(crate) fn files<'data>(held: &'data HeldState, dir: &ScopedDir<'data, '_>) {
    dir.read_callback_file(c"virq", held, &virq);
    dir.read_callback_file(c"life", held, &life);
    dir.read_callback_file(c"bulk", held, &bulk);
    dir.read_callback_file(c"contend", held, &contend);
    dir.read_callback_file(c"trace", held, &trace);
    dir.read_callback_file(c"size", held, &size);
    dir.read_callback_file(c"slots", held, &slots);
    dir.read_callback_file(c"keep", held, &keep);
}
