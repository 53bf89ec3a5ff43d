// SPDX-License-Identifier: GPL-2.0

use super::*;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[test]
fn header() {
    let bench = Bench::new(Config::default());
    let header: Vec<u32> = (0..7).map(|index| bench.page(index * 4)).collect();
    assert_eq!(header, [0x494d_5354, 2, 2048, 0x1000, 16, 9, 0]);
    for offset in [0x1c, 0x3c, 0xb8, 0xbc, 0x134, 0xffc] {
        assert_eq!(bench.page(offset), 0, "{offset:#x}");
    }
}

/// sent, latched, refused, replayed of a slot.
fn slot(bench: &Bench, slot: u64) -> [u32; 4] {
    std::array::from_fn(|index| bench.page(0x1000 + slot * 16 + index as u64 * 4))
}

#[test]
fn raise_counts() {
    let bench = Bench::new(Config::default());
    bench.set_page(0xc0, 2047);
    bench.set_page(0xc0, 2047);
    bench.arm(2047, 0xfee0_0000, 9);
    bench.set_page(0xc0, 2047);
    bench.set_command(0x2);
    bench.set_page(0xc0, 2047);
    assert_eq!(slot(&bench, 2047), [2, 2, 1, 1]);
    assert_eq!(slot(&bench, 2046), [0; 4]);
    assert_eq!(
        (bench.page(0x40), bench.page(0x48), bench.page(0x50)),
        (2, 2, 1)
    );
    bench.set_page(0xc0, 2048);
    bench.set_page(0xc0, u32::MAX);
    assert_eq!(
        (bench.page(0x40), bench.page(0x48), bench.page(0x50)),
        (2, 2, 1)
    );
}

#[test]
fn raise_range_stays_in_the_table() {
    let bench = Bench::new(Config::default());
    bench.set_page(0xc8, 2040);
    bench.set_page(0xcc, 4);
    assert_eq!(bench.page(0x48), 4);
    assert_eq!(slot(&bench, 2040)[1] + slot(&bench, 2043)[1], 2);
    assert_eq!(slot(&bench, 2039)[1] + slot(&bench, 2044)[1], 0);
    let both = (2047u64 | u64::from(u32::MAX) << 32).to_le_bytes();
    bench.shared.device().write(Region::Bar4, 0xc8, &both);
    assert_eq!(bench.page(0x48), 5);
    assert_eq!(bench.page(0xc8), 2047);
}

#[test]
fn table_accesses_are_counted_by_access() {
    let bench = Bench::new(Config::default());
    bench.get(IMS);
    bench.get64(IMS + 2047 * 16 + 8);
    bench.put64(IMS, 0);
    bench.put(IMS + 8, 0);
    bench.put(IMS + 12, 1);
    bench.get(IMS - 4);
    bench.get(IMS + 2048 * 16);
    bench.put(GENCTRL, 0);
    assert_eq!((bench.page(0x58), bench.page(0x60)), (2, 3));
}

#[test]
fn counter_reset() {
    let bench = Bench::new(Config::default());
    bench.set_page(0xc0, 1);
    bench.get(IMS);
    bench.command(5, 0);
    bench.shared.device().reset();
    bench.set_page(0xc4, 0);
    for offset in (0x40..0xb0).chain(0x1000..0x1000 + 2048 * 16).step_by(4) {
        assert_eq!(bench.page(offset), 0, "{offset:#x}");
    }
}

#[test]
fn refused_messages_are_dma_errors() {
    let bench = Bench::new(Config::default());
    bench.bus.refused_posts.store(3, Ordering::Relaxed);
    assert_eq!(bench.page(0x68), 3);
    bench.set_page(0xc4, 0);
    assert_eq!(bench.page(0x68), 0);
    bench.bus.refused_posts.store(5, Ordering::Relaxed);
    assert_eq!(bench.page(0x68), 2);
}

#[test]
fn counters_are_read_only() {
    let bench = Bench::new(Config::default());
    bench.set_page(0xc0, 1);
    for offset in [0x00, 0x48, 0x1014] {
        let before = bench.page(offset);
        bench.set_page(offset, !before);
        assert_eq!(bench.page(offset), before);
    }
}

#[test]
fn revoke_drops_handles_and_says_so() {
    let bench = Bench::new(with_handles());
    bench.command(13, 0x1_0005);
    bench.set_page(0xdc, 1);
    assert_eq!(bench.get(INTCAUSE), 1 << 31);
    assert_eq!(bench.interrupts(), [Event::Signal(0)]);
    assert_eq!(bench.command(14, 0x1_0005), 0x41);
    // Another one.
    assert_eq!(bench.command(13, 0x1_0005), 0xbffb << 8);
}

#[test]
fn source_raises_by_itself() {
    let bench = Bench::new(Config::default());
    bench.set_page(0x100, 77);
    bench.set_page(0x104, 1);
    bench.set_page(0x108, 100);
    bench.set_page(0x110, 10);
    bench.set_page(0x114, 4);
    assert_eq!((bench.page(0x100), bench.page(0x104)), (77, 1));
    assert_eq!(bench.page(0x118), 0);
    bench.set_page(0x118, 1);
    assert_eq!((bench.page(0x118), bench.page(0x11c)), (1, 100));
    assert!(bench.tick().is_some(), "more to come");
    assert_eq!(bench.page(0x11c), 36);
    assert_eq!(bench.tick(), None);
    assert_eq!((bench.page(0x118), bench.page(0x11c)), (0, 0));
    let raised: u32 = (10..14).map(|index| slot(&bench, index)[1]).sum();
    assert_eq!(raised, 100);
    assert_eq!(bench.page(0x48), 100);
}

