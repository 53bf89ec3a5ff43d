// SPDX-License-Identifier: GPL-2.0

use super::*;

fn reads(range: Range<u64>) -> Vec<Event> {
    range
        .map(|queue| Event::Read(TABLE + queue * 32, 16))
        .collect()
}

#[test]
fn takes_the_contexts_that_it_names_and_no_others() {
    for (value, taken) in [
        (0x0000_0000, 0..1),
        (0x0000_003f, 63..64),
        (0x0003_0004, 4..8),
        (0x003f_0000, 0..64),
        (0x0001_003e, 62..64),
    ] {
        let bench = Bench::enabled(Bench::quick());
        for queue in 0..64 {
            bench.context(queue, false);
        }
        bench.put(UPDATE, value);
        bench.process();
        assert_eq!(bench.get(STATUS), 0, "{value:#x}");
        assert_eq!(bench.host.take(), reads(taken.clone()), "{value:#x}");
        assert_eq!(bench.get(CONTEXTS), (taken.end - taken.start) as u32);
        assert_eq!(bench.get(UPDATES), 1);
        for queue in 0..64 {
            bench.ring(queue);
        }
        bench.process();
        let expected = |queue| {
            if taken.contains(&queue) {
                message(queue as u32)
            } else {
                status(queue, 1)
            }
        };
        let expected: Vec<_> = (0..64).map(expected).collect();
        assert_eq!(bench.host.take(), expected, "{value:#x}");
    }
}

#[test]
fn a_whole_table_of_4096() {
    let bench = Bench::enabled(Config {
        queues: 4096,
        ..Bench::quick()
    });
    assert_eq!(bench.update(0, 4096), 0);
    assert_eq!(bench.host.take(), reads(0..4096));
    assert_eq!((bench.get(UPDATES), bench.get(CONTEXTS)), (1, 4096));
}

#[test]
fn error_1_not_enabled() {
    let bench = Bench::new(Bench::quick());
    bench.begin_update(0, 1);
    assert_eq!(bench.get(STATUS), 0x100);
    bench.begin_update(64, 1);
    assert_eq!(bench.get(STATUS), 0x100);
    bench.process();
    assert_eq!(bench.host.take(), []);
    assert_eq!(bench.counters(), [0; 7]);
    bench.enable();
    assert_eq!(bench.get(STATUS), 0x100, "the last UPDATE's");
    assert_eq!(bench.update(0, 1), 0);
}

#[test]
fn error_2_out_of_range() {
    let bench = Bench::enabled(Bench::quick());
    for (first, number) in [
        (64, 1),
        (63, 2),
        (0, 65),
        (1, 64),
        (0xffff, 1),
        (0, 0x1_0000),
        (0xffff, 0x1_0000),
    ] {
        bench.begin_update(first, number);
        assert_eq!(bench.get(STATUS), 0x200, "{first} {number}");
    }
    bench.process();
    assert_eq!(bench.host.take(), []);
    assert_eq!(bench.counters(), [0; 7]);
    assert_eq!(bench.update(63, 1), 0, "the next one clears it");
}

#[test]
fn error_3_another_is_in_flight_and_goes_on() {
    let bench = Bench::enabled(Bench::quick());
    bench.context(5, false);
    bench.begin_update(5, 1);
    assert_eq!(bench.get(STATUS), BUSY);
    bench.begin_update(6, 1);
    assert_eq!(bench.get(STATUS), 0x300 | BUSY);
    bench.begin_update(64, 1);
    assert_eq!(bench.get(STATUS), 0x300 | BUSY);
    bench.process();
    assert_eq!(bench.get(STATUS), 0x300, "the last UPDATE's");
    assert_eq!(bench.host.take(), reads(5..6));
    assert_eq!((bench.get(UPDATES), bench.get(CONTEXTS)), (1, 1));
    bench.ring(5);
    bench.process();
    assert_eq!(bench.host.take(), [message(5)]);
    assert_eq!(bench.update(6, 1), 0);
}

#[test]
fn error_4_host_memory_cannot_be_read() {
    let bench = Bench::armed();
    for queue in 0..4 {
        bench.context_with(queue, 0x50 + queue, 0);
    }
    bench.host.refuse(TABLE + 32..TABLE + 3 * 32);
    assert_eq!(bench.update(0, 4), 4);
    assert_eq!(bench.host.take(), reads(0..4));
    assert_eq!((bench.get(UPDATES), bench.get(CONTEXTS)), (2, 4 + 2));
    for queue in 0..4 {
        bench.ring(queue);
    }
    bench.process();
    let sent = [0x50, 1, 2, 0x53].map(message);
    assert_eq!(bench.writes(), sent, "what cannot be read is not taken");
}

#[test]
fn error_4_short_answers() {
    let bench = Bench::armed();
    bench.begin_update(0, 1);
    let [request] = bench.start().try_into().ok().unwrap();
    let mut device = bench.shared.device();
    device.finish(request.tag, Ok(vec![0; 15]));
    drop(device);
    bench.process();
    assert_eq!(bench.get(STATUS), 0x400);
}

