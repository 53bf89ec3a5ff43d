// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::fault::{Fault, Faults};
use std::time::Duration;

fn broken(fault: Fault, arg: u64) -> Config {
    let mut faults = Faults::default();
    faults.set(fault, arg);
    Config {
        faults,
        ..with_handles()
    }
}

/// The offset that TABLE states for the IMS table.
fn ims_offset(bench: &Bench) -> u64 {
    (bench.get64(0x60) >> 48) * 0x100
}

#[test]
fn no_ims() {
    let bench = Bench::new(broken(Fault::NoIms, 0));
    assert_eq!(bench.get64(0x10) >> 25 & 0x3f, 0);
    assert_eq!(ims_offset(&bench), 0);
    bench.put(IMS, 4);
    assert_eq!(bench.get(IMS), 0);
    assert_eq!(bench.command(13, 0x1_0000), 0x41);
    assert_eq!(bench.command(13, 0), 0x7fff << 8);
}

#[test]
fn no_ims_dvsec() {
    let bench = Bench::new(broken(Fault::NoImsDvsec, 0));
    assert_eq!(bench.get_in(Region::Config, 0x114), 0);
    assert_eq!(bench.get_in(Region::Config, 0x108), 5);
    bench.shared.device().reset();
    assert_eq!(bench.get_in(Region::Config, 0x114), 0);
}

#[test]
fn table_in_wrong_places() {
    let bench = Bench::new(broken(Fault::ImsTableBeyondBar, 0));
    assert!(ims_offset(&bench) < 0x1_0000);
    assert!(ims_offset(&bench) + 2048 * 16 > 0x1_0000);
    assert_eq!(
        ims_offset(&Bench::new(broken(Fault::ImsTableOverRegisters, 0))),
        0x400
    );
    assert_eq!(
        ims_offset(&Bench::new(broken(Fault::ImsTableOverMsix, 0))),
        0x2000
    );
}

#[test]
fn all_ones() {
    let bench = Bench::new(broken(Fault::AllOnes, 0));
    assert_eq!(bench.get64(0x10), u64::MAX);
    bench.put(GENCTRL, 3);
    bench.set_page(0xd8, 0);
    assert_eq!(
        bench.get(GENCTRL),
        0,
        "writes are lost, the test page is not"
    );
}

#[test]
fn all_ones_after() {
    let bench = Bench::new(broken(Fault::AllOnesAfter, 2));
    assert_eq!(bench.get(0), 0x100);
    assert_eq!(bench.get(0), 0x100);
    assert_eq!(bench.get(0), u32::MAX);
    assert_eq!(bench.get(0), u32::MAX);
}

#[test]
fn command_never_completes() {
    let bench = Bench::new(broken(Fault::CmdNeverCompletes, 0));
    assert_eq!(bench.command(5, 0), 1 << 31);
    bench.tick();
    assert_eq!(bench.get(CMDSTS), 1 << 31);
    bench.set_page(0xd8, 0);
    bench.tick();
    assert_eq!(bench.get(CMDSTS), 0, "until the fault is over");
}

#[test]
fn command_delay() {
    let bench = Bench::new(broken(Fault::CmdDelay, 1000));
    assert_eq!(bench.command(5, 0), 1 << 31);
    let due = bench.tick().unwrap();
    assert!(due > Instant::now() + Duration::from_millis(500));
    bench.shared.device().tick(due - Duration::from_millis(1));
    assert_eq!(bench.get(CMDSTS), 1 << 31);
    bench.shared.device().tick(due);
    assert_eq!(bench.get(CMDSTS), 0);
}

#[test]
fn command_error() {
    let bench = Bench::new(broken(Fault::CmdError, 13 << 8 | 0x42));
    assert_eq!(bench.command(13, 0), 0x42);
    assert_eq!(bench.command(14, 0), 0x41, "nothing was given");
    assert_eq!(bench.command(5, 0), 0);
}

