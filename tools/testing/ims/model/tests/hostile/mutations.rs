// SPDX-License-Identifier: GPL-2.0

//! Sessions with faults in them, drawn from seeds, and drivers that write at random.

use crate::client::*;
use crate::model::*;
use crate::session;

const SESSIONS: u64 = 1500;
const DRIVERS: u64 = 20;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.draw() % bound as u64) as usize
    }

    /// A number that is often near a bound of something.
    fn word(&mut self) -> u32 {
        let any = self.draw() as u32;
        match self.below(6) {
            0 => any,
            1 => any & 0xff,
            2 => u32::MAX - (any & 0xf),
            3 => 1 << (any & 31),
            4 => (1u32 << (any & 31)).wrapping_sub(1),
            _ => 0,
        }
    }
}

/// Does one thing to the messages that a good client does not.
fn spoil(messages: &mut Vec<Vec<u8>>, random: &mut Random) {
    let index = random.below(messages.len());
    let message = &mut messages[index];
    match random.below(7) {
        0 => {
            let at = random.below(message.len());
            message[at] ^= 1 << random.below(8);
        }
        1 => {
            message.resize(message.len().max(4), 0);
            let at = random.below(message.len() / 4) * 4;
            message[at..at + 4].copy_from_slice(&random.word().to_le_bytes());
        }
        2 => message.truncate(random.below(message.len())),
        3 => message.extend(random.draw().to_le_bytes()),
        4 => {
            let again = message.clone();
            messages.push(again);
        }
        5 => drop(messages.remove(index)),
        _ => {
            let other = random.below(messages.len());
            messages.swap(index, other);
        }
    }
    messages.retain(|message| !message.is_empty());
    if messages.is_empty() {
        messages.push(vec![0]);
    }
}

#[test]
fn sessions_with_faults() {
    for program in BOTH {
        let model = Model::kept(program);
        let resources = model.resources();
        for seed in 0..SESSIONS {
            let mut random = Random(seed);
            let mut messages = session::messages();
            for _ in 0..=random.below(4) {
                spoil(&mut messages, &mut random);
            }
            let mut client = model.connect();
            for bytes in &messages {
                client.try_send(bytes);
            }
            // Each of them ends, once there is nothing to come any more.
            client.finish();
            if seed % 100 == 0 {
                model.is_sound();
            }
        }
        model.serves();
        model.settles_at(resources);
    }
}

/// Answers what the device asks for, with data or with an error.
fn answer(client: &mut Client, request: &Message, random: &mut Random) {
    if request.flags & NO_REPLY != 0 {
        return;
    }
    let Message { id, command, .. } = *request;
    let bytes = match random.below(8) {
        0 => message(id, command, REPLY | ERROR, &[]),
        _ => {
            let count = u64::from_le_bytes(*request.payload[8..].first_chunk().unwrap());
            let count = if command == DMA_READ { count } else { 0 };
            let data: Vec<u8> = (0..count).map(|_| random.word() as u8).collect();
            message(
                id,
                command,
                REPLY,
                &[&request.payload[..16], &data].concat(),
            )
        }
    };
    client.send(&bytes);
}

/// The reply to a request, with answers to what the device asks for before it.
fn exchange(client: &mut Client, command: u16, payload: &[u8], random: &mut Random) -> Message {
    client.send(&message(0, command, 0, payload));
    loop {
        let message = client.receive().expect("a message");
        if message.is_reply() {
            assert!(message.is_success(), "{message:?}");
            return message;
        }
        answer(client, &message, random);
    }
}

fn write(client: &mut Client, region: u32, offset: u64, data: &[u8], random: &mut Random) {
    let payload = access(region, offset, data.len() as u32, data);
    exchange(client, REGION_WRITE, &payload, random);
}

/// Registers of the device, work queues among them, get random words.
#[test]
fn drivers_that_write_at_random() {
    for program in BOTH {
        let model = Model::kept(program);
        for seed in 0..DRIVERS {
            let mut random = Random(seed);
            let mut client = model.agreed();
            let sizes = [BAR0, BAR2, BAR4].map(|region| client.region_size(region));
            for count in 0..1500 {
                if count % 16 == 0 {
                    write(&mut client, CONFIG, 4, &[6, 0], &mut random);
                }
                let index = random.below(3);
                let region = [BAR0, BAR2, BAR4][index];
                let size = sizes[index] as usize;
                if size == 0 {
                    continue;
                }
                // Most registers are in the first KiB.
                let bound = [size, size.min(0x400)][random.below(2)];
                let offset = (random.below(bound / 4) * 4) as u64;
                let value = random.word().to_le_bytes();
                write(&mut client, region, offset, &value, &mut random);
            }
            drop(client);
            model.is_sound();
        }
        model.serves();
    }
}

