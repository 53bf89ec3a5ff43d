// SPDX-License-Identifier: GPL-2.0

//! Devices with an Interrupt Message Store, as vfio-user servers for QEMU: an
//! Intel Data Streaming Accelerator (DSA), and a device that keeps its interrupt
//! messages in host memory.
//!
//! The programs are `dsa-model` and `queue-model`; the README has a QEMU command.
//! This library has the devices, which need neither QEMU nor a socket:
//!
//! - [`device::Device`] is the DSA: registers, work queues, handles, slots. The
//!   module has the registers of its test page. [`processor`] executes descriptors
//!   on a thread of their own.
//! - [`queue::Device`] is the other device. [`queue::worker`] is its thread.
//! - [`config`] and [`kind`] say which DSA, [`fault`] how it fails, [`chaos`] what
//!   makes it hostile.
//! - [`server`] connects a device to QEMU, [`program`] is what both programs have
//!   in common.
//!
//! A device reaches the outside only through a trait of [`bus`], so that a test can
//! be the machine:
//!
//! ```
//! use std::sync::Arc;
//!
//! use dsa_model::bus::{Bus, DmaError, Pending};
//! use dsa_model::config::Config;
//! use dsa_model::device::{Device, Region};
//!
//! /// A machine without memory.
//! struct NoMemory;
//!
//! impl Bus for NoMemory {
//!     fn read(&self, _: u64, _: &mut [u8]) -> Result<(), DmaError> {
//!         Err(DmaError)
//!     }
//!     fn write(&self, _: u64, _: &[u8]) -> Result<(), DmaError> {
//!         Err(DmaError)
//!     }
//!     fn post(&self, address: u64, data: &[u8]) {
//!         println!("interrupt message {data:02x?} to {address:#x}");
//!     }
//!     fn sync(&self) -> Pending {
//!         Pending::known(Ok(Vec::new()))
//!     }
//!     fn post_errors(&self) -> u64 {
//!         0
//!     }
//!     fn signal(&self, vector: u16) {
//!         println!("MSI-X vector {vector}");
//!     }
//! }
//!
//! let mut device = Device::new(Config::default(), Arc::new(NoMemory));
//! let mut version = [0; 4];
//! device.read(Region::Bar0, 0, &mut version);
//! assert_eq!(u32::from_le_bytes(version), 0x100);
//! ```
//!
//! Names are those of the kernel's `drivers/dma/idxd/registers.h` and
//! `include/uapi/linux/idxd.h`. Where the specification leaves a choice, a comment
//! names the choice of the model.

#![warn(missing_docs)]

pub mod bus;
pub mod chaos;
mod completion;
pub mod config;
mod counters;
mod crc;
mod descriptor;
pub mod device;
mod enable;
pub mod fault;
mod group;
mod handles;
mod ims;
pub mod kind;
pub mod layout;
mod link;
pub mod logger;
mod message;
mod operation;
mod pci;
mod perm;
mod portal;
pub mod processor;
pub mod program;
pub mod queue;
mod random;
mod regs;
mod request;
mod rules;
pub mod server;
pub mod shared;
mod source;
mod swerr;
mod testpage;
mod vectors;
mod wq;
