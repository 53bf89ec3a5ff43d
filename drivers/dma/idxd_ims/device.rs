// SPDX-License-Identifier: GPL-2.0

//! The device as a whole.

use crate::{
    capabilities::Capabilities,
    chip::Chip,
    command::reset,
    events::{
        EventHandler,
        Events, //
    },
    gate::Gate,
    limit::RateLimit,
    parameters::Parameters,
    regs::*, //
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

/// The device.
#[pin_data]
pub(crate) struct Device<'a> {
    pub(crate) dev: PciFunction<'a>,
    pub(crate) regs: Registers<'a>,
    pub(crate) portals: Window<'a>,
    pub(crate) caps: Capabilities,
    pub(crate) domain: &'a ims::Domain<Chip<'a>>,
    pub(crate) events: Arc<Events<'a>>,
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
    /// Reads the capabilities, resets the device, creates its irq domain, and requests the
    /// interrupt of its events.
    pub(crate) fn new(
        holder: &Holder<'_, 'a>,
        parameters: &Parameters,
    ) -> Result<(impl PinInit<Self, Error> + 'a, EventInterrupt<'a>)> {
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

        let events = Arc::pin_init(Events::new(dev, regs), GFP_KERNEL)?;
        let interrupt = Self::request_events(holder, events.clone(), parameters)
            .inspect_err(|e| dev_err!(dev, "cannot use MSI-X vector 0: {e:?}\n"))?;

        let device = try_pin_init!(Self {
            dev,
            regs,
            portals,
            caps,
            domain,
            events,
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
        Ok((device, interrupt))
    }

    fn request_events(
        holder: &Holder<'_, 'a>,
        events: Arc<Events<'a>>,
        parameters: &Parameters,
    ) -> Result<EventInterrupt<'a>> {
        let vector = IrqRequest::from(holder.irq_vectors(1, 1)?.index(0)?);
        let name = holder.name(fmt!("idxd_ims-{}-events", holder.device().as_ref().name()))?;
        let handler = EventHandler {
            events,
            limit: RateLimit::new(parameters.storm_limit, name),
        };

        holder
            .handlers()
            .request(vector, Flags::TRIGGER_NONE, name, Ok(handler))
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
