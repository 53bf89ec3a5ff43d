// SPDX-License-Identifier: GPL-2.0

//! Interrupts: SET_IRQS, and what the file descriptors of vectors can be.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{eventfd, EventfdFlags};

use crate::client::*;
use crate::model::*;

/// Of the DSA as it is without options.
const VECTORS: u32 = 9;

const MASK: u32 = 8;
const UNMASK: u32 = 16;

/// An eventfd as a client may have it: reads of it wait.
fn event(count: u32) -> OwnedFd {
    eventfd(count, EventfdFlags::CLOEXEC).unwrap()
}

fn set(client: &mut Client, words: [u32; 4], fds: &[BorrowedFd<'_>]) -> Message {
    let [flags, index, start, count] = words;
    client.request_with(SET_IRQS, &irqs(flags, index, start, count), fds)
}

#[test]
fn what_set_irqs_refuses() {
    let model = Model::kept(DSA);
    let mut client = model.agreed();
    let event = event(0);
    let resources = model.resources();
    let fds = [event.as_fd(); 10];
    let eventfd = DATA_EVENTFD | TRIGGER;
    for (words, fds) in [
        // No such interrupts.
        ([eventfd, MSIX, 0, VECTORS + 1], &fds[..10]),
        ([eventfd, MSIX, VECTORS, 1], &fds[..1]),
        ([eventfd, MSIX, u32::MAX, 1], &fds[..1]),
        ([eventfd, MSIX, u32::MAX, 2], &fds[..2]),
        ([eventfd, MSIX, 2, u32::MAX], &fds[..2]),
        ([eventfd, MSIX, 0, u32::MAX], &[]),
        ([eventfd, 0, 0, 1], &fds[..1]),
        ([eventfd, IRQS, 0, 1], &fds[..1]),
        ([eventfd, u32::MAX, 0, 1], &fds[..1]),
        ([DATA_NONE | TRIGGER, IRQS, 0, 0], &[]),
        ([DATA_NONE | TRIGGER, MSIX, VECTORS + 1, 0], &[]),
        // Other file descriptors than interrupts.
        ([eventfd, MSIX, 0, 2], &fds[..1]),
        ([eventfd, MSIX, 0, 1], &fds[..2]),
        ([eventfd, MSIX, 0, 0], &fds[..1]),
        ([DATA_NONE | TRIGGER, MSIX, 0, 0], &fds[..1]),
        // No data, no action, or several.
        ([0, MSIX, 0, 0], &[]),
        ([DATA_NONE, MSIX, 0, 0], &[]),
        ([TRIGGER, MSIX, 0, 0], &[]),
        ([DATA_NONE | eventfd, MSIX, 0, 1], &fds[..1]),
        ([eventfd | UNMASK, MSIX, 0, 1], &fds[..1]),
        ([eventfd | 1 << 6, MSIX, 0, 1], &fds[..1]),
        ([u32::MAX, MSIX, 0, 1], &fds[..1]),
        // What there is for other devices.
        ([DATA_BOOL | TRIGGER, MSIX, 0, 0], &[]),
        ([DATA_NONE | MASK, MSIX, 0, 1], &[]),
        ([DATA_NONE | UNMASK, MSIX, 0, 1], &[]),
    ] {
        let reply = set(&mut client, words, fds);
        assert!(reply.is_refusal(), "{words:x?}, {}: {reply:?}", fds.len());
    }
    // Flags of bytes, one a vector.
    let payload = [irqs(DATA_BOOL | TRIGGER, MSIX, 0, 4), vec![1; 4]].concat();
    assert!(client.request(SET_IRQS, &payload).is_refusal());
    client.check();
    model.settles_at(resources);
}

#[test]
fn a_device_without_interrupts_has_none_to_set() {
    let model = Model::kept(QUEUE);
    let mut client = model.agreed();
    let event = event(0);
    for index in 0..IRQS {
        let reply = set(
            &mut client,
            [DATA_EVENTFD | TRIGGER, index, 0, 1],
            &[event.as_fd()],
        );
        assert!(reply.is_refusal(), "{index}: {reply:?}");
        assert!(set(&mut client, [DATA_NONE | TRIGGER, index, 0, 0], &[]).is_success());
    }
}

#[test]
fn file_descriptors_are_kept_only_as_long_as_they_are_set() {
    let model = Model::kept(DSA);
    let mut client = model.agreed();
    let [fds, threads] = model.resources();
    let event = event(0);
    let eventfd = DATA_EVENTFD | TRIGGER;
    for _ in 0..50 {
        for start in 0..VECTORS {
            assert!(set(&mut client, [eventfd, MSIX, start, 1], &[event.as_fd()]).is_success());
        }
        let all = [event.as_fd(); VECTORS as usize];
        assert!(set(&mut client, [eventfd, MSIX, 0, VECTORS], &all).is_success());
    }
    model.settles_at([fds + VECTORS as usize, threads]);
    // Vectors without file descriptors are disabled; the others stay.
    assert!(set(&mut client, [eventfd, MSIX, 2, 3], &[]).is_success());
    model.settles_at([fds + VECTORS as usize - 3, threads]);
    assert!(set(&mut client, [DATA_NONE | TRIGGER, MSIX, 0, 0], &[]).is_success());
    model.settles_at([fds, threads]);
}

/// Has vector 0 raised, by a command that the device does not have.
fn raise(client: &mut Client) {
    client.write_word(CONFIG, 4, 6);
    client.write_word(BAR0, 0xa0, 1 << 31 | 0x1f << 20);
}

#[test]
fn an_interrupt_arrives_in_its_eventfd() {
    let model = Model::kept(DSA);
    let mut client = model.agreed();
    let event = event(0);
    set(
        &mut client,
        [DATA_EVENTFD | TRIGGER, MSIX, 0, 1],
        &[event.as_fd()],
    );
    raise(&mut client);
    let mut count = [0; 8];
    std::fs::File::from(event).read_exact(&mut count).unwrap();
    assert_ne!(u64::from_ne_bytes(count), 0);
}

/// A write to it would wait for ever, with the device locked.
#[test]
fn a_full_eventfd_does_not_stop_the_device() {
    let model = Model::kept(DSA);
    let mut client = model.agreed();
    let event = event(0);
    let mut full = std::fs::File::from(event.try_clone().unwrap());
    full.write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
    set(
        &mut client,
        [DATA_EVENTFD | TRIGGER, MSIX, 0, 1],
        &[event.as_fd()],
    );
    for _ in 0..3 {
        raise(&mut client);
    }
    client.check();
}

#[test]
fn a_full_socket_in_place_of_an_eventfd_does_not_stop_the_device() {
    let model = Model::kept(DSA);
    let mut client = model.agreed();
    let (mut ours, _theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    while ours.write(&[0; 4096]).is_ok() {}
    ours.set_nonblocking(false).unwrap();
    set(
        &mut client,
        [DATA_EVENTFD | TRIGGER, MSIX, 0, 1],
        &[ours.as_fd()],
    );
    for _ in 0..3 {
        raise(&mut client);
    }
    client.check();
}

#[test]
fn other_files_in_place_of_an_eventfd() {
    let model = Model::kept(DSA);
    let null = std::fs::File::open("/dev/null").unwrap();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let (closed, other) = UnixStream::pair().unwrap();
    drop(other);
    for fd in [null.as_fd(), full.as_fd(), closed.as_fd()] {
        let mut client = model.agreed();
        let reply = set(&mut client, [DATA_EVENTFD | TRIGGER, MSIX, 0, 1], &[fd]);
        assert!(reply.is_success() || reply.is_refusal(), "{reply:?}");
        raise(&mut client);
        client.check();
    }
    model.serves();
}
