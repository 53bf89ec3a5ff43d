// SPDX-License-Identifier: GPL-2.0

//! Capabilities of the device.

use crate::{
    device::Registers,
    item::Operation,
    parameters::Parameters,
    queue::Queue,
    regs::*, //
};
use kernel::{
    bindings,
    device::Bound,
    io::Io,
    pci::{
        self,
        Window, //
    },
    prelude::*, //
};

/// The device's resources and the places of its tables, from its capability registers.
pub(crate) struct Capabilities {
    pub(crate) wqs: u32,
    pub(crate) wq_entries: u32,
    pub(crate) wqcfg_stride: usize,
    pub(crate) engines: u32,
    groups: u32,
    pub(crate) rdbufs: u8,
    pub(crate) op_config: bool,
    /// Binary logarithm of the maximum length of a transfer, in bytes.
    pub(crate) max_transfer_shift: u32,
    /// Binary logarithm of the maximum number of descriptors in a batch.
    pub(crate) max_batch_shift: u32,
    /// Maximum number of descriptors in a batch; 1 if there are no batches.
    pub(crate) max_batch: u32,
    /// Operations, a bit for each `IDXD_IMS_OP_*`.
    pub(crate) ops: u64,
    commands: Option<u32>,
    pub(crate) wqcfg: usize,
    pub(crate) grpcfg: usize,
    pub(crate) ims: usize,
    pub(crate) slots: u32,
}

impl Capabilities {
    /// Reads the capabilities.
    ///
    /// Errors: [`EOPNOTSUPP`] for a device that this driver cannot use, [`EIO`] for one whose
    /// registers contradict each other.
    pub(crate) fn read(
        dev: &pci::Device<Bound>,
        regs: Registers<'_>,
        portals: Window<'_>,
    ) -> Result<Self> {
        if regs.read(VERSION).into_raw() == u32::MAX {
            dev_err!(dev, "the device does not respond\n");
            return Err(EIO);
        }

        let grpcap = regs.try_read(GRPCAP)?;
        let (gencap, wqcap, offsets) = (
            regs.try_read(GENCAP)?,
            regs.try_read(WQCAP)?,
            regs.try_read(OFFSETS)?,
        );
        // CAST: The fields are 8 bits wide at most, the table offsets 16 bits.
        let max_batch_shift = gencap.max_batch_shift().get() as u32;
        let offset = |units: u64| units as usize * TABLE_MULT;
        let caps = Self {
            wqs: wqcap.num_wqs().get() as u32,
            wq_entries: wqcap.total_wq_size().get() as u32,
            wqcfg_stride: 1 << (wqcap.wqcfg_size().get() as u32 + wqcfg::MIN_SHIFT),
            engines: regs.try_read(ENGCAP)?.num_engines().get() as u32,
            groups: grpcap.num_groups().get() as u32,
            rdbufs: grpcap.total_rdbufs().get() as u8,
            op_config: wqcap.op_config(),
            max_transfer_shift: gencap.max_xfer_shift().get() as u32,
            max_batch_shift,
            max_batch: match has_opcode(regs, OPCODE_BATCH)? {
                true => 1 << max_batch_shift,
                false => 1,
            },
            ops: operations(regs)?,
            commands: gencap.cmd_cap().then(|| regs.read(CMDCAP).commands().get()),
            wqcfg: offset(offsets.wqcfg().get()),
            grpcfg: offset(offsets.grpcfg().get()),
            ims: offset(offsets.ims().get()),
            slots: gencap.max_ims_mult().get() as u32 * IMS_MULT,
        };

        if caps.slots == 0 || caps.ims == 0 {
            dev_err!(dev, "the device has no message store\n");
            return Err(EOPNOTSUPP);
        }
        if dvsec_denies_ims(dev) {
            dev_err!(
                dev,
                "the SIOV capability says that there is no message store\n"
            );
            return Err(EOPNOTSUPP);
        }
        if !gencap.config_en() || !wqcap.dedicated_mode() {
            dev_err!(dev, "no configurable dedicated work queues\n");
            return Err(EOPNOTSUPP);
        }
        if gencap.max_xfer_shift().get() < Queue::MAX_COPY.ilog2().into() {
            dev_err!(dev, "no transfers of {} bytes\n", Queue::MAX_COPY);
            return Err(EOPNOTSUPP);
        }
        if caps.op_config && caps.wqcfg_stride < wqcfg::OPERATIONS + OPCAP_SIZE {
            dev_err!(
                dev,
                "work queue entries of {} bytes have no operations\n",
                caps.wqcfg_stride
            );
            return Err(EIO);
        }
        if caps.wqs == 0 || caps.engines == 0 || caps.groups == 0 {
            dev_err!(dev, "no work queue, engine or group\n");
            return Err(EIO);
        }

        let permissions = offset(offsets.msix_perm().get());
        caps.check_places(dev, permissions, [regs.size(), portals.size()])?;
        Ok(caps)
    }

