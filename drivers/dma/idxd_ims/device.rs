// SPDX-License-Identifier: GPL-2.0

//! The device as a whole.

use crate::{
    capabilities::Capabilities,
    chip::Chip,
    command::reset,
    descriptors::Limits,
    entries::{
        Entries,
        Shape, //
    },
    events::{
        EventHandler,
        Events, //
    },
    gate::Gate,
    limit::RateLimit,
    parameters::Parameters,
    regs::*,
    vector::{
        VectorHandler, //
        VectorQueues,
    }, //
};
use kernel::{
    fmt,
    held::{
        Holder,
        PciFunction,
        Registration, //
    },
    ims::{
        self,
        MmioArray, //
    },
    io::Io,
    irq::{
        Flags,
        IrqRequest, //
    },
    new_mutex,
    pci::{
        can_write512,
        Window, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    time::Delta, //
};

pub(crate) type Registers<'a> = Window<'a, END>;

/// Failures at run time that the log reports.
const MAX_REPORTS: u64 = 10;

/// MSI-X vector 0 with its handler.
pub(crate) type EventInterrupt<'a> = Registration<'a, IrqRequest<'a>, EventHandler<'a>>;

/// One of the other MSI-X vectors.
pub(crate) type WorkInterrupt<'a> = Registration<'a, IrqRequest<'a>, VectorHandler<'a>>;

/// The MSI-X vectors.
pub(crate) struct Vectors<'a> {
    pub(crate) events: EventInterrupt<'a>,
    pub(crate) work: KVec<WorkInterrupt<'a>>,
}

/// The entries of each work queue.
pub(crate) type Queues<'a> = Arc<KVec<Pin<KBox<Entries<'a>>>>>;

/// The device.
#[pin_data]
pub(crate) struct Device<'a> {
    pub(crate) dev: PciFunction<'a>,
    pub(crate) regs: Registers<'a>,
    pub(crate) portals: Window<'a>,
    pub(crate) caps: Capabilities,
    pub(crate) domain: &'a ims::Domain<Chip<'a>>,
    pub(crate) events: Arc<Events<'a>>,
    pub(crate) queues: Queues<'a>,
    pub(crate) timeout: Delta,
    /// The device runs one command at a time.
    #[pin]
    pub(crate) command: Mutex<()>,
    /// Held by the task that resets a broken device.
    #[pin]
    pub(crate) recovery: Mutex<()>,
    /// Closed while the device is reset or suspended.
    #[pin]
    pub(crate) gate: Gate,
    /// Closed while a handle is requested: no descriptor with another one is in flight.
    #[pin]
    pub(crate) handles: Gate,
    pub(crate) suspended: Atomic<bool>,
    /// The last reset or suspend has ended without an error.
    pub(crate) resumed: Atomic<bool>,
    /// Failures at run time.
    pub(crate) failures: Atomic<u64>,
    /// Resets of the device because it was broken.
    pub(crate) recoveries: Atomic<u64>,
}

