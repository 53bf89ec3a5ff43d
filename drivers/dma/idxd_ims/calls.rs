// SPDX-License-Identifier: GPL-2.0

//! The calls of user space that submit work, and wait for it.

use crate::{
    client::Client,
    completions::Completions, //
};
use kernel::{
    bindings,
    iov::IovIterDest,
    mm::pinned::PinnedPages,
    prelude::*,
    session::{
        Call,
        OpenFile, //
    },
    time::{
        msecs_to_jiffies,
        Jiffies, //
    },
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};
use zerocopy::IntoBytes;

const READABLE: u32 = bindings::POLLIN | bindings::POLLRDNORM;
const WRITABLE: u32 = bindings::POLLOUT | bindings::POLLWRNORM;

/// Timeout of a wait for a change that is not always notified.
fn a_while() -> Jiffies {
    msecs_to_jiffies(20)
}

pub(crate) fn register(file: &OpenFile<Client<'static>>, argument: UserPtr) -> Result {
    let mut register: uapi::idxd_ims_register = argument.read_struct()?;
    let writable = match register.flags {
        0 => false,
        uapi::IDXD_IMS_BUFFER_WRITE => true,
        _ => return Err(EINVAL),
    };
    if register.reserved != 0 {
        return Err(EINVAL);
    }
    file.with(|session| session.works())?;

    // Outside of the file's lock: this may wait for user space.
    let address = register.address.try_into().map_err(|_| EINVAL)?;
    let length = register.length.try_into().map_err(|_| EINVAL)?;
    let pages = PinnedPages::new(address, length, writable)?;

    register.buffer = file.with(|session| session.register(pages))?;
    let written = argument.write_struct(&register);
    file.with(|session| match written {
        Ok(()) => session.publish_buffer(register.buffer),
        Err(error) => {
            session.discard_buffer(register.buffer);
            Err(error)
        }
    })
}

pub(crate) fn unregister(file: &OpenFile<Client<'static>>, call: Call) -> Result {
    let named: uapi::idxd_ims_unregister = call.argument.read_struct()?;

    loop {
        let done = file.with(|session| {
            session.check_device();
            session.unregister(named.buffer)
        })?;
        if done {
            return Ok(());
        }
        if call.nonblocking {
            return Err(EBUSY);
        }
        file.data().wait_changed(a_while())?;
    }
}

pub(crate) fn work(file: &OpenFile<Client<'static>>, call: Call) -> Result {
    const MAX: u32 = 1 << 16;
    let mut work: uapi::idxd_ims_work = call.argument.read_struct()?;

    if work.flags != 0 || !(1..=MAX).contains(&work.count) {
        return Err(EINVAL);
    }
    file.with(|session| session.works())?;

    work.accepted = 0;
    let submitted = submit_all(file, call.nonblocking, &mut work);
    if submitted.is_err() && !call.nonblocking {
        // The call does not use an entry that it is offered.
        let _ = file.with(|session| {
            session.wq.entries.turns.leave(file.data());
            Ok(())
        });
    }
    match submitted {
        Err(error) if work.accepted == 0 => Err(error),
        _ => call.argument.write_struct(&work),
    }
}

/// Submits items until all are accepted, or there is an error.
fn submit_all(
    file: &OpenFile<Client<'static>>,
    nonblocking: bool,
    work: &mut uapi::idxd_ims_work,
) -> Result {
    const BATCH: usize = 8;
    let items = UserPtr::from_addr(work.items.try_into().map_err(|_| EINVAL)?);
    let bytes = work.count as usize * size_of::<uapi::idxd_ims_item>();
    let mut reader = UserSlice::new(items, bytes).reader();

    while work.accepted < work.count {
        let mut batch = [uapi::idxd_ims_item::default(); BATCH];
        let mut read = Ok(());
        let mut count = 0;
        while count < BATCH.min((work.count - work.accepted) as usize) && read.is_ok() {
            read = reader.read_slice(batch[count].as_mut_bytes());
            count += usize::from(read.is_ok());
        }

        let mut rest = &batch[..count];
        while !rest.is_empty() {
            let accepted = file.with(|session| session.submit_items(rest))?;
            // CAST: Not more than `BATCH`.
            work.accepted += accepted as u32;
            rest = &rest[accepted..];
            if accepted == 0 {
                if nonblocking {
                    return Err(EAGAIN);
                }
                wait_for_entry(file)?;
            }
        }
        read?;
    }
    Ok(())
}

fn wait_for_entry(file: &OpenFile<Client<'static>>) -> Result {
    // Each task that waits checks the device: the more there are, the more rarely.
    let more = file.with(|session| {
        session.check_device();
        Ok(session.wq.entries.turns.waiting() / 4)
    })?;
    file.data().wait_offered(a_while() + msecs_to_jiffies(more))
}

pub(crate) fn read(
    file: &OpenFile<Client<'static>>,
    nonblocking: bool,
    to: &mut IovIterDest<'_>,
) -> Result<usize> {
    if to.len() < size_of::<uapi::idxd_ims_completion>() {
        return Err(EINVAL);
    }
    let completions = file.data();
    loop {
        let bytes = completions.read(to)?;
        if bytes != 0 {
            return Ok(bytes);
        }
        let checked = file.with(|session| {
            session.check_device();
            Ok(())
        });
        if completions.has_unread() {
            continue;
        }
        checked?;
        if nonblocking {
            return Err(EAGAIN);
        }
        completions.wait_unread(msecs_to_jiffies(100))?;
    }
}

pub(crate) fn poll(file: &OpenFile<Client<'static>>, events: u32) -> u32 {
    let completions = file.data();
    let mut mask = 0;

    let checked = file.with(|session| {
        let (device, entries) = (session.wq.device, session.wq.entries);

        entries.reap();
        if entries.is_stuck(device.timeout) {
            device.mark_broken();
        }
        // A file that waits for an entry is offered one, so it must want one.
        let wanted = events & WRITABLE != 0 && session.wq.ops != 0 && !completions.is_full();
        if wanted && entries.turns.could_take_or_wait(completions) {
            mask |= WRITABLE;
        }
        if completions.in_flight() != 0 || (wanted && mask == 0) {
            if device.is_working() {
                Completions::start_timer(completions, &mut session.timer);
            } else {
                // The next call resets it.
                mask |= READABLE | WRITABLE;
            }
        }
        Ok(())
    });
    if checked.is_err() {
        mask |= bindings::POLLERR | bindings::POLLHUP;
    }
    if completions.has_unread() {
        mask |= READABLE;
    }
    mask
}
