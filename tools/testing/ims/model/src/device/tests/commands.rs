// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::config::HandleMode;
use std::sync::atomic::Ordering;

#[test]
fn status_fields() {
    let bench = Bench::new(with_handles());
    assert_eq!(
        bench.command(13, 0x1_0005),
        0xbffa << 8,
        "result in bits 23:8"
    );
    assert_eq!(bench.command(13, 0x1_0800), 0x41, "error in bits 7:0");
    bench.set_page(0xd8, 8);
    assert_eq!(bench.command(5, 0), 1 << 31, "active");
}

#[test]
fn completion_interrupt_on_request_only() {
    let bench = Bench::new(Config::default());
    bench.command(5, 0);
    assert_eq!(bench.interrupts(), []);
    assert_eq!(bench.get(INTCAUSE), 0);
    bench.put(CMD, 1 << 31 | 5 << 20);
    assert_eq!(bench.interrupts(), [Event::Signal(0)]);
    assert_eq!(bench.get(INTCAUSE), 0x2);
    bench.put(INTCAUSE, 0xffff_fffd);
    assert_eq!(bench.get(INTCAUSE), 0x2, "write 1 to clear");
    bench.put(INTCAUSE, 0x2);
    assert_eq!(bench.get(INTCAUSE), 0);
}

#[test]
fn a_command_that_is_done_has_pushed_what_was_sent() {
    let bench = Bench::new(with_handles());
    bench.bus.busy.store(true, Ordering::Relaxed);
    assert_eq!(bench.command(5, 0), 0, "nothing was sent");
    bench.arm(5, 0xfee0_0000, 1);
    bench.set_page(0xc0, 5);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_0000, 1)]);

    bench.put(CMD, 5 << 20 | 1 << 31);
    assert!(bench.tick().is_some(), "asks again");
    assert_eq!(bench.get(CMDSTS), 1 << 31);
    assert_eq!(bench.interrupts(), []);
    let answer = bench.bus.syncs.lock().unwrap().remove(0);
    answer.send(Ok(vec![0; 4])).unwrap();
    bench.tick();
    assert_eq!(bench.get(CMDSTS), 0);
    assert_eq!(bench.interrupts(), [Event::Signal(0)]);
    assert_eq!(bench.command(5, 0), 0, "nothing was sent since");
}

#[test]
fn unknown_commands() {
    let bench = Bench::enabled(Config::default());
    for code in (0..32).filter(|code| !(1..=14).contains(code)) {
        assert_eq!(bench.command(code, 0), 0x01, "{code}");
    }
}

#[test]
fn identity_handles_have_no_commands() {
    let bench = Bench::new(Config {
        handles: HandleMode::Identity,
        ..with_handles()
    });
    assert_eq!(bench.command(13, 0), 0x01);
    assert_eq!(bench.command(14, 0), 0x01);
    assert_eq!(bench.get(0xb0), 0x1ffe);
    let bench = Bench::new(Config::default());
    assert_eq!(bench.command(13, 0), 0x01);
    assert_eq!(bench.get(0xb0), 0, "no CMDCAP either");
}

#[test]
fn reserved_bits_of_commands() {
    let bench = Bench::new(with_handles());
    for code in 1..=5 {
        assert_eq!(bench.command(code, 1), 0x04, "{code}");
    }
    assert_eq!(bench.command(6, 0x100), 0x04);
    assert_eq!(bench.command(13, 1 << 17), 0x04);
    assert_eq!(bench.command(14, 1 << 19), 0x04);
    assert_eq!(bench.command(5 | 1 << 5, 0), 0x04, "bit 25");
    assert_eq!(bench.command(5 | 1 << 10, 0), 0x04, "bit 30");
}

#[test]
fn enable_and_disable_device() {
    let bench = Bench::new(Config::default());
    assert_eq!(bench.command(2, 0), 0x31, "not enabled");
    bench.configure(0, 2);
    assert_eq!(bench.get(GENSTATS), 0);
    assert_eq!(bench.command(1, 0), 0);
    assert_eq!(bench.get(GENSTATS), 1);
    assert_eq!(bench.command(1, 0), 0x10, "enabled already");
    assert_eq!(bench.command(6, 0), 0);
    assert_eq!(bench.wq_state(0), 1);
    assert_eq!(bench.command(2, 0), 0);
    assert_eq!((bench.get(GENSTATS), bench.wq_state(0)), (0, 0));
    assert_eq!(bench.get(WQCFG), 2, "the configuration stays");
}

