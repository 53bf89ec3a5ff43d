// SPDX-License-Identifier: GPL-2.0

//! Driver for the Intel Data Streaming Accelerator (DSA) with its interrupt message store (IMS).
//!
//! MSI-X vector 0 delivers the device's own events. Each enabled work queue is a subdevice, whose
//! driver allocates interrupts of the message store for it, from the irq domain of the device.

use kernel::{
    auxiliary,
    device::Core,
    dma::DmaMask,
    driver,
    held::{
        Held,
        Holder,
        Publisher, //
    },
    ims::Quota,
    new_mutex,
    pci,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    },
    types::{
        CovariantForLt,
        ForLt, //
    },
    InPlaceModule, //
};

mod buffer;
mod calls;
mod capabilities;
mod chip;
mod client;
mod command;
mod completions;
mod configuration;
mod debugfs;
mod descriptors;
mod device;
mod entries;
mod events;
mod gate;
mod handles;
mod interrupt;
mod item;
mod limit;
mod parameters;
mod queue;
mod recovery;
mod regs;
mod session;
mod storm;
mod turns;
mod vector;
mod work;
mod workqueue;

use crate::{
    client::Client,
    device::{
        Device,
        Vectors, //
    },
    parameters::Parameters,
    queue::Queue,
    regs::Command,
    workqueue::WorkQueue, //
};

/// The state of the driver for one device.
struct State<'a> {
    device: Pin<KBox<Device<'a>>>,
    vectors: Pin<KBox<Mutex<Vectors<'a>>>>,
    /// The work queues, and the names of their interrupts.
    queues: KVec<(Pin<KBox<Mutex<Queue>>>, &'a CStr)>,
    parameters: Parameters,
}

type HeldState = Held<ForLt!(State<'_>)>;

impl<'a> State<'a> {
    /// Enables the device and its work queues.
    fn new(holder: &Holder<'_, 'a>, parameters: Parameters) -> Result<Pin<KBox<Self>>> {
        let (device, vectors) = Device::new(holder, &parameters)?;
        let mut state = KBox::new(
            Self {
                device: KBox::pin_init(device, GFP_KERNEL)?,
                vectors: KBox::pin_init(new_mutex!(vectors), GFP_KERNEL)?,
                queues: KVec::new(),
                parameters,
            },
            GFP_KERNEL,
        )?;

        state.start(holder)?;
        Ok(state.into())
    }

    fn start(&mut self, holder: &Holder<'_, 'a>) -> Result {
        let dev = holder.device();
        let caps = &self.device.caps;
        let wqs = caps.used_wqs(&self.parameters);

        self.device.configure(wqs)?;
        self.device.wait_enabled()?;
        for index in 0..wqs {
            let queue = Queue::new(dev.as_ref(), &self.device, index, &self.parameters)?;
            let queue = KBox::pin_init(new_mutex!(queue), GFP_KERNEL)?;
            let name = holder.name(fmt!("idxd_ims-{}-wq{index}", dev.as_ref().name()))?;
            self.queues.push((queue, name), GFP_KERNEL)?;
        }
        dev_info!(
            dev,
            "{wqs} of {} work queues, {} message store slots\n",
            caps.wqs,
            caps.slots
        );
        Ok(())
    }

    /// Stops using the device, before it is reset or suspended.
    fn suspend(&self) {
        self.device.suspend();
        // Its handler accesses the device.
        let _ = self.vectors.lock().events.mask();
    }

    /// Uses the device again, which has lost its state.
    fn resume(&self) -> Result {
        self.device.resume(|| {
            let vectors = &mut *self.vectors.lock();
            vectors.events.unmask()?;
            for work in &mut vectors.work {
                // A storm may have masked it.
                work.unmask()?;
            }
            // CAST: There are at most 128 work queues.
            self.device.configure(self.queues.len() as u32)?;
            for (queue, _) in &self.queues {
                queue.lock().restart(&self.device)?;
            }
            Ok(())
        })
    }
}

impl Drop for State<'_> {
    fn drop(&mut self) {
        let done = self.device.reset();

        // Whatever its state, it does not access memory any more.
        self.device.dev.clear_master();

        // Without queues the device was not configured, which has been reported.
        if let (Err(error), false) = (done, self.queues.is_empty()) {
            dev_warn!(self.device.dev, "not reset when unbound: {error}\n");
        }
    }
}

