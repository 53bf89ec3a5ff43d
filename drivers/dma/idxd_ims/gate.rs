// SPDX-License-Identifier: GPL-2.0

//! Keeps a device from being used while it is reset or suspended, and handles while one is
//! requested.

use kernel::{
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        CondVar,
        Mutex, //
    }, //
};

struct State {
    inside: u32,
    closed: bool,
}

/// A gate that any number of tasks can be inside of, or that one task at a time can close.
#[pin_data]
pub(crate) struct Gate {
    #[pin]
    state: Mutex<State>,
    #[pin]
    changed: CondVar,
}

/// The gate does not close while this exists.
pub(crate) struct Pass<'a>(&'a Gate);

impl Gate {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(State {
                inside: 0,
                closed: false,
            }),
            changed <- new_condvar!(),
        })
    }

    /// Waits until the gate is open. The task must not have a pass of it already.
    pub(crate) fn enter(&self) -> Pass<'_> {
        let mut state = self.state.lock();

        while state.closed {
            self.changed.wait(&mut state);
        }
        state.inside += 1;
        Pass(self)
    }

    /// Closes the gate, and waits until all passes are dropped.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();

        state.closed = true;
        while state.inside != 0 {
            self.changed.wait(&mut state);
        }
    }

    pub(crate) fn open(&self) {
        self.state.lock().closed = false;
        self.changed.notify_all();
    }

    /// Opens the gate and enters it, before another task can close it.
    pub(crate) fn open_and_enter(&self) -> Pass<'_> {
        let mut state = self.state.lock();

        state.closed = false;
        state.inside += 1;
        self.changed.notify_all();
        Pass(self)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state.lock().inside -= 1;
        self.0.changed.notify_all();
    }
}