#[test]
fn commands_without_an_error_code() {
    let bench = Bench::new(Config::default());
    bench.configure(0, 2);
    for code in [3, 4, 5, 11, 12] {
        assert_eq!(bench.command(code, 0), 0, "{code}: device disabled");
    }
    bench.configure(0, 2);
    assert_eq!(bench.command(10, 1), 0, "device disabled");
    assert_eq!(bench.get(WQCFG + 8), 0, "reset");
}

#[test]
fn enable_wq_checks_states_and_index() {
    let bench = Bench::new(Config::default());
    bench.configure(0, 2);
    assert_eq!(bench.command(6, 0), 0x20, "device not enabled");
    assert_eq!(bench.command(6, 8), 0x20, "before the index");
    bench.command(1, 0);
    assert_eq!(bench.command(6, 8), 0x02, "work queue 8 of 8");
    assert_eq!(bench.command(6, 0xff), 0x02);
    assert_eq!(bench.command(6, 0), 0);
    assert_eq!(bench.command(6, 0), 0x21, "enabled already");
}

#[test]
fn wq_operand_is_a_mask_and_a_block_of_16() {
    let bench = Bench::new(Config {
        wqs: 20,
        ..Config::default()
    });
    bench.put64(GRPCFG, 1 << 3 | 1 << 17);
    bench.put64(GRPCFG + 32, 1);
    for wq in [3, 17] {
        bench.put(WQCFG + wq * 32, 2);
        bench.put(WQCFG + wq * 32 + 8, 0x11);
        bench.put(WQCFG + wq * 32 + 12, 1 << 5);
    }
    bench.command(1, 0);
    assert_eq!(bench.command(6, 3), 0);
    assert_eq!(bench.command(6, 17), 0);
    for code in 7..=10 {
        assert_eq!(bench.command(code, 0), 0x02, "{code}: none chosen");
        assert_eq!(
            bench.command(code, 1 << 16 | 1 << 4),
            0x02,
            "{code}: 20 of 20"
        );
        assert_eq!(bench.command(code, 2 << 16 | 1), 0x02, "{code}: 32 of 20");
    }
    for code in 7..=9 {
        assert_eq!(bench.command(code, 1), 0x32, "{code}: 0 is not enabled");
        assert_eq!(
            bench.command(code, 1 << 3 | 1),
            0x32,
            "{code}: one of them is not"
        );
    }
    assert_eq!(bench.command(7, 1 << 16 | 1 << 1), 0);
    assert_eq!((bench.wq_state(3), bench.wq_state(17)), (1, 0));
    assert_eq!(bench.command(10, 1 << 3 | 1), 0, "one of them is disabled");
    assert_eq!(bench.wq_state(3), 0);
    assert_eq!(bench.get(WQCFG + 3 * 32), 2, "reset keeps the size");
    assert_eq!(bench.get(WQCFG + 3 * 32 + 8), 0);
    assert_eq!(bench.get(WQCFG + 17 * 32 + 8), 0x11, "disable keeps all");
}

#[test]
fn handles_by_command() {
    let bench = Bench::new(with_handles());
    assert_eq!(bench.command(13, 8), 0x7ff7 << 8, "last of 9 vectors");
    assert_eq!(bench.command(13, 9), 0x41);
    assert_eq!(
        bench.command(13, 0x1_07ff),
        0xb800 << 8,
        "last of 2048 slots"
    );
    assert_eq!(bench.command(13, 0x1_0800), 0x41);
    assert_eq!(bench.command(14, 8), 0);
    assert_eq!(bench.command(14, 8), 0x41, "not held any more");
    assert_eq!(bench.command(14, 0x07ff), 0x41, "held in the other table");
    assert_eq!(bench.command(14, 0x1_b800), 0x41, "the handle");
    assert_eq!(bench.command(14, 0x1_07ff), 0);
}

#[test]
fn a_command_while_one_is_active_is_a_software_error() {
    let bench = Bench::enabled(Config::default());
    bench.submit(noop());
    let drain = 1 << 31 | 8 << 20 | 1;
    bench.put(CMD, drain);
    assert_eq!(bench.get(CMDSTS), 1 << 31);
    bench.put(CMD, 5 << 20);
    assert_eq!(bench.get(SWERR), 0x5201);
    assert_eq!(bench.get(GENSTATS), 1, "not reset");
    assert_eq!(bench.interrupts(), []);
    bench.process();
    assert_eq!(bench.get(CMDSTS), 0);
    assert_eq!(bench.interrupts(), [Event::Signal(0)]);
}

