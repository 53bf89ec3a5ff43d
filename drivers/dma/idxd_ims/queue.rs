// SPDX-License-Identifier: GPL-2.0

//! A work queue, and the descriptors that are submitted to it.

use crate::{
    device::Device,
    parameters::Parameters,
    regs::*, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    dma::Coherent,
    fmt,
    io::{
        io_read,
        io_write,
        poll::read_poll_timeout,
        Io, //
    },
    prelude::*,
    time::Delta, //
};

/// Layout of the memory of a queue, in words of 8 bytes. A completion record has a size and an
/// alignment of 32 bytes.
const COMPLETION: usize = 0;
const SOURCE: usize = 8;
const TARGET: usize = SOURCE + Queue::MAX_COPY / 8;
const WORDS: usize = TARGET + Queue::MAX_COPY / 8;

/// Operation of a descriptor.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Noop,
    /// Copies a number of bytes, at most [`Queue::MAX_COPY`].
    Copy(usize),
}

/// An enabled work queue. It has one descriptor in flight at most.
pub(crate) struct Queue {
    index: u32,
    emulated: bool,
    memory: Coherent<[u64]>,
    timeout: Delta,
    submitted: u64,
    /// A descriptor did not complete in time, and still may.
    stuck: bool,
}

impl Queue {
    /// Maximum length of [`Queue::copy`], in bytes.
    pub(crate) const MAX_COPY: usize = 8192;

    /// Enables work queue `index`.
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        device: &Device<'_>,
        index: u32,
        parameters: &Parameters,
    ) -> Result<Self> {
        let memory = Coherent::zeroed_slice(dev, WORDS, GFP_KERNEL)?;

        device.enable_wq(index)?;
        Ok(Self {
            index,
            emulated: parameters.emulated,
            memory,
            timeout: parameters.timeout,
            submitted: 0,
            stuck: false,
        })
    }

    /// Enables the work queue after a reset of the device.
    pub(crate) fn restart(&mut self, device: &Device<'_>) -> Result {
        self.stuck = false;
        device.enable_wq(self.index)?;
        device.queues[self.index as usize].open();
        Ok(())
    }

    /// Runs an operation that raises the interrupt of `handle`, and waits for its completion
    /// record. Sleeps.
    ///
    /// Errors: [`ETIMEDOUT`] if it does not complete, and then always until the device is reset,
    /// [`ESTALE`] if the handle is not valid any more, [`EIO`] if it fails.
    pub(crate) fn run(&mut self, device: &Device<'_>, op: Operation, handle: u16) -> Result {
        match op {
            Operation::Noop => self.submit(device, OPCODE_NOOP, handle, [0, 0], 0),
            Operation::Copy(bytes) => self.copy(device, handle, bytes),
        }
    }

    /// Makes the device copy `bytes` bytes, and compares them.
    fn copy(&mut self, device: &Device<'_>, handle: u16, bytes: usize) -> Result {
        if self.stuck {
            return Err(ETIMEDOUT);
        }

        let words = bytes.div_ceil(8);
        // A new pattern each time. No word of it is zero, which the target is cleared to.
        let pattern = |word: usize| (word as u64 + 1) << 32 | (self.submitted & 0xffff_ffff) | 1;
        for word in 0..words {
            io_write!(self.memory, [try: SOURCE + word], pattern(word));
            io_write!(self.memory, [try: TARGET + word], 0);
        }

        let base = self.memory.dma_address();
        let address = |word: usize| base + word as u64 * 8;
        // CAST: At most `MAX_COPY`.
        let size = bytes as u32;
        let ends = [address(SOURCE), address(TARGET)];
        self.submit(device, OPCODE_MEMMOVE, handle, ends, size)?;

        for word in 0..words {
            let source = io_read!(self.memory, [try: SOURCE + word]);
            let target = io_read!(self.memory, [try: TARGET + word]);
            // Only a part of the last word may have been copied.
            let copied = match (word + 1) * 8 {
                end if end <= bytes => u64::MAX,
                end => u64::MAX >> (8 * (end - bytes)),
            };
            if target != source & copied {
                return Err(self.report(device, OPCODE_MEMMOVE, fmt!("copies other bytes")));
            }
        }
        Ok(())
    }

    fn submit(
        &mut self,
        device: &Device<'_>,
        opcode: u8,
        handle: u16,
        ends: [u64; 2],
        size: u32,
    ) -> Result {
        let head = DescriptorHead::zeroed()
            .with_opcode(opcode)
            .with_completion_valid(true)
            .with_request_completion(true)
            .with_request_interrupt(true);
        let tail = DescriptorTail::zeroed()
            .with_size(size)
            .with_int_handle(handle);
        let record = self.memory.dma_address() + COMPLETION as u64 * 8;
        let descriptor = [
            head.into_raw(),
            record,
            ends[0],
            ends[1],
            tail.into_raw(),
            0,
            0,
            0,
        ];
        let portal = (self.index as usize * PORTALS_PER_WQ + PORTAL_IMS) * PORTAL_SIZE;

        if self.stuck {
            return Err(ETIMEDOUT);
        }

        io_write!(self.memory, [try: COMPLETION], 0);
        if self.emulated {
            for (word, value) in descriptor.into_iter().enumerate() {
                device
                    .portals
                    .try_write64(value, portal + word * size_of::<u64>())?;
            }
        } else {
            device.portals.write512(portal, &descriptor)?;
        }
        self.submitted += 1;

        // CAST: The status is the first byte of the record.
        let status = read_poll_timeout(
            || Ok(io_read!(self.memory, [try: COMPLETION]) as u8),
            |&status| status != 0,
            Delta::from_micros(20),
            self.timeout,
        )
        .inspect_err(|_| {
            self.stuck = true;
            device.mark_broken();
            self.report(device, opcode, fmt!("does not complete"));
        })?;
        match status {
            COMPLETION_SUCCESS => Ok(()),
            COMPLETION_INVALID_HANDLE => Err(ESTALE),
            _ => Err(self.report(device, opcode, fmt!("fails with status {status:#x}"))),
        }
    }

    fn report(&self, device: &Device<'_>, opcode: u8, what: fmt::Arguments<'_>) -> Error {
        let index = self.index;
        device.report(fmt!("work queue {index}: operation {opcode:#x} {what}"))
    }
}
