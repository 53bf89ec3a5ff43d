// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn what_hardware_ignores() {
    let bench = Bench::new(Config::default());
    bench.configure(0, 2);
    let mut refused = 0;
    let mut ignored = |what: &str| {
        bench.submit(noop());
        refused += 1;
        assert_eq!(bench.get64(SWERR), 0, "{what}");
        assert_eq!(bench.page(0x88), refused, "{what}: the test page counts it");
    };
    ignored("device disabled");
    bench.command(1, 0);
    ignored("work queue disabled");
    bench.command(6, 0);
    bench.set_page(0xe0, 0);
    ignored("halted");
    assert_eq!(bench.page(0x70), 0);
}

#[test]
fn full_work_queue() {
    let bench = Bench::enabled(Config::default());
    for _ in 0..3 {
        bench.submit(noop());
    }
    assert_eq!(bench.occupancy(0), 2);
    assert_eq!(bench.get64(SWERR), 0x53 << 8 | 0xd);
    assert_eq!((bench.page(0x70), bench.page(0x88)), (2, 1));
    bench.put(SWERR, 1);
    // An entry is free as soon as the engine has taken it.
    let job = bench.shared.device().take().unwrap();
    bench.submit(noop());
    assert_eq!(bench.get(SWERR), 0);
    bench.shared.device().finish(&job);
}

#[test]
fn posted_write_to_a_shared_work_queue() {
    let bench = Bench::new(Config::default());
    bench.put_in(Region::Config, 0x234, 1 << 16);
    bench.configure(0, 2);
    bench.put(WQCFG + 8, 0x10 | 1 << 28);
    bench.command(1, 0);
    assert_eq!(bench.command(6, 0), 0);
    bench.submit(noop());
    assert_eq!((bench.get64(SWERR), bench.occupancy(0)), (0, 0));
}

#[test]
fn portal_must_be_written_whole() {
    let bench = Bench::enabled(Config::default());
    let write = |offset, data: &[u8]| bench.shared.device().write(Region::Bar2, offset, data);
    write(0x38, &[0; 8]);
    write(0, &[0; 2]);
    assert_eq!(bench.get64(SWERR), 0);
    assert_eq!((bench.page(0x88), bench.page(0x70)), (2, 0));
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
    assert_eq!((bench.page(0x70), bench.page(0x88)), (4, 1));
}

#[test]
fn no_message_store_has_no_portals() {
    let mut config = Config::default();
    config.faults.set(crate::fault::Fault::NoIms, 0);
    let bench = Bench::enabled(config);
    bench.submit_to(0, 0, noop().bytes());
    bench.submit_to(0, 2, noop().bytes());
    assert_eq!((bench.page(0x70), bench.page(0x88)), (1, 0));
}
