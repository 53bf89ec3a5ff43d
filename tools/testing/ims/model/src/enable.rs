// SPDX-License-Identifier: GPL-2.0

//! What ENABLE_DEVICE and ENABLE_WQ check.

use crate::config::{Config, MAX_BATCH_SHIFT};
use crate::group::Group;
use crate::pci::ConfigSpace;
use crate::regs::CmdError;
use crate::wq::Wq;

/// Checks everything that ENABLE_DEVICE does, but for the device's state.
pub fn check_device(
    config: &Config,
    pci: &ConfigSpace,
    groups: &[Group],
    wqs: &[Wq],
) -> Result<(), CmdError> {
    if !pci.bus_master() {
        return Err(CmdError::BusMasterEn);
    }
    if pci.pasid_enabled() && !pci.ats_enabled() {
        return Err(CmdError::PasidInval);
    }
    let total: u32 = wqs.iter().map(|wq| u32::from(wq.size())).sum();
    if total > u32::from(config.wq_size_total) {
        return Err(CmdError::WqSizeErange);
    }
    check_groups(config, groups, wqs)
}

fn check_groups(config: &Config, groups: &[Group], wqs: &[Wq]) -> Result<(), CmdError> {
    let mut seen_wqs = [0u64; 4];
    let mut seen_engines = 0;
    let mut reserved = 0;
    for group in groups {
        if group.has_wqs() != (group.engines != 0) {
            return Err(CmdError::GrpConfig);
        }
        for (seen, &bits) in seen_wqs.iter_mut().zip(&group.wqs) {
            if *seen & bits != 0 {
                return Err(CmdError::GrpConfig2);
            }
            *seen |= bits;
        }
        if seen_engines & group.engines != 0 {
            return Err(CmdError::GrpConfig4);
        }
        seen_engines |= group.engines;
        reserved += group.rdbufs_reserved();
        let allowed = group.rdbufs_allowed();
        if allowed > config.read_buffers() || group.rdbufs_reserved() > allowed {
            return Err(CmdError::Config);
        }
    }
    let in_group = |index: usize| seen_wqs[index / 64] >> (index % 64) & 1 != 0;
    if wqs
        .iter()
        .enumerate()
        .any(|(index, wq)| wq.size() != 0 && !in_group(index))
    {
        return Err(CmdError::GrpConfig3);
    }
    let beyond = (wqs.len()..256).any(in_group) || seen_engines >> (config.engines - 1) > 1;
    if beyond || reserved > config.read_buffers() {
        return Err(CmdError::Config);
    }
    Ok(())
}

/// Checks the configuration of a work queue that ENABLE_WQ names.
pub fn check_wq(config: &Config, pci: &ConfigSpace, wq: &Wq) -> Result<(), CmdError> {
    if wq.size() == 0 {
        return Err(CmdError::WqSize);
    }
    if wq.priority() == 0 {
        return Err(CmdError::WqPrior);
    }
    if !wq.dedicated() && !config.shared {
        return Err(CmdError::WqMode);
    }
    // GENCAP.block_on_fault is 0.
    if wq.bof() {
        return Err(CmdError::BofEn);
    }
    let pasid = wq.pasid().is_some();
    let privileged = wq.dedicated() && pasid && wq.privileged() && !pci.pasid_privileged();
    if pasid && !pci.pasid_enabled() || !pasid && !wq.dedicated() || privileged {
        return Err(CmdError::PasidEn);
    }
    if wq.max_batch_shift() > MAX_BATCH_SHIFT {
        return Err(CmdError::MaxBatchSize);
    }
    if wq.max_xfer_shift() > config.max_xfer_shift {
        return Err(CmdError::MaxXferSize);
    }
    Ok(())
}
