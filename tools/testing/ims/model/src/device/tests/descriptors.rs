// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::bus::fake::MEMORY;
use crate::config::HandleMode;

/// A copy.
fn copy(size: u32) -> Fields {
    Fields {
        opcode: 3,
        source: 0x1000,
        destination: 0x2000,
        size,
        ..noop()
    }
}

/// One whose record has no address.
fn silent(size: u32) -> Fields {
    Fields {
        flags: 0,
        completion: 0,
        ..copy(size)
    }
}

/// Turns ATS on, which the device must not be enabled for.
fn with_ats() -> Bench {
    let bench = Bench::new(Config::default());
    bench.put_in(Region::Config, 0x224, 1 << 31);
    bench.enable();
    bench
}

/// An address beyond the memory.
const NOWHERE: u64 = 0xdead_0000_0000;

#[test]
fn memmove_end_to_end() {
    let bench = Bench::enabled(Config::default());
    bench.bus.fill(0x1000, b"interrupt message store");
    assert_eq!(bench.run(copy(23)), 0x01);
    assert_eq!(bench.bus.peek(0x2000, 24), b"interrupt message store\0");
    assert_eq!(bench.bus.peek(RECORD + 4, 4), [0; 4], "0 if it is whole");
    assert_eq!((bench.page(0x70), bench.page(0x78)), (1, 1));
}

#[test]
fn record_only_if_asked_for_or_on_error() {
    let bench = Bench::enabled(Config::default());
    let with = |flags, opcode, completion| {
        bench.run(Fields {
            flags,
            opcode,
            completion,
            ..noop()
        })
    };
    assert_eq!(with(0, 0, 0), 0);
    assert_eq!(with(0x4, 0, RECORD), 0);
    assert_eq!(with(0x4, 0x99, RECORD), 0x10);
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
    let flags = |flags, opcode| {
        let status = bench.run(Fields {
            flags,
            opcode,
            ..copy(1)
        });
        let invalid = bench.bus.peek(RECORD + 16, 4).try_into().unwrap();
        (status, u32::from_le_bytes(invalid))
    };
    assert_eq!(bench.run(noop()), 0x01);
    assert_eq!(size(6, 1), 0x10, "opcode");
    assert_eq!(flags(WITH_RECORD | 0x2, 3), (0x11, 0x2), "block on fault");
    assert_eq!(flags(WITH_RECORD | 0x1, 3), (0x11, 0x1), "fence");
    assert_eq!(flags(WITH_RECORD | 0x4000, 3), (0x01, 0), "readback");
    assert_eq!(flags(0x4, 5), (0x11, 0x8), "a comparison has a record");
    let reserved = Fields { size: 1, ..noop() };
    assert_eq!(bench.run(reserved), 0x12, "reserved field");
    let handle = Fields {
        handle: 1,
        ..noop()
    };
    assert_eq!(bench.run(handle), 0x12, "handle without a request");
    for opcode in [3, 4, 5, 0x10] {
        let destination = if opcode == 0x10 { 0 } else { 0x2000 };
        let size = |size| {
            bench.run(Fields {
                opcode,
                destination,
                ..copy(size)
            })
        };
        assert_eq!(size(0), 0x13, "{opcode}: size 0");
        assert_eq!(size(0x1000), 0x01);
        let more = size((1 << 20) + 1);
        assert_eq!(more, 0x13, "{opcode}: size above the work queue's");
    }
    assert_eq!(size(0x10, 1), 0x12, "a CRC has no destination");
    let handle = Fields {
        flags: WITH_INTERRUPT,
        handle: 2048,
        ..noop()
    };
    assert_eq!(bench.run(handle), 0x19, "handle");
}

/// As [`copy`], in memory that is there.
fn crc() -> Fields {
    Fields {
        opcode: 0x10,
        destination: 0,
        ..copy(9)
    }
}

#[test]
fn crc_end_to_end() {
    let bench = Bench::enabled(Config::default());
    bench.bus.fill(0x1000, b"123456789");
    assert_eq!(bench.run(crc()), 0x01);
    assert_eq!(bench.bus.peek(RECORD + 1, 15), [0; 15]);
    // Normal operation is the CRC-32C as such, inverted at both ends (appendix A).
    let value = 0xe306_9283u64.to_le_bytes();
    assert_eq!(bench.bus.peek(RECORD + 16, 8), value);
    assert_eq!(bench.bus.peek(RECORD + 24, 8), [0; 8]);
}