/// Adds the debugfs files of the device, and its work queues as subdevices with a quota of slots
/// each.
fn publish<'s, 'b>(state: &'s State<'b>, publisher: &Publisher<'_, 's, HeldState>) -> Result {
    /// Makes the ids of subdevices differ between devices.
    static DEVICES: Atomic<u32> = Atomic::new(0);

    let (device, parameters) = (&*state.device, &state.parameters);
    let slots = device.domain.size();
    let quota = Quota {
        min: parameters.min_slots,
        max: match parameters.max_slots {
            0 => slots,
            max => max.min(slots),
        },
    };
    // Interrupt handles can be revoked while an item is in flight.
    let revocable = device.caps.has(Command::RequestIntHandle);
    let first_id = DEVICES.fetch_add(1, Relaxed) << 8;

    publisher.debugfs("idxd_ims", debugfs::files)?;
    // CAST: There are at most 128 work queues.
    for (index, (queue, name)) in (0u32..).zip(&state.queues) {
        let owner = device.domain.owner(quota).inspect_err(|e| {
            dev_err!(
                device.dev,
                "no slots for work queue {index}, of {quota:?}: {e:?}\n"
            );
        })?;
        let entries = &device.queues[index as usize];
        let ops = match entries.count() {
            1.. if !revocable => device.caps.ops,
            _ => 0,
        };
        let wq = WorkQueue {
            device,
            index,
            queue,
            entries,
            ops,
            owner,
            max_per_file: parameters.max_per_file,
            storm_limit: parameters.storm_limit,
            name,
        };

        publisher.subdevice::<CovariantForLt!(WorkQueue<'_>)>(
            client::MODULE,
            client::SUBDEVICE,
            first_id | index,
            Ok(wq),
        )?;
    }
    Ok(())
}

struct Driver<'a>(&'a HeldState);

// If idxd is enabled as well, this driver binds only by driver_override.
#[cfg(CONFIG_INTEL_IDXD)]
kernel::pci_device_table!(PCI_TABLE, <Driver<'static> as pci::Driver>::IdInfo, []);

#[cfg(not(CONFIG_INTEL_IDXD))]
kernel::pci_device_table!(
    PCI_TABLE,
    <Driver<'static> as pci::Driver>::IdInfo,
    [
        (
            pci::DeviceId::from_id(
                pci::Vendor::INTEL,
                kernel::bindings::PCI_DEVICE_ID_INTEL_DSA_SPR0
            ),
            ()
        ),
        (
            pci::DeviceId::from_id(
                pci::Vendor::INTEL,
                kernel::bindings::PCI_DEVICE_ID_INTEL_DSA_GNRD
            ),
            ()
        ),
        (
            pci::DeviceId::from_id(
                pci::Vendor::INTEL,
                kernel::bindings::PCI_DEVICE_ID_INTEL_DSA_DMR
            ),
            ()
        ),
    ]
);

#[vtable]
impl pci::Driver for Driver<'static> {
    type IdInfo = ();
    type Data<'bound> = Driver<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;
    const DMA_MASK: Option<DmaMask> = Some(DmaMask::new::<64>());

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

    fn shutdown<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Driver<'bound>>) {
        // A kernel that is started with kexec finds a disabled device. If that has failed, it has
        // to reset the function.
        this.0.with(|state| {
            state.suspend();
            state.device.dev.clear_master();
        });
    }

    fn suspend<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Driver<'bound>>) -> Result {
        this.0.with(|state| state.suspend());
        Ok(())
    }

    fn resume<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Driver<'bound>>) -> Result {
        this.0.with(|state| state.resume())
    }

    fn reset_prepare<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Driver<'bound>>) {
        this.0.with(|state| state.suspend());
    }

    fn reset_done<'bound>(_pdev: &'bound pci::Device<Core<'_>>, this: Pin<&Driver<'bound>>) {
        // An error is reported. The next call that uses the device returns it.
        let _ = this.0.with(|state| state.resume());
    }
}

#[pin_data]
struct Module {
    #[pin]
    _pci: driver::Registration<pci::Adapter<Driver<'static>>>,
    #[pin]
    _auxiliary: driver::Registration<auxiliary::Adapter<Client<'static>>>,
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
        emulated: u32 {
            default: 0,
            description: "1: the device is emulated, and takes eight stores; 0 (default)",
        },
        wqs: u32 {
            default: 0,
            description: "Work queues to enable, 1 to 128; 0 for all (default)",
        },
        timeout_ms: u32 {
            default: 1000,
            description: "Milliseconds to wait for a command or a descriptor, 1 to 60000 (1000)",
        },
        min_slots: u32 {
            default: 1,
            description: "Slots that are reserved for each work queue, 0 to 65536 (1)",
        },
        max_slots: u32 {
            default: 0,
            description: "Maximum slots of each work queue, 1 to 65536; 0 for all (default)",
        },
        max_per_file: u32 {
            default: 2048,
            description: "Maximum interrupts of one open file, 1 to 65536 (2048)",
        },
        storm_limit: u32 {
            default: 100000,
            description: "Maximum interrupts in a second, else masked; 0 for any (100000)",
        },
    },
}
