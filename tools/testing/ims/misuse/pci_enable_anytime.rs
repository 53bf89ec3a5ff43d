// SPDX-License-Identifier: GPL-2.0

//! A device is enabled outside of the callbacks of its driver, so without its lock.

use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

fn enable(pdev: &pci::Device<Bound>) -> Result {
    pdev.enable_managed() //~ E0599
}

include!("module.inc");
