// SPDX-License-Identifier: GPL-2.0

//! The driver of the subdevices: a character device for each work queue, through which user space
//! has interrupts of its own. See include/uapi/linux/idxd_ims.h.

use crate::{
    device::handle_tries,
    gate::Pass,
    interrupt::Interrupt,
    queue::{
        Operation,
        Queue, //
    },
    workqueue::WorkQueue, //
};
use kernel::{
    auxiliary,
    device::Core,
    eventfd::EventFd,
    held::Held,
    ims::Pasid,
    ioctl::_IO,
    msi::Affinity,
    prelude::*,
    session::{
        OpenFile,
        Sessions, //
    },
    transmute::{
        AsBytes,
        FromBytes, //
    },
    types::CovariantForLt,
    uaccess::{
        UserPtr,
        UserSlice, //
    },
    uapi, //
};

/// Module name and name of the subdevices on the auxiliary bus.
pub(crate) const MODULE: &CStr = <crate::LocalModule as kernel::ModuleMetadata>::NAME;
pub(crate) const SUBDEVICE: &CStr = c"wq";

pub(crate) struct Client;

kernel::auxiliary_device_table!(
    AUXILIARY_TABLE,
    <Client as auxiliary::Driver>::IdInfo,
    [(auxiliary::DeviceId::new(MODULE, SUBDEVICE), ())]
);

impl auxiliary::Driver for Client {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: auxiliary::IdTable<Self::IdInfo> = &AUXILIARY_TABLE;

    fn probe<'bound>(
        adev: &'bound auxiliary::Device<Core<'_>>,
        _info: &'bound Self::IdInfo,
    ) -> impl PinInit<Self, Error> + 'bound {
        Held::<CovariantForLt!(WorkQueue<'_>)>::probe(
            adev,
            |holder| {
                let wq = holder.registration_data::<CovariantForLt!(WorkQueue<'_>)>()?;
                Ok(KBox::pin(wq.clone(), GFP_KERNEL)?)
            },
            |_, wq, publisher| publisher.character_device::<Self>(wq.file_name()?, wq),
        )?;
        Ok(Self)
    }
}

/// The interrupts of an open file. The index of one is its id.
pub(crate) struct Session<'a> {
    wq: &'a WorkQueue<'a>,
    interrupts: KVVec<Option<Interrupt<'a>>>,
    used: u32,
}

#[vtable]
impl Sessions for Client {
    type Shared<'a> = &'a WorkQueue<'a>;
    type Session<'a> = Session<'a>;

    fn open<'a>(shared: &Self::Shared<'a>) -> Result<Session<'a>> {
        Ok(Session {
            wq: shared,
            interrupts: KVVec::new(),
            used: 0,
        })
    }

    fn ioctl(file: &OpenFile<Self>, command: u32, argument: UserPtr) -> Result {
        match command {
            QUERY => {
                let query = read(argument)?;
                write(argument, &file.with(|session| session.query(query))?)
            }
            ALLOC => {
                let alloc = read(argument)?;
                let eventfd = eventfd(alloc[2])?;
                let alloc = file.with(|session| {
                    // A descriptor that may still raise a slot has gone by then.
                    let _pass = session.pass(true)?;
                    session.alloc(alloc, eventfd)
                })?;
                write(argument, &alloc).inspect_err(|_| {
                    // Another thread may have freed it, or the device may have gone.
                    let _ = file.with(|session| {
                        let _pass = session.pass(false)?;
                        session.free([0, alloc[5]])
                    });
                })
            }
            FREE => {
                let interrupt = read(argument)?;
                file.with(|session| {
                    let _pass = session.pass(false)?;
                    session.free(interrupt)
                })
            }
            BIND => {
                let bind: Bind = read(argument)?;
                let eventfd = eventfd(bind[2])?;
                file.with(|session| {
                    let _pass = session.pass(eventfd.is_some())?;
                    session.bind(bind, eventfd)
                })
            }
            MASK | UNMASK => {
                let interrupt = read(argument)?;
                file.with(|session| {
                    let _pass = session.pass(false)?;
                    session.set_masked(interrupt, command == MASK)
                })
            }
            STATE => {
                let state = read(argument)?;
                let state = file.with(|session| {
                    let _pass = session.pass(false)?;
                    session.state(state)
                })?;
                write(argument, &state)
            }
            SUBMIT => {
                let submit = read(argument)?;
                file.with(|session| {
                    let _pass = session.pass(true)?;
                    session.submit(submit)
                })
            }
            _ => Err(ENOTTY),
        }
    }
}

