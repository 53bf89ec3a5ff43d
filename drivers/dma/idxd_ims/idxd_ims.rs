// SPDX-License-Identifier: GPL-2.0

//! Driver for the Intel Data Streaming Accelerator (DSA) with its interrupt message store (IMS).
//!
//! MSI-X vector 0 takes the device's own events. Each enabled work queue is a subdevice, whose
//! driver allocates interrupts of the message store for it, from the device's own irq domain.

use kernel::{
    auxiliary,
    bindings,
    debugfs::ScopedDir,
    device::{
        Bound,
        Core, //
    },
    driver,
    fmt,
    held::{
        Held,
        Holder,
        Publisher, //
    },
    ims::Limits,
    msi,
    new_mutex,
    pci,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    types::{
        CovariantForLt,
        ForLt, //
    },
    InPlaceModule, //
};

mod chip;
mod client;
mod device;
mod gate;
mod interrupt;
mod parameters;
mod queue;
mod regs;
mod workqueue;

use crate::{
    client::Client,
    device::{
        Device,
        EventHandler, //
    },
    parameters::Parameters,
    queue::Queue,
    workqueue::{
        Share,
        WorkQueue, //
    }, //
};

/// All of a device.
struct State<'a> {
    device: Pin<KBox<Device<'a>>>,
    events: Pin<KBox<Mutex<msi::Registered<'a, EventHandler>>>>,
    queues: KVec<Pin<KBox<Mutex<Queue>>>>,
    parameters: Parameters,
}

type HeldState = Held<ForLt!(State<'_>)>;

impl<'a> State<'a> {
    /// Enables the device and its work queues.
    fn new(holder: &Holder<'_, 'a>, parameters: Parameters) -> Result<Pin<KBox<Self>>> {
        let dev = holder.device();
        let (device, events) = Device::new(holder, &parameters)?;
        let mut state = KBox::new(
            Self {
                device: KBox::pin_init(device, GFP_KERNEL)?,
                events: KBox::pin_init(new_mutex!(events), GFP_KERNEL)?,
                queues: KVec::new(),
                parameters,
            },
            GFP_KERNEL,
        )?;

        state.start(dev.as_ref())?;
        Ok(state.into())
    }

    fn start(&mut self, dev: &kernel::device::Device<Bound>) -> Result {
        let caps = &self.device.caps;
        let wqs = match self.parameters.wqs {
            0 => caps.wqs,
            wqs => wqs.min(caps.wqs),
        };

        self.device.configure(wqs, &self.parameters)?;
        self.device.hear()?;
        for index in 0..wqs {
            let queue = Queue::new(dev, &self.device, index, &self.parameters)?;
            let queue = KBox::pin_init(new_mutex!(queue), GFP_KERNEL)?;
            self.queues.push(queue, GFP_KERNEL)?;
        }
        dev_info!(
            dev,
            "{wqs} of {} work queues, {} message store slots\n",
            caps.wqs,
            caps.slots
        );
        Ok(())
    }

    /// Configures the device as before, when it has lost its state.
    fn restart(&self) -> Result {
        self.events.lock().unmask();
        // CAST: There are at most 128 work queues.
        self.device
            .configure(self.queues.len() as u32, &self.parameters)?;
        for queue in &self.queues {
            queue.lock().restart(&self.device)?;
        }
        Ok(())
    }
}

impl Drop for State<'_> {
    fn drop(&mut self) {
        let done = self.device.quiesce();

        // One that was never in use has failed to be configured, which has been said.
        if let (Err(why), false) = (done, self.queues.is_empty()) {
            dev_warn!(self.device.pci(), "not reset when unbound: {why}\n");
        }
    }
}

/// Shows the device in debugfs, and its work queues as subdevices with a share of the slots each.
fn publish<'s, 'b>(
    held: &'s HeldState,
    state: &'s State<'b>,
    publisher: &Publisher<'_, 's>,
) -> Result {
    /// Makes the ids of subdevices differ between devices.
    static DEVICES: Atomic<u32> = Atomic::new(0);

    let (device, parameters) = (&*state.device, &state.parameters);
    let dev = device.pci();
    let slots = device.domain.size();
    let limits = Limits {
        guarantee: parameters.guarantee,
        ceiling: match parameters.ceiling {
            0 => slots,
            ceiling => ceiling.min(slots),
        },
    };
    let first_id = DEVICES.fetch_add(1, Relaxed) << 8;

    publisher.debugfs("idxd_ims", held, files)?;
    // CAST: There are at most 128 work queues.
    for (index, queue) in (0u32..).zip(&state.queues) {
        let owner = device.domain.owner(limits).inspect_err(|e| {
            dev_err!(dev, "cannot give {limits:?} to work queue {index}: {e:?}\n");
        })?;
        let name = fmt!("idxd_ims-{}-wq{index}", dev.as_ref().name());
        let wq = WorkQueue {
            device,
            index,
            queue,
            owner,
            pasid: parameters.pasid,
            file_ceiling: parameters.file_ceiling,
            storm_limit: parameters.storm_limit,
            name: Arc::new(CString::try_from_fmt(name)?, GFP_KERNEL)?,
        };

        publisher.attributes(&CString::try_from_fmt(fmt!("wq{index}"))?, Share(owner))?;
        publisher.subdevice::<CovariantForLt!(WorkQueue<'_>)>(
            client::MODULE,
            client::SUBDEVICE,
            first_id | index,
            Ok(wq),
        )?;
    }
    Ok(())
}

