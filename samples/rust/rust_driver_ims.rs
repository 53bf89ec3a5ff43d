// SPDX-License-Identifier: GPL-2.0

//! Rust message store sample: a driver for a queue device that keeps its interrupt messages in host
//! memory, in the contexts of its queues.
//!
//! To make this driver probe, QEMU must be run with the queue device of `tools/testing/ims/model`.

use kernel::{
    debugfs::ScopedDir,
    device::{
        Bound,
        Core, //
    },
    fmt,
    held::{
        Held,
        Holder,
        Publisher, //
    },
    ims::{
        self,
        Chip,
        Commands,
        Interrupt,
        MemoryQueue,
        View, //
    },
    io::{
        io_read,
        io_write,
        poll::read_poll_timeout,
        register,
        Io, //
    },
    irq::{
        self,
        Flags,
        IrqReturn, //
    },
    msi::{
        self,
        Affinity,
        Message, //
    },
    new_mutex,
    pci::{
        self,
        Window, //
    },
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
    time::Delta,
    types::ForLt,
    uaccess::UserSliceReader, //
};

register! {
    MAGIC(u32) @ 0x0 {
        31:0 magic;
    }
    QUEUES(u32) @ 0x4 {
        15:0 queues;
    }
    /// Bus address of the contexts, in two halves.
    TABLE_LO(u32) @ 0x8 {
        31:0 address;
    }
    TABLE_HI(u32) @ 0xc {
        31:0 address;
    }
    CONTROL(u32) @ 0x10 {
        0:0 enable => bool;
    }
    /// Has the device read contexts again: the first, and how many more.
    UPDATE(u32) @ 0x14 {
        15:0 first;
        31:16 more;
    }
    STATUS(u32) @ 0x18 {
        0:0 busy => bool;
        15:8 error;
    }
    /// Work for a queue, which raises its interrupt.
    DOORBELL(u32) @ 0x1c {
        15:0 queue;
    }
}

const MAGIC_VALUE: u32 = 0x51534d49;
const MAX_QUEUES: u32 = 4;

type Registers<'a> = Window<'a, 0x1000>;

// The message store: contexts, how the device is told of a change, and the irq chip.

#[repr(C)]
#[derive(FromBytes, IntoBytes)]
struct Context {
    address: u64,
    data: u32,
    mask: u32,
    pending: u32,
    reserved: [u32; 3],
}

struct QueueChip;

impl Commands<0x1000> for QueueChip {
    fn enable(regs: Registers<'_>, table: u64) -> Result {
        regs.write_reg(TABLE_LO::from_raw(table as u32));
        regs.write_reg(TABLE_HI::from_raw((table >> 32) as u32));
        regs.write_reg(CONTROL::zeroed().with_enable(true));
        Ok(())
    }

    fn update(regs: Registers<'_>, first: u16, last: u16) -> Result {
        regs.write_reg(UPDATE::zeroed().with_first(first).with_more(last - first));

        let (sleep, timeout) = (Delta::from_micros(100), Delta::from_secs(1));
        let idle = |status: &STATUS| !status.busy();
        let status = read_poll_timeout(|| Ok(regs.read(STATUS)), idle, sleep, timeout)?;
        (status.error().get() == 0).then_some(()).ok_or(EIO)
    }

    fn disable(regs: Registers<'_>) {
        regs.write_reg(CONTROL::zeroed());
        // Reading returns when that has been taken.
        regs.read(CONTROL);
    }
}

impl Chip for QueueChip {
    const NAME: &'static CStr = c"QUEUE-IMS";
    type Store<'a> = MemoryQueue<'a, Context, Self, 0x1000>;

    fn mask(slot: View<'_, Self>, _control: u32) {
        io_write!(slot, .mask, 1);
    }

    fn unmask(slot: View<'_, Self>, _control: u32) {
        io_write!(slot, .mask, 0);
    }

    fn state(slot: View<'_, Self>) -> Option<ims::State> {
        Some(ims::State {
            masked: io_read!(slot, .mask) != 0,
            pending: io_read!(slot, .pending) != 0,
        })
    }

    fn write_message(slot: View<'_, Self>, message: Message) {
        io_write!(slot, .address, message.address);
        io_write!(slot, .data, message.data);
    }
}

// The driver.

struct Nothing;

impl irq::Handler for Nothing {
    fn handle(&self) -> IrqReturn {
        IrqReturn::Handled
    }
}

type Queue<'a> = msi::Requested<'a, Interrupt<'a, QueueChip>, Nothing>;

#[pin_data]
struct State<'a> {
    #[pin]
    queues: Mutex<KVec<Queue<'a>>>,
    regs: Registers<'a>,
    domain: ims::Domain<'a, QueueChip>,
}

