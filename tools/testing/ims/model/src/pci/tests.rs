// SPDX-License-Identifier: GPL-2.0

use super::*;

fn space(config: &Config) -> ConfigSpace {
    ConfigSpace::new(config)
}

fn get(space: &ConfigSpace, at: usize) -> u32 {
    let mut data = [0; 4];
    space.read(at, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn identity() {
    let space = space(&Config::default());
    assert_eq!(get(&space, 0x00), 0x0b25_8086);
    assert_eq!(get(&space, 0x04), 0x0010_0000);
    assert_eq!(get(&space, 0x08), 0x0880_0000);
    assert_eq!(get(&space, 0x0c), 0);
    assert_eq!(get(&space, 0x2c), 0x0000_8086);
    assert_eq!(get(&space, 0x3c), 0);
}

#[test]
fn capability_chain() {
    let space = space(&Config::default());
    let mut at = get(&space, 0x34) as usize;
    let mut found = Vec::new();
    while at != 0 {
        found.push(get(&space, at) & 0xff);
        at = (get(&space, at) >> 8 & 0xff) as usize;
    }
    assert_eq!(found, [0x10, 0x11, 0x01]);
    assert_eq!(get(&space, 0x82) & 0x7ff, 8, "table size - 1");
    assert_eq!(get(&space, 0x84), 0x2000, "table in BAR0");
    assert_eq!(get(&space, 0x88), 0x3000, "PBA in BAR0");
}

#[test]
fn express_of_a_dsa() {
    let mut space = space(&Config::default());
    assert_eq!(get(&space, 0x40), 0x0092_8010);
    assert_eq!(get(&space, 0x44), 0x1000_8022, "DEVCAP");
    assert_eq!(get(&space, 0x48), 0x2910, "DEVCTL");
    assert_eq!(get(&space, 0x64), 0x1073_0810, "DEVCAP2");
    assert_eq!(get(&space, 0x64) >> 21 & 1, 1, "End-End TLP prefixes");
    assert_eq!(get(&space, 0x68), 0, "DEVCTL2");
    space.write(0x48, &[0xff, 0x7f]);
    space.write(0x68, &[0xff; 4]);
    assert_eq!((get(&space, 0x48), get(&space, 0x68)), (0x79ff, 0x1410));
    space.reset();
    assert_eq!((get(&space, 0x48), get(&space, 0x68)), (0x2910, 0));
}

#[test]
fn express_of_a_plain_device() {
    let identity = Identity {
        vendor: 0x1af4,
        device: 0x10f0,
        class: 0xff00_0001,
    };
    let space = ConfigSpace::plain(identity, 0x1000);
    assert_eq!(get(&space, 0x40), 0x0092_9010);
    assert_eq!(get(&space, 0x44), 0x1000_8000, "FLR capable");
    assert_eq!((get(&space, 0x48), get(&space, 0x64)), (0, 0));
}

fn extended(config: &Config) -> Vec<u32> {
    let space = space(config);
    let mut at = 0x100;
    let mut found = Vec::new();
    while at != 0 {
        found.push(get(&space, at) & 0xffff);
        at = (get(&space, at) >> 20) as usize;
    }
    found
}

#[test]
fn extended_chain() {
    let with = |dvsec, pasid| Config {
        dvsec,
        pasid,
        ..Config::default()
    };
    assert_eq!(extended(&with(true, false)), [0x23]);
    assert_eq!(extended(&with(true, true)), [0x23, 0x0f, 0x1b, 0x13]);
    assert_eq!(extended(&with(false, false)), [0]);
    assert_eq!(extended(&with(false, true)), [0, 0x0f, 0x1b, 0x13]);
}

#[test]
fn dvsec_states_ims() {
    let mut space = space(&Config::default());
    assert_eq!(get(&space, 0x104), 0x0180_8086);
    assert_eq!(get(&space, 0x108) & 0xffff, 5);
    assert_eq!((get(&space, 0x10c), get(&space, 0x110)), (1, 1));
    assert_eq!(get(&space, 0x114), 1);
    space.set_ims(false);
    assert_eq!(get(&space, 0x114), 0);
}

#[test]
fn bars_size_themselves() {
    let mut space = space(&Config::default());
    let sizes: Vec<u64> = (0..3)
        .map(|bar| {
            let at = 0x10 + bar * 8;
            space.write(at, &[0xff; 8]);
            assert_eq!(get(&space, at) & 0xf, 0xc);
            let low = get(&space, at) & !0xf;
            !(u64::from(get(&space, at + 4)) << 32 | u64::from(low)) + 1
        })
        .collect();
    assert_eq!(sizes, [0x1_0000, 0x2_0000, 0x1_0000]);
}

#[test]
fn command_and_flr() {
    let mut space = space(&Config::default());
    assert!(!space.bus_master());
    assert_eq!(space.write(4, &[0xff, 0xff]), Effect::default());
    assert_eq!(get(&space, 4) & 0xffff, 0x0146, "no INTx disable");
    assert!(space.bus_master());
    assert!(space.write(4, &[0x02]).master_off);
    assert!(!space.write(4, &[0x02]).master_off);

    assert!(!space.write(0x48, &0x7fffu16.to_le_bytes()).reset);
    assert!(space.write(0x48, &0x8000u16.to_le_bytes()).reset);
    assert_eq!(get(&space, 0x48), 0, "the bit reads 0");
    space.write(4, &[0x06]);
    space.reset();
    assert!(!space.bus_master());
}

#[test]
fn power_states() {
    let mut space = space(&Config::default());
    assert!(space.powered());
    space.write(0x94, &[3]);
    assert!(!space.powered());
    assert_eq!(get(&space, 0x94), 0xb);
    assert_eq!(space.write(0x94, &[0]), Effect::default());
    assert!(space.powered());
    for unsupported in [1, 2] {
        for state in [0, 3] {
            space.write(0x94, &[state]);
            space.write(0x94, &[unsupported]);
            assert_eq!(get(&space, 0x94), 8 | u32::from(state));
        }
    }
}

#[test]
fn cache_line_size_is_kept_and_an_interrupt_line_is_not() {
    let mut space = space(&Config::default());
    space.write(0x0c, &[0xff; 4]);
    space.write(0x3c, &[0xff; 4]);
    assert_eq!((get(&space, 0x0c), get(&space, 0x3c)), (0xff, 0));
}

#[test]
fn leaving_d3_can_be_a_reset() {
    let mut space = space(&Config {
        d3_resets: true,
        ..Config::default()
    });
    assert_eq!(get(&space, 0x94), 0);
    assert_eq!(space.write(0x94, &[0]), Effect::default());
    assert_eq!(space.write(0x94, &[3]), Effect::default());
    assert!(space.write(0x94, &[0]).reset);
    assert_eq!(space.write(0x94, &[0]), Effect::default());
}

#[test]
fn pasid_only_if_there() {
    let mut without = space(&Config {
        pasid: false,
        ..Config::default()
    });
    without.write(0x236, &[1]);
    without.write(0x244, &[1]);
    assert!(!without.pasid_enabled() && !without.page_requests_enabled());
    let mut with = space(&Config::default());
    with.write(0x236, &[0xff]);
    with.write(0x226, &[0xff, 0xff]);
    assert!(with.pasid_enabled() && with.pasid_privileged() && with.ats_enabled());
    assert_eq!(get(&with, 0x220), 0x2301_000f);
    assert_eq!(get(&with, 0x224), 0x801f_0060);
    assert_eq!(get(&with, 0x230), 0x2401_001b);
    assert_eq!(get(&with, 0x234), 0x0005_1404);
    assert_eq!(get(&with, 0x240), 0x0001_0013);
}

#[test]
fn changes_of_address_translation() {
    let mut space = space(&Config::default());
    for (at, value) in [(0x226, 1u32), (0x236, 1), (0x244, 1), (0x24c, 1)] {
        let mut changes = |value: u32| space.write(at, &value.to_le_bytes()).translation;
        assert!(changes(value), "{at:#x}");
        assert!(!changes(value), "as it is");
        assert!(changes(0));
    }
    assert!(!space.write(4, &[6]).translation);
}

#[test]
fn page_requests_need_an_allocation() {
    let mut space = space(&Config::default());
    assert_eq!(
        (get(&space, 0x244), get(&space, 0x248)),
        (0x8100_0000, 0x200)
    );
    assert!(space.page_requests_valid());
    space.write(0x244, &[1]);
    for (allowed, is_valid) in [(0u32, false), (1, true), (0x200, true), (0x201, false)] {
        space.write(0x24c, &allowed.to_le_bytes());
        assert_eq!(space.page_requests_valid(), is_valid, "{allowed:#x}");
    }
}

#[test]
fn read_only_bits_stay() {
    let mut space = space(&Config::default());
    let before: Vec<u32> = [
        0, 8, 0x2c, 0x34, 0x40, 0x44, 0x64, 0x84, 0x88, 0x90, 0x100, 0x104, 0x108, 0x114,
    ]
    .iter()
    .map(|&at| get(&space, at))
    .collect();
    for at in (0..SIZE).step_by(4).filter(|&at| at != 0x48) {
        space.write(at, &[0xff; 4]);
    }
    let after: Vec<u32> = [
        0, 8, 0x2c, 0x34, 0x40, 0x44, 0x64, 0x84, 0x88, 0x90, 0x100, 0x104, 0x108, 0x114,
    ]
    .iter()
    .map(|&at| get(&space, at))
    .collect();
    assert_eq!(before, after);
}
