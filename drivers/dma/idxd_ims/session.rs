// SPDX-License-Identifier: GPL-2.0

//! The interrupts of an open file.

use crate::{
    completions::{
        Completions,
        Timer, //
    },
    gate::Pass,
    handles::handle_tries,
    interrupt::Interrupt,
    queue::{
        Operation,
        Queue, //
    },
    work::Buffers,
    workqueue::WorkQueue, //
};
use kernel::{
    cpu::CpuId,
    eventfd::EventFd,
    held::{
        Handlers,
        Source, //
    },
    prelude::*,
    sync::Arc,
    uapi, //
};

/// An entry of the table of interrupts.
struct Entry<'a> {
    interrupt: Interrupt<'a>,
    /// User space has the id. Before that, no call but the one that allocates can name it.
    published: bool,
}

/// The interrupts of an open file. The index of an interrupt is its id.
pub(crate) struct Session<'a> {
    pub(crate) wq: &'a WorkQueue<'a>,
    pub(crate) handlers: &'a Handlers<'a>,
    entries: KVVec<Option<Entry<'a>>>,
    used: u32,
    pub(crate) completions: Arc<Completions>,
    pub(crate) timer: Option<Timer>,
    pub(crate) buffers: Buffers<'a>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        wq: &'a WorkQueue<'a>,
        handlers: &'a Handlers<'a>,
        completions: Arc<Completions>,
    ) -> Self {
        Self {
            wq,
            handlers,
            entries: KVVec::new(),
            used: 0,
            completions,
            timer: None,
            buffers: Buffers::new(),
        }
    }

    /// Keeps the device from being reset or suspended as long as the result exists.
    pub(crate) fn enter(&self) -> Pass<'a> {
        self.wq.device.enter()
    }

    /// As [`Self::enter`], after a reset if the device is broken.
    pub(crate) fn enter_working(&self) -> Result<Pass<'a>> {
        let device = self.wq.device;

        device.recover()?;
        let pass = device.enter();
        // A reset in between may have failed.
        if device.is_dead() {
            return Err(EIO);
        }
        Ok(pass)
    }

    /// Returns the interrupt that user space names by `id`.
    fn interrupt(&mut self, id: u32) -> Result<&mut Interrupt<'a>> {
        match self.entries.get_mut(id as usize) {
            Some(Some(entry)) if entry.published => Ok(&mut entry.interrupt),
            _ => Err(ENOENT),
        }
    }

    /// As [`Self::interrupt`].
    pub(crate) fn named(&self, id: u32) -> Result<&Interrupt<'a>> {
        match self.entries.get(id as usize) {
            Some(Some(entry)) if entry.published => Ok(&entry.interrupt),
            _ => Err(ENOENT),
        }
    }

    /// Fails with [`EBUSY`] if items in flight raise interrupt `id`.
    fn check_unused(&self, id: u32) -> Result {
        self.wq.entries.reap();
        if self.named(id)?.is_used() {
            return Err(EBUSY);
        }
        Ok(())
    }

    pub(crate) fn query(&self, query: &mut uapi::idxd_ims_query) -> Result {
        if query.reserved != 0 {
            return Err(EINVAL);
        }

        let wq = self.wq;
        let quota = wq.owner.quota();
        *query = uapi::idxd_ims_query {
            size: query.size,
            slots: wq.device.domain.size(),
            used: wq.owner.used(),
            min: quota.min,
            max: quota.max,
            file_used: self.used,
            file_max: wq.max_per_file,
            reserved: 0,
            ops: wq.ops,
            entries: wq.entries.count(),
            // CAST: A constant.
            file_items: Completions::MAX as u32,
        };
        Ok(())
    }

    /// Allocates an interrupt, which has to be published or discarded.
    pub(crate) fn alloc(
        &mut self,
        alloc: &mut uapi::idxd_ims_alloc,
        eventfd: Option<EventFd>,
    ) -> Result {
        if alloc.reserved != 0 {
            return Err(EINVAL);
        }
        let cpu = match (alloc.flags, alloc.cpu) {
            (0, 0) => None,
            (uapi::IDXD_IMS_ALLOC_CPU, cpu) => Some(CpuId::from_u32(cpu).ok_or(EINVAL)?),
            _ => return Err(EINVAL),
        };

        let wq = self.wq;
        if self.used >= wq.max_per_file {
            return Err(EMFILE);
        }

        let id = match self.entries.iter().position(Option::is_none) {
            Some(id) => id,
            None => {
                self.entries.push(None, GFP_KERNEL)?;
                self.entries.len() - 1
            }
        };
        let source = wq.owner.alloc()?;
        if let Some(cpu) = cpu {
            source.set_affinity(cpu)?;
        }
        let mut interrupt = Interrupt::Unbound(source);
        if let Some(eventfd) = eventfd {
            let (bound, result) = interrupt.bind(wq, self.handlers, eventfd);
            result?;
            interrupt = bound;
        }

        // CAST: Bounded by the maximum.
        alloc.id = id as u32;
        alloc.virq = interrupt.source().virq();
        alloc.slot = interrupt.source().slot().into();
        self.entries[id] = Some(Entry {
            interrupt,
            published: false,
        });
        self.used += 1;
        Ok(())
    }

    /// Lets user space name interrupt `id`, which [`Self::alloc`] has allocated.
    pub(crate) fn publish(&mut self, id: u32) -> Result {
        match self.entries.get_mut(id as usize) {
            Some(Some(entry)) => entry.published = true,
            _ => return Err(ENOENT),
        }
        Ok(())
    }

    /// Frees interrupt `id`.
    pub(crate) fn discard(&mut self, id: u32) {
        let entry = self.entries.get_mut(id as usize).and_then(Option::take);

        if let Some(entry) = entry {
            self.used -= 1;
            drop(entry.interrupt.unbind(self.wq));
        }
    }

    pub(crate) fn free(&mut self, named: &uapi::idxd_ims_interrupt) -> Result {
        self.check_unused(named.id)?;
        self.discard(named.id);
        Ok(())
    }

    pub(crate) fn bind(&mut self, bind: &uapi::idxd_ims_bind, eventfd: Option<EventFd>) -> Result {
        if bind.reserved != 0 {
            return Err(EINVAL);
        }
        self.named(bind.id)?;
        if eventfd.is_none() {
            self.check_unused(bind.id)?;
        }

        let (wq, handlers) = (self.wq, self.handlers);
        let place = &mut self.entries[bind.id as usize];
        let mut entry = place.take().ok_or(ENOENT)?;
        let result;
        (entry.interrupt, result) = match eventfd {
            Some(eventfd) => entry.interrupt.bind(wq, handlers, eventfd),
            None => (entry.interrupt.unbind(wq), Ok(())),
        };
        *place = Some(entry);
        result
    }

    pub(crate) fn set_masked(&mut self, named: &uapi::idxd_ims_interrupt, masked: bool) -> Result {
        self.interrupt(named.id)?.set_masked(masked)
    }

    pub(crate) fn state(&mut self, state: &mut uapi::idxd_ims_state) -> Result {
        if state.reserved != 0 {
            return Err(EINVAL);
        }

        let domain = self.wq.device.domain;
        let interrupt = self.interrupt(state.id)?;
        let slot = interrupt.source().slot().into();
        state.flags = 0;
        // Pending first: if it is masked in between, it is not reported as unmasked and pending.
        if domain.is_pending(slot).ok_or(EIO)? {
            state.flags |= uapi::IDXD_IMS_STATE_PENDING;
        }
        if domain.is_masked(slot).ok_or(EIO)? {
            state.flags |= uapi::IDXD_IMS_STATE_MASKED;
        }
        state.count = interrupt.count();
        Ok(())
    }

    pub(crate) fn submit(&mut self, submit: &uapi::idxd_ims_submit) -> Result {
        let operation = match (submit.op, submit.length as usize) {
            (uapi::IDXD_IMS_OP_NOOP, 0) => Operation::Noop,
            (uapi::IDXD_IMS_OP_COPY, bytes @ 1..=Queue::MAX_COPY) => Operation::Copy(bytes),
            _ => return Err(EINVAL),
        };
        let (wq, interrupt) = (self.wq, self.interrupt(submit.id)?);

        let mut submit = || {
            // First: the handle may become invalid while this waits for the work queue.
            let mut queue = wq.queue.lock();
            let (handle, _pass) = interrupt.handle(wq)?;
            let done = queue.run(wq.device, operation, handle.value);
            if done == Err(ESTALE) {
                wq.device.invalidate(handle);
            }
            done
        };

        // The device can revoke a handle at any time, with an interrupt or without.
        for _ in handle_tries() {
            match submit() {
                Err(ESTALE) => (),
                done => return done,
            }
        }
        Err(wq.device.report(fmt!(
            "work queue {}: does not know the handle just given for slot {}",
            wq.index,
            interrupt.source().slot(),
        )))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.completions.close();
        // Before anything that the device may still use goes.
        self.drain();
        let _pass = self.enter();

        for entry in self.entries.iter_mut().filter_map(Option::take) {
            drop(entry.interrupt.unbind(self.wq));
        }
    }
}
