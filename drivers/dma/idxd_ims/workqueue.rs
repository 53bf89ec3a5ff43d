// SPDX-License-Identifier: GPL-2.0

//! A work queue as a subdevice: what its driver gets, and its share of the message store.

use crate::{
    chip::Chip,
    device::Device,
    queue::Queue, //
};
use core::num::NonZero;
use kernel::{
    fmt,
    ims::{
        Owner,
        Pasid, //
    },
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
    sysfs::Attributes, //
};

/// A work queue, as its parent registers it.
#[derive(Clone)]
pub(crate) struct WorkQueue<'a> {
    pub(crate) device: &'a Device<'a>,
    pub(crate) index: u32,
    pub(crate) queue: &'a Mutex<Queue>,
    /// Who allocates its interrupts.
    pub(crate) owner: Owner<'a, Chip>,
    pub(crate) pasid: Option<Pasid>,
    /// Interrupts that one open file can have.
    pub(crate) file_ceiling: u32,
    /// How often an interrupt may come in a second.
    pub(crate) storm_limit: Option<NonZero<u32>>,
    /// The name of its interrupts.
    pub(crate) name: Arc<CString>,
}

impl WorkQueue<'_> {
    /// Returns the name of its character device.
    pub(crate) fn file_name(&self) -> Result<CString> {
        let device = self.device.pci().as_ref().name();
        CString::try_from_fmt(fmt!("idxd_ims/{device}.wq{}", self.index))
    }
}

/// A work queue's share of the message store, as attributes.
pub(crate) struct Share<'a>(pub(crate) Owner<'a, Chip>);

impl Attributes for Share<'_> {
    const NAMES: &'static [(&'static CStr, bool)] =
        &[(c"slots", false), (c"guarantee", true), (c"ceiling", true)];

    fn show(&self, index: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match index {
            0 => self.0.show(f)?,
            1 => write!(f, "{}", self.0.limits().guarantee)?,
            _ => write!(f, "{}", self.0.limits().ceiling)?,
        }
        writeln!(f)
    }

    fn store(&self, index: usize, text: &str) -> Result {
        let value = text.parse().map_err(|_| EINVAL)?;

        self.0.change_limits(|limits| match index {
            1 => limits.guarantee = value,
            _ => limits.ceiling = value,
        })
    }
}
