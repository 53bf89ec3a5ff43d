// SPDX-License-Identifier: GPL-2.0

//! Driver for the Intel Data Streaming Accelerator (DSA) with its interrupt message store (IMS).
//!
//! MSI-X vector 0 takes the device's own events. The completions of each work queue come by an
//! interrupt of the message store, from the device's own irq domain.

use kernel::{
    bindings,
    device::{
        Bound,
        Core, //
    },
    held::{
        Held,
        Holder, //
    },
    ims::Pasid,
    msi,
    new_mutex,
    pci,
    prelude::*,
    str::CString,
    sync::Mutex,
    time::Delta, //
};

mod chip;
mod debugfs;
mod device;
mod line;
mod queue;
mod regs;

use crate::{
    debugfs::HeldState,
    device::Device,
    line::Line,
    queue::Queue, //
};

/// What a device has been set up to do.
struct Work<'a> {
    lines: KVVec<Option<Line<'a>>>,
    queues: KVec<Queue>,
}

/// All of a device.
#[pin_data(PinnedDrop)]
struct State<'a> {
    // Interrupts go before the device that they come from.
    #[pin]
    work: Mutex<Work<'a>>,
    #[pin]
    device: Device<'a>,
    pasid: Option<Pasid>,
}

impl<'a> State<'a> {
    fn new(holder: &Holder<'_, 'a>, parameters: Parameters) -> Result<Pin<KBox<Self>>> {
        let device = Device::new(holder, parameters.timeout)?;
        let state = KBox::pin_init(
            try_pin_init!(Self {
                work <- new_mutex!(Work { lines: KVVec::new(), queues: KVec::new() }),
                device <- device,
                pasid: parameters.pasid,
            }? Error),
            GFP_KERNEL,
        )?;

        state
            .start(holder.device().as_ref(), parameters)
            .inspect_err(|e| dev_err!(holder.device(), "cannot start the device: {e:?}\n"))?;
        Ok(state)
    }

    /// Enables the device and its work queues, each with an interrupt.
    fn start(&self, dev: &kernel::device::Device<Bound>, parameters: Parameters) -> Result {
        let most = self.device.caps.wqs;
        let wqs = match parameters.wqs {
            0 => most,
            wqs => wqs.min(most),
        };

        self.device.configure(wqs, self.pasid)?;
        self.alloc(wqs as usize)?;
        self.each(0, wqs as usize, Self::request)?;

        let mut work = self.work.lock();
        for index in 0..wqs {
            let queue = Queue::new(dev, &self.device, index, self.pasid, parameters.timeout)?;
            work.queues.push(queue, GFP_KERNEL)?;
        }
        dev_info!(
            dev,
            "{wqs} of {most} work queues, {} message store slots\n",
            self.device.caps.slots
        );
        Ok(())
    }

    /// Allocates `count` interrupts, all or none. They get the lowest numbers that are free.
    fn alloc(&self, count: usize) -> Result {
        let domain = self.device.domain;
        let mut work = self.work.lock();
        if count > domain.size() as usize - domain.used() {
            return Err(ENOSPC);
        }

        let mut lines = KVVec::with_capacity(count, GFP_KERNEL)?;
        work.lines.reserve(count, GFP_KERNEL)?;
        for _ in 0..count {
            interruptible()?;
            lines.push(Line::alloc(&self.device, self.pasid)?, GFP_KERNEL)?;
        }

        let mut lines = lines.into_iter();
        for entry in work.lines.iter_mut().filter(|entry| entry.is_none()) {
            *entry = lines.next();
        }
        for line in lines {
            work.lines.push(Some(line), GFP_KERNEL)?;
        }
        Ok(())
    }

    /// Runs `operation` on `count` interrupts, up to the first that fails.
    fn each(
        &self,
        first: usize,
        count: usize,
        operation: impl Fn(&Self, Line<'a>) -> (Option<Line<'a>>, Result),
    ) -> Result {
        let mut work = self.work.lock();
        let end = first.checked_add(count).ok_or(EINVAL)?;

        for entry in work.lines.get_mut(first..end).ok_or(ENOENT)? {
            interruptible()?;
            let line = entry.take().ok_or(ENOENT)?;
            let (line, result) = operation(self, line);
            *entry = line;
            result?;
        }
        Ok(())
    }

    fn request(&self, line: Line<'a>) -> (Option<Line<'a>>, Result) {
        let (line, result) = line.request(&self.device);
        (Some(line), result)
    }

    fn release(&self, line: Line<'a>) -> (Option<Line<'a>>, Result) {
        let (line, result) = line.release(&self.device);
        (Some(line), result)
    }

