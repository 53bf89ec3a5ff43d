// SPDX-License-Identifier: GPL-2.0

use super::*;

#[test]
fn unmasked_context_sends_its_message() {
    let bench = Bench::armed();
    for queue in [2, 0, 3] {
        bench.ring(queue);
        bench.process();
        assert_eq!(bench.host.take(), [message(queue)]);
    }
    assert_eq!(bench.counters(), [3, 0, 0, 1, 4, 0, 0]);
}

#[test]
fn a_message_is_four_bytes_of_any_value_to_any_aligned_address() {
    let bench = Bench::enabled(Bench::quick());
    bench
        .host
        .fill(TABLE, &0xfedc_ba98_fee1_2344u64.to_le_bytes());
    bench
        .host
        .fill(TABLE + 8, &[0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0]);
    assert_eq!(bench.update(0, 1), 0);
    bench.host.take();
    bench.ring(0);
    bench.process();
    let message = Event::Write(0xfedc_ba98_fee1_2344, vec![0x11, 0x22, 0x33, 0x44]);
    assert_eq!(bench.host.take(), [message]);
}

#[test]
fn messages_keep_their_order() {
    let bench = Bench::armed();
    let order = [3, 1, 1, 0, 2, 3, 0, 0, 1].repeat(40);
    for (index, &queue) in order.iter().enumerate() {
        bench.ring(queue);
        if index % 7 == 0 {
            bench.shared.process();
        }
    }
    bench.process();
    let expected: Vec<_> = order.into_iter().map(message).collect();
    assert_eq!(bench.writes(), expected);
    assert_eq!(bench.get(SENT), 360);
}

#[test]
fn every_context_is_masked_until_it_is_taken() {
    let bench = Bench::new(Config::default());
    for queue in 0..64 {
        bench.context(queue, false);
    }
    bench.put(TABLE_LO, TABLE as u32);
    bench.put(CONTROL, 1);
    for queue in 0..64 {
        bench.ring(queue);
    }
    bench.process();
    let replayed = |queue: u32| [message(queue), status(queue.into(), 0)];
    let pending = (0..64).map(|queue| status(queue, 1));
    let expected: Vec<_> = pending.chain((0..64).flat_map(replayed)).collect();
    let mut events = bench.writes();
    events.sort_by_key(|event| expected.iter().position(|other| other == event));
    assert_eq!(events, expected);
    assert_eq!(bench.counters(), [64, 64, 64, 0, 0, 0, 0]);
}

#[test]
fn masked_context_latches() {
    let bench = Bench::armed();
    assert_eq!(bench.mask(1, true), []);
    assert_eq!(bench.status_word(1), 0);
    bench.ring(1);
    bench.process();
    assert_eq!(bench.host.take(), [status(1, 1)]);
    assert_eq!(bench.status_word(1), 1);
    assert_eq!((bench.get(SENT), bench.get(LATCHED)), (0, 1));
}

#[test]
fn raises_collapse_and_are_replayed_once() {
    let bench = Bench::armed();
    bench.mask(1, true);
    for _ in 0..3 {
        bench.ring(1);
    }
    bench.process();
    assert!(!bench.writes().contains(&message(1)));
    assert_eq!(bench.mask(1, false), [message(1), status(1, 0)]);
    assert_eq!(bench.status_word(1), 0);
    assert_eq!(bench.counters(), [1, 3, 1, 3, 6, 0, 0]);

    assert_eq!(bench.mask(1, false), [], "once");
    assert_eq!(bench.mask(1, true), []);
    assert_eq!(bench.mask(1, false), []);
    bench.ring(1);
    bench.process();
    assert_eq!(bench.writes(), [message(1)]);
    assert_eq!(bench.counters(), [2, 3, 1, 6, 9, 0, 0]);
}

#[test]
fn pending_outlives_an_update_that_masks_again() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.ring(1);
    bench.process();
    bench.host.take();
    bench.context_with(1, 0x77, 1);
    assert_eq!(bench.update(1, 1), 0);
    assert_eq!(bench.writes(), []);
    assert_eq!(bench.status_word(1), 1);
    bench.context_with(1, 0x78, 0);
    assert_eq!(bench.update(1, 1), 0);
    let replay = Event::Write(TARGET, vec![0x78, 0, 0, 0]);
    assert_eq!(bench.writes(), [replay, status(1, 0)], "the new message");
}