#[test]
fn error_4_host_memory_cannot_be_written() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.ring(1);
    bench.process();
    bench.host.take();
    let status_word = TABLE + 32 + 16;
    bench.host.refuse(status_word..status_word + 4);
    bench.context(1, false);
    assert_eq!(bench.update(1, 1), 4);
    assert_eq!(bench.writes(), [message(1), status(1, 0)]);
    assert_eq!((bench.get(REPLAYED), bench.get(REFUSED)), (1, 0));
    bench.ring(1);
    bench.process();
    assert_eq!(bench.writes(), [message(1)], "the context was taken");
}

#[test]
fn error_4_also_if_the_status_word_was_a_doorbells() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.host.refuse(TABLE + 32 + 16..TABLE + 2 * 32);
    bench.begin_update(2, 1);
    bench.ring(1);
    bench.process();
    assert_eq!(bench.get(STATUS), 0x400, "not everything is at the host");
    assert_eq!(bench.update(2, 1), 0);
}

#[test]
fn error_5_reserved_bits() {
    for bit in 1..32 {
        let bench = Bench::armed();
        for queue in 0..3 {
            bench.context_with(queue, 0x50 + queue, 0);
        }
        bench.context_with(1, 0x51, 1 << bit);
        assert_eq!(bench.update(0, 3), 5, "bit {bit}");
        assert_eq!((bench.get(UPDATES), bench.get(CONTEXTS)), (2, 4 + 2));
        bench.host.take();
        for queue in 0..3 {
            bench.ring(queue);
        }
        bench.process();
        let sent = [0x50, 1, 0x52].map(message);
        assert_eq!(bench.writes(), sent, "that context is not taken");
    }
}

#[test]
fn the_first_error_is_told() {
    let bench = Bench::armed();
    bench.context_with(1, 0, 2);
    bench.host.refuse(TABLE + 2 * 32..TABLE + 3 * 32);
    assert_eq!(bench.update(0, 4), 5);
    bench.context_with(3, 0, 2);
    assert_eq!(bench.update(2, 2), 4);
    assert_eq!(bench.update(0, 1), 0, "the next UPDATE clears it");
}

#[test]
fn contexts_are_read_one_by_one() {
    let bench = Bench::armed();
    bench.begin_update(0, 3);
    for queue in 0..3 {
        let read = bench.start();
        assert_eq!(bench.host.take(), reads(queue..queue + 1));
        assert!(bench.start().is_empty(), "the answer is still missing");
        assert!(!bench.shared.device().has_work(Instant::now()));
        assert_eq!(bench.shared.device().deadline(), None);
        bench.finish(read);
    }
    let end = bench.start();
    assert!(bench.start().is_empty());
    bench.finish(end);
    assert_eq!((bench.get(STATUS), bench.get(UPDATES)), (0, 2));
}

#[test]
fn status_word_is_not_read() {
    let bench = Bench::enabled(Bench::quick());
    bench.context(0, false);
    bench.host.fill(TABLE + 16, &[0xff; 16]);
    assert_eq!(bench.update(0, 1), 0);
    assert_eq!(bench.writes(), [], "pending is what the device knows");
    assert_eq!(bench.status_word(0), 0xffff_ffff);
}

#[test]
fn takes_its_time() {
    let bench = Bench::enabled(Config {
        update: Duration::from_secs(1),
        ..Config::default()
    });
    bench.context(0, false);
    let before = Instant::now();
    bench.begin_update(0, 1);
    let after = Instant::now();
    let second = Duration::from_secs(1);
    let mut device = bench.shared.device();
    let due = device.deadline().unwrap();
    assert!((before + second..=after + second).contains(&due));
    let early = due - Duration::from_nanos(1);
    assert!(!device.has_work(early) && device.has_work(due));
    assert!(device.start(&*bench.host, early).is_empty());
    let requests = device.start(&*bench.host, due);
    assert_eq!(bench.host.take(), reads(0..1));
    drop(device);
    bench.finish(requests);
    assert_eq!(bench.get(STATUS), BUSY);
    let requests = bench.shared.device().start(&*bench.host, due);
    bench.finish(requests);
    assert_eq!(bench.get(STATUS), 0);
}

#[test]
fn doorbells_meanwhile_act_on_the_cached_state() {
    let bench = Bench::enabled(Config {
        update: Duration::from_secs(1000),
        ..Config::default()
    });
    bench.context(0, false);
    bench.context(1, true);
    bench.begin_update(0, 2);
    bench.ring(0);
    bench.process();
    assert_eq!(
        bench.host.take(),
        [status(0, 1)],
        "still masked, and at once"
    );
    assert_eq!(bench.get(STATUS), BUSY);

    let later = Instant::now() + Duration::from_secs(2000);
    loop {
        let requests = bench.shared.device().start(&*bench.host, later);
        if requests.is_empty() {
            break;
        }
        bench.finish(requests);
    }
    assert_eq!(bench.get(STATUS), 0);
    assert_eq!(bench.writes(), [message(0), status(0, 0)], "not lost");
}

