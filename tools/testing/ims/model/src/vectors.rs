// SPDX-License-Identifier: GPL-2.0

//! The eventfds of MSI-X vectors.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::debug;
use rustix::event::{poll, PollFd, PollFlags, Timespec};

/// An eventfd for each vector. One without is disabled.
pub struct Vectors(Mutex<Vec<Option<File>>>);

impl Vectors {
    /// Disabled vectors.
    pub fn new(count: u16) -> Self {
        Self(Mutex::new((0..count).map(|_| None).collect()))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<File>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Disables all vectors.
    pub fn clear(&self) {
        self.lock().fill_with(|| None);
    }

    /// Gives vectors from `start` on their eventfds. Those that `fds` is too short for are disabled.
    pub fn set(&self, start: usize, count: usize, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        for vector in self.lock().iter_mut().skip(start).take(count) {
            *vector = fds.next().map(File::from);
        }
    }

    /// Signals a vector, unless it is disabled. Never waits, whatever a client has made its eventfd:
    /// one that is full says already all that it can.
    pub fn signal(&self, vector: u16) {
        let vectors = self.lock();
        let Some(Some(eventfd)) = vectors.get(usize::from(vector)) else {
            return;
        };
        let mut ready = [PollFd::new(eventfd, PollFlags::OUT)];
        let written = match poll(&mut ready, Some(&Timespec::default())) {
            Ok(1..) => (&mut &*eventfd).write_all(&1u64.to_ne_bytes()),
            Ok(0) => return debug!("vector {vector}: its eventfd is full"),
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            debug!("vector {vector}: {error}");
        }
    }
}