fn files<'data>(held: &'data HeldState, dir: &ScopedDir<'data, '_>) {
    dir.read_callback_file(c"slots", held, &show_slots);
    dir.read_callback_file(c"counters", held, &show_counters);
}

/// Slots in use: slot, virq, count as the core sees it, message, state.
fn show_slots(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| state.device.domain.show(f))
}

fn show_counters(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| {
        let (domain, events) = (state.device.domain, &state.device.events);

        writeln!(f, "slots {}", domain.size())?;
        writeln!(f, "used {}", domain.used())?;
        writeln!(f, "stale {}", domain.stale())?;
        writeln!(f, "enabled {}", events.enabled.load(Relaxed))?;
        writeln!(f, "errors {}", events.errors.load(Relaxed))?;
        writeln!(f, "last_error {:#x}", events.last_error.load(Relaxed))?;
        writeln!(f, "halts {}", events.halts.load(Relaxed))?;
        let revoked = events.handles_revoked.load(Relaxed);
        writeln!(f, "handles_revoked {revoked}")?;
        writeln!(f, "failures {}", state.device.failures.load(Relaxed))?;
        writeln!(f, "recoveries {}", state.device.recoveries.load(Relaxed))
    })
}

struct Driver<'a>(&'a HeldState);

kernel::pci_device_table!(
    PCI_TABLE,
    <Driver<'static> as pci::Driver>::IdInfo,
    [
        (
            pci::DeviceId::from_id(pci::Vendor::INTEL, bindings::PCI_DEVICE_ID_INTEL_DSA_SPR0),
            ()
        ),
        (
            pci::DeviceId::from_id(pci::Vendor::INTEL, bindings::PCI_DEVICE_ID_INTEL_DSA_GNRD),
            ()
        ),
        (
            pci::DeviceId::from_id(pci::Vendor::INTEL, bindings::PCI_DEVICE_ID_INTEL_DSA_DMR),
            ()
        ),
    ]
);

impl pci::Driver for Driver<'static> {
    type IdInfo = ();
    type Data<'bound> = Driver<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Driver<'bound>, Error> + 'bound {
        let parameters = Parameters::get(pdev)?;

        pdev.enable_managed()
            .inspect_err(|e| dev_err!(pdev, "cannot enable the device: {e:?}\n"))?;
        HeldState::probe(pdev, |holder| State::new(holder, parameters), publish).map(Driver)
    }

    fn unbind<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Driver<'bound>>) {
        this.0.with(|state| state.device.unbind());
    }

    const HAS_SUSPEND: bool = true;

    fn suspend<'bound>(_pdev: &'bound pci::Device<Bound>, this: Pin<&Driver<'bound>>) {
        this.0.with(|state| {
            state.device.suspend();
            // Its handler uses the device.
            state.events.lock().mask();
        });
    }

    fn resume_early<'bound>(
        _pdev: &'bound pci::Device<Bound>,
        this: Pin<&Driver<'bound>>,
    ) -> Result {
        this.0.with(|state| state.device.resume_early())
    }

    fn resume<'bound>(_pdev: &'bound pci::Device<Bound>, this: Pin<&Driver<'bound>>) -> Result {
        this.0.with(|state| state.device.resume(|| state.restart()))
    }
}

#[pin_data]
struct Module {
    #[pin]
    _pci: driver::Registration<pci::Adapter<Driver<'static>>>,
    #[pin]
    _auxiliary: driver::Registration<auxiliary::Adapter<Client>>,
}

impl InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _auxiliary <- driver::Registration::new(client::MODULE, module),
            _pci <- driver::Registration::new(client::MODULE, module),
        })
    }
}

module! {
    type: Module,
    name: "idxd_ims",
    authors: ["rust-ims maintainers"],
    description: "Intel Data Streaming Accelerator with interrupt message store",
    license: "GPL",
    params: {
        wqs: u32 {
            default: 0,
            description: "Work queues to enable, 1 to 128; 0 for all (default)",
        },
        timeout_ms: u32 {
            default: 1000,
            description: "Milliseconds to wait for a command or a descriptor, 1 to 60000 (1000)",
        },
        pasid: i32 {
            default: -1,
            description: "PASID of work queues and interrupts, 0 to 1048575; -1 for none (default)",
        },
        shared: u32 {
            default: 0,
            description: "1: work queues are shared, which takes a PASID; 0: dedicated (default)",
        },
        guarantee: u32 {
            default: 1,
            description: "Slots that other work queues leave to each, 0 to 65536 (1)",
        },
        ceiling: u32 {
            default: 0,
            description: "Slots that each work queue can have, 1 to 65536; 0 for all (default)",
        },
        file_ceiling: u32 {
            default: 2048,
            description: "Interrupts that one open file can have, 1 to 65536 (2048)",
        },
        storm_limit: u32 {
            default: 100000,
            description: "Times in a second that an interrupt may come; 0 for any (100000)",
        },
    },
}
