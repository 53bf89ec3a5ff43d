// SPDX-License-Identifier: GPL-2.0

//! The Rust contestant: the product driver's irq chip on the message store library.
//!
//! With the cfg `bare` it does not measure, for its size.

#![cfg_attr(bare, allow(dead_code, unused_imports))]

use kernel::{
    bindings,
    device::Core,
    held::{
        Handler,
        Handlers,
        Held,
        Holder,
        Line,
        Publisher,
        Registration, //
    },
    ims::{
        self,
        Allocator,
        MmioArray, //
    },
    io::{
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
    types::ForLt, //
};

#[path = "../../../../drivers/dma/idxd_ims/chip.rs"]
mod chip;
#[cfg(not(bare))]
mod measure;
#[allow(dead_code)]
#[path = "../../../../drivers/dma/idxd_ims/regs.rs"]
mod regs;

use crate::{
    chip::Chip,
    regs::{
        END,
        GENCAP,
        IMS_MULT,
        OFFSETS,
        REGISTERS_BAR,
        TABLE_MULT, //
    }, //
};

register! {
    /// In the test page; takes any value: it sets counters to zero.
    MARKER(u32) @ 0xc4 {
        31:0 number;
    }
}

const TEST_PAGE_BAR: u32 = 4;
const TEST_PAGE_SIZE: usize = 0x1000;

struct Count(Atomic<u64>);

impl Handler for Count {
    fn handle(&self, _line: &Line) -> IrqReturn {
        self.0.add(1, Relaxed);
        IrqReturn::Handled
    }
}

type Domain<'a> = ims::Domain<Chip<'a>>;
type Interrupt<'a> = ims::Interrupt<'a, Chip<'a>>;
type Requested<'a> = Registration<'a, Interrupt<'a>, Count>;

#[pin_data]
struct State<'a> {
    handlers: &'a Handlers<'a>,
    domain: &'a Domain<'a>,
    page: Window<'a, TEST_PAGE_SIZE>,
    /// Beside the one that stays.
    room: u32,
    /// One that stays, for bench_paths.
    requested: Requested<'a>,
    /// Those that "keep" keeps.
    #[cfg(not(bare))]
    #[pin]
    kept: Mutex<Option<KVVec<Arc<Allocator>>>>,
}

type HeldState = Held<ForLt!(State<'_>)>;

impl<'a> State<'a> {
    fn new(holder: &Holder<'_, 'a>) -> Result<Pin<KBox<Self>>> {
        let regs = Window::<END>::new(holder, REGISTERS_BAR, c"bench_rust")?;
        let page = Window::new(holder, TEST_PAGE_BAR, c"bench_rust")?;

        let slots = regs.try_read(GENCAP)?.max_ims_mult().get() as u32 * IMS_MULT;
        // CAST: The field has 16 bits.
        let offset = regs.try_read(OFFSETS)?.ims().get() as usize * TABLE_MULT;
        let chip = Chip(MmioArray::new(regs, offset, slots)?);
        let domain = Domain::new(holder, slots, chip)?;
        let handlers = holder.handlers();
        let requested = request(handlers, domain.alloc()?)?;

        KBox::pin_init(
            try_pin_init!(Self {
                handlers,
                domain,
                page,
                room: slots - 1,
                requested,
                #[cfg(not(bare))]
                kept <- new_mutex!(None),
            }? Error),
            GFP_KERNEL,
        )
    }

    fn alloc(&self) -> Result<Interrupt<'a>> {
        self.domain.alloc()
    }

    fn request(&self, interrupt: Interrupt<'a>) -> Result<Requested<'a>> {
        request(self.handlers, interrupt)
    }

    fn mark(&self, number: u32) {
        self.page.write_reg(MARKER::from_raw(number));
    }
}

fn request<'a>(handlers: &'a Handlers<'a>, interrupt: Interrupt<'a>) -> Result<Requested<'a>> {
    let handler = Ok(Count(Atomic::new(0)));

    handlers
        .request(interrupt, Flags::TRIGGER_NONE, c"bench", handler)
        .map_err(|(error, _)| error)
}

fn publish<'s, 'b>(_state: &'s State<'b>, publisher: &Publisher<'_, 's, HeldState>) -> Result {
    #[cfg(not(bare))]
    publisher.debugfs("bench_rust", measure::files)?;
    #[cfg(bare)]
    let _ = publisher;
    Ok(())
}

struct Driver<'a>(#[allow(dead_code)] &'a HeldState);

kernel::pci_device_table!(
    PCI_TABLE,
    <Driver<'static> as pci::Driver>::IdInfo,
    [(
        pci::DeviceId::from_id(pci::Vendor::INTEL, bindings::PCI_DEVICE_ID_INTEL_DSA_SPR0),
        ()
    )]
);

#[vtable]
impl pci::Driver for Driver<'static> {
    type IdInfo = ();
    type Data<'bound> = Driver<'bound>;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Driver<'bound>, Error> + 'bound {
        pdev.enable_managed()?;
        HeldState::probe(pdev, |holder| State::new(holder), publish).map(Driver)
    }
}

kernel::module_pci_driver! {
    type: Driver<'static>,
    name: "bench_rust",
    authors: ["rust-ims maintainers"],
    description: "Contestant of the message store benchmark",
    license: "GPL",
}