#[test]
fn each_queue_has_a_mask_of_its_own() {
    let bench = Bench::armed();
    bench.mask(1, true);
    for queue in 0..4 {
        bench.ring(queue);
    }
    bench.process();
    let expected = [message(0), status(1, 1), message(2), message(3)];
    assert_eq!(bench.host.take(), expected);
    assert_eq!(bench.mask(2, true), []);
    assert_eq!(bench.mask(1, false), [message(1), status(1, 0)]);
}

#[test]
fn a_message_is_that_of_its_doorbell() {
    let bench = Bench::armed();
    bench.ring(2);
    bench.context_with(2, 0x99, 0);
    bench.begin_update(2, 1);
    bench.process();
    bench.ring(2);
    bench.process();
    let new = Event::Write(TARGET, vec![0x99, 0, 0, 0]);
    assert_eq!(bench.writes(), [message(2), new]);
}

#[test]
fn without_an_update_host_memory_does_not_matter() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.context_with(0, 0x55, 1);
    bench.context_with(1, 0x55, 0);
    bench.host.fill(TABLE + 2 * 32, &[0xff; 32]);
    bench.ring(0);
    bench.ring(1);
    bench.ring(2);
    bench.process();
    assert_eq!(bench.host.take(), [message(0), status(1, 1), message(2)]);
}

#[test]
fn doorbells_out_of_range_are_ignored() {
    let bench = Bench::armed();
    for queue in [64, 65, 0x1_0000, 0x1_0001, 0xffff_ffff] {
        bench.ring(queue);
    }
    bench.process();
    assert_eq!(bench.host.take(), []);
    assert_eq!(bench.get(IGNORED), 5);
    bench.ring(63);
    bench.process();
    assert_eq!(bench.host.take(), [status(63, 1)]);
    assert_eq!(bench.get(IGNORED), 5);
}

#[test]
fn doorbells_of_a_disabled_device_are_ignored() {
    let bench = Bench::armed();
    bench.put(CONTROL, 0);
    bench.ring(0);
    bench.ring(1);
    bench.process();
    assert_eq!(bench.host.take(), []);
    assert_eq!(bench.counters(), [0, 0, 0, 1, 4, 2, 0]);
}

#[test]
fn the_device_touches_only_its_own_words() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.ring(1);
    bench.process();
    bench.mask(1, false);
    for queue in 0..64 {
        let reserved = TABLE + queue * 32 + 20;
        for word in 0..3 {
            assert_eq!(bench.host.word(reserved + word * 4), 0xa5a5_a5a5);
        }
    }
}

#[test]
fn refused_messages_are_counted() {
    let bench = Bench::armed();
    bench.host.refuse(TARGET..TARGET + 4);
    bench.ring(0);
    bench.ring(1);
    bench.process();
    assert_eq!(bench.writes(), [message(0), message(1)]);
    assert_eq!(bench.counters(), [2, 0, 0, 1, 4, 0, 2]);
    assert_eq!(bench.get(STATUS), 0);
}

#[test]
fn a_refused_status_word_is_no_refused_message() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.host.refuse(TABLE..TABLE + 0x1000);
    bench.ring(1);
    bench.process();
    assert_eq!((bench.get(LATCHED), bench.get(REFUSED)), (1, 0));
    assert_eq!(bench.get(STATUS), 0, "nor the error of an UPDATE");
}

#[test]
fn misaligned_messages_are_not_sent() {
    let bench = Bench::enabled(Bench::quick());
    for low in 1..4 {
        bench.host.fill(TABLE + 12, &[0; 4]);
        bench.host.fill(TABLE, &(TARGET | low).to_le_bytes());
        assert_eq!(bench.update(0, 1), 0);
        bench.ring(0);
        bench.process();
    }
    assert_eq!(bench.writes(), []);
    assert_eq!((bench.get(SENT), bench.get(REFUSED)), (0, 3));
}

#[test]
fn without_bus_mastering_nothing_leaves() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.set_command(0x2);
    bench.ring(0);
    bench.ring(1);
    bench.process();
    assert_eq!(bench.update(2, 1), 4);
    assert_eq!(bench.host.take(), []);
    assert_eq!(bench.counters(), [0, 1, 0, 3, 5, 0, 1]);

    bench.set_command(0x6);
    assert_eq!(bench.mask(1, false), [message(1), status(1, 0)]);
}
