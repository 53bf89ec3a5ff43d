// SPDX-License-Identifier: GPL-2.0

//! An Intel Data Streaming Accelerator (DSA) with an Interrupt Message Store,
//! as a vfio-user server for QEMU. In [`queue`] is a second device, which keeps
//! its interrupt messages in host memory.
//!
//! [`device::Device`] is the hardware: registers, work queues, handles, slots.
//! It reaches the outside only through [`bus::Bus`], so that every bit can be
//! tested without a socket. [`processor`] executes descriptors on a thread of
//! their own, and [`server`] connects both to QEMU.
//!
//! The rules are those of the DSA architecture specification, Intel document
//! 341204, revision 006. Comments name its sections and tables in parentheses:
//! (5.4), (table 5-8). Names are those of the kernel's
//! `drivers/dma/idxd/registers.h` and `include/uapi/linux/idxd.h`. Where the
//! specification leaves a choice, the comment says which the model made.

pub mod bus;
pub mod chaos;
pub mod completion;
pub mod config;
pub mod counters;
pub mod crc;
pub mod descriptor;
pub mod device;
pub mod enable;
pub mod fault;
pub mod group;
pub mod handles;
pub mod ims;
pub mod kind;
pub mod layout;
pub mod link;
pub mod logger;
pub mod message;
pub mod operation;
pub mod pci;
pub mod perm;
pub mod portal;
pub mod processor;
pub mod program;
pub mod queue;
pub mod random;
pub mod regs;
pub mod request;
pub mod rules;
pub mod server;
pub mod shared;
pub mod source;
pub mod swerr;
pub mod testpage;
pub mod vectors;
pub mod wq;
