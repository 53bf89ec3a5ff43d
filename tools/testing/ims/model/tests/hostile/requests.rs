// SPDX-License-Identifier: GPL-2.0

//! Well-framed requests that make no sense.

use crate::client::*;
use crate::model::*;

/// Payloads of each command, of every length up to some beyond the right one.
#[test]
fn every_command_at_every_length() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        for command in (0..20).chain([0x7fff, 0xffff]) {
            for len in 0..=56 {
                for fill in [0, 1, 0xff] {
                    let payload = vec![fill; len];
                    let reply = client.request(command, &payload);
                    let context = format!("command {command}, {len} bytes of {fill:#x}: {reply:?}");
                    assert!(reply.is_success() || reply.is_refusal(), "{context}");
                    let exact = match command {
                        DMA_MAP | GET_REGION_INFO => Some(32),
                        DMA_UNMAP => Some(24),
                        GET_INFO | GET_IRQ_INFO | REGION_READ => Some(16),
                        SET_IRQS => Some(20),
                        RESET => Some(0),
                        REGION_WRITE => None,
                        _ => Some(usize::MAX),
                    };
                    if exact.is_some_and(|exact| exact != len) {
                        assert!(reply.is_refusal(), "{context}");
                    }
                }
            }
            // The stream is in step: the next request is understood.
            client.check();
        }
        model.is_sound();
    }
}

#[test]
fn a_right_command_of_a_wrong_size_leaves_the_rest_in_step() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        // Count and data that differ, both ways.
        for (count, data) in [
            (0u32, 4usize),
            (4, 0),
            (4, 8),
            (8, 4),
            (1, 4096),
            (u32::MAX, 4),
        ] {
            let payload = access(CONFIG, 0x0c, count, &vec![0; data]);
            let reply = client.request(REGION_WRITE, &payload);
            assert!(reply.is_refusal(), "{count} and {data} bytes: {reply:?}");
            client.check();
        }
        let reply = client.request(REGION_READ, &access(CONFIG, 0, 4, &[0; 64]));
        assert!(reply.is_refusal(), "{reply:?}");
        client.check();
    }
}

#[test]
fn flags_that_no_request_has() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        for flags in [2, 0xf, ERROR, 1 << 6, 1 << 31, 0xffff_ffe0] {
            client.send(&message(7, GET_INFO, flags, &words(&[16, 0, 0, 0])));
            let reply = client.reply().expect("a reply");
            assert!(reply.is_refusal(), "{flags:#x}: {reply:?}");
            client.check();
        }
        // Replies to requests that nobody made.
        for command in [VERSION, REGION_READ, DMA_READ, DMA_WRITE, 0xffff] {
            for flags in [REPLY, REPLY | ERROR, 0xffff_fff1] {
                client.send(&message(7, command, flags, &[0; 20]));
                client.check();
            }
        }
        model.is_sound();
    }
}

#[test]
fn who_wants_no_reply_gets_none() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        for (command, payload) in [
            (VERSION, version()),
            (DMA_MAP, map(3, 0, 0, 0x1000)),
            (DMA_MAP, map(3, 0, 0, 0)),
            (DMA_UNMAP, unmap(0, 0, 0x1000)),
            (GET_INFO, words(&[16, 0, 0, 0])),
            (GET_REGION_INFO, region_info(99)),
            (GET_IRQ_INFO, irq_info(99)),
            (SET_IRQS, irqs(DATA_NONE | TRIGGER, MSIX, 0, 0)),
            (SET_IRQS, irqs(0, 99, 0, 0)),
            (REGION_READ, access(CONFIG, 0, 4, &[])),
            (REGION_WRITE, access(CONFIG, 0x0c, 1, &[0x10])),
            (REGION_WRITE, access(99, 0, 1, &[0])),
            (RESET, Vec::new()),
            (0, Vec::new()),
            (0xffff, vec![0; 100]),
        ] {
            client.send(&message(9, command, NO_REPLY, &payload));
            // Finds another ID if there is a reply after all.
            client.check();
        }
    }
}