const QUERY: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x00);
const ALLOC: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x01);
const FREE: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x02);
const BIND: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x03);
const MASK: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x04);
const UNMASK: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x05);
const STATE: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x06);
const SUBMIT: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x07);

/// The structures of the interface, as words.
type Query = [u32; size_of::<uapi::idxd_ims_query>() / 4];
type Alloc = [u32; size_of::<uapi::idxd_ims_alloc>() / 4];
type Bind = [u32; size_of::<uapi::idxd_ims_bind>() / 4];
type Named = [u32; size_of::<uapi::idxd_ims_interrupt>() / 4];
type State = [u32; size_of::<uapi::idxd_ims_state>() / 4];
type Submit = [u32; size_of::<uapi::idxd_ims_submit>() / 4];

/// The largest structure that is looked at, in bytes.
const MAX_SIZE: usize = 4096;

/// Reads a structure that begins with its size. A newer one is fine if what is new in it is zero.
fn read<const N: usize>(argument: UserPtr) -> Result<[u32; N]>
where
    [u32; N]: FromBytes,
{
    let size: u32 = UserSlice::new(argument, size_of::<u32>()).reader().read()?;
    let size = size as usize;
    if size < size_of::<[u32; N]>() {
        return Err(EINVAL);
    }
    if size > MAX_SIZE {
        return Err(E2BIG);
    }

    let mut reader = UserSlice::new(argument, size).reader();
    let words = reader.read()?;
    while !reader.is_empty() {
        if reader.read::<u8>()? != 0 {
            return Err(E2BIG);
        }
    }
    Ok(words)
}

fn write<const N: usize>(argument: UserPtr, words: &[u32; N]) -> Result
where
    [u32; N]: AsBytes,
{
    UserSlice::new(argument, size_of::<[u32; N]>())
        .writer()
        .write(words)
}

/// Returns the eventfd that `fd` names; -1 stands for none.
fn eventfd(fd: u32) -> Result<Option<EventFd>> {
    // CAST: The interface has it as a signed number.
    match fd as i32 {
        -1 => Ok(None),
        fd => EventFd::from_fd(fd).map(Some),
    }
}

impl<'a> Session<'a> {
    /// Keeps the device from being reset. If it is to `work`, a broken one is reset before.
    fn pass(&self, work: bool) -> Result<Pass<'a>> {
        let device = self.wq.device;

