// SPDX-License-Identifier: GPL-2.0

//! Interrupt message stores (IMS).
//!
//! A device raises an interrupt by writing a message: 4 bytes to an address. In a message store the
//! device keeps its messages in a place and a layout of its own, and can have far more of them than
//! MSI-X. Each message has a slot. The store has an irq domain, which maps slots to the interrupt
//! numbers of Linux, stacked on interrupt remapping:
//!
//! ```text
//! VECTOR <- interrupt remapping <- Domain <- Interrupt <- Registration
//!                                    |
//!                                  Chip <- MmioArray or MemoryQueue
//! ```
//!
//! - [`Chip`] is implemented by the driver: it masks slots, and stores messages in them.
//! - [`Domain`] owns the chip. It is created in probe, with a [`Holder`]: the device drops it when
//!   it is unbound.
//! - [`Interrupt`] is an allocated slot with its interrupt number.
//! - [`Registration`] is an interrupt with its [`Handler`], which runs when the message arrives.
//!
//! # Examples
//!
//! ```
//! use kernel::{
//!     held::{
//!         Handler,
//!         Holder,
//!         Registration, //
//!     },
//!     ims::{
//!         Chip,
//!         Domain,
//!         Interrupt,
//!         MmioArray, //
//!     },
//!     io::{
//!         io_read,
//!         io_write, //
//!     },
//!     irq::Flags,
//!     pci::Window,
//!     prelude::*, //
//! };
//!
//! #[repr(C)]
//! struct Slot {
//!     address_lo: u32,
//!     address_hi: u32,
//!     data: u32,
//!     control: u32,
//! }
//!
//! struct MyChip<'a>(MmioArray<'a, Slot>);
//!
//! impl MyChip<'_> {
//!     fn control(&self, slot: usize) -> Option<u32> {
//!         let control = io_read!(self.0.get(slot)?, .control);
//!         (control != u32::MAX).then_some(control)
//!     }
//! }
//!
//! #[vtable]
//! impl Chip for MyChip<'_> {
//!     const NAME: &'static CStr = c"MY-IMS";
//!
//!     fn mask(&self, slot: usize) {
//!         if let Some(slot) = self.0.get(slot) {
//!             io_write!(slot, .control, 1);
//!         }
//!     }
//!
//!     fn unmask(&self, slot: usize) {
//!         if let Some(slot) = self.0.get(slot) {
//!             io_write!(slot, .control, 0);
//!         }
//!     }
//!
//!     fn is_masked(&self, slot: usize) -> Option<bool> {
//!         Some(self.control(slot)? & 1 != 0)
//!     }
//!
//!     fn is_pending(&self, slot: usize) -> Option<bool> {
//!         Some(self.control(slot)? & 2 != 0)
//!     }
//!
//!     fn write_message(&self, slot: usize, address: u64, data: u32) {
//!         if let Some(slot) = self.0.get(slot) {
//!             io_write!(slot, .address_lo, address as u32);
//!             io_write!(slot, .address_hi, (address >> 32) as u32);
//!             io_write!(slot, .data, data);
//!         }
//!     }
//! }
//!
//! fn first_interrupt<'b, H: Handler + 'b>(
//!     holder: &Holder<'_, 'b>,
//!     handler: H,
//! ) -> Result<Registration<'b, Interrupt<'b, MyChip<'b>>, H>> {
//!     let window = Window::<0x1000>::new(holder, 0, c"my_device")?;
//!     let domain = Domain::new(holder, 128, MyChip(MmioArray::new(window, 0x800, 128)?))?;
//!     let interrupt = domain.alloc()?;
//!
//!     let handlers = holder.handlers();
//!     let request = handlers.request(interrupt, Flags::TRIGGER_NONE, c"my_device", Ok(handler));
//!     request.map_err(|(error, _)| error)
//! }
//! ```
//!
//! [`Handler`]: crate::held::Handler
//! [`Holder`]: crate::held::Holder
//! [`Registration`]: crate::held::Registration

mod base;
mod domain;
mod interrupt;
mod kunit;
mod memory;
mod mmio;
mod power;
mod slots;

pub use self::{
    domain::Domain,
    interrupt::{
        Interrupt,
        Owner, //
    },
    memory::MemoryQueue,
    mmio::MmioArray,
    slots::{
        Allocator,
        Quota, //
    },
};
pub use crate::msi::Chip;
