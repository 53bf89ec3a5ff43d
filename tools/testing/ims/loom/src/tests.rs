// SPDX-License-Identifier: GPL-2.0

use crate::genirq::Irq;
use loom::{model::Builder, sync::Arc, thread};

const NO_LIMIT: u32 = 0;

/// How often a thread is interrupted by another where it need not wait: all would take hours.
const PREEMPTIONS: usize = 5;

/// Has `messages` arrive at each of `cpus` CPUs while `task` masks and unmasks.
fn check(limit: u32, cpus: u32, messages: u32, task: fn(&Irq)) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(move || {
        let irq = Arc::new(Irq::new(limit));
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

/// Nobody is at work on `irq` any more.
fn settled(irq: &Irq) {
    assert!(irq.reported() <= 1);

    // The core has it disabled once if it is masked, and else not at all. What was pending may
    // exceed the limit, and mask it once more.
    for _ in 0..2 {
        let depth = irq.depth();
        assert!(depth <= 1, "disabled {depth} times");
        assert_eq!(irq.mask.unmask(irq), depth == 1);
    }
    assert_eq!(irq.depth(), 0);

    // It works.
    let before = irq.handled();
    irq.arrive();
    assert_eq!(irq.handled(), before + 1);
}

/// `mask()` has returned: the handler does not run, and will not.
fn quiet(irq: &Irq) {
    let before = irq.handled();

    assert!(!irq.is_in_progress());
    thread::yield_now();
    assert_eq!(irq.handled(), before);
}

fn mask_and_unmask(irq: &Irq) {
    irq.mask.mask(irq);
    quiet(irq);
    assert!(irq.mask.unmask(irq));
}

fn unmask(irq: &Irq) {
    irq.mask.unmask(irq);
}

#[test]
fn masked_by_a_call() {
    check(NO_LIMIT, 2, 1, mask_and_unmask);
}

#[test]
fn masked_by_a_call_twice() {
    check(NO_LIMIT, 1, 2, |irq| {
        assert!(irq.mask.mask(irq));
        assert!(!irq.mask.mask(irq));
        quiet(irq);
        assert!(irq.mask.unmask(irq));
        assert!(!irq.mask.unmask(irq));
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