#[test]
fn doorbell_while_the_context_is_read() {
    // That unmasks it: latched first, then replayed.
    let bench = Bench::enabled(Bench::quick());
    bench.context(0, false);
    bench.begin_update(0, 1);
    let read = bench.start();
    bench.ring(0);
    bench.finish(read);
    bench.process();
    assert_eq!(bench.get(STATUS), 0);
    assert_eq!(bench.writes(), [status(0, 1), message(0), status(0, 0)]);
    assert_eq!(bench.status_word(0), 0);

    // That masks it: it was not masked yet, and is sent before the UPDATE ends.
    bench.context(0, true);
    bench.begin_update(0, 1);
    let read = bench.start();
    bench.ring(0);
    bench.finish(read);
    assert_eq!(bench.get(STATUS), BUSY);
    bench.process();
    assert_eq!(bench.get(STATUS), 0);
    assert_eq!(bench.writes(), [message(0)]);
    bench.ring(0);
    bench.process();
    assert_eq!(bench.writes(), [status(0, 1)]);
}

#[test]
fn nothing_is_sent_once_a_mask_update_has_completed() {
    let bench = Bench::armed();
    for round in 0..50 {
        for _ in 0..round {
            bench.ring(1);
        }
        bench.context(1, true);
        bench.begin_update(1, 1);
        bench.ring(1);
        while bench.get(STATUS) & BUSY != 0 {
            bench.ring(1);
            bench.shared.process();
        }
        let before = bench.get(SENT);
        bench.host.take();
        for _ in 0..round {
            bench.ring(1);
        }
        bench.process();
        assert!(!bench.host.take().contains(&message(1)), "round {round}");
        assert_eq!(bench.get(SENT), before);
        bench.mask(1, false);
    }
}

/// Runs until the device waits for an answer, and checks that it does not end
/// its UPDATE before it has it.
fn ends_after_the_answer(bench: &Bench, first: &str) {
    wait(|| bench.host.holds() > 0);
    for _ in 0..20 {
        assert_eq!(bench.get(STATUS), BUSY, "{first}");
        thread::sleep(Duration::from_millis(1));
    }
    bench.host.release();
    wait(|| bench.get(STATUS) == 0);
}

#[test]
fn status_is_read_at_once_while_host_memory_is() {
    let bench = Bench::armed();
    bench.with_thread(|| {
        bench.host.hold();
        bench.begin_update(0, 1);
        ends_after_the_answer(&bench, "read");
    });
    assert_eq!(bench.host.take(), reads(0..1));
}

#[test]
fn busy_until_the_replay_and_its_status_word_are_there() {
    let bench = Bench::armed();
    bench.mask(1, true);
    bench.ring(1);
    bench.process();
    bench.context(1, false);
    bench.begin_update(1, 1);
    let read = bench.start();
    bench.finish(read);
    bench.host.hold();
    bench.with_thread(|| ends_after_the_answer(&bench, "replay"));
    assert_eq!(bench.get(REPLAYED), 1);
}

#[test]
fn busy_until_messages_of_earlier_doorbells_are_there() {
    let bench = Bench::armed();
    bench.with_thread(|| {
        bench.host.hold();
        bench.ring(1);
        wait(|| bench.host.holds() == 1);
        bench.context(1, true);
        bench.begin_update(1, 1);
        ends_after_the_answer(&bench, "doorbell");
    });
    assert_eq!(bench.host.take(), [vec![message(1)], reads(1..2)].concat());
}

#[test]
fn answers_count_in_whatever_order_they_are_taken() {
    // The read of the context is answered before an older message.
    let bench = Bench::armed();
    bench.ring(1);
    let sent = bench.start();
    bench.context(1, true);
    bench.begin_update(1, 1);
    let read = bench.start();
    bench.finish(read);
    assert_eq!(bench.get(STATUS), BUSY);
    bench.finish(sent);
    bench.process();
    assert_eq!(bench.get(STATUS), 0);
}

#[test]
fn doorbells_without_end_do_not_hold_an_update_up() {
    let bench = Bench::armed();
    for _ in 0..1000 {
        bench.ring(0);
    }
    bench.context(1, true);
    bench.begin_update(1, 3);
    let mut rounds = 0;
    while bench.get(STATUS) & BUSY != 0 {
        for _ in 0..64 {
            bench.ring(0);
        }
        bench.shared.process();
        rounds += 1;
        assert!(rounds < 100, "starved");
    }
    assert_eq!(bench.get(STATUS), 0);
}

#[test]
fn thread_works_and_ends_when_told() {
    let bench = Bench::enabled(Config {
        update: Duration::from_millis(2),
        ..Config::default()
    });
    bench.with_thread(|| {
        for queue in 0..64 {
            bench.context(queue, false);
        }
        bench.begin_update(0, 64);
        for queue in 0..64 {
            bench.ring(queue);
        }
        wait(|| bench.get(STATUS) == 0);
        let [sent, latched, replayed, ..] = bench.counters();
        assert_eq!((sent + latched - replayed, sent), (64, 64));
        bench.ring(9);
        wait(|| bench.get(SENT) == 65);
    });
}
