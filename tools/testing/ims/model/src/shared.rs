// SPDX-License-Identifier: GPL-2.0

//! A device, shared by register accesses and a thread of its own that may wait
//! for the bus.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::pci::Region;

/// A device as the server sees it. None of this waits for the bus: QEMU waits
/// for the answer.
pub trait Model: Send {
    /// Reads `data.len()` bytes at `offset`.
    fn read(&mut self, region: Region, offset: u64, data: &mut [u8]);

    /// Writes bytes at `offset`.
    fn write(&mut self, region: Region, offset: u64, data: &[u8]);

    /// A reset by QEMU.
    fn reset(&mut self);
}

/// A device behind a lock, and its bus.
pub struct Shared<D, B: ?Sized> {
    device: Mutex<D>,
    pub(crate) bus: Arc<B>,
    wake: Condvar,
    stop: AtomicBool,
}

impl<D, B: ?Sized> Shared<D, B> {
    /// A device that its thread does not run for yet.
    pub fn new(device: D, bus: Arc<B>) -> Self {
        Self {
            device: Mutex::new(device),
            bus,
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
        }
    }

    /// The device. Must not be held while waiting for the bus.
    pub fn device(&self) -> MutexGuard<'_, D> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the thread that there may be work.
    pub fn notify(&self) {
        self.wake.notify_all();
    }

    /// Ends the thread.
    pub fn stop(&self) {
        let _device = self.device();
        self.stop.store(true, Ordering::Release);
        self.notify();
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Lets the thread sleep until there may be work, for `pause` at most.
    pub(crate) fn sleep(&self, device: MutexGuard<'_, D>, pause: Option<Duration>) {
        match pause {
            Some(pause) => drop(self.wake.wait_timeout(device, pause)),
            None => drop(self.wake.wait(device)),
        }
    }
}