#[test]
fn a_write_without_reply_is_done() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        let payload = access(CONFIG, 0x0c, 1, &[0x40]);
        client.send(&message(9, REGION_WRITE, NO_REPLY, &payload));
        assert_eq!(client.read_word(CONFIG, 0x0c) & 0xff, 0x40);
    }
}

#[test]
fn indices_that_are_not_there() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        for index in [REGIONS, REGIONS + 1, 0x7fff_ffff, u32::MAX] {
            assert!(client
                .request(GET_REGION_INFO, &region_info(index))
                .is_refusal());
            assert!(client.read(index, 0, 4).is_refusal());
            assert!(client.write(index, 0, &[0; 4]).is_refusal());
        }
        for index in [IRQS, IRQS + 1, u32::MAX] {
            assert!(client.request(GET_IRQ_INFO, &irq_info(index)).is_refusal());
        }
        client.check();
    }
}

#[test]
fn accesses_beyond_a_region() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        for region in 0..REGIONS {
            let size = client.region_size(region);
            for (offset, count) in [
                (size, 1),
                (size, u32::MAX),
                (size + 1, 0),
                (size.saturating_sub(4), 8),
                (0, size as u32 + 1),
                (0, 0x10_0001),
                (0, 0x4000_0000),
                (0, u32::MAX),
                (1, u32::MAX),
                (u64::MAX, 0),
                (u64::MAX, 1),
                (u64::MAX - 3, 4),
                (u64::MAX - 7, u32::MAX),
                (1 << 63, 8),
                (0xffff_fff8, 16),
            ] {
                let reply = client.read(region, offset, count);
                assert!(
                    reply.is_refusal(),
                    "region {region}, {count} at {offset:#x}: {reply:?}"
                );
                if count <= 64 {
                    let reply = client.write(region, offset, &vec![0xff; count as usize]);
                    assert!(
                        reply.is_refusal(),
                        "region {region}, {count} at {offset:#x}: {reply:?}"
                    );
                }
            }
            // Nothing, from where there is something.
            if size != 0 {
                let reply = client.read(region, 0, 0);
                assert!(reply.is_success() && reply.payload.len() == 16, "{reply:?}");
                assert!(client.write(region, 0, &[]).is_success());
                assert!(client.read(region, size - 1, 1).is_success());
            }
        }
        client.check();
        model.is_sound();
    }
}

/// Drivers use 4 and 8 bytes, aligned. A client can send any number.
#[test]
fn accesses_of_any_width_and_alignment() {
    for program in BOTH {
        let model = Model::kept(program);
        for region in [BAR0, BAR2, BAR4, CONFIG] {
            let mut client = model.agreed();
            let size = client.region_size(region);
            if size == 0 {
                continue;
            }
            let counts = [1, 2, 3, 5, 7, 8, 9, 16, 31, 64, 65, 4096, size.min(1 << 20)];
            for count in counts.map(|count| count.min(size)) {
                for at in [
                    0,
                    1,
                    2,
                    3,
                    0x3d,
                    0x81,
                    0xa0,
                    0x1ff,
                    0x3ffe,
                    size / 2 + 1,
                    size,
                ] {
                    let offset = at.min(size - count);
                    if region != CONFIG {
                        // In D0, and on the bus.
                        client.write_word(CONFIG, 0x94, 0);
                        client.write_word(CONFIG, 4, 6);
                    }
                    let reply = client.read(region, offset, count as u32);
                    assert!(reply.is_success(), "{count} at {offset:#x}: {reply:?}");
                    assert_eq!(reply.payload.len() as u64, 16 + count);
                    for fill in [0xff, 0x5a, 0] {
                        let reply = client.write(region, offset, &vec![fill; count as usize]);
                        assert!(reply.is_success(), "{count} at {offset:#x}: {reply:?}");
                    }
                }
            }
            drop(client);
            model.serves();
        }
    }
}
