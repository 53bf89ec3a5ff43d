// SPDX-License-Identifier: GPL-2.0

//! Capabilities of PCI devices.

use super::Device;
use crate::{
    bindings,
    device::Bound,
    io::Io,
    prelude::*, //
};
use core::ops::Range;

impl Device<Bound> {
    /// Returns the offset of the designated vendor-specific extended capability (DVSEC) `id` of
    /// `vendor` in the configuration space.
    pub fn find_dvsec(&self, vendor: u16, id: u16) -> Option<u16> {
        // SAFETY: It is a valid PCI device.
        match unsafe { bindings::pci_find_dvsec_capability(self.as_raw(), vendor, id) } {
            0 => None,
            offset => Some(offset),
        }
    }

    /// Returns the locations of the MSI-X table and of its pending bits: the number of the BAR and
    /// the range of bytes in it. The ranges are empty if there is no MSI-X capability.
    ///
    /// # Errors
    ///
    /// The error of reading the configuration space, or [`ERANGE`] if the end of a range does not
    /// fit into a `usize`.
    pub fn msix_tables(&self) -> Result<[(u32, Range<usize>); 2]> {
        // SAFETY: It is a valid PCI device. `msix_cap` is set once, before the device is bound.
        let capability = match unsafe { (*self.as_raw()).msix_cap } {
            0 => return Ok([(0, 0..0), (0, 0..0)]),
            offset => usize::from(offset),
        };
        let config = self.config_space();
        // See include/uapi/linux/pci_regs.h.
        let flags = config.try_read16(capability + bindings::PCI_MSIX_FLAGS as usize)?;
        let vectors = usize::from(flags & bindings::PCI_MSIX_FLAGS_QSIZE as u16) + 1;
        let place = |register: u32, bytes| -> Result<_> {
            let at = config.try_read32(capability + register as usize)?;
            // CAST: A `usize` has 32 bits or more.
            let start = (at & bindings::PCI_MSIX_TABLE_OFFSET) as usize;
            let end = start.checked_add(bytes).ok_or(ERANGE)?;
            Ok((at & bindings::PCI_MSIX_TABLE_BIR, start..end))
        };
        Ok([
            place(
                bindings::PCI_MSIX_TABLE,
                vectors * bindings::PCI_MSIX_ENTRY_SIZE as usize,
            )?,
            place(bindings::PCI_MSIX_PBA, vectors.div_ceil(64) * 8)?,
        ])
    }

    /// Returns `true` if the device may use MSI: it is not disabled for the device, for a bus above
    /// it, or for all devices.
    #[cfg(CONFIG_PCI_MSI)]
    pub fn is_msi_allowed(&self) -> bool {
        // SAFETY: It is a valid PCI device. `pci_msi_enabled()` may be called at any time.
        let (mut bus, allowed) = unsafe {
            let pdev = &raw const *self.as_raw();
            (
                (*pdev).bus,
                (*pdev).no_msi() == 0 && bindings::pci_msi_enabled(),
            )
        };

        while !bus.is_null() {
            // SAFETY: A bus exists as long as the devices on it and the buses below it.
            let (flags, parent) = unsafe { ((*bus).bus_flags, (*bus).parent) };
            if flags & bindings::pci_bus_flags_PCI_BUS_FLAGS_NO_MSI as u16 != 0 {
                return false;
            }
            bus = parent;
        }
        allowed
    }
}
