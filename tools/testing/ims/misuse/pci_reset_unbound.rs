// SPDX-License-Identifier: GPL-2.0

//! A device is reset, or loses bus mastering, by code that does not have it bound.

use kernel::{
    pci,
    prelude::*, //
};

fn reset(pdev: &pci::Device) -> Result {
    pdev.clear_master(); //~ E0599
    pdev.try_reset() //~ E0599
}

include!("module.inc");
