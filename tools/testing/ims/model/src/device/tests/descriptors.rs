// SPDX-License-Identifier: GPL-2.0

use super::*;

fn copy(size: u32) -> Fields {
    Fields {
        opcode: 3,
        source: 0x1000,
        destination: 0x2000,
        size,
        ..noop()
    }
}

#[test]
fn memmove_end_to_end() {
    let bench = Bench::enabled(Config::default());
    bench.bus.fill(0x1000, b"interrupt message store");
    assert_eq!(bench.run(copy(23)), 0x01);
    assert_eq!(bench.bus.peek(0x2000, 24), b"interrupt message store\0");
    assert_eq!(bench.bus.peek(RECORD + 4, 4), 23u32.to_le_bytes());
    assert_eq!((bench.page(0x70), bench.page(0x78)), (1, 1));
}

#[test]
fn record_only_if_asked_for_or_on_error() {
    let bench = Bench::enabled(Config::default());
    assert_eq!(bench.run(Fields { flags: 0, ..noop() }), 0);
    assert_eq!(
        bench.run(Fields {
            flags: 0x4,
            ..noop()
        }),
        0
    );
    assert_eq!(
        bench.run(Fields {
            flags: 0x4,
            opcode: 0x99,
            ..noop()
        }),
        0x10
    );
    assert_eq!(bench.get(SWERR), 0);
}

#[test]
fn each_check_has_its_status() {
    let bench = Bench::enabled(Config::default());
    let size = |opcode, size| {
        bench.run(Fields {
            opcode,
            ..copy(size)
        })
    };
    assert_eq!(bench.run(noop()), 0x01);
    assert_eq!(
        bench.run(Fields {
            opcode: 6,
            ..noop()
        }),
        0x10,
        "opcode"
    );
    assert_eq!(
        bench.run(Fields {
            flags: WITH_RECORD | 0x2,
            ..copy(1)
        }),
        0x11,
        "flags"
    );
    assert_eq!(
        bench.bus.peek(RECORD + 16, 4),
        [2, 0, 0, 0],
        "invalid flags"
    );
    assert_eq!(
        bench.run(Fields {
            flags: WITH_RECORD | 0x4000,
            ..copy(1)
        }),
        0x11
    );
    assert_eq!(
        bench.run(Fields { size: 1, ..noop() }),
        0x12,
        "reserved field"
    );
    for opcode in [3, 4, 5] {
        assert_eq!(size(opcode, 0), 0x13, "{opcode}: size 0");
    }
    assert_eq!(
        size(4, 1 << 20),
        0x83,
        "the limit itself, and beyond the memory"
    );
    assert_eq!(size(3, (1 << 20) + 1), 0x13, "size above the work queue's");
    assert_eq!(
        bench.run(Fields {
            flags: WITH_INTERRUPT,
            handle: 2048,
            ..noop()
        }),
        0x19,
        "handle"
    );
    assert_eq!(
        bench.run(Fields {
            source: u64::MAX - 8,
            ..copy(1)
        }),
        0x03,
        "page fault"
    );
    assert_eq!(bench.bus.peek(RECORD + 8, 8), (u64::MAX - 8).to_le_bytes());
}

#[test]
fn misaligned_record_is_a_software_error() {
    let bench = Bench::enabled(Config::default());
    for completion in [RECORD + 1, RECORD + 16] {
        assert_eq!(
            bench.run(Fields {
                completion,
                ..noop()
            }),
            0
        );
        assert_eq!(bench.get64(SWERR), 0x1b << 8 | 0xd);
        bench.put(SWERR, 1);
    }
}

#[test]
fn errors_that_no_record_can_tell() {
    let bench = Bench::enabled(Config::default());
    // No address: valid, desc_valid, wq_idx_valid, error, operation.
    bench.run(Fields {
        flags: 0,
        ..copy(0)
    });
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x13 << 8 | 0xd);
    // A second one overflows.
    bench.run(Fields {
        flags: 0,
        ..copy(0)
    });
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x13 << 8 | 0xf);
    bench.put(SWERR, 3);
    // A record that cannot be written: fault_rw and the address as well.
    let nowhere = 0xdead_0000_0000;
    bench.run(Fields {
        completion: nowhere,
        ..noop()
    });
    assert_eq!(bench.get64(SWERR), 0x1a << 8 | 0x2d);
    assert_eq!(bench.get64(SWERR + 16), nowhere);
    assert_eq!(bench.page(0x68), 1, "DMA errors");
    bench.put(SWERR, 3);
    bench.run(Fields {
        flags: 0x8,
        ..noop()
    });
    assert_eq!(bench.get64(SWERR), 0x11 << 8 | 0xd);
    assert_eq!(bench.get64(SWERR + 8), 0x8 << 32, "invalid flags");
}

