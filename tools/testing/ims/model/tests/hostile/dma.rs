// SPDX-License-Identifier: GPL-2.0

//! Maps of memory, and answers to what the device asks for.

use std::io::Write;
use std::os::fd::AsFd;

use crate::client::*;
use crate::model::*;

const READ_WRITE: u32 = 3;
const UNMAP_DIRTY: u32 = 1;
const UNMAP_ALL: u32 = 2;

/// The models reach memory by messages, so that a map is nothing to them. It has to make sense.
#[test]
fn maps() {
    let path = std::env::temp_dir().join(format!("hostile-map-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    file.write_all(&[0; 16]).unwrap();
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        let resources = model.resources();
        for (what, payload) in [
            ("nothing", map(READ_WRITE, 0, 0x1000, 0)),
            ("beyond the end", map(READ_WRITE, 0, u64::MAX, 2)),
            ("more than all", map(READ_WRITE, 0, 0x1000, u64::MAX)),
            (
                "a file beyond its end",
                map(READ_WRITE, u64::MAX, 0x1000, 0x1000),
            ),
            ("flags", map(1 << 31 | READ_WRITE, 0, 0x1000, 0x1000)),
        ] {
            let reply = client.request(DMA_MAP, &payload);
            assert!(reply.is_refusal(), "{what}: {reply:?}");
            let reply = client.request_with(DMA_MAP, &payload, &[file.as_fd()]);
            assert!(reply.is_refusal(), "{what}: {reply:?}");
        }
        for (what, payload) in [
            ("some", map(READ_WRITE, 0, 0, 0x10_0000)),
            ("the same", map(READ_WRITE, 0, 0, 0x10_0000)),
            ("a part of it", map(READ_WRITE, 0, 0x1000, 0x1000)),
            ("more", map(READ_WRITE, 0, 0x8_0000, 0x1_0000_0000)),
            ("all", map(READ_WRITE, 0, 0, u64::MAX)),
            ("the last byte", map(READ_WRITE, 0, u64::MAX, 1)),
            (
                "more than the file has",
                map(READ_WRITE, 0x1000, 0, 1 << 40),
            ),
            ("no access", map(0, 0, 0, 0x1000)),
        ] {
            assert!(client.request(DMA_MAP, &payload).is_success(), "{what}");
            let reply = client.request_with(DMA_MAP, &payload, &[file.as_fd()]);
            assert!(reply.is_success(), "{what}: {reply:?}");
            let reply = client.request_with(DMA_MAP, &payload, &[file.as_fd(); 2]);
            assert!(reply.is_refusal(), "{what}, two files: {reply:?}");
        }
        client.check();
        model.settles_at(resources);
        // As many as a client wants.
        for index in 0..2000 {
            let payload = map(READ_WRITE, 0, index << 12, 0x1000);
            assert!(client
                .request_with(DMA_MAP, &payload, &[file.as_fd()])
                .is_success());
        }
        model.settles_at(resources);
        model.is_sound();
    }
}

#[test]
fn unmaps() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        for (what, payload) in [
            ("nothing", unmap(0, 0x1000, 0)),
            ("beyond the end", unmap(0, u64::MAX, 2)),
            ("dirty pages", unmap(UNMAP_DIRTY, 0, 0x1000)),
            ("all of a range", unmap(UNMAP_ALL, 0x1000, 0x1000)),
            ("flags", unmap(1 << 31, 0, 0x1000)),
        ] {
            let reply = client.request(DMA_UNMAP, &payload);
            assert!(reply.is_refusal(), "{what}: {reply:?}");
        }
        for (what, payload) in [
            ("unknown", unmap(0, 0x1000, 0x1000)),
            ("the end", unmap(0, u64::MAX, 1)),
            ("all", unmap(UNMAP_ALL, 0, 0)),
        ] {
            let reply = client.request(DMA_UNMAP, &payload);
            assert!(reply.is_success(), "{what}: {reply:?}");
            assert_eq!(reply.payload[8..], payload[8..], "{what}");
        }
        client.check();
    }
}