#[test]
fn crc_checks() {
    let bench = Bench::enabled(Config::default());
    let run = |flags, seed, seed_address| {
        bench.run(Fields {
            flags: WITH_RECORD | flags,
            seed,
            seed_address,
            ..crc()
        })
    };
    assert_eq!(run(0, 1, 0), 0x01);
    assert_eq!(run(0, 0, 0x100), 0x12, "an address of no seed");
    assert_eq!(run(1 << 16, 0, 0x104), 0x01);
    assert_eq!(run(1 << 16, 1, 0x104), 0x12, "two seeds");
    for address in [0x101, 0x102, 0x107] {
        assert_eq!(run(1 << 16, 0, address), 0x1c, "{address:#x}");
    }
    assert_eq!(run(7 << 16, 0, 0x104), 0x01);
    assert_eq!(run(1 << 19, 0, 0), 0x11, "64 bits");
    let without = Fields {
        flags: 0x4,
        ..crc()
    };
    assert_eq!(bench.run(without), 0x11, "a CRC has a record");
    let bench = Bench::new(Kind::V2.config());
    bench.put(WQCFG + 32, 0x3f);
    bench.enable();
    assert_eq!(bench.run(crc()), 0x10, "not of this work queue");
}

#[test]
fn each_work_queue_has_its_largest_transfer() {
    let bench = Bench::new(Config::default());
    bench.configure(0, 2);
    bench.configure(1, 2);
    bench.put(WQCFG + 32 + 12, 12 | 2 << 5);
    assert_eq!(bench.command(1, 0), 0);
    assert_eq!((bench.command(6, 0), bench.command(6, 1)), (0, 0));
    for (wq, size, status) in [
        (0, 0x1000, 0x01),
        (0, 0x1001, 0x01),
        (1, 0x1000, 0x01),
        (1, 0x1001, 0x13),
    ] {
        bench.bus.fill(RECORD, &[0; 32]);
        bench.submit_to(wq, 2, copy(size).bytes());
        bench.process();
        assert_eq!(bench.bus.peek(RECORD, 1), [status], "{wq} {size:#x}");
    }
}

#[test]
fn checks_are_made_in_order() {
    let bench = Bench::enabled(Config::default());
    // All wrong but the alignment of the record; then one right after another.
    let mut fields = Fields {
        opcode: 0x99,
        flags: WITH_INTERRUPT | 0x2,
        handle: 2048,
        ..noop()
    };
    let mut bytes = fields.bytes();
    bytes[63] = 1;
    let run = |bytes| {
        bench.bus.fill(RECORD, &[0; 32]);
        bench.submit_to(0, 2, bytes);
        bench.process();
        bench.bus.peek(RECORD, 1)[0]
    };
    assert_eq!(run(bytes), 0x10);
    bytes[7] = 3;
    assert_eq!(run(bytes), 0x11);
    bytes[4] &= !0x2;
    assert_eq!(run(bytes), 0x12);
    bytes[63] = 0;
    assert_eq!(run(bytes), 0x13);
    fields.opcode = 1;
    fields.flags = WITH_INTERRUPT;
    fields.source = 1;
    assert_eq!(bench.run(fields), 0x19, "before the count of a batch");
    fields.handle = 5;
    assert_eq!(bench.run(fields), 0x14);
    fields.size = 2;
    assert_eq!(bench.run(fields), 0x18);
}

#[test]
fn operations_of_the_work_queue() {
    let bench = Bench::new(Kind::V2.config());
    bench.put(WQCFG + 32, 1 << 0 | 1 << 4);
    bench.enable();
    assert_eq!(bench.run(noop()), 0x01);
    assert_eq!(bench.run(copy(1)), 0x10);
}

#[test]
fn misaligned_record_is_a_software_error() {
    let bench = Bench::enabled(Config::default());
    bench.arm(5, 0xfee0_0000, 1);
    for completion in [RECORD + 1, RECORD + 16] {
        let fields = Fields {
            completion,
            flags: WITH_INTERRUPT,
            handle: 5,
            ..noop()
        };
        assert_eq!(bench.run(fields), 0);
        assert_eq!(bench.get64(SWERR), 0x1b << 8 | 0xd);
        assert_eq!(bench.interrupts(), [], "discarded");
        bench.put(SWERR, 1);
    }
}

