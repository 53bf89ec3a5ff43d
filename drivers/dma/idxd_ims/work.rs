// SPDX-License-Identifier: GPL-2.0

//! The buffers and items of an open file.

use crate::{
    buffer::{
        Buffer,
        Use, //
    },
    entries::Entries,
    item::{
        Item,
        Operation,
        Range, //
    },
    session::Session, //
};
use kernel::{
    io::poll::read_poll_timeout,
    mm::pinned::{
        Mapping,
        PinnedPages, //
    },
    prelude::*,
    sync::Arc,
    time::Delta,
    uapi, //
};

/// An entry of the table of buffers.
struct Entry<'a> {
    buffer: Arc<Buffer>,
    _mapping: Mapping<'a>,
    /// User space has the number.
    published: bool,
}

/// The buffers of an open file. The index of a buffer is its number.
pub(crate) struct Buffers<'a>(KVVec<Option<Entry<'a>>>);

impl<'a> Buffers<'a> {
    pub(crate) const fn new() -> Self {
        Self(KVVec::new())
    }

    fn get(&self, number: u32) -> Result<&Arc<Buffer>> {
        match self.0.get(number as usize) {
            Some(Some(entry)) if entry.published => Ok(&entry.buffer),
            _ => Err(ENOENT),
        }
    }

    fn range(&self, number: u32, offset: u64, len: u64) -> Result<Range> {
        let buffer = self.get(number)?;

        if !buffer.contains(offset, len) {
            return Err(EINVAL);
        }
        Ok(Range {
            buffer: Use::new(buffer.clone()),
            offset,
        })
    }
}

impl<'a> Session<'a> {
    /// Fails with [`EOPNOTSUPP`] if the work queue takes no items.
    pub(crate) fn works(&self) -> Result {
        if self.wq.ops == 0 {
            return Err(EOPNOTSUPP);
        }
        Ok(())
    }

    /// Registers a buffer, which has to be published or discarded.
    pub(crate) fn register(&mut self, pages: PinnedPages) -> Result<u32> {
        self.works()?;
        let number = match self.buffers.0.iter().position(Option::is_none) {
            Some(number) => number,
            None => {
                self.buffers.0.push(None, GFP_KERNEL_ACCOUNT)?;
                self.buffers.0.len() - 1
            }
        };
        let mapping = self.wq.device.dev.map_pages(pages)?;

        self.buffers.0[number] = Some(Entry {
            buffer: Buffer::new(&mapping)?,
            _mapping: mapping,
            published: false,
        });
        // CAST: There is not memory for so many.
        Ok(number as u32)
    }

    /// Lets user space name the buffer.
    pub(crate) fn publish_buffer(&mut self, number: u32) -> Result {
        match self.buffers.0.get_mut(number as usize) {
            Some(Some(entry)) => entry.published = true,
            _ => return Err(ENOENT),
        }
        Ok(())
    }

    /// Unregisters a buffer that was not published.
    pub(crate) fn discard_buffer(&mut self, number: u32) {
        self.buffers.0[number as usize] = None;
    }

    /// Unregisters a buffer that no item uses; otherwise the result is `false`.
    pub(crate) fn unregister(&mut self, number: u32) -> Result<bool> {
        self.wq.entries.reap();
        if self.buffers.get(number)?.is_used() {
            return Ok(false);
        }
        self.buffers.0[number as usize] = None;
        Ok(true)
    }

    fn item(&self, given: &uapi::idxd_ims_item) -> Result<Item> {
        let operation = Operation::ALL
            .into_iter()
            .find(|operation| operation.number() == given.op)
            .filter(|_| given.op < 64 && self.wq.ops & 1 << given.op != 0)
            .ok_or(EINVAL)?;
        let valued = match operation {
            Operation::Fill => true,
            Operation::Crc => given.value <= u32::MAX.into(),
            _ => given.value == 0,
        };
        let sourced = operation.has_source() || (given.source, given.source_offset) == (0, 0);
        let targeted = operation.has_target() || (given.target, given.target_offset) == (0, 0);
        let sized = (given.length == 0) == (operation == Operation::Noop);
        if !(valued && sourced && targeted && sized) || given.reserved != 0 {
            return Err(EINVAL);
        }

        let range = |has, number, offset| {
            let range = || self.buffers.range(number, offset, given.length);
            if has {
                range().map(Some)
            } else {
                Ok(None)
            }
        };
        let source = range(operation.has_source(), given.source, given.source_offset)?;
        let target = range(operation.has_target(), given.target, given.target_offset)?;
        if operation.writes() {
            if target.as_ref().is_some_and(|range| !range.buffer.writable) {
                return Err(EACCES);
            }
            let apart = given.source_offset.abs_diff(given.target_offset) >= given.length;
            if source.is_some() && given.source == given.target && !apart {
                return Err(EINVAL);
            }
        }
        let signal = match given.interrupt {
            uapi::IDXD_IMS_NO_INTERRUPT => None,
            id => {
                let id = id.try_into().map_err(|_| ENOENT)?;
                Some(self.named(id)?.target().ok_or(EINVAL)?)
            }
        };

        Ok(Item {
            file: self.completions.clone(),
            operation,
            cookie: given.cookie,
            source,
            target,
            length: given.length,
            done: 0,
            step: 0,
            batched: false,
            value: given.value,
            signal,
            waits: false,
            since: 0,
        })
    }

    /// Submits items, and returns how many there was room for.
    ///
    /// Errors: those of the first item.
    pub(crate) fn submit_items(&mut self, items: &[uapi::idxd_ims_item]) -> Result<usize> {
        let _pass = self.enter_working()?;

        for (index, given) in items.iter().enumerate() {
            let submitted = self
                .wq
                .entries
                .submit(&self.completions, || self.item(given));
            match submitted {
                Ok(true) => (),
                Ok(false) => return Ok(index),
                // The next call returns it.
                Err(_) if index != 0 => return Ok(index),
                Err(error) => return Err(error),
            }
        }
        Ok(items.len())
    }

    /// Ends items that the device has completed. Resets a device that makes no progress: its items
    /// would never complete.
    pub(crate) fn check_device(&self) {
        let (entries, device) = (self.wq.entries, self.wq.device);

        entries.reap();
        if entries.is_stuck(device.timeout) {
            device.mark_broken();
        }
        if !device.is_working() {
            // The reset aborts the items, also if it runs in another task.
            let _ = device.recover();
        }
    }

    /// Waits until the device is done with the items of the file. If it makes no progress, or takes
    /// too long, resets it, or if that does not help keeps it from accessing memory.
    pub(crate) fn drain(&self) {
        /// Items of others may be in front.
        const PATIENCE: u32 = 10;
        let (entries, device) = (self.wq.entries, self.wq.device);
        let in_flight = || {
            entries.reap();
            self.completions.in_flight() != 0
        };
        let timeout = Entries::patience(device.timeout);
        let poll = |is_done: &dyn Fn() -> bool| {
            let sleep = Delta::from_micros(100);
            read_poll_timeout(|| Ok(is_done()), |&done| done, sleep, timeout).is_ok()
        };
        let mut waited = 0;

        entries.turns.leave(&self.completions);
        while in_flight() {
            if device.is_working() {
                if !poll(&|| !in_flight()) {
                    waited += 1;
                    if entries.is_stuck(timeout) || waited == PATIENCE {
                        device.mark_broken();
                    }
                }
            } else if device.is_dead() || !poll(&|| !in_flight() || device.recover().is_ok()) {
                device.give_up_unless_reset();
            }
        }
    }
}
