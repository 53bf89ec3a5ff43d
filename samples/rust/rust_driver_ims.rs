// SPDX-License-Identifier: GPL-2.0

//! Rust message store sample: a driver for a queue device that keeps its interrupt messages in host
//! memory, in the contexts of its queues.
//!
//! To make this driver probe, QEMU must be run with the queue device of `tools/testing/ims/model`.

use kernel::{
    debugfs::ScopedDir,
    device::Core,
    fmt,
    held::{
        Handler,
        Held,
        Holder,
        Line,
        Publisher,
        Registration, //
    },
    ims::{
        Chip,
        Domain,
        Interrupt,
        MemoryQueue, //
    },
    io::{
        io_read,
        io_write,
        poll::read_poll_timeout,
        register,
        Io, //
    },
    irq::{
        Flags,
        IrqReturn, //
    },
    new_mutex,
    pci::{
        self,
        DeviceId,
        Vendor,
        Window, //
    },
    prelude::*,
    sync::Mutex,
    time::Delta,
    types::ForLt,
    uaccess::UserSliceReader, //
};
use zerocopy_derive::Immutable;

register! {
    MAGIC(u32) @ 0x0 { 31:0 magic; }
    QUEUES(u32) @ 0x4 { 15:0 queues; }
    /// Bus address of the contexts, in two halves.
    TABLE_LO(u32) @ 0x8 { 31:0 address; }
    TABLE_HI(u32) @ 0xc { 31:0 address; }
    CONTROL(u32) @ 0x10 { 0:0 enable => bool; }
    /// Makes the device read contexts again: the first, and the number of those after it.
    UPDATE(u32) @ 0x14 { 15:0 first; 31:16 more; }
    STATUS(u32) @ 0x18 { 0:0 busy => bool; 15:8 error; }
}

const MAGIC_VALUE: u32 = 0x51534d49;
const MAX_QUEUES: u32 = 4;

type Registers<'a> = Window<'a, 0x1000>;

/// The context of a queue. The device has a copy of it.
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable)]
struct Context {
    address: u64,
    data: u32,
    mask: u32,
    pending: u32,
    reserved: [u32; 3],
}

struct QueueChip<'a> {
    regs: Registers<'a>,
    contexts: MemoryQueue<Context>,
}

#[vtable]
impl Chip for QueueChip<'_> {
    const NAME: &'static CStr = c"QUEUE-IMS";

    fn mask(&self, slot: usize) {
        self.contexts.change(slot, |c| io_write!(c, .mask, 1));
    }

    fn unmask(&self, slot: usize) {
        self.contexts.change(slot, |c| io_write!(c, .mask, 0));
    }

    fn is_masked(&self, slot: usize) -> Option<bool> {
        Some(io_read!(self.contexts.get(slot)?, .mask) != 0)
    }

    fn is_pending(&self, slot: usize) -> Option<bool> {
        Some(io_read!(self.contexts.get(slot)?, .pending) != 0)
    }

    fn write_message(&self, slot: usize, address: u64, data: u32) {
        self.contexts.change(slot, |c| {
            io_write!(c, .address, address);
            io_write!(c, .data, data);
        });
    }

    fn enable(&self) -> Result {
        let (regs, table) = (self.regs, self.contexts.dma_address());
        // The device may still have another table, from before a kexec.
        regs.write_reg(CONTROL::zeroed());
        self.contexts.change_all(|c| io_write!(c, .pending, 0));
        regs.write_reg(TABLE_LO::from_raw(table as u32));
        regs.write_reg(TABLE_HI::from_raw((table >> 32) as u32));
        regs.write_reg(CONTROL::zeroed().with_enable(true));
        Ok(())
    }

    fn flush(&self) -> Result {
        self.contexts.update(|first, last| {
            let update = UPDATE::zeroed().with_first(first).with_more(last - first);
            self.regs.write_reg(update);

            let idle = |status: &STATUS| !status.busy();
            let (sleep, timeout) = (Delta::from_micros(100), Delta::from_secs(1));
            let status = read_poll_timeout(|| Ok(self.regs.read(STATUS)), idle, sleep, timeout)?;
            (status.error().get() == 0).then_some(()).ok_or(EIO)
        })
    }
}

impl Drop for QueueChip<'_> {
    fn drop(&mut self) {
        self.regs.write_reg(CONTROL::zeroed());
        // The read returns when the device does not access the contexts any more.
        self.regs.read(CONTROL);
    }
}

struct QueueHandler;

impl Handler for QueueHandler {
    fn handle(&self, _line: &Line) -> IrqReturn {
        IrqReturn::Handled
    }
}

type Queue<'a> = Registration<'a, Interrupt<'a, QueueChip<'a>>, QueueHandler>;

#[pin_data]
struct Sample<'a> {
    #[pin]
    queues: Mutex<KVec<Queue<'a>>>,
    regs: Registers<'a>,
    domain: &'a Domain<QueueChip<'a>>,
}

