// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::chaos::Chaos;
use std::time::Duration;

/// A device of the first seed whose story has `word` and is one behaviour.
fn hostile(word: &str) -> Config {
    let is_wanted = |chaos: &Chaos| {
        let story = chaos.to_string();
        story.contains(word) && !story.contains(';')
    };
    let mut drawn = (0..100_000).map(|seed| Chaos::draw(seed, &Config::default()));
    Config {
        chaos: drawn.find(is_wanted).expect("some seed"),
        ..Config::default()
    }
}

#[test]
fn capabilities_and_tables_lie() {
    let bench = Bench::new(hostile("WQCAP.num_wqs reads 0xff"));
    assert_eq!(bench.get64(0x20) >> 16 & 0xff, 0xff);
    let bench = Bench::new(hostile("TABLE.ims says 0x2000"));
    assert_eq!(bench.get64(0x60) >> 48, 0x20);
}

#[test]
fn commands_misbehave() {
    let bench = Bench::new(hostile("stuck: 1 in 1 reads of CMDSTS, after 0"));
    assert_eq!(bench.command(5, 0), 1 << 31);
    let bench = Bench::new(hostile("quiet: 1 in 1, after 0"));
    bench.put(CMD, 5 << 20 | 1 << 31);
    assert_eq!(bench.get(CMDSTS), 0);
    assert_eq!(bench.interrupts(), []);
}

#[test]
fn slots_misbehave() {
    let bench = Bench::new(hostile("control: pending set in 1 of 1 reads, after 0"));
    assert_eq!(bench.get(IMS + 12), 3);
    let bench = Bench::new(hostile("mask: clear in 1 of 1 writes, after 0"));
    bench.arm(5, 0xfee0_0000, 1);
    bench.put(IMS + 5 * 16 + 12, 1);
    bench.set_page(0xc0, 5);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_0000, 1)]);
}

#[test]
fn vector_0_comes_by_itself_if_it_may() {
    let bench = Bench::new(hostile("INTCAUSE reads 0x10"));
    assert!(bench.tick().is_some(), "there is more");
    assert_eq!(bench.interrupts(), [Event::Signal(0)]);
    assert_eq!(bench.get(INTCAUSE), 0x10);
    bench.put(INTCAUSE, 0x10);
    assert_eq!(bench.get(INTCAUSE), 0x10);

    let bench = Bench::new(hostile("INTCAUSE reads 0x10"));
    bench.set_command(0);
    bench.tick();
    assert_eq!(bench.interrupts(), []);
}

#[test]
fn slots_are_raised_by_themselves() {
    let bench = Bench::new(hostile("slot 1"));
    bench.arm(1, 0xfee0_0000, 1);
    bench.tick();
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_0000, 1)]);
}

#[test]
fn messages_come_again_though_masked() {
    let bench = Bench::new(hostile("stray"));
    bench.tick();
    assert_eq!(bench.interrupts(), []);
    bench.arm(1, 0xfee0_0000, 1);
    bench.set_page(0xc0, 1);
    bench.put(IMS + 16 + 12, 1);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_0000, 1)]);
    let due = bench.tick().unwrap();
    bench.shared.device().tick(due);
    assert_eq!(bench.interrupts(), [Event::Post(0xfee0_0000, 1)]);
    bench.set_command(0);
    bench.shared.device().tick(due + Duration::from_secs(1));
    assert_eq!(bench.interrupts(), []);
}

/// Whatever it is, it survives a driver.
#[test]
fn no_seed_breaks_the_model() {
    for seed in 0..300 {
        let bench = Bench::new(Config {
            chaos: Chaos::draw(seed, &Config::default()),
            ..Config::default()
        });
        bench.configure(0, 2);
        for command in [1, 6, 13, 14, 5] {
            bench.command(command, 0);
            bench.tick();
            bench.run(Fields {
                flags: WITH_INTERRUPT,
                completion: RECORD,
                ..Fields::default()
            });
        }
        for offset in (0..0x1_0000).step_by(0x74) {
            let value = bench.get(offset);
            bench.put(offset, value);
        }
        bench.shared.device().reset();
    }
}
