// SPDX-License-Identifier: GPL-2.0

//! A work queue, and the descriptors that are submitted to it.

use crate::{
    device::Device,
    line::Line,
    regs::*, //
};
use kernel::{
    device::{
        self,
        Bound, //
    },
    dma::Coherent,
    ims::Pasid,
    io::{
        io_read,
        io_write,
        poll::read_poll_timeout, //
    },
    prelude::*,
    time::Delta, //
};

/// Where things are in the memory of a queue, in words of 8 bytes. A completion record has 32 bytes
/// and their alignment.
const COMPLETION: usize = 0;
const SOURCE: usize = 8;
const TARGET: usize = SOURCE + Queue::MAX_COPY / 8;
const WORDS: usize = TARGET + Queue::MAX_COPY / 8;

/// An enabled work queue. It has one descriptor in flight at most.
pub(crate) struct Queue {
    index: u32,
    pasid: Option<Pasid>,
    memory: Coherent<[u64]>,
    timeout: Delta,
    pub(crate) submitted: u64,
    /// A descriptor never completed, and may still.
    stuck: bool,
}

impl Queue {
    /// The most that [`Queue::copy`] copies, in bytes.
    pub(crate) const MAX_COPY: usize = 8192;

    /// Enables work queue `index`.
    pub(crate) fn new(
        dev: &device::Device<Bound>,
        device: &Device<'_>,
        index: u32,
        pasid: Option<Pasid>,
        timeout: Delta,
    ) -> Result<Self> {
        let memory = Coherent::zeroed_slice(dev, WORDS, GFP_KERNEL)?;

        device.enable_wq(index)?;
        Ok(Self {
            index,
            pasid,
            memory,
            timeout,
            submitted: 0,
            stuck: false,
        })
    }

    /// Runs a NOOP that raises `line`.
    pub(crate) fn noop(&mut self, device: &Device<'_>, line: &Line<'_>) -> Result {
        self.run(device, OPCODE_NOOP, line, [0, 0], 0)
    }

    /// Has the device copy `bytes` bytes and raise `line`, and compares.
    pub(crate) fn copy(&mut self, device: &Device<'_>, line: &Line<'_>, bytes: usize) -> Result {
        if bytes == 0 || bytes > Self::MAX_COPY {
            return Err(EINVAL);
        }
        if self.stuck {
            return Err(ETIMEDOUT);
        }

        let words = bytes.div_ceil(8);
        // Another pattern each time, and never zero, which is what the target is cleared to.
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
        self.run(device, OPCODE_MEMMOVE, line, ends, size)?;

        for word in 0..words {
            let source = io_read!(self.memory, [try: SOURCE + word]);
            let target = io_read!(self.memory, [try: TARGET + word]);
            // The last word may be copied in part.
            let copied = match (word + 1) * 8 {
                end if end <= bytes => u64::MAX,
                end => u64::MAX >> (8 * (end - bytes)),
            };
            if target != source & copied {
                dev_err!(
                    device.pci(),
                    "memmove of {bytes} bytes differs at {}\n",
                    word * 8
                );
                return Err(EIO);
            }
        }
        Ok(())
    }

    /// Runs a descriptor: waits for its completion record and, unless `line` is masked, for its
    /// interrupt. So interrupts do not merge on their way, as those of one vector can.
    fn run(
        &mut self,
        device: &Device<'_>,
        opcode: u8,
        line: &Line<'_>,
        ends: [u64; 2],
        size: u32,
    ) -> Result {
        let head = DescriptorHead::zeroed()
            .with_opcode(opcode)
            .with_completion_valid(true)
            .with_request_completion(true)
            .with_request_interrupt(true);
        let head = match self.pasid {
            Some(pasid) => head.with_pasid(pasid.cast()),
            None => head,
        };
        let tail = DescriptorTail::zeroed()
            .with_size(size)
            .with_int_handle(line.handle()?);
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
        let portal = self.index as usize * PORTALS_PER_WQ + PORTAL_IMS;

        if self.stuck {
            return Err(ETIMEDOUT);
        }

        let handled = line.handled();
        io_write!(self.memory, [try: COMPLETION], 0);
        device.portals.write512(portal * PORTAL_SIZE, &descriptor)?;
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
            dev_err!(device.pci(), "operation {opcode:#x} does not complete\n");
        })?;
        if status != COMPLETION_SUCCESS {
            dev_err!(
                device.pci(),
                "operation {opcode:#x} failed with status {status:#x}\n"
            );
            return Err(EIO);
        }

        if line.is_live() {
            read_poll_timeout(
                || Ok(line.handled()),
                |&now| now != handled,
                Delta::from_micros(20),
                self.timeout,
            )
            .inspect_err(|_| dev_err!(device.pci(), "operation {opcode:#x}: no interrupt\n"))?;
        }
        Ok(())
    }
}