type HeldSample = Held<ForLt!(Sample<'_>)>;

impl<'a> Sample<'a> {
    fn new(holder: &Holder<'_, 'a>) -> Result<Pin<KBox<Self>>> {
        let dev = holder.device();
        let regs = Registers::new(holder, 0, c"rust_driver_ims")?;
        if regs.read(MAGIC).into_raw() != MAGIC_VALUE {
            dev_err!(dev, "the device does not respond\n");
            return Err(EIO);
        }

        let slots = regs.read(QUEUES).queues().get();
        let contexts = MemoryQueue::new(dev.as_ref(), slots)?;
        let domain = Domain::new(holder, slots, QueueChip { regs, contexts })
            .inspect_err(|e| dev_err!(dev, "cannot use the message store: {e:?}\n"))?;

        let (device, handlers) = (dev.as_ref().name(), holder.handlers());
        let mut queues = KVec::new();
        for number in 0..slots.min(MAX_QUEUES) {
            let name = holder.name(fmt!("rust_driver_ims-{device}-queue{number}"))?;
            let interrupt = domain.alloc()?;
            let queue = handlers.request(interrupt, Flags::TRIGGER_NONE, name, Ok(QueueHandler));
            queues.push(queue.map_err(|(error, _)| error)?, GFP_KERNEL)?;
        }
        dev_info!(dev, "{} of {slots} queues\n", queues.len());

        let sample = try_pin_init!(Self { queues <- new_mutex!(queues), regs, domain }? Error);
        KBox::pin_init(sample, GFP_KERNEL)
    }
}

struct Driver;

kernel::pci_device_table!(
    PCI_TABLE,
    <Driver as pci::Driver>::IdInfo,
    [(DeviceId::from_id(Vendor::REDHAT_QUMRANET, 0x10f0), ())]
);

#[vtable]
impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'b> = &'b HeldSample;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'b>(
        dev: &'b pci::Device<Core<'_>>,
        _info: Option<&'b Self::IdInfo>,
    ) -> impl PinInit<&'b HeldSample, Error> + 'b {
        dev.enable_managed()?;
        HeldSample::probe(dev, |holder| Sample::new(holder), publish)
    }

    fn suspend<'b>(_dev: &'b pci::Device<Core<'_>>, this: Pin<&&'b HeldSample>) -> Result {
        this.with(|sample| sample.domain.suspend());
        Ok(())
    }

    fn resume<'b>(_dev: &'b pci::Device<Core<'_>>, this: Pin<&&'b HeldSample>) -> Result {
        this.with(|sample| sample.domain.resume())
    }

    fn reset_prepare<'b>(_dev: &'b pci::Device<Core<'_>>, this: Pin<&&'b HeldSample>) {
        this.with(|sample| sample.domain.suspend());
    }

    fn reset_done<'b>(dev: &'b pci::Device<Core<'_>>, this: Pin<&&'b HeldSample>) {
        if let Err(e) = this.with(|sample| sample.domain.resume()) {
            dev_err!(dev, "cannot restore the message store: {e:?}\n");
        }
    }
}

kernel::module_pci_driver! {
    type: Driver,
    name: "rust_driver_ims",
    authors: ["rust-ims maintainers"],
    description: "Rust message store sample",
    license: "GPL v2",
}

// Only for tests, from here to the end: debugfs shows the contexts, and rings and masks queues.

register! {
    /// Raises the interrupt of a queue.
    DOORBELL(u32) @ 0x1c { 15:0 queue; }
}

fn publish<'s, 'b>(_sample: &'s Sample<'b>, publisher: &Publisher<'_, 's, HeldSample>) -> Result {
    publisher.debugfs("rust_driver_ims", files)
}

fn files<'data>(held: &'data HeldSample, dir: &ScopedDir<'data, '_>) {
    dir.read_callback_file(c"slots", held, &slots);
    dir.write_only_callback_file(c"control", held, &control);
}

fn slots(held: &HeldSample, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, " slot  virq      count state")?;
    held.with(|sample| {
        let (domain, mut result) = (sample.domain, Ok(()));
        domain.for_each(|slot, virq, count| {
            result = result.and_then(|()| {
                write!(f, "{slot:>5} {virq:>5} {count:>10} ")?;
                f.write_str(match domain.is_masked(slot.into()) {
                    Some(true) => "masked",
                    Some(false) => "unmasked",
                    None => "unknown",
                })?;
                let pending = domain.is_pending(slot.into()) == Some(true);
                f.write_str(if pending { ",pending\n" } else { "\n" })
            });
        });
        result
    })
}

/// Runs `ring QUEUE`, `mask QUEUE` or `unmask QUEUE`.
fn control(held: &HeldSample, reader: &mut UserSliceReader) -> Result {
    let mut text = [0; 16];
    let text = text.get_mut(..reader.len()).ok_or(EINVAL)?;
    reader.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?.trim();
    let (verb, number) = text.split_once(' ').ok_or(EINVAL)?;
    let number: usize = number.parse().map_err(|_| EINVAL)?;

    held.with(|sample| {
        let mut queues = sample.queues.lock();
        let queue = queues.get_mut(number).ok_or(ENOENT)?;
        match verb {
            "ring" => {
                let doorbell = DOORBELL::zeroed().with_queue(queue.source().slot());
                sample.regs.write_reg(doorbell);
                Ok(())
            }
            "mask" => queue.mask(),
            "unmask" => queue.unmask(),
            _ => Err(EINVAL),
        }
    })
}