    /// Returns how many work queues to use.
    pub(crate) fn used_wqs(&self, parameters: &Parameters) -> u32 {
        match parameters.wqs {
            0 => self.wqs,
            wqs => wqs.min(self.wqs),
        }
    }

    /// Returns whether the device has `command`.
    pub(crate) fn has(&self, command: Command) -> bool {
        self.commands
            .is_some_and(|commands| commands & (1 << command as u32) != 0)
    }

    /// Checks that each table lies within its BAR, whose size is given, and overlaps no other.
    fn check_places(
        &self,
        dev: &pci::Device<Bound>,
        permissions: usize,
        [registers_size, portals_size]: [usize; 2],
    ) -> Result {
        // Offsets have 32 bits at most, so that no sum overflows.
        let at = |start, count: u32, size| (REGISTERS_BAR, start..start + count as usize * size);
        let [msix, pending] = dev.msix_tables()?;
        // CAST: There are at most 2048 vectors.
        let vectors = (msix.1.len() / bindings::PCI_MSIX_ENTRY_SIZE as usize) as u32;
        let portals = 0..self.wqs as usize * PORTALS_PER_WQ * PORTAL_SIZE;
        let places = [
            ("registers", at(0, 1, END)),
            ("group table", at(self.grpcfg, self.groups, grpcfg::STRIDE)),
            (
                "work queue table",
                at(self.wqcfg, self.wqs, self.wqcfg_stride),
            ),
            (
                "message store",
                at(self.ims, self.slots, size_of::<SlotRegisters>()),
            ),
            ("portals", (PORTALS_BAR, portals)),
            ("MSI-X table", msix),
            ("MSI-X pending bits", pending),
            (
                "MSI-X permissions",
                at(permissions, vectors, MSIX_PERMISSION_SIZE),
            ),
        ];

        // The driver does not access the last three.
        for (index, (name, (bar, place))) in places.iter().enumerate().take(5) {
            let size = if *bar == REGISTERS_BAR {
                registers_size
            } else {
                portals_size
            };
            if place.end > size {
                dev_err!(dev, "{name}: beyond BAR {bar}\n");
                return Err(EIO);
            }
            for (other, (other_bar, other_place)) in &places[index + 1..] {
                let apart = place.end <= other_place.start || other_place.end <= place.start;
                if bar == other_bar && !other_place.is_empty() && !apart {
                    dev_err!(dev, "{name} and {other}: in the same place of BAR {bar}\n");
                    return Err(EIO);
                }
            }
        }
        Ok(())
    }
}

/// Reads which operations the device has, a bit for each `IDXD_IMS_OP_*`.
fn operations(regs: Registers<'_>) -> Result<u64> {
    let mut ops = 0;

    for operation in Operation::ALL {
        if has_opcode(regs, operation.opcode())? {
            ops |= 1 << operation.number();
        }
    }
    Ok(ops)
}

fn has_opcode(regs: Registers<'_>, opcode: u8) -> Result<bool> {
    let word = regs.try_read32(OPCAP + usize::from(opcode / 32) * size_of::<u32>())?;

    Ok(word & 1 << (opcode % 32) != 0)
}

/// Returns whether a Scalable I/O Virtualization DVSEC exists and denies a message store.
fn dvsec_denies_ims(dev: &pci::Device<Bound>) -> bool {
    /// Vendor and id of the DVSEC, offset and bit of its capabilities (SIOV specification).
    const VENDOR_INTEL: u16 = 0x8086;
    const ID_SIOV: u16 = 5;
    const CAPABILITIES: usize = 0x14;
    const IMS: u32 = 1;

    let Some(offset) = dev.find_dvsec(VENDOR_INTEL, ID_SIOV) else {
        return false;
    };
    dev.config_space_extended()
        .and_then(|config| config.try_read32(usize::from(offset) + CAPABILITIES))
        .is_ok_and(|capabilities| capabilities & IMS == 0)
}
