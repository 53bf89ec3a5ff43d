// SPDX-License-Identifier: GPL-2.0

use crate::genirq::Irq;
use loom::{model::Builder, sync::Arc, thread};

const NO_LIMIT: u32 = 0;

/// Maximum number of preemptions of a thread that need not wait: all of them would take hours.
const PREEMPTIONS: usize = 5;

/// Runs `task` while `messages` messages arrive at each of `cpus` CPUs, for an interrupt that is
/// unmasked to begin with.
fn check(limit: u32, cpus: u32, messages: u32, task: fn(&Irq)) {
    check_from(false, limit, cpus, messages, task);
}

fn check_from(masked: bool, limit: u32, cpus: u32, messages: u32, task: fn(&Irq)) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(move || {
        let irq = Arc::new(Irq::new(masked, limit));
        let cpus: Vec<_> = (0..cpus)
            .map(|_| {
                let irq = irq.clone();
                thread::spawn(move || (0..messages).for_each(|_| irq.arrive()))
            })
            .collect();

        task(&irq);
        for cpu in cpus {
            cpu.join().unwrap();
        }
        settled(&irq);
    });
}

/// All threads have ended.
fn settled(irq: &Irq) {
    assert!(irq.reported() <= 1);

    // The core has it disabled once if it is masked, otherwise not at all. When it is unmasked, a
    // pending interrupt may exceed the limit again.
    for _ in 0..2 {
        let depth = irq.depth();
        assert!(depth <= 1, "disabled {depth} times");
        assert_eq!(irq.unmask(), depth == 1);
    }
    assert_eq!(irq.depth(), 0);

    // It works.
    let before = irq.handled();
    irq.arrive();
    assert_eq!(irq.handled(), before + 1);
}

/// `mask()` has returned: the handler is not running, and does not run.
fn quiet(irq: &Irq) {
    let before = irq.handled();

    assert!(!irq.is_in_progress());
    thread::yield_now();
    assert_eq!(irq.handled(), before);
}

fn mask_and_unmask(irq: &Irq) {
    irq.mask();
    quiet(irq);
    assert!(irq.unmask());
}

fn unmask(irq: &Irq) {
    irq.unmask();
}

#[test]
fn masked_by_a_call() {
    check(NO_LIMIT, 2, 1, mask_and_unmask);
}

#[test]
fn masked_by_a_call_twice() {
    check(NO_LIMIT, 1, 2, |irq| {
        irq.mask();
        irq.mask();
        quiet(irq);
        assert!(irq.unmask());
        assert!(!irq.unmask());
    });
}

#[test]
fn masked_by_its_limit_and_unmasked() {
    check(1, 1, 3, unmask);
}

#[test]
fn masked_by_its_limit_on_two_cpus_and_unmasked() {
    check(1, 2, 2, unmask);
}

#[test]
fn masked_by_its_limit_and_by_a_call() {
    check(1, 1, 3, mask_and_unmask);
}

#[test]
fn masked_by_its_limit_on_two_cpus_and_by_a_call() {
    check(1, 2, 1, mask_and_unmask);
}

#[test]
fn masked_by_its_limit_again() {
    check(1, 1, 4, |irq| {
        unmask(irq);
        unmask(irq);
    });
}

/// With `IRQF_NO_AUTOEN`.
#[test]
fn requested_masked_and_unmasked() {
    check_from(true, NO_LIMIT, 2, 1, |irq| {
        quiet(irq);
        assert!(irq.unmask());
        assert!(!irq.unmask());
    });
}

#[test]
fn requested_masked_and_masked_by_its_limit() {
    check_from(true, 1, 1, 3, |irq| {
        assert!(irq.unmask());
        unmask(irq);
    });
}