#[test]
fn errors_that_no_record_can_tell() {
    let bench = Bench::enabled(Config::default());
    // Valid, desc_valid, wq_idx_valid, error, operation.
    bench.run(silent(0));
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x13 << 8 | 0xd);
    bench.run(silent(0));
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x13 << 8 | 0xf, "overflow");
    bench.put(SWERR, 3);
    bench.run(Fields {
        flags: 0x8,
        completion: 0,
        ..noop()
    });
    assert_eq!(bench.get64(SWERR), 0x11 << 8 | 0xd);
    assert_eq!(bench.get64(SWERR + 8), 0x8 << 32, "invalid flags");
}

#[test]
fn an_invalid_handle_is_a_software_error_too() {
    for (config, word, info) in [
        (Config::default(), 0x190d, 0),
        (Kind::V2.config(), 0x198d, 0x1234 << 32),
    ] {
        let bench = Bench::enabled(config);
        let fields = Fields {
            flags: WITH_INTERRUPT,
            handle: 0x1234,
            ..noop()
        };
        assert_eq!(bench.run(fields), 0x19);
        assert_eq!(bench.get64(SWERR), word);
        assert_eq!(bench.get64(SWERR + 8), info);
        assert_eq!(bench.interrupts(), []);
    }
    // No handle has been requested.
    let bench = Bench::enabled(Config {
        handles: HandleMode::Mapped,
        ..Kind::V2.config()
    });
    let fields = Fields {
        flags: WITH_INTERRUPT,
        ..noop()
    };
    assert_eq!(bench.run(fields), 0x19);
    assert_eq!((bench.get64(SWERR), bench.get64(SWERR + 8)), (0x198d, 0));
}

#[test]
fn software_error_interrupt_if_enabled() {
    let bench = Bench::enabled(Config::default());
    bench.run(silent(0));
    assert_eq!((bench.interrupts(), bench.get(INTCAUSE)), (vec![], 0));
    bench.put(SWERR, 3);
    bench.put(GENCTRL, 1);
    bench.run(silent(0));
    assert_eq!(bench.interrupts(), [Event::Signal(0)]);
    assert_eq!(bench.get(INTCAUSE), 1);
    bench.run(silent(0));
    assert_eq!(bench.interrupts(), [], "only when valid is set");
}

#[test]
fn without_ats_reads_fail_and_writes_are_lost() {
    let bench = Bench::enabled(Config::default());
    bench.arm(5, 0xfee0_0000, 1);
    let source = Fields {
        source: NOWHERE,
        ..copy(1)
    };
    assert_eq!(bench.run(source), 0x20);
    assert_eq!(
        bench.bus.peek(RECORD + 8, 8),
        [0; 8],
        "nor does it say where"
    );
    let destination = Fields {
        destination: NOWHERE,
        ..copy(1)
    };
    assert_eq!(bench.run(destination), 0x01);
    let record = Fields {
        completion: NOWHERE,
        flags: WITH_INTERRUPT,
        handle: 5,
        ..noop()
    };
    bench.run(record);
    assert_eq!(bench.get(SWERR), 0);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_0000, 1)]);
    assert_eq!(bench.page(0x68), 3, "the test page counts them");
}

#[test]
fn readback_finds_lost_writes() {
    let bench = Bench::enabled(Config::default());
    let end = MEMORY as u64;
    for opcode in [3, 4] {
        let run = |flags, destination| {
            bench.run(Fields {
                opcode,
                flags: WITH_RECORD | flags,
                destination,
                ..copy(2)
            })
        };
        assert_eq!(run(0x4000, end - 2), 0x01);
        assert_eq!(run(0, end - 1), 0x01, "not asked for");
        assert_eq!(run(0x4000, end - 1), 0x21, "{opcode}: the last byte");
        assert_eq!(run(0x4100, end - 1), 0x21);
    }
    bench.run(Fields {
        flags: 0x4000,
        destination: NOWHERE,
        ..silent(1)
    });
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x21 << 8 | 0xd, "no record");
    let source = Fields {
        flags: WITH_RECORD | 0x4000,
        source: NOWHERE,
        destination: NOWHERE,
        ..copy(1)
    };
    assert_eq!(bench.run(source), 0x20, "only after success");
}