/// The answers to a request for data that a client can think of.
fn answers(request: &Message) -> Vec<Vec<u8>> {
    let count = u64::from_le_bytes(*request.payload[8..].first_chunk().unwrap()) as usize;
    let answer = |id, command, flags, start: &[u8], len| {
        message(id, command, flags, &[start, &vec![0xff; len]].concat())
    };
    let start = &request.payload[..16];
    let Message { id, command, .. } = *request;
    vec![
        answer(id, command, REPLY, start, count),
        answer(id, command, REPLY, start, count.saturating_sub(1)),
        answer(id, command, REPLY, start, count + 1),
        answer(id, command, REPLY, start, 0),
        answer(id, command, REPLY, &start[..3], 0),
        answer(id, command, REPLY, &[], 0),
        answer(id, command, REPLY, start, 0x10_0000),
        answer(id, command, REPLY | ERROR, &[], 0),
        answer(id, command, 0xffff_fff1, start, count),
        answer(id, 0xffff, REPLY, start, count),
        answer(id.wrapping_add(1), command, REPLY, start, count),
        Vec::new(),
    ]
}

/// Has the queue device read all of its contexts.
fn enable(client: &mut Client) {
    client.write_word(CONFIG, 4, 6);
    client.write_word(BAR0, 0x08, 0x1000);
    client.write_word(BAR0, 0x10, 1);
}

fn first_long(message: &Message) -> u64 {
    u64::from_le_bytes(*message.payload.first_chunk().unwrap())
}

/// The next request of the device for data, which is refused.
fn request_after(client: &mut Client, first: u16) -> Message {
    let next = client.asked();
    assert_ne!(next.id, first);
    client.send(&message(next.id, next.command, REPLY | ERROR, &[]));
    next
}

#[test]
fn answers_of_any_kind() {
    let model = Model::kept(QUEUE);
    let resources = model.resources();
    let kinds = {
        let mut client = model.agreed();
        enable(&mut client);
        answers(&client.asked()).len()
    };
    for kind in 0..kinds {
        let mut client = model.agreed();
        enable(&mut client);
        let first = client.asked();
        assert_eq!((first.command, first.flags), (DMA_READ, 0));
        // The second answer, and the refusal, are for nothing any more.
        let answer = &answers(&first)[kind];
        client.send(answer);
        client.send(answer);
        client.send(&message(first.id, DMA_READ, REPLY | ERROR, &[]));
        // Each request that follows is refused.
        let last = 0x1000 + 63 * 32;
        while first_long(&request_after(&mut client, first.id)) != last {}
        client.check();
    }
    model.serves();
    model.settles_at(resources);
}

#[test]
fn a_client_that_never_answers_can_still_ask_and_go() {
    let model = Model::kept(QUEUE);
    let resources = model.resources();
    for _ in 0..3 {
        let mut client = model.agreed();
        enable(&mut client);
        for _ in 0..100 {
            client.check();
        }
        assert_eq!(client.read_word(BAR0, 0x18) & 1, 1, "busy");
    }
    model.serves();
    model.settles_at(resources);
}

/// Each doorbell of a masked context is a write to memory.
#[test]
fn doorbells_that_nobody_answers_are_ignored_in_the_end() {
    let model = Model::kept(QUEUE);
    let mut client = model.agreed();
    enable(&mut client);
    client.asked();
    let doorbell = message(1, REGION_WRITE, NO_REPLY, &access(BAR0, 0x1c, 4, &[0; 4]));
    let many = doorbell.repeat(1000);
    for _ in 0..100 {
        client.send(&many);
    }
    assert_eq!(client.read_word(BAR0, 0x84), 65_536, "latched");
    assert_eq!(client.read_word(BAR0, 0x94), 100_000 - 65_536, "ignored");
    client.check();
    model.is_sound();
}

/// There are 65536 IDs of messages. Each write of SYNC takes one until it is answered.
#[test]
fn more_requests_than_ids_that_nobody_answers() {
    const SYNC: u64 = 0x130;
    let model = Model::kept(DSA);
    let mut client = model.agreed();
    client.write_word(CONFIG, 4, 6);
    let sync = message(1, REGION_WRITE, NO_REPLY, &access(BAR4, SYNC, 4, &[1; 4]));
    let many = sync.repeat(1000);
    for _ in 0..70 {
        client.send(&many);
        // Reads what the device asks for, and answers nothing.
        client.check();
    }
    model.is_sound();
    drop(client);
    model.serves();
}
