// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::bus::fake::MEMORY;

fn copy(size: u32) -> Fields {
    Fields {
        opcode: 3,
        source: 0x1000,
        destination: 0x2000,
        size,
        ..noop()
    }
}

/// Writes a descriptor list into memory and runs it.
fn batch(bench: &Bench, list: &[Fields]) -> u8 {
    for (index, fields) in list.iter().enumerate() {
        bench.bus.fill(0x4000 + index as u64 * 64, &fields.bytes());
    }
    bench.run(Fields {
        opcode: 1,
        source: 0x4000,
        size: list.len() as u32,
        ..noop()
    })
}

#[test]
fn batch_runs_its_list() {
    let bench = Bench::enabled(Config::default());
    bench.bus.fill(0x1000, b"abcd");
    let part = |offset: u64| Fields {
        source: 0x1000 + offset,
        destination: 0x2000 + offset,
        completion: RECORD + 0x100 + offset * 32,
        ..copy(1)
    };
    let list = [part(0), part(1), part(2), part(3)];
    assert_eq!(batch(&bench, &list), 0x01);
    assert_eq!(bench.bus.peek(0x2000, 4), b"abcd");
    assert_eq!(bench.bus.peek(RECORD + 4, 4), [4, 0, 0, 0]);
    for record in 0..4 {
        assert_eq!(bench.bus.peek(RECORD + 0x100 + record * 32, 1), [1]);
    }
    assert_eq!((bench.page(0x70), bench.page(0x78)), (1, 1));
}

#[test]
fn batch_checks() {
    let bench = Bench::enabled(Config::default());
    let of = |source, size| {
        bench.run(Fields {
            opcode: 1,
            source,
            size,
            ..noop()
        })
    };
    assert_eq!(of(0x4000, 0), 0x14);
    assert_eq!(of(0x4000, 1), 0x14, "one is not a batch");
    assert_eq!(of(0x4000, 5), 0x14, "more than the work queue's 4");
    assert_eq!(of(0x4020, 2), 0x18, "alignment");
    assert_eq!(of(0xffff_0000, 2), 0x20, "list cannot be read");

    let bad = Fields {
        completion: RECORD + 0x40,
        ..copy(0)
    };
    assert_eq!(batch(&bench, &[noop(), bad]), 0x05);
    assert_eq!(bench.bus.peek(RECORD + 0x40, 1), [0x13]);
    assert_eq!(bench.bus.peek(RECORD + 4, 4), [2, 0, 0, 0]);
    let nested = Fields {
        opcode: 1,
        source: 0x4000,
        size: 2,
        completion: RECORD + 0x40,
        ..noop()
    };
    assert_eq!(batch(&bench, &[noop(), nested]), 0x05);
    assert_eq!(bench.bus.peek(RECORD + 0x40, 1), [0x10]);
}

/// Runs a batch of four whose list has two descriptors before the end of memory,
/// of which the first fails. Returns its record, up to the fault address.
fn batch_of_half_a_list(bench: &Bench) -> Vec<u8> {
    let end = MEMORY as u64;
    bench.bus.fill(end - 128, &copy(0).bytes());
    bench.bus.fill(end - 64, &noop().bytes());
    bench.run(Fields {
        opcode: 1,
        source: end - 128,
        size: 4,
        completion: RECORD + 0x40,
        ..noop()
    });
    bench.bus.peek(RECORD + 0x40, 16)
}