#[test]
fn source_stops_when_told() {
    let bench = Bench::new(Config::default());
    bench.set_page(0x108, 100);
    bench.set_page(0x10c, 1);
    bench.set_page(0x118, 1);
    let next = bench.tick().unwrap();
    assert!(next > Instant::now());
    assert_eq!(bench.page(0x11c), 99);
    bench.set_page(0x118, 0);
    assert_eq!(
        bench.shared.device().tick(next + Duration::from_secs(9)),
        None
    );
    assert_eq!(bench.page(0x11c), 99);
}

/// Starts the source on slots 10 to 13, for 100 draws at once.
fn start_source(bench: &Bench, control: u32) {
    bench.set_page(0x108, 100);
    bench.set_page(0x110, 10);
    bench.set_page(0x114, 4);
    bench.set_page(0x118, control);
    assert_eq!(bench.page(0x118), control);
    while bench.tick().is_some() {}
}

#[test]
fn paced_source_asks_before_each_message() {
    let bench = Bench::new(Config::default());
    for slot in 10..13 {
        bench.arm(slot, 0xfee0_0000, slot as u32);
    }
    // 10 and 13, which is masked, are allowed; 11 no more; 12 has spent it.
    for (offset, value) in [(0x128, 10), (0x128, 11), (0x128, 12), (0x128, 13)] {
        bench.set_page(offset, value);
    }
    bench.set_page(0x12c, 11);
    bench.set_page(0xc0, 12);
    start_source(&bench, 3);
    assert_eq!(slot(&bench, 10), [1, 0, 0, 0]);
    assert_eq!(slot(&bench, 11), [0; 4]);
    assert_eq!(slot(&bench, 12), [1, 0, 0, 0]);
    let [sent, latched, ..] = slot(&bench, 13);
    assert!(sent == 0 && latched > 1, "{latched}");
    assert_eq!(bench.page(0x120), 1 + latched);

    // What an unmask sends counts as well.
    bench.arm(13, 0xfee0_0000, 13);
    start_source(&bench, 3);
    assert_eq!(slot(&bench, 13), [1, latched, 0, 1]);
    assert_eq!(bench.page(0x120), 1 + latched);

    bench.set_page(0x128, 13);
    bench.set_page(0x128, 2048);
    bench.set_page(0x12c, u32::MAX);
    start_source(&bench, 3);
    assert_eq!(slot(&bench, 13), [2, latched, 0, 1]);
    assert_eq!(bench.page(0x120), 2 + latched);
    start_source(&bench, 1);
    assert_eq!(bench.page(0x120), 102 + latched, "not paced");
    bench.set_page(0xc4, 0);
    assert_eq!(bench.page(0x120), 0);
}

#[test]
fn sync_waits_for_the_bus() {
    let bench = Bench::new(Config::default());
    assert_eq!(bench.page(0x130), 1, "nothing to wait for");
    bench.bus.busy.store(true, Ordering::Relaxed);
    bench.set_page(0x130, 0);
    assert_eq!(bench.page(0x130), 0);
    let answer = bench.bus.syncs.lock().unwrap().remove(0);
    answer.send(Ok(vec![0; 4])).unwrap();
    assert_eq!(bench.page(0x130), 1);
    assert_eq!(bench.page(0x130), 1);

    // Nor longer than there is a bus.
    bench.set_page(0x130, 0);
    assert_eq!(bench.page(0x130), 0);
    bench.bus.syncs.lock().unwrap().clear();
    assert_eq!(bench.page(0x130), 1);
}

/// Messages are late that the host takes after their slot was masked and read.
#[test]
fn late_messages() {
    let late = |bench: &Bench| bench.page(0xb8);
    let bench = Bench::new(Config::default());
    assert_eq!(bench.page(0x18), 0);
    bench.bus.busy.store(true, Ordering::Relaxed);
    bench.arm(3, 0xfee0_1000, 1);
    bench.arm(4, 0xfee0_1000, 2);
    for slot in [3, 3, 4] {
        bench.set_page(0xc0, slot);
    }
    // The host takes the first message of slot 3.
    let answer = bench.bus.syncs.lock().unwrap().remove(0);
    answer.send(Ok(Vec::new())).unwrap();

    let control = |slot: u64| IMS + 16 * slot + 12;
    bench.get(control(3));
    assert_eq!(late(&bench), 0, "not masked");
    bench.put(control(3), 1);
    assert_eq!(late(&bench), 0, "not read");
    bench.get(control(3));
    bench.get(control(3));
    assert_eq!(late(&bench), 1, "the second one, once");
    bench.bus.syncs.lock().unwrap().clear();
    bench.put(control(4), 1);
    bench.get(control(4));
    assert_eq!(late(&bench), 1, "taken in time");

    let bench = Bench::new(with_handles());
    assert_eq!(bench.page(0x18), 1);
    bench.bus.busy.store(true, Ordering::Relaxed);
    bench.arm(3, 0xfee0_1000, 1);
    bench.set_page(0xc0, 3);
    bench.put(control(3), 1);
    bench.get(control(3));
    assert_eq!(late(&bench), 0, "commands wait for it");
}