        if work {
            device.recover()?;
        }
        let pass = device.enter();
        // It may have been reset meanwhile.
        if work && device.is_gone() {
            return Err(EIO);
        }
        Ok(pass)
    }

    /// Returns the entry of interrupt `id`.
    fn entry(&mut self, id: u32) -> Result<&mut Option<Interrupt<'a>>> {
        let entry = self.interrupts.get_mut(id as usize).ok_or(ENOENT)?;
        entry.is_some().then_some(entry).ok_or(ENOENT)
    }

    fn interrupt(&mut self, id: u32) -> Result<&mut Interrupt<'a>> {
        self.entry(id)?.as_mut().ok_or(ENOENT)
    }

    fn query(&self, [size, .., reserved]: Query) -> Result<Query> {
        if reserved != 0 {
            return Err(EINVAL);
        }

        let wq = self.wq;
        let limits = wq.owner.limits();
        let (flags, pasid) = match wq.pasid {
            Some(pasid) => (uapi::IDXD_IMS_QUERY_PASID, pasid.get()),
            None => (0, 0),
        };
        Ok([
            size,
            flags,
            wq.device.domain.size(),
            wq.owner.used() as u32,
            limits.guarantee,
            limits.ceiling,
            self.used,
            wq.file_ceiling,
            pasid,
            0,
        ])
    }

    fn alloc(&mut self, alloc: Alloc, eventfd: Option<EventFd>) -> Result<Alloc> {
        let [size, flags, fd, pasid, cpu, ..] = alloc;
        let has = |flag: u32| flags & flag != 0;
        let all =
            uapi::IDXD_IMS_ALLOC_PASID | uapi::IDXD_IMS_ALLOC_CPU | uapi::IDXD_IMS_ALLOC_MANAGED;
        let (with_pasid, with_cpu, managed) = (
            has(uapi::IDXD_IMS_ALLOC_PASID),
            has(uapi::IDXD_IMS_ALLOC_CPU),
            has(uapi::IDXD_IMS_ALLOC_MANAGED),
        );
        if has(!all)
            || (managed && !with_cpu)
            || (!with_pasid && pasid != 0)
            || (!with_cpu && cpu != 0)
        {
            return Err(EINVAL);
        }

        let wq = self.wq;
        if with_pasid {
            let pasid = Pasid::try_new(pasid).ok_or(EINVAL)?;
            if wq.pasid != Some(pasid) {
                return Err(EPERM);
            }
        }
        let affinity = match with_cpu {
            true => Some(Affinity::cpu(cpu)?.managed(managed)),
            false => None,
        };
        if self.used >= wq.file_ceiling {
            return Err(EMFILE);
        }

        let id = match self.interrupts.iter().position(Option::is_none) {
            Some(id) => id,
            None => {
                self.interrupts.push(None, GFP_KERNEL)?;
                self.interrupts.len() - 1
            }
        };
        // Descriptors have the work queue's PASID. A slot without it would not let them raise it.
        let interrupt = wq.owner.alloc(wq.pasid, affinity.as_ref())?;
        let (virq, slot) = (interrupt.as_ref().virq(), interrupt.index().into());
        let interrupt = Interrupt::Unbound(interrupt);
        let interrupt = match eventfd {
            None => interrupt,
            Some(eventfd) => {
                let (interrupt, result) = interrupt.bind(wq, eventfd);
                result.map(|()| interrupt)?
            }
        };

        self.interrupts[id] = Some(interrupt);
        self.used += 1;
        // CAST: Bounded by the ceiling.
        Ok([size, flags, fd, pasid, cpu, id as u32, virq, slot])
    }

    fn free(&mut self, [_, id]: Named) -> Result {
        let interrupt = self.entry(id)?.take();

        self.used -= 1;
        drop(interrupt.map(|interrupt| interrupt.unbind(self.wq)));
        Ok(())
    }

    fn bind(&mut self, [_, id, _, reserved]: Bind, eventfd: Option<EventFd>) -> Result {
        let wq = self.wq;
        if reserved != 0 {
            return Err(EINVAL);
        }
        let entry = self.entry(id)?;

        let (interrupt, result) = match (entry.take().ok_or(ENOENT)?, eventfd) {
            (interrupt, Some(eventfd)) => interrupt.bind(wq, eventfd),
            (interrupt, None) => (interrupt.unbind(wq), Ok(())),
        };
        *entry = Some(interrupt);
        result
    }

    fn set_masked(&mut self, [_, id]: Named, masked: bool) -> Result {
        self.interrupt(id)?.set_masked(masked)
    }

    fn state(&mut self, [size, id, _, reserved, ..]: State) -> Result<State> {
        if reserved != 0 {
            return Err(EINVAL);
        }

        let (state, count) = self.interrupt(id)?.state()?;
        let mut flags = 0;
        if state.masked {
            flags |= uapi::IDXD_IMS_STATE_MASKED;
        }
        if state.pending {
            flags |= uapi::IDXD_IMS_STATE_PENDING;
        }
        // CAST: x86 keeps the lower half first.
        Ok([size, id, flags, 0, count as u32, (count >> 32) as u32])
    }

    fn submit(&mut self, [_, id, op, length]: Submit) -> Result {
        let operation = match (op, length as usize) {
            (uapi::IDXD_IMS_OP_NOOP, 0) => Operation::Noop,
            (uapi::IDXD_IMS_OP_COPY, bytes @ 1..=Queue::MAX_COPY) => Operation::Copy(bytes),
            _ => return Err(EINVAL),
        };
        let (wq, interrupt) = (self.wq, self.interrupt(id)?);

        let mut submit = || {
            // Another descriptor may take long, and the handle become invalid meanwhile.
            let mut queue = wq.queue.lock();
            let (handle, _pass) = interrupt.handle(wq)?;
            let done = queue.run(wq.device, operation, handle.value);
            if done == Err(ESTALE) {
                wq.device.expire(handle);
            }
            done
        };

        // The device may revoke a handle at any time, and it may not be heard of.
        for _ in handle_tries() {
            match submit() {
                Err(ESTALE) => (),
                done => return done,
            }
        }
        Err(wq.device.report(fmt!(
            "work queue {}: does not know the handle just given for slot {}",
            wq.index,
            interrupt.interrupt().index(),
        )))
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let _pass = self.wq.device.enter();

        // All of them before the first is unbound: that waits once for all.
        for interrupt in self.interrupts.iter_mut().flatten() {
            // One that has no eventfd is masked.
            let _ = interrupt.set_masked(true);
        }
        for entry in self.interrupts.iter_mut() {
            *entry = entry.take().map(|interrupt| interrupt.unbind(self.wq));
        }
        self.interrupts.clear();
    }
}
