// SPDX-License-Identifier: GPL-2.0

use crate::pass::Passes;
use crate::sync::atomic::{Atomic, Relaxed};
use loom::{model::Builder, sync::Arc, thread};

const TASKS: usize = 3;
const PREEMPTIONS: usize = 3;

/// What a CPU has been sent before each task waits, and what of it the CPU has taken.
struct Cpu {
    sent: [Atomic<bool>; TASKS],
    taken: [Atomic<bool>; TASKS],
    passes: Passes,
}

impl Cpu {
    fn new() -> Self {
        let none = || [(); TASKS].map(|_| Atomic::new(false));
        Self {
            sent: none(),
            taken: none(),
            passes: Passes {
                begun: Atomic::new(0),
                ended: Atomic::new(0),
            },
        }
    }

    fn visit(&self) {
        for (sent, taken) in self.sent.iter().zip(&self.taken) {
            if sent.load(Relaxed) {
                taken.store(true, Relaxed);
            }
        }
    }

    fn task(&self, number: usize) {
        self.sent[number].store(true, Relaxed);
        self.passes.wait(self.passes.next(), || self.visit());
        assert!(self.taken[number].load(Relaxed));
    }
}

#[test]
fn a_pass_takes_what_was_sent_before_anybody_waited_for_it() {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(|| {
        let cpu = Arc::new(Cpu::new());
        let tasks: Vec<_> = (1..TASKS)
            .map(|number| {
                let cpu = cpu.clone();
                thread::spawn(move || cpu.task(number))
            })
            .collect();

        cpu.task(0);
        for task in tasks {
            task.join().unwrap();
        }
    });
}
