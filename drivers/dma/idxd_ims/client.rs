// SPDX-License-Identifier: GPL-2.0

//! The driver of the subdevices: a character device for each work queue, through which programs
//! allocate interrupts. See include/uapi/linux/idxd_ims.h.

use crate::{
    calls,
    completions::Completions,
    session::Session,
    workqueue::WorkQueue, //
};
use kernel::{
    auxiliary,
    device::Core,
    eventfd::EventFd,
    held::{
        Handlers,
        Held, //
    },
    ims::Quota,
    ioctl::_IO,
    iov::IovIterDest,
    prelude::*,
    session::{
        Call,
        OpenFile,
        Sessions, //
    },
    str::CString,
    sync::{
        poll::PollCondVar,
        Arc, //
    },
    types::CovariantForLt,
    uapi, //
};

/// Module name and name of the subdevices on the auxiliary bus.
pub(crate) const MODULE: &CStr = <crate::LocalModule as kernel::ModuleMetadata>::NAME;
pub(crate) const SUBDEVICE: &CStr = c"wq";

type HeldWorkQueue = Held<CovariantForLt!(WorkQueue<'_>)>;

pub(crate) struct Client<'a>(&'a HeldWorkQueue);

type Attribute = auxiliary::Attribute<Client<'static>>;

kernel::auxiliary_device_table!(
    AUXILIARY_TABLE,
    <Client<'static> as auxiliary::Driver>::IdInfo,
    [(auxiliary::DeviceId::new(MODULE, SUBDEVICE), ())]
);

impl auxiliary::Driver for Client<'static> {
    type IdInfo = ();
    type Data<'bound> = Client<'bound>;
    const ID_TABLE: auxiliary::IdTable<Self::IdInfo> = &AUXILIARY_TABLE;

    /// The work queue's share of the message store.
    const ATTRIBUTES: &'static [Attribute] = &[
        Attribute::read_only(c"used", &|client| client.0.with(|wq| wq.owner.used())),
        Attribute::read_write(
            c"min",
            &|client| client.0.with(|wq| wq.owner.quota().min),
            &|client, min| {
                let change = |quota: &mut Quota| quota.min = min;
                client.0.with(|wq| wq.owner.change_quota(change))
            },
        ),
        Attribute::read_write(
            c"max",
            &|client| client.0.with(|wq| wq.owner.quota().max),
            &|client, max| {
                let change = |quota: &mut Quota| quota.max = max;
                client.0.with(|wq| wq.owner.change_quota(change))
            },
        ),
    ];

    fn probe<'bound>(
        adev: &'bound auxiliary::Device<Core<'_>>,
        _info: &'bound Self::IdInfo,
    ) -> impl PinInit<Client<'bound>, Error> + 'bound {
        HeldWorkQueue::probe(
            adev,
            |holder| {
                let wq = holder.registration_data::<CovariantForLt!(WorkQueue<'_>)>()?;
                Ok(KBox::pin(wq.clone(), GFP_KERNEL)?)
            },
            |wq, publisher| {
                let device = wq.device.dev.as_ref().name();
                let name = CString::try_from_fmt(fmt!("idxd_ims/{device}.wq{}", wq.index))?;
                let handlers = publisher.handlers();

                publisher.character_device::<Client<'static>>(name, Shared { wq, handlers })
            },
        )
        .map(Client)
    }
}

/// Data of the character device of a work queue.
pub(crate) struct Shared<'a> {
    wq: &'a WorkQueue<'a>,
    handlers: &'a Handlers<'a>,
}

#[vtable]
impl Sessions for Client<'static> {
    type Shared<'a> = Shared<'a>;
    type Session<'a> = Session<'a>;
    type FileData = Arc<Completions>;

    fn open<'a>(shared: &Self::Shared<'a>) -> Result<(Session<'a>, Arc<Completions>)> {
        let completions = Completions::new()?;

        Ok((
            Session::new(shared.wq, shared.handlers, completions.clone()),
            completions,
        ))
    }

    fn ioctl(file: &OpenFile<Self>, call: Call) -> Result {
        let Call {
            command, argument, ..
        } = call;

        match command {
            QUERY => {
                let mut query = argument.read_struct()?;
                file.with(|session| session.query(&mut query))?;
                argument.write_struct(&query)
            }
            ALLOC => {
                let mut alloc: uapi::idxd_ims_alloc = argument.read_struct()?;
                let eventfd = eventfd(alloc.eventfd)?;
                file.with(|session| {
                    // Any descriptor that could still raise a free slot has ended after this.
                    let _pass = session.enter_working()?;
                    session.alloc(&mut alloc, eventfd)
                })?;

                // No other call can name the interrupt before this one has returned the id.
                let written = argument.write_struct(&alloc);
                file.with(|session| match written {
                    Ok(()) => session.publish(alloc.id),
                    Err(error) => {
                        let _pass = session.enter();
                        session.discard(alloc.id);
                        Err(error)
                    }
                })
            }
            FREE => {
                let interrupt = argument.read_struct()?;
                file.with(|session| {
                    let _pass = session.enter();
                    session.free(&interrupt)
                })
            }
            BIND => {
                let bind: uapi::idxd_ims_bind = argument.read_struct()?;
                let eventfd = eventfd(bind.eventfd)?;
                file.with(|session| {
                    let _pass = match eventfd {
                        Some(_) => session.enter_working()?,
                        None => session.enter(),
                    };
                    session.bind(&bind, eventfd)
                })
            }
            MASK | UNMASK => {
                let interrupt = argument.read_struct()?;
                file.with(|session| {
                    let _pass = session.enter();
                    session.set_masked(&interrupt, command == MASK)
                })
            }
            STATE => {
                let mut state = argument.read_struct()?;
                file.with(|session| {
                    let _pass = session.enter();
                    session.state(&mut state)
                })?;
                argument.write_struct(&state)
            }
            SUBMIT => {
                let submit = argument.read_struct()?;
                file.with(|session| {
                    let _pass = session.enter_working()?;
                    session.submit(&submit)
                })
            }
            REGISTER => calls::register(file, argument),
            UNREGISTER => calls::unregister(file, call),
            WORK => calls::work(file, call),
            _ => Err(ENOTTY),
        }
    }

    fn read(file: &OpenFile<Self>, nonblocking: bool, to: &mut IovIterDest<'_>) -> Result<usize> {
        calls::read(file, nonblocking, to)
    }

    fn poll(file: &OpenFile<Self>, events: u32, register: &dyn Fn(&PollCondVar)) -> u32 {
        // Before the checks: a change after them is notified.
        register(file.data().changed());
        calls::poll(file, events)
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
const REGISTER: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x08);
const UNREGISTER: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x09);
const WORK: u32 = _IO(uapi::IDXD_IMS_TYPE, 0x0a);

/// Returns the eventfd of file descriptor `fd`; -1 stands for none.
fn eventfd(fd: i32) -> Result<Option<EventFd>> {
    match fd {
        -1 => Ok(None),
        fd => EventFd::from_fd(fd).map(Some),
    }
}
