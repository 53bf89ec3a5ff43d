// SPDX-License-Identifier: GPL-2.0

use super::*;

const WQ1: u64 = WQCFG + 32;

/// What ENABLE_DEVICE says of a sound configuration after `spoil`.
fn enable_after(spoil: impl Fn(&Bench)) -> u32 {
    let bench = Bench::new(Config::default());
    bench.configure(0, 2);
    bench.configure(1, 2);
    spoil(&bench);
    let status = bench.command(1, 0);
    assert_eq!(bench.get(GENSTATS), u32::from(status == 0));
    status
}

#[test]
fn enable_device_checks_the_configuration() {
    assert_eq!(enable_after(|_| ()), 0);
    for (status, offset, value, what) in [
        (0, WQ1, 126, "all of the entries"),
        (0x14, WQ1, 127, "too many entries"),
        (0x14, WQ1, 0xffff, "no wrap"),
        (0x15, GRPCFG + 32, 0, "no engine"),
        (0x15, GRPCFG, 0, "no work queue"),
        (0x16, GRPCFG, 0x3, "work queue twice"),
        (0x16, WQCFG + 64, 1, "in no group"),
        (0x16, WQ1, 0, "in a group without a size"),
        (0x16, GRPCFG, 0x101, "work queue 8 of 8"),
        (0x16, GRPCFG + 28, 1 << 31, "work queue 255"),
        (0x17, GRPCFG + 32, 0x3, "engine twice"),
        (0x17, GRPCFG + 32, 0x11, "engine 4 of 4"),
        (0, GRPCFG + 32, 0x9, "engine 3 of 4"),
    ] {
        let after = enable_after(|bench| bench.put(offset, value));
        assert_eq!(after, status, "{what}");
    }
    let no_master = |bench: &Bench| bench.set_command(0x2);
    assert_eq!(enable_after(no_master), 0x12, "bus master");
}

#[test]
fn enable_device_checks_read_buffers() {
    let buffers = |group: u64, allowed: u32, reserved: u32| {
        move |bench: &Bench| bench.put(GRPCFG + group * 64 + 40, allowed << 20 | reserved << 8)
    };
    let after = |allowed, reserved| enable_after(buffers(0, allowed, reserved));
    assert_eq!(after(96, 0), 0);
    assert_eq!(after(97, 0), 0x18, "allowed");
    assert_eq!(after(8, 9), 0x18, "reserved");
    assert_eq!(after(4, 0), 0, "four for one engine");
    assert_eq!(after(3, 0), 0x18);
    assert_eq!(
        enable_after(buffers(2, 0, 200)),
        0,
        "a group without engines"
    );
    let both = |second: u32, allowed: u32| {
        enable_after(|bench| {
            buffers(0, allowed, 48)(bench);
            buffers(1, second, second)(bench);
        })
    };
    assert_eq!(both(48, 48), 0);
    assert_eq!(both(48, 49), 0x18, "none is left");
    assert_eq!(both(40, 56), 0);
    assert_eq!(both(49, 48), 0x18, "reserved in all");
}

#[test]
fn enable_device_checks_bandwidth_limits() {
    let after = |group: u64, flags: u32| {
        let bench = Bench::new(Kind::V3.config());
        bench.put64(GRPCFG, 1);
        bench.put64(GRPCFG + 32, 1);
        bench.put(WQCFG, 2);
        bench.put(GRPCFG + group * 64 + 44, flags);
        bench.command(1, 0)
    };
    for group in [0, 3] {
        assert_eq!(after(group, 3 << 8 | 3 << 12), 0);
        assert_eq!(after(group, 4 << 8), 0x18, "group {group}");
        assert_eq!(after(group, 4 << 12), 0x18, "group {group}");
    }
}

#[test]
fn enable_device_checks_page_requests() {
    let bench = Bench::new(Config::default());
    bench.configure(0, 2);
    bench.put_in(Region::Config, 0x244, 1);
    assert_eq!(bench.command(1, 0), 0x13);
    bench.put_in(Region::Config, 0x24c, 32);
    assert_eq!(bench.command(1, 0), 0);
}

#[test]
fn pasid_does_not_need_ats() {
    let bench = Bench::new(Config::default());
    bench.configure(0, 2);
    bench.put_in(Region::Config, 0x234, 1 << 16);
    assert_eq!(bench.command(1, 0), 0);
}

