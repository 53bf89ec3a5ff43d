// SPDX-License-Identifier: GPL-2.0

//! The Rust contestant: the product driver's irq chip on the message store library.
//!
//! With the cfg `bare` it does not measure: that is for its size.

#![cfg_attr(bare, allow(dead_code, unused_imports))]

use kernel::{
    bindings,
    device::Core,
    held::{
        Held,
        Holder,
        Publisher, //
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
        self,
        Flags,
        IrqReturn, //
    },
    msi,
    new_mutex,
    pci::{
        self,
        Window, //
    },
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
    types::ForLt, //
};

use core::num::NonZero;

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

const STORM_LIMIT: Option<NonZero<u32>> = NonZero::new(100_000);

struct Count(Atomic<u64>);

impl irq::Handler for Count {
    fn handle(&self) -> IrqReturn {
        self.0.add(1, Relaxed);
        IrqReturn::Handled
    }
}

type Interrupt<'a> = ims::Interrupt<'a, Chip>;
type Requested<'a> = msi::Requested<'a, Interrupt<'a>, Count>;

#[pin_data]
struct State<'a> {
    /// What all interrupts are called.
    name: Arc<CString>,
    owner: ims::Owner<'a, Chip>,
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
        let domain = ims::Domain::new(holder, MmioArray::new(regs, offset, slots)?)?;
        let owner = domain.owner(domain.unlimited())?;
        let name = Arc::new(CString::try_from(c"bench")?, GFP_KERNEL)?;
        let requested = request(owner.alloc(None, None)?, &name)?;

        KBox::pin_init(
            try_pin_init!(Self {
                name,
                owner,
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
        self.owner.alloc(None, None)
    }

    fn request(&self, interrupt: Interrupt<'a>) -> Result<Requested<'a>> {
        request(interrupt, &self.name)
    }

    fn mark(&self, number: u32) {
        self.page.write_reg(MARKER::from_raw(number));
    }
}

fn request<'a>(interrupt: Interrupt<'a>, name: &Arc<CString>) -> Result<Requested<'a>> {
    let (name, handler) = (name.clone(), Ok(Count(Atomic::new(0))));

    msi::request(interrupt, Flags::TRIGGER_NONE, name, STORM_LIMIT, handler).map_err(|(e, _)| e)
}

fn publish<'s, 'b>(
    held: &'s HeldState,
    _state: &'s State<'b>,
    publisher: &Publisher<'_, 's>,
) -> Result {
    #[cfg(not(bare))]
    publisher.debugfs("bench_rust", held, measure::files)?;
    #[cfg(bare)]
    let _ = (held, publisher);
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
