// SPDX-License-Identifier: GPL-2.0

//! The thread that sends for the device, reads for it, and waits for the host.

use std::time::Instant;

use super::Device;
use crate::bus::Dma;
use crate::shared;

/// The device, shared by register accesses and its thread.
pub type Shared = shared::Shared<Device, dyn Dma>;

impl Shared {
    /// Works until [`Self::stop`].
    pub fn run(&self) {
        loop {
            while self.process() {}
            let device = self.device();
            if self.stopped() {
                return;
            }
            let now = Instant::now();
            if !device.has_work(now) {
                let deadline = device.deadline();
                self.sleep(device, deadline.map(|at| at.saturating_duration_since(now)));
            }
        }
    }

    /// Starts what there is to do and waits until the host has answered all of
    /// it; `false` if there was nothing.
    pub fn process(&self) -> bool {
        let requests = self.device().start(&*self.bus, Instant::now());
        let any = !requests.is_empty();
        for request in requests {
            let answer = request.answer.wait();
            self.device().finish(request.tag, answer);
        }
        any
    }
}