/// Offsets in BAR0 of the DSA.
const CMD: u64 = 0xa0;
const GRPCFG: u64 = 0x300;
const WQCFG: u64 = 0x400;

/// Offset in the test page: descriptors taken, completed and discarded, 8 bytes each.
const DESCRIPTORS: u64 = 0x70;

/// A work queue that takes descriptors: 16 entries, transfers up to 2 GiB, batches up to 1024.
fn enable(client: &mut Client, random: &mut Random) {
    for (offset, value) in [
        (GRPCFG, 1),
        (GRPCFG + 32, 1),
        (WQCFG, 16),
        (WQCFG + 8, 1 | 1 << 4),
        (WQCFG + 12, 31 | 10 << 5),
        (CMD, 1 << 20),
        (CMD, 6 << 20),
    ] {
        write(client, BAR0, offset, &u32::to_le_bytes(value), random);
    }
}

/// Fields of descriptors are at the ends of what they can be.
fn descriptor(random: &mut Random) -> Vec<u8> {
    let opcode = [0, 1, 2, 3, 4, 5, 16, 0xff][random.below(8)];
    let flags = [0x0c, 0x08, 0x00, 0x1c, 0x0_010c][random.below(5)];
    let flags = if random.below(8) == 0 {
        random.word() & 0xff_ffff
    } else {
        flags
    };
    let mut bytes = words(&[0, opcode << 24 | flags]);
    let mut address = |align: u64| {
        let near_end = u64::MAX - random.draw() % 256;
        let any = [0, 0x1000, near_end, random.draw()][random.below(4)];
        bytes.extend((any & !(align - 1)).to_le_bytes());
    };
    address(32);
    address(64);
    address(1);
    let size = [0, 1, 2, 3, 64, 0x1001, 0x2_0000][random.below(7)];
    bytes.extend(u32::to_le_bytes(size));
    bytes.extend([random.below(3) as u8, 0, 0, 0]);
    bytes.resize(64, 0);
    bytes
}

#[test]
fn descriptors_at_the_ends_of_memory() {
    let model = Model::kept(DSA);
    for seed in 0..DRIVERS {
        let mut random = Random(seed);
        let mut client = model.agreed();
        write(&mut client, CONFIG, 4, &[6, 0], &mut random);
        enable(&mut client, &mut random);
        for _ in 0..60 {
            let bytes = descriptor(&mut random);
            write(&mut client, BAR2, 0, &bytes, &mut random);
        }
        loop {
            let payload = access(BAR4, DESCRIPTORS, 24, &[]);
            let counters = exchange(&mut client, REGION_READ, &payload, &mut random);
            let [taken, completed, discarded] = [4, 6, 8].map(|index| counters.word(index));
            assert_ne!(taken, 0);
            // Of every other client some are still to do when it goes.
            if seed % 2 == 1 || taken == completed + discarded {
                break;
            }
        }
        drop(client);
        model.is_sound();
    }
    model.serves();
}

/// Addresses wrap around: the second descriptor of the list is at 0.
#[test]
fn a_batch_across_the_end_of_memory() {
    let model = Model::kept(DSA);
    let mut client = model.agreed();
    let mut random = Random(0);
    write(&mut client, CONFIG, 4, &[6, 0], &mut random);
    enable(&mut client, &mut random);
    let list = u64::MAX - 63;
    let mut batch = words(&[0, 0x0100_000c]);
    batch.extend([0x1000, list, 0].map(u64::to_le_bytes).concat());
    batch.extend(words(&[2]));
    batch.resize(64, 0);
    assert!(client.write(BAR2, 0, &batch).is_success());
    for address in [list, 0] {
        let request = client.asked();
        assert_eq!(request.command, DMA_READ);
        assert_eq!(request.payload[..8], address.to_le_bytes());
        // A descriptor that does nothing.
        let data = [&request.payload[..16], &[0; 64]].concat();
        client.send(&message(request.id, DMA_READ, REPLY, &data));
    }
    let record = client.asked();
    assert_eq!(record.command, DMA_WRITE);
    assert_eq!(record.payload[16], 1, "success");
    drop(client);
    model.serves();
}