/// What ENABLE_WQ says of work queue 0 after `spoil`, which runs before
/// ENABLE_DEVICE.
fn enable_wq_after(config: Config, spoil: impl Fn(&Bench)) -> u32 {
    let bench = Bench::new(config);
    bench.configure(0, 2);
    spoil(&bench);
    assert_eq!(bench.command(1, 0), 0);
    let status = bench.command(6, 0);
    assert_eq!(bench.wq_state(0), u32::from(status == 0));
    status
}

#[test]
fn enable_wq_checks_the_configuration() {
    let after = |spoil: &dyn Fn(&Bench)| enable_wq_after(Config::default(), spoil);
    let word2 = |value: u32| after(&move |bench| bench.put(WQCFG + 8, value));
    let word3 = |value: u32| after(&move |bench| bench.put(WQCFG + 12, value));
    assert_eq!(after(&|_| ()), 0);
    let no_size = |bench: &Bench| {
        bench.put(WQCFG, 0);
        bench.configure(1, 2);
        bench.put64(GRPCFG, 0);
        bench.put64(GRPCFG + 32, 0);
    };
    assert_eq!(after(&no_size), 0x22, "size");
    assert_eq!(word2(0x01), 0x23, "priority 0");
    assert_eq!(word2(0xf1), 0, "priority 15");
    assert_eq!(word2(0x13), 0x25, "block on fault without page requests");
    assert_eq!(word2(0x10), 0x26, "shared without PASID");
    assert_eq!(
        word2(0x11 | 1 << 28),
        0x26,
        "PASID not enabled in config space"
    );
    assert_eq!(word2(0x11 | 1 << 29), 0, "priv means nothing without PASID");
    assert_eq!(word3(31 | 10 << 5), 0, "the limits themselves");
    assert_eq!(word3(20 | 11 << 5), 0x27, "max batch");
    assert_eq!(word3(20), 0x27, "batches of one");
    let small = Config {
        max_xfer_shift: 20,
        ..Config::default()
    };
    assert_eq!(enable_wq_after(small.clone(), |_| ()), 0);
    let larger = |bench: &Bench| bench.put(WQCFG + 12, 21 | 1 << 5);
    assert_eq!(enable_wq_after(small, larger), 0x28, "max transfer");
}

#[test]
fn enable_wq_checks_mode_and_pasid() {
    let no_shared = Config {
        shared: false,
        ..Config::default()
    };
    let shared = |bench: &Bench| bench.put(WQCFG + 8, 0x10 | 1 << 28);
    assert_eq!(enable_wq_after(no_shared.clone(), shared), 0x24);
    assert_eq!(enable_wq_after(no_shared, |_| ()), 0);

    let with = |control: u32, word2: u32| {
        enable_wq_after(Config::default(), |bench| {
            bench.put_in(Region::Config, 0x234, control << 16);
            bench.put_in(Region::Config, 0x24c, 1);
            bench.put_in(Region::Config, 0x244, 1);
            bench.put(WQCFG + 8, word2);
        })
    };
    assert_eq!(with(1, 0x10 | 1 << 28), 0, "shared with PASID");
    assert_eq!(with(1, 0x11 | 1 << 28), 0, "dedicated with PASID");
    assert_eq!(with(0, 0x10 | 1 << 28), 0x26);
    assert_eq!(with(1, 0x11 | 3 << 28), 0x2a, "privileged mode not enabled");
    assert_eq!(with(1, 0x10 | 3 << 28), 0, "means nothing if shared");
    assert_eq!(with(5, 0x11 | 3 << 28), 0);
    assert_eq!(with(0, 0x13), 0, "block on fault with page requests");
}

#[test]
fn enable_wq_of_later_versions() {
    let after = |kind: Kind, offset: u64, value: u32| {
        let bench = Bench::new(kind.config());
        bench.put64(GRPCFG, 1);
        bench.put64(GRPCFG + 32, 1);
        bench.put(WQCFG, 2);
        bench.put(WQCFG + 8, 0x11);
        bench.put(WQCFG + 12, 1 << 5);
        bench.put(WQCFG + offset, value);
        assert_eq!(bench.command(1, 0), 0);
        bench.command(6, 0)
    };
    assert_eq!(after(Kind::V2, 32, 0x1_003f), 0);
    assert_eq!(after(Kind::V2, 32, 0x40), 0x2d, "not in OPCAP");
    assert_eq!(after(Kind::V2, 36, 1), 0x2d);
    assert_eq!(after(Kind::V2, 12, 0), 0x27);
    assert_eq!(after(Kind::V3, 12, 0), 0, "batches of one");
}
