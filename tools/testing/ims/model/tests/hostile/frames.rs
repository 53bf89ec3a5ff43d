// SPDX-License-Identifier: GPL-2.0

//! The framing of messages: sizes, pieces, ends, file descriptors.

use std::os::fd::AsFd;

use crate::client::*;
use crate::model::*;
use crate::session;

#[test]
fn a_client_may_go_after_every_byte() {
    for program in BOTH {
        let model = Model::kept(program);
        let resources = model.resources();
        let session = session::bytes();
        for len in 0..=session.len() {
            let mut client = model.connect();
            client.try_send(&session[..len]);
        }
        model.serves();
        model.settles_at(resources);
    }
}

#[test]
fn a_client_may_go_after_every_reply() {
    for program in BOTH {
        let model = Model::kept(program);
        let session = session::messages();
        for count in 0..=session.len() {
            let mut client = model.connect();
            for bytes in &session[..count] {
                client.send(bytes);
                let reply = client.reply().expect("a reply");
                assert!(reply.is_success(), "{reply:?} to {bytes:02x?}");
            }
        }
        model.serves();
    }
}

#[test]
fn an_end_between_messages_is_clean() {
    for program in BOTH {
        let mut model = Model::start(program);
        drop(model.connect());
        model.wait().is_clean();

        let mut model = Model::start(program);
        model.agreed().check();
        model.wait().is_clean();
    }
}

#[test]
fn an_end_within_a_message_is_told() {
    let version = message(1, VERSION, 0, &version());
    for program in BOTH {
        for len in [1, 15, 16, 17, version.len() - 1] {
            let mut model = Model::start(program);
            model.connect().send(&version[..len]);
            model.wait().says("ended within a message");
        }
    }
}

#[test]
fn sizes_that_no_message_has_end_the_connection() {
    for program in BOTH {
        for size in [0, 1, 15, 0x10_1001, 0x8000_0000, u32::MAX] {
            let mut model = Model::start(program);
            let mut client = model.connect();
            client.send(&message_of_size(1, VERSION, 0, size, &[]));
            assert_eq!(client.reply(), None);
            model.wait().says(&format!("a message of {size} bytes"));
        }
    }
}

#[test]
fn a_large_size_takes_no_memory_before_its_bytes_come() {
    let model = Model::kept(DSA);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = model.connect();
            client.send(&message_of_size(1, VERSION, 0, 0x10_1000, &[]));
            client
        })
        .collect();
    drop(clients);
    model.serves();
}

#[test]
fn messages_in_pieces() {
    for program in BOTH {
        let mut model = Model::start(program);
        let mut client = model.connect();
        for bytes in session::messages() {
            for byte in bytes {
                client.send(&[byte]);
            }
            assert!(client.reply().unwrap().is_success());
        }
        drop(client);
        model.wait().is_clean();
    }
}

#[test]
fn messages_all_at_once() {
    for program in BOTH {
        let mut model = Model::start(program);
        let mut client = model.connect();
        client.send(&session::bytes());
        let replies = client.finish();
        let ids: Vec<_> = replies.iter().map(|reply| reply.id).collect();
        assert_eq!(ids, Vec::from_iter(0..session::messages().len() as u16));
        assert!(replies.iter().all(Message::is_success));
        model.wait().is_clean();
    }
}

#[test]
fn file_descriptors_that_nobody_wants_are_closed() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        let file = std::fs::File::open("/dev/null").unwrap();
        let resources = model.resources();
        for _ in 0..100 {
            let fds = [file.as_fd(); 8];
            client.request_with(GET_INFO, &words(&[16, 0, 0, 0]), &fds);
            client.request_with(RESET, &[], &fds);
            client.request_with(0xffff, &[], &fds);
        }
        model.settles_at(resources);
        client.check();
    }
}

#[test]
fn too_many_file_descriptors() {
    let file = std::fs::File::open("/dev/null").unwrap();
    for program in BOTH {
        // In one piece the kernel closes those that there is no room for.
        for count in [17, 64, 253] {
            let model = Model::kept(program);
            let mut client = model.agreed();
            let resources = model.resources();
            let fds = vec![file.as_fd(); count];
            client.send_with(&message(1, RESET, 0, &[]), &fds);
            let reply = client.reply().expect("a reply");
            assert!(reply.is_refusal(), "{reply:?}");
            client.check();
            model.settles_at(resources);
        }
        // Each byte of a header brings more.
        let model = Model::kept(program);
        let mut client = model.agreed();
        let resources = model.resources();
        for byte in message(1, RESET, 0, &[]) {
            client.send_with(&[byte], &[file.as_fd(); 16]);
        }
        let reply = client.reply().expect("a reply");
        assert!(reply.is_refusal(), "{reply:?}");
        client.check();
        model.settles_at(resources);
    }
}