type HeldState = Held<ForLt!(State<'_>)>;

impl<'a> State<'a> {
    fn new(holder: &Holder<'_, 'a>) -> Result<Pin<KBox<Self>>> {
        let dev = holder.device();
        let regs = Registers::new(holder, 0, c"rust_driver_ims")?;
        if regs.read(MAGIC).into_raw() != MAGIC_VALUE {
            dev_err!(dev, "the device does not respond\n");
            return Err(EIO);
        }

        let slots = regs.read(QUEUES).queues().get();
        let store = MemoryQueue::new(holder, regs, slots)?;
        let domain = ims::Domain::new(holder, store)
            .inspect_err(|e| dev_err!(dev, "cannot use the message store: {e:?}\n"))?;

        let count = slots.min(MAX_QUEUES);
        let spread = Affinity::spread(count)?.managed(false);
        let owner = domain.owner(domain.unlimited())?;
        let mut queues = KVec::new();
        for interrupt in owner.alloc_block(count, None, Some(&spread))? {
            let number = queues.len();
            let name = fmt!("rust_driver_ims-{}-queue{number}", dev.as_ref().name());
            let name = Arc::new(CString::try_from_fmt(name)?, GFP_KERNEL)?;
            let queue = msi::request(interrupt, Flags::TRIGGER_NONE, name, None, Ok(Nothing));
            queues.push(queue.map_err(|(error, _)| error)?, GFP_KERNEL)?;
        }
        dev_info!(dev, "{count} of {slots} queues\n");

        KBox::pin_init(
            try_pin_init!(Self { queues <- new_mutex!(queues), regs, domain }? Error),
            GFP_KERNEL,
        )
    }
}

// What debugfs shows, and how the device is exercised from there.

fn publish<'s, 'b>(
    held: &'s HeldState,
    _state: &'s State<'b>,
    publisher: &Publisher<'_, 's>,
) -> Result {
    publisher.debugfs("rust_driver_ims", held, files)
}

fn files<'data>(held: &'data HeldState, dir: &ScopedDir<'data, '_>) {
    dir.read_callback_file(c"slots", held, &slots);
    dir.write_only_callback_file(c"control", held, &control);
}

fn slots(held: &HeldState, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    held.with(|state| state.domain.show(f))
}

/// Runs `ring QUEUE`, `mask QUEUE` or `unmask QUEUE`.
fn control(held: &HeldState, reader: &mut UserSliceReader) -> Result {
    let mut text = [0; 16];
    let text = text.get_mut(..reader.len()).ok_or(EINVAL)?;
    reader.read_slice(text)?;
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?.trim();
    let (verb, number) = text.split_once(' ').ok_or(EINVAL)?;
    let number: usize = number.parse().map_err(|_| EINVAL)?;

    held.with(|state| {
        let mut queues = state.queues.lock();
        let queue = queues.get_mut(number).ok_or(ENOENT)?;
        match verb {
            "ring" => {
                let doorbell = DOORBELL::zeroed().with_queue(queue.source().index());
                state.regs.write_reg(doorbell);
                Ok(())
            }
            "mask" => queue.mask(),
            "unmask" => queue.unmask(),
            _ => Err(EINVAL),
        }
    })
}

struct SampleDriver<'a>(&'a HeldState);

kernel::pci_device_table!(
    PCI_TABLE,
    <SampleDriver<'static> as pci::Driver>::IdInfo,
    [(
        pci::DeviceId::from_id(pci::Vendor::REDHAT_QUMRANET, 0x10f0),
        ()
    )]
);

impl pci::Driver for SampleDriver<'static> {
    type IdInfo = ();
    type Data<'bound> = SampleDriver<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<SampleDriver<'bound>, Error> + 'bound {
        pdev.enable_managed()?;
        let held = HeldState::probe(pdev, |holder| State::new(holder), publish)?;
        Ok(SampleDriver(held))
    }

    const HAS_SUSPEND: bool = true;

    fn suspend<'bound>(_pdev: &'bound pci::Device<Bound>, this: Pin<&SampleDriver<'bound>>) {
        this.0.with(|state| state.domain.suspend());
    }

    fn resume_early<'bound>(
        _pdev: &'bound pci::Device<Bound>,
        this: Pin<&SampleDriver<'bound>>,
    ) -> Result {
        this.0.with(|state| state.domain.resume())
    }

    fn resume<'bound>(
        pdev: &'bound pci::Device<Bound>,
        this: Pin<&SampleDriver<'bound>>,
    ) -> Result {
        Self::resume_early(pdev, this)
    }
}

kernel::module_pci_driver! {
    type: SampleDriver<'static>,
    name: "rust_driver_ims",
    authors: ["rust-ims maintainers"],
    description: "Rust message store sample",
    license: "GPL v2",
}