#[test]
fn with_ats_faults_are_told() {
    let bench = with_ats();
    let source = Fields {
        source: NOWHERE,
        ..copy(1)
    };
    assert_eq!(bench.run(source), 0x03);
    assert_eq!(bench.bus.peek(RECORD + 8, 8), NOWHERE.to_le_bytes());
    let destination = Fields {
        destination: NOWHERE,
        ..copy(1)
    };
    assert_eq!(bench.run(destination), 0x83);
    assert_eq!(bench.bus.peek(RECORD + 2, 1), [0], "no fault info");
    let record = Fields {
        completion: NOWHERE,
        flags: WITH_INTERRUPT,
        handle: 5,
        ..noop()
    };
    bench.run(record);
    assert_eq!(bench.get64(SWERR), 0x1a << 8 | 0x2d, "of a write");
    assert_eq!(bench.get64(SWERR + 16), NOWHERE);
    assert_eq!(bench.get(IMS + 5 * 16 + 12), 1, "no interrupt: discarded");
}

#[test]
fn with_ats_faults_say_how_far_it_got() {
    let bench = with_ats();
    let source = Fields {
        source: MEMORY as u64 - 0x1801,
        ..copy(0x4000)
    };
    assert_eq!(bench.run(source), 0x03);
    assert_eq!(bench.bus.peek(RECORD + 4, 4), 0x1801u32.to_le_bytes());
    assert_eq!(bench.bus.peek(RECORD + 8, 8), (MEMORY as u64).to_le_bytes());
}

#[test]
fn blocked_faults_are_as_if_refused() {
    let bench = Bench::new(Config::default());
    bench.put_in(Region::Config, 0x224, 1 << 31);
    bench.put_in(Region::Config, 0x24c, 1);
    bench.put_in(Region::Config, 0x244, 1);
    bench.configure(0, 2);
    bench.put(WQCFG + 8, 1 | 1 << 1 | 1 << 4);
    assert_eq!(bench.command(1, 0), 0);
    assert_eq!(bench.command(6, 0), 0);
    let fields = Fields {
        flags: WITH_RECORD | 0x2,
        destination: NOWHERE,
        ..copy(1)
    };
    assert_eq!(bench.run(fields), 0x84);
}

#[test]
fn fault_info_of_version_2() {
    let bench = Bench::new(Kind::V2.config());
    bench.put_in(Region::Config, 0x224, 1 << 31);
    bench.enable();
    let fields = Fields {
        destination: NOWHERE,
        ..copy(1)
    };
    assert_eq!(bench.run(fields), 0x83);
    assert_eq!(bench.bus.peek(RECORD + 2, 1), [3 << 1]);
    bench.run(Fields {
        source: NOWHERE,
        ..silent(1)
    });
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x03 << 8 | 0x8d);
    assert_eq!(bench.get64(SWERR + 8), 1 << 61);

    bench.put(SWERR, 1);
    bench.run(Fields {
        completion: NOWHERE,
        ..noop()
    });
    assert_eq!(bench.get64(SWERR), 0x1a << 8 | 0x2d, "a record has none");
    assert_eq!(bench.get64(SWERR + 8), 0);
    assert_eq!(bench.get64(SWERR + 16), NOWHERE);

    bench.put(SWERR, 1);
    bench.run(silent(0));
    assert_eq!(bench.get64(SWERR), 3 << 32 | 0x13 << 8 | 0xd, "nor a size");
}

/// The status of a descriptor that asks for an interrupt.
fn user_interrupt(gencfg: u32, wq_mode: u32) -> u8 {
    let bench = Bench::new(Config::default());
    bench.put(GENCFG, gencfg);
    bench.put_in(Region::Config, 0x234, 5 << 16);
    bench.configure(0, 2);
    bench.put(WQCFG + 8, 0x11 | wq_mode | 7 << 8);
    assert_eq!(bench.command(1, 0), 0);
    assert_eq!(bench.command(6, 0), 0);
    let pasid = if wq_mode & 1 << 28 != 0 {
        7 << 12 | 8
    } else {
        0
    };
    bench.arm(5, 0xfee0_0000, 1);
    bench.put(IMS + 5 * 16 + 12, pasid);
    let status = bench.run(Fields {
        flags: WITH_INTERRUPT,
        handle: 5,
        ..noop()
    });
    assert_eq!(bench.interrupts().len(), usize::from(status == 0x01));
    status
}

#[test]
fn user_interrupts_have_to_be_enabled() {
    let (pasid, privileged) = (1 << 28, 1 << 29);
    assert_eq!(user_interrupt(0, pasid), 0x11);
    assert_eq!(user_interrupt(1 << 12, pasid), 0x01);
    assert_eq!(user_interrupt(0, pasid | privileged), 0x01);
    assert_eq!(user_interrupt(0, 0), 0x01, "without a PASID");
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