    fn free(&self, line: Line<'a>) -> (Option<Line<'a>>, Result) {
        match line {
            Line::Requested { .. } => (None, line.release(&self.device).1),
            Line::Allocated(_) => (None, Ok(())),
        }
    }

    fn set_masked(&self, number: usize, masked: bool) -> Result {
        let mut work = self.work.lock();
        let line = work.lines.get_mut(number).and_then(Option::as_mut);
        line.ok_or(ENOENT)?.set_masked(masked)
    }

    /// Has work queue `wq` raise interrupt `number`, `count` times.
    fn noop(&self, wq: usize, number: usize, count: usize) -> Result {
        self.submit(wq, number, |queue, line| {
            (0..count).try_for_each(|_| {
                interruptible()?;
                queue.noop(&self.device, line)
            })
        })
    }

    /// Has work queue `wq` copy `bytes` bytes and raise interrupt `number`.
    fn copy(&self, wq: usize, number: usize, bytes: usize) -> Result {
        self.submit(wq, number, |queue, line| {
            queue.copy(&self.device, line, bytes)
        })
    }

    fn submit(
        &self,
        wq: usize,
        number: usize,
        operation: impl FnOnce(&mut Queue, &Line<'a>) -> Result,
    ) -> Result {
        let mut work = self.work.lock();
        let Work { lines, queues } = &mut *work;
        let line = lines.get(number).and_then(Option::as_ref).ok_or(ENOENT)?;

        operation(queues.get_mut(wq).ok_or(ENOENT)?, line)
    }
}

#[pinned_drop]
impl PinnedDrop for State<'_> {
    fn drop(self: Pin<&mut Self>) {
        let mut work = self.work.lock();

        // Not every reset takes the handles back. What fails has been said.
        for entry in work.lines.iter_mut() {
            let is_requested = |line: &mut Line<'_>| matches!(line, Line::Requested { .. });
            let Some(line) = entry.take_if(is_requested) else {
                continue;
            };
            let (line, result) = line.release(&self.device);
            *entry = Some(line);
            if result.is_err() {
                break;
            }
        }
        if self.device.quiesce().is_err() {
            dev_err!(self.device.pci(), "not reset: its memory stays allocated\n");
            core::mem::forget(core::mem::take(&mut work.queues));
        }
        // The slots are freed with the lines, when nothing can raise or handle them any more.
        msi::synchronize();
    }
}

/// Fails with [`EINTR`] if a signal asks to stop.
fn interruptible() -> Result {
    if kernel::current!().signal_pending() {
        return Err(EINTR);
    }
    Ok(())
}

/// The module parameters, checked.
#[derive(Clone, Copy)]
struct Parameters {
    wqs: u32,
    timeout: Delta,
    pasid: Option<Pasid>,
}

impl Parameters {
    fn get(pdev: &pci::Device<Bound>) -> Result<Self> {
        let wqs = module_parameters::wqs.value();
        if wqs > 128 {
            dev_err!(pdev, "parameter wqs={wqs} is not within 0..=128\n");
            return Err(EINVAL);
        }
        let timeout = module_parameters::timeout_ms.value();
        if !(1..=60_000).contains(&timeout) {
            dev_err!(
                pdev,
                "parameter timeout_ms={timeout} is not within 1..=60000\n"
            );
            return Err(EINVAL);
        }
        let pasid = match module_parameters::pasid.value() {
            -1 => None,
            value => {
                let pasid = u32::try_from(value).ok().and_then(Pasid::try_new);
                if pasid.is_none() {
                    dev_err!(pdev, "parameter pasid={value} is not within -1..=1048575\n");
                    return Err(EINVAL);
                }
                pasid
            }
        };

        Ok(Self {
            wqs,
            timeout: Delta::from_millis(timeout.into()),
            pasid,
        })
    }
}

struct Driver;

struct Data<'bound> {
    _state: &'bound HeldState,
}

kernel::pci_device_table!(
    PCI_TABLE,
    <Driver as pci::Driver>::IdInfo,
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

impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Data<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let parameters = Parameters::get(pdev)?;
        let name = CString::try_from_fmt(fmt!("idxd_ims-{}", pdev.as_ref().name()))?;

        pdev.enable_device_mem()
            .inspect_err(|e| dev_err!(pdev, "cannot enable the device: {e:?}\n"))?;
        pdev.set_master();
        let state = Held::new(
            pdev,
            &name,
            |holder| State::new(holder, parameters),
            debugfs::files,
        )?;
        Ok(Data { _state: state })
    }
}

kernel::module_pci_driver! {
    type: Driver,
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
    },
}