#[test]
fn drain_waits_for_what_was_there() {
    let bench = Bench::enabled(Config::default());
    bench.submit(noop());
    let job = bench.shared.device().take().unwrap();
    assert_eq!(bench.command(8, 1), 1 << 31, "one in flight");
    bench.submit(noop());
    bench.shared.device().finish(&job);
    bench.tick();
    assert_eq!(bench.get(CMDSTS), 0, "the later one does not count");
    assert_eq!(bench.occupancy(0), 1);
    assert_eq!(bench.wq_state(0), 1, "a drained work queue goes on");
    for (code, operand) in [(3, 0), (2, 0)] {
        assert_eq!(bench.command(code, operand), 1 << 31, "{code}");
        assert_eq!(bench.get(GENSTATS), if code == 2 { 2 } else { 1 });
        bench.process();
        assert_eq!(bench.get(CMDSTS), 0, "{code}");
        if code == 3 {
            bench.submit(noop());
        }
    }
}

#[test]
fn a_stopping_work_queue_takes_nothing_more() {
    for code in [7, 10] {
        let bench = Bench::enabled(Config::default());
        bench.submit(noop());
        let job = bench.shared.device().take().unwrap();
        assert_eq!(bench.command(code, 1), 1 << 31);
        assert_eq!(bench.wq_state(0), 2);
        bench.submit(noop());
        assert_eq!((bench.get(SWERR), bench.occupancy(0)), (0, 0));
        bench.shared.device().finish(&job);
        bench.tick();
        assert_eq!((bench.get(CMDSTS), bench.wq_state(0)), (0, 0));
    }
}

#[test]
fn abort_discards() {
    for (code, operand) in [(4, 0), (9, 1), (10, 1)] {
        let bench = Bench::enabled(Config::default());
        bench.submit(noop());
        bench.submit(noop());
        assert_eq!(bench.command(code, operand), 0, "{code}");
        assert_eq!(bench.occupancy(0), 0);
        assert!(!bench.shared.process());
        assert_eq!(
            (bench.page(0x70), bench.page(0x78), bench.page(0x80)),
            (2, 0, 2)
        );
        assert_eq!(bench.bus.peek(RECORD, 1), [0]);
    }
}

#[test]
fn abort_takes_the_bus_from_what_is_in_flight() {
    let bench = Bench::enabled(Config::default());
    bench.submit(noop());
    let job = bench.shared.device().take().unwrap();
    assert_eq!(bench.command(4, 0), 1 << 31);
    assert!(!job.gate.load(std::sync::atomic::Ordering::Acquire));
    bench.shared.device().finish(&job);
    bench.tick();
    assert_eq!(bench.get(CMDSTS), 0);
    assert_eq!((bench.page(0x78), bench.page(0x80)), (0, 1));
}

#[test]
fn pasid_commands_look_at_the_work_queues_pasid() {
    let bench = Bench::new(Config::default());
    bench.put_in(Region::Config, 0x234, 1 << 16);
    bench.configure(0, 2);
    bench.put(WQCFG + 8, 0x11 | 1 << 28 | 7 << 8);
    bench.command(1, 0);
    bench.command(6, 0);
    bench.submit(noop());
    assert_eq!(bench.command(11, 6), 0, "nobody with that PASID");
    assert_eq!(bench.command(11, 7), 1 << 31);
    bench.process();
    assert_eq!(bench.get(CMDSTS), 0);
    bench.submit(noop());
    assert_eq!(bench.command(12, 6), 0);
    assert_eq!(bench.occupancy(0), 1);
    assert_eq!(bench.command(12, 7), 0);
    assert_eq!(bench.occupancy(0), 0);
}

#[test]
fn halted_device_knows_only_a_software_reset() {
    for (reset_type, status) in [(0, 0), (1, 0x05)] {
        let bench = Bench::enabled(with_handles());
        bench.put(GENCTRL, 0x2);
        bench.set_page(0xe0, reset_type);
        assert_eq!(bench.get(GENSTATS), 3 | reset_type << 2);
        assert_eq!(bench.get(INTCAUSE), 0x10);
        assert_eq!(bench.interrupts(), [Event::Signal(0)]);
        assert_eq!(bench.command(1, 0), 0x05);
        assert_eq!(bench.command(13, 0), 0x05);
        assert_eq!(bench.command(5, 0), status);
        assert_eq!(bench.get(GENSTATS) & 3, if status == 0 { 0 } else { 3 });
    }
}

#[test]
fn halt_interrupt_only_if_enabled() {
    let bench = Bench::enabled(Config::default());
    bench.put(GENCTRL, 0x1);
    bench.set_page(0xe0, 1);
    assert_eq!((bench.interrupts(), bench.get(INTCAUSE)), (vec![], 0));
}
