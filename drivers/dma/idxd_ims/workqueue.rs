// SPDX-License-Identifier: GPL-2.0

//! A work queue as a subdevice.

use crate::{
    chip::Chip,
    device::Device,
    entries::Entries,
    queue::Queue, //
};
use core::num::NonZero;
use kernel::{
    ims::Owner,
    prelude::*,
    sync::Mutex, //
};

/// A work queue, as its parent registers it.
#[derive(Clone)]
pub(crate) struct WorkQueue<'a> {
    pub(crate) device: &'a Device<'a>,
    pub(crate) index: u32,
    pub(crate) queue: &'a Mutex<Queue>,
    /// The entries for its items.
    pub(crate) entries: &'a Entries<'a>,
    /// Operations of items, a bit for each `IDXD_IMS_OP_*`; 0 if it takes none.
    pub(crate) ops: u64,
    /// Allocates its interrupts.
    pub(crate) owner: Owner<'a, Chip<'a>>,
    /// Maximum number of interrupts of one open file.
    pub(crate) max_per_file: u32,
    /// Maximum number of times that an interrupt may arrive in a second.
    pub(crate) storm_limit: Option<NonZero<u32>>,
    /// Name of its interrupts.
    pub(crate) name: &'a CStr,
}