#[test]
fn software_error_interrupt_if_enabled() {
    let bench = Bench::enabled(Config::default());
    bench.run(Fields {
        flags: 0,
        ..copy(0)
    });
    assert_eq!((bench.interrupts(), bench.get(INTCAUSE)), (vec![], 0));
    bench.put(SWERR, 3);
    bench.put(GENCTRL, 1);
    bench.run(Fields {
        flags: 0,
        ..copy(0)
    });
    assert_eq!(bench.interrupts(), [Event::Signal(0)]);
    assert_eq!(bench.get(INTCAUSE), 1);
}

#[test]
fn submissions_that_are_refused() {
    let bench = Bench::new(Config::default());
    bench.configure(0, 2);
    let refused = |code: u64, what: &str| {
        bench.submit(noop());
        assert_eq!(bench.get64(SWERR) >> 8 & 0xff, code, "{what}");
        assert_eq!(bench.get64(SWERR) & 0xf, 0xd, "{what}");
        bench.put(SWERR, 1);
    };
    refused(0x54, "device disabled");
    bench.command(1, 0);
    refused(0x54, "work queue disabled");
    bench.command(6, 0);
    bench.submit(noop());
    bench.submit(noop());
    assert_eq!(bench.occupancy(0), 2);
    refused(0x56, "full");
    assert_eq!((bench.page(0x70), bench.page(0x88)), (2, 3));
    // An entry is free as soon as the engine has taken it.
    let job = bench.shared.device().take().unwrap();
    bench.submit(noop());
    assert_eq!(bench.get(SWERR), 0);
    bench.shared.device().finish(&job);
}

#[test]
fn posted_write_to_a_shared_work_queue() {
    let bench = Bench::new(Config {
        pasid: true,
        ..Config::default()
    });
    bench.put_in(Region::Config, 0x234, 1 << 16);
    bench.configure(0, 2);
    bench.put(WQCFG + 8, 0x10 | 1 << 28);
    bench.command(1, 0);
    assert_eq!(bench.command(6, 0), 0);
    bench.submit(noop());
    assert_eq!(bench.get64(SWERR) >> 8 & 0xff, 0x55);
    assert_eq!(bench.occupancy(0), 0);
}

#[test]
fn portal_must_be_written_whole() {
    let bench = Bench::enabled(Config::default());
    let write = |offset, data: &[u8]| bench.shared.device().write(Region::Bar2, offset, data);
    write(0x38, &[0; 8]);
    assert_eq!(bench.get64(SWERR), 0x53 << 8 | 0x9, "no descriptor to name");
    write(0, &[0; 2]);
    assert_eq!(bench.page(0x88), 2);
    assert_eq!(bench.page(0x70), 0);
}

#[test]
fn portals_belong_to_their_work_queue() {
    let bench = Bench::enabled(Config::default());
    for page in 0..4 {
        bench.submit_to(0, page, noop().bytes());
        bench.process();
    }
    assert_eq!(bench.page(0x78), 4);
    bench.submit_to(1, 0, noop().bytes());
    assert_eq!(bench.get64(SWERR), 1 << 16 | 0x54 << 8 | 0xd, "wq_idx 1");
}

#[test]
fn descriptors_end_in_order() {
    let bench = Bench::enabled(Config::default());
    bench.submit(Fields {
        completion: RECORD,
        ..noop()
    });
    bench.submit(Fields {
        completion: RECORD + 32,
        ..noop()
    });
    bench.process();
    let records: Vec<_> = bench.bus.take();
    assert_eq!(
        records,
        [Event::Write(RECORD, 32), Event::Write(RECORD + 32, 32)]
    );
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
    assert_eq!(of(0xffff_0000, 2), 0x06, "list cannot be read");

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

#[test]
fn software_error_in_a_batch_says_which() {
    let bench = Bench::enabled(Config::default());
    let silent = Fields {
        flags: 0,
        ..copy(0)
    };
    assert_eq!(batch(&bench, &[noop(), silent]), 0x05);
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x13 << 8 | 0x1d, "batch bit");
    assert_eq!(bench.get64(SWERR + 8), 1, "batch index");
}
