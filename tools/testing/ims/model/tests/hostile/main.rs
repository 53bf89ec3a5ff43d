// SPDX-License-Identifier: GPL-2.0

//! Hostile and careless vfio-user clients.
//!
//! Whatever a client sends, a model answers, refuses with an error reply, or
//! ends with a message and a status that is not 0. It does not panic, hang,
//! spin, grow, or leave its socket behind.

mod client;
mod dma;
mod flow;
mod frames;
mod irqs;
mod life;
mod model;
mod mutations;
mod requests;
mod session;
mod version;