impl<'a> Device<'a> {
    /// Reads the capabilities, resets the device, creates its irq domain, and requests its MSI-X
    /// vectors.
    pub(crate) fn new(
        holder: &Holder<'_, 'a>,
        parameters: &Parameters,
    ) -> Result<(impl PinInit<Self, Error> + 'a, Vectors<'a>)> {
        let timeout = parameters.timeout;
        let dev = holder.function();
        let regs =
            Registers::new(holder, REGISTERS_BAR, c"idxd_ims registers").inspect_err(|e| {
                dev_err!(dev, "cannot map BAR {REGISTERS_BAR}: {e:?}\n");
            })?;
        let portals = Window::new(holder, PORTALS_BAR, c"idxd_ims portals").inspect_err(|e| {
            dev_err!(dev, "cannot map BAR {PORTALS_BAR}: {e:?}\n");
        })?;
        let caps = Capabilities::read(holder.device(), regs, portals)?;
        if !parameters.emulated && !can_write512() {
            dev_err!(dev, "the CPU has no MOVDIR64B\n");
            return Err(EOPNOTSUPP);
        }

        if regs.read(GENSTS).state().get() == STATE_HALTED {
            holder
                .reset_function()
                .inspect_err(|e| dev_err!(dev, "halted, and cannot be reset: {e:?}\n"))?;
        }
        reset(regs, timeout).map_err(|error| error.report(&dev))?;

        let slots = MmioArray::new(regs, caps.ims, caps.slots)?;
        let domain = ims::Domain::new(holder, caps.slots, Chip(slots)).inspect_err(|&e| {
            if e == EOPNOTSUPP {
                dev_err!(dev, "message stores need interrupt remapping and MSI\n");
            } else {
                dev_err!(dev, "cannot use the message store: {e:?}\n");
            }
        })?;

        let irqs = holder
            .irq_vectors(1, 1 + caps.used_wqs(parameters))
            .inspect_err(|e| dev_err!(dev, "cannot use MSI-X: {e:?}\n"))?;
        // CAST: There are at most 2048 vectors.
        let work_vectors = irqs.len() as u32 - 1;
        let queues = Self::queues(holder, &caps, portals, parameters, work_vectors)?;
        let events = Arc::pin_init(Events::new(dev, regs), GFP_KERNEL)?;
        let request = || -> Result<Vectors<'a>> {
            let mut vectors = Vectors {
                events: Self::request_events(
                    holder,
                    irqs.index(0)?.into(),
                    events.clone(),
                    queues.clone(),
                    parameters,
                )?,
                work: KVec::new(),
            };
            for vector in 1..=work_vectors {
                let irq = IrqRequest::from(irqs.index(vector as usize)?);
                let device = holder.device().as_ref().name();
                let name = holder.name(fmt!("idxd_ims-{device}-work{}", vector - 1))?;
                let limit = RateLimit::new(parameters.storm_limit, name);
                let first = vector as usize - 1;
                let queues = VectorQueues::new(queues.clone(), first, work_vectors as usize);
                let handler = VectorHandler { queues, limit };
                let work = holder
                    .handlers()
                    .request(irq, Flags::TRIGGER_NONE, name, Ok(handler))
                    .map_err(|(error, _)| error)?;
                vectors.work.push(work, GFP_KERNEL)?;
            }
            Ok(vectors)
        };
        let vectors = request().inspect_err(|e| dev_err!(dev, "cannot use MSI-X: {e:?}\n"))?;

        let device = try_pin_init!(Self {
            dev,
            regs,
            portals,
            caps,
            domain,
            events,
            queues,
            timeout,
            command <- new_mutex!(()),
            recovery <- new_mutex!(()),
            gate <- Gate::new(),
            handles <- Gate::new(),
            suspended: Atomic::new(false),
            resumed: Atomic::new(true),
            failures: Atomic::new(0),
            recoveries: Atomic::new(0),
        }? Error);
        Ok((device, vectors))
    }

    /// Makes the entries of the work queues. Their items interrupt one of `vectors` MSI-X vectors
    /// behind the first, or that one if there are no others.
    fn queues(
        holder: &Holder<'_, 'a>,
        caps: &Capabilities,
        portals: Window<'a>,
        parameters: &Parameters,
        vectors: u32,
    ) -> Result<Queues<'a>> {
        let wqs = caps.used_wqs(parameters);
        let mut queues = KVec::with_capacity(wqs as usize, GFP_KERNEL)?;

        for index in 0..wqs {
            let vector = index.checked_rem(vectors).map_or(0, |index| 1 + index);
            let shape = Shape {
                index,
                // One is left for descriptors that are waited for: see `queue.rs`.
                entries: (caps.wq_entries / wqs).saturating_sub(1),
                limits: Limits {
                    // CAST: There are at most 2048 vectors.
                    vector: vector as u16,
                    max_transfer: 1 << caps.max_transfer_shift,
                    max_batch: caps.max_batch,
                },
                emulated: parameters.emulated,
            };
            let entries = Entries::new(holder.device().as_ref(), portals, shape)?;
            queues.push(KBox::pin_init(entries, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Arc::new(queues, GFP_KERNEL)?)
    }

    fn request_events(
        holder: &Holder<'_, 'a>,
        irq: IrqRequest<'a>,
        events: Arc<Events<'a>>,
        queues: Queues<'a>,
        parameters: &Parameters,
    ) -> Result<EventInterrupt<'a>> {
        let name = holder.name(fmt!("idxd_ims-{}-events", holder.device().as_ref().name()))?;
        let handler = EventHandler {
            events,
            queues: VectorQueues::new(queues, 0, 1),
            limit: RateLimit::new(parameters.storm_limit, name),
        };

        holder
            .handlers()
            .request(irq, Flags::TRIGGER_NONE, name, Ok(handler))
            .map_err(|(error, _)| error)
    }

    /// Reports a failure at run time. A device or user space can cause many of them.
    pub(crate) fn report(&self, what: fmt::Arguments<'_>) -> Error {
        match self.failures.fetch_add(1, Relaxed) + 1 {
            MAX_REPORTS => dev_err!(self.dev, "{what}; later failures are only counted\n"),
            count if count < MAX_REPORTS => dev_err!(self.dev, "{what}\n"),
            _ => (),
        }
        EIO
    }
}