#[test]
fn command_without_an_interrupt() {
    let bench = Bench::new(broken(Fault::CmdSilent, 0));
    bench.put(CMD, 5 << 20 | 1 << 31);
    assert_eq!(bench.get(CMDSTS), 0);
    assert_eq!(bench.interrupts(), []);
    bench.set_page(0xd8, 0);
    bench.put(CMD, 5 << 20 | 1 << 31);
    assert_eq!(bench.interrupts(), [Event::Signal(0)]);
}

#[test]
fn never_resets() {
    let bench = Bench::enabled(broken(Fault::NeverResets, 0));
    bench.put_in(Region::Config, 0x48, 0x8000);
    assert_eq!(bench.get(GENSTATS), 1);
    assert_eq!(bench.command(5, 0), 1 << 31);
    assert_eq!(bench.get(GENSTATS), 1);
}

#[test]
fn no_pending() {
    let bench = Bench::new(broken(Fault::NoPending, 0));
    bench.set_page(0xc0, 0);
    assert_eq!(bench.get(IMS + 12), 1);
    bench.arm(0, 0xfee0_0000, 1);
    assert_eq!(bench.interrupts(), []);
    assert_eq!(bench.page(0x48), 1);
}

#[test]
fn stuck_mask() {
    let bench = Bench::new(broken(Fault::StuckMask, 0));
    bench.put(IMS + 12, 1);
    assert_eq!(bench.get(IMS + 12), 0);
    bench.set_page(0xc0, 0);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_0000, 0)]);
}

#[test]
fn drop_message() {
    let bench = Bench::new(broken(Fault::DropMessage, 3));
    bench.arm(0, 0xfee0_0000, 1);
    for _ in 0..6 {
        bench.set_page(0xc0, 0);
    }
    assert_eq!(bench.interrupts().len(), 4);
    assert_eq!(bench.page(0x40), 6);
}

#[test]
fn handle_limit() {
    let bench = Bench::new(broken(Fault::HandleLimit, 1));
    assert_eq!(bench.command(13, 0x1_0000), 0xbfff << 8);
    assert_eq!(bench.command(13, 0x1_0001), 0x42);
    bench.command(14, 0x1_0000);
    assert_eq!(bench.command(13, 0x1_0001), 0xbffe << 8);
}

#[test]
fn handles_revoked() {
    for said in [0, 1] {
        let bench = Bench::new(broken(Fault::HandlesRevoked, said));
        assert_eq!(bench.command(13, 0x1_0000), 0xbfff << 8);
        assert_eq!(bench.command(14, 0x1_0000), 0x41, "not held");
        assert_eq!(bench.get(0x98) >> 31, said as u32);
    }
}

#[test]
fn stalled() {
    let bench = Bench::enabled(broken(Fault::Stalled, 1));
    assert_eq!(bench.run(noop()), 1);
    assert_eq!(bench.run(noop()), 0);
    assert_eq!(bench.occupancy(0), 1);
    assert!(bench.shared.device().idle());
    bench.set_page(0xd8, 0);
    bench.process();
    assert_eq!(bench.bus.peek(RECORD, 1), [1]);
}

#[test]
fn switched_at_run_time() {
    let bench = Bench::new(Config::default());
    bench.set_page(0xd8, Fault::NoIms as u32);
    bench.set_page(0xd8, Fault::NoImsDvsec as u32);
    assert_eq!(bench.page(0xd8), 0b110);
    assert_eq!(bench.get64(0x10) >> 25 & 0x3f, 0);
    assert_eq!(bench.get_in(Region::Config, 0x114), 0);
    bench.set_page(0xd8, 0);
    assert_eq!(bench.page(0xd8), 0);
    assert_eq!(bench.get64(0x10) >> 25 & 0x3f, 8);
    assert_eq!(bench.get_in(Region::Config, 0x114), 1);

    bench.set_page(0xd0, 1);
    bench.set_page(0xd4, 0);
    assert_eq!((bench.page(0xd0), bench.page(0xd4)), (1, 0));
    bench.set_page(0xd8, Fault::AllOnesAfter as u32);
    assert_eq!(bench.get(0), 0x100);
    assert_eq!(bench.get(0), u32::MAX);
    bench.set_page(0xd8, 99);
    assert_eq!(bench.page(0xd8), 1 << 7, "unknown numbers do nothing");
}
