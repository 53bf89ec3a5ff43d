// SPDX-License-Identifier: GPL-2.0

//! Clients that do not read, and clients that wait.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::Duration;

use crate::client::*;
use crate::model::*;

/// Sends reads of a page until the model takes no more; returns how many were sent in whole.
fn flood(client: &mut Client) -> (usize, usize) {
    let request = message(1, REGION_READ, 0, &access(CONFIG, 0, 4096, &[]));
    client.stream.set_nonblocking(true).unwrap();
    let (mut sent, mut waits) = (0, 0);
    // Once it has taken nothing for 200 ms it waits for the client.
    while waits < 20 {
        match client.stream.write(&request[sent % request.len()..]) {
            Ok(len) => (sent, waits) = (sent + len, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                waits += 1;
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    client.stream.set_nonblocking(false).unwrap();
    (sent / request.len(), sent % request.len())
}

#[test]
fn a_client_that_reads_no_replies_is_waited_for() {
    for program in BOTH {
        let model = Model::kept(program);
        let resources = model.resources();
        let mut client = model.agreed();
        let (whole, rest) = flood(&mut client);
        assert!(whole > 10);
        let before = model.cpu_ticks();
        thread::sleep(Duration::from_millis(200));
        assert!(model.cpu_ticks() - before <= 5, "spins");
        model.is_sound();
        // Late, but all of them, in order.
        for _ in 0..whole {
            assert_eq!(client.reply().unwrap().payload.len(), 16 + 4096);
        }
        if rest != 0 {
            let request = message(1, REGION_READ, 0, &access(CONFIG, 0, 4096, &[]));
            client.send(&request[rest..]);
            assert!(client.reply().unwrap().is_success());
        }
        client.check();

        flood(&mut client);
        drop(client);
        model.serves();
        model.settles_at(resources);
    }
}

#[test]
fn a_client_that_reads_nothing_can_be_ended() {
    for program in BOTH {
        let mut model = Model::start(program);
        let mut client = model.agreed();
        flood(&mut client);
        model.signal("TERM");
        model.wait().is_clean();
    }
}

#[test]
fn a_client_that_does_nothing_costs_nothing() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        client.check();
        // Half a message.
        client.send(&message(1, GET_INFO, 0, &[0; 16])[..20]);
        let before = model.cpu_ticks();
        thread::sleep(Duration::from_millis(300));
        assert!(model.cpu_ticks() - before <= 5, "spins");
    }
}

/// The device sends by itself, while its client does not read.
#[test]
fn a_storm_of_messages_that_nobody_reads() {
    let model = Model::kept(DSA);
    let resources = model.resources();
    let mut client = model.agreed();
    client.write_word(CONFIG, 4, 6);
    // Slot 0 unmasked, and a source that raises it as fast as it can.
    client.write_word(BAR0, 0x4000, 0xfee0_0000);
    client.write_word(BAR0, 0x400c, 0);
    client.write_word(BAR4, 0x114, 1);
    client.write_word(BAR4, 0x108, u32::MAX);
    client.write_word(BAR4, 0x118, 1);
    thread::sleep(Duration::from_millis(300));
    model.is_sound();
    let before = model.cpu_ticks();
    thread::sleep(Duration::from_millis(200));
    assert!(model.cpu_ticks() - before <= 5, "spins");
    drop(client);
    model.serves();
    model.settles_at(resources);
}