#[test]
fn list_that_cannot_be_read_to_its_end() {
    let bench = Bench::enabled(Config::default());
    let record = [0x20, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(batch_of_half_a_list(&bench), record, "no address");
    let bench = Bench::enabled(Kind::V2.config());
    let record = [0x20, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(batch_of_half_a_list(&bench), record, "one failed");

    let bench = Bench::new(Kind::V2.config());
    bench.put_in(Region::Config, 0x224, 1 << 31);
    bench.enable();
    let record = [0x06, 1, 2, 0, 2, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0];
    assert_eq!(batch_of_half_a_list(&bench), record, "with ATS");
}

#[test]
fn batch_of_one() {
    let bench = Bench::enabled(Kind::V3.config());
    assert_eq!(batch(&bench, &[]), 0x14);
    assert_eq!(batch(&bench, &[noop()]), 0x01);
}

#[test]
fn no_drain_in_a_batch() {
    let bench = Bench::enabled(Config::default());
    let drain = Fields {
        opcode: 2,
        completion: RECORD + 0x40,
        ..noop()
    };
    assert_eq!(bench.run(drain), 0, "its record is elsewhere");
    assert_eq!(bench.bus.peek(RECORD + 0x40, 1), [0x01]);
    assert_eq!(batch(&bench, &[noop(), drain]), 0x05);
    assert_eq!(bench.bus.peek(RECORD + 0x40, 1), [0x10]);
}

/// A comparison of two bytes that differ, which ends with status 2.
fn false_predicate() -> Fields {
    Fields {
        opcode: 5,
        flags: WITH_RECORD | 0x80,
        source: 0x1000,
        destination: 0x2000,
        size: 1,
        completion: RECORD + 0x40,
        ..Fields::default()
    }
}

#[test]
fn fence_abandons_what_follows_a_failure() {
    let bench = Bench::enabled(Config::default());
    bench.bus.fill(0x1000, &[1]);
    let fenced = Fields {
        flags: WITH_RECORD | 0x1,
        completion: RECORD + 0x60,
        ..noop()
    };
    assert_eq!(batch(&bench, &[noop(), fenced, noop()]), 0x01);
    assert_eq!(bench.bus.peek(RECORD + 4, 1), [3]);
    bench.bus.fill(RECORD + 0x60, &[0]);
    assert_eq!(batch(&bench, &[false_predicate(), fenced, noop()]), 0x05);
    assert_eq!(bench.bus.peek(RECORD + 0x40, 1), [0x02]);
    assert_eq!(bench.bus.peek(RECORD + 0x60, 1), [0], "abandoned");
    assert_eq!(bench.bus.peek(RECORD, 8), [5, 0, 0, 0, 1, 0, 0, 0]);
}

#[test]
fn failed_batch_alone_asks_for_no_record() {
    let bench = Bench::enabled(Config::default());
    bench.bus.fill(0x1000, &[1]);
    bench.bus.fill(0x4000, &false_predicate().bytes());
    bench.bus.fill(0x4040, &noop().bytes());
    let status = bench.run(Fields {
        opcode: 1,
        flags: 0x4,
        source: 0x4000,
        size: 2,
        completion: RECORD + 0x80,
        ..noop()
    });
    assert_eq!((status, bench.get(SWERR)), (1, 0), "the part's record");
    assert_eq!(bench.bus.peek(RECORD + 0x80, 1), [0]);
}

#[test]
fn continued_batches() {
    let bench = Bench::enabled(Kind::V2.config());
    let list = [noop(), noop()];
    for (index, fields) in list.iter().enumerate() {
        bench.bus.fill(0x4000 + index as u64 * 64, &fields.bytes());
    }
    let fields = Fields {
        opcode: 1,
        flags: WITH_RECORD | 1 << 16,
        source: 0x4000,
        size: 2,
        ..noop()
    };
    assert_eq!(bench.run(fields), 0x05, "of an earlier error");
    assert_eq!(bench.bus.peek(RECORD + 1, 1), [1]);
}

#[test]
fn software_error_in_a_batch_says_which() {
    let bench = Bench::enabled(Config::default());
    let silent = Fields {
        flags: 0,
        completion: 0,
        ..copy(0)
    };
    assert_eq!(batch(&bench, &[noop(), silent]), 0x05);
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x13 << 8 | 0x1d, "batch bit");
    assert_eq!(bench.get64(SWERR + 8), 1, "batch index");
}
