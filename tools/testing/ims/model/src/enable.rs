// SPDX-License-Identifier: GPL-2.0

//! What ENABLE_DEVICE (5.1) and ENABLE_WQ (5.2) check.

use crate::config::{Config, MAX_BATCH_SHIFT, OPCAP, READ_BUFFERS_PER_ENGINE};
use crate::group::Group;
use crate::pci::ConfigSpace;
use crate::regs::CmdError;
use crate::wq::Wq;

/// The highest bandwidth limit that is defined: an eighth (9.2.23).
const MAX_BANDWIDTH_LIMIT: u64 = 3;

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
    let total: u32 = wqs.iter().map(|wq| u32::from(wq.size())).sum();
    if total > u32::from(config.wq_size_total) {
        return Err(CmdError::WqSizeErange);
    }
    if groups
        .iter()
        .any(|group| group.has_wqs() != (group.engines != 0))
    {
        return Err(CmdError::GrpConfig);
    }
    check_members(config, groups, wqs)?;
    // Also of groups without engines, unlike read buffers.
    let mut limits = groups.iter().flat_map(Group::bandwidth_limits);
    if limits.any(|limit| limit > MAX_BANDWIDTH_LIMIT) {
        return Err(CmdError::ReadBuffers);
    }
    check_read_buffers(config, groups)?;
    if !pci.page_requests_valid() {
        return Err(CmdError::PageRequests);
    }
    Ok(())
}

/// Each engine is in one group at most, and so is each work queue with a size;
/// those without are in none, and so is what does not exist.
fn check_members(config: &Config, groups: &[Group], wqs: &[Wq]) -> Result<(), CmdError> {
    let size = |index: usize| wqs.get(index).map_or(0, Wq::size);
    for index in 0..256 {
        let has = |group: &&Group| group.wqs[index / 64] >> (index % 64) & 1 != 0;
        let memberships = groups.iter().filter(has).count();
        if memberships != usize::from(size(index) != 0) {
            return Err(CmdError::GrpWqs);
        }
    }
    let mut engines = 0;
    for group in groups {
        if engines & group.engines != 0 {
            return Err(CmdError::GrpEngines);
        }
        engines |= group.engines;
    }
    match engines >> (config.engines - 1) > 1 {
        true => Err(CmdError::GrpEngines),
        false => Ok(()),
    }
}

/// Only of groups that have engines.
fn check_read_buffers(config: &Config, groups: &[Group]) -> Result<(), CmdError> {
    let used = || groups.iter().filter(|group| group.engines != 0);
    let reserved: u64 = used().map(Group::rdbufs_reserved).sum();
    let Some(free) = config.read_buffers().checked_sub(reserved) else {
        return Err(CmdError::ReadBuffers);
    };
    let is_valid = |group: &Group| {
        let engines = u64::from(group.engines.count_ones());
        let own = group.rdbufs_reserved();
        let least = own.max(engines * READ_BUFFERS_PER_ENGINE);
        (least..=own + free).contains(&group.rdbufs_allowed())
    };
    match used().all(is_valid) {
        true => Ok(()),
        false => Err(CmdError::ReadBuffers),
    }
}

/// Checks the configuration of a work queue that ENABLE_WQ names.
pub fn check_wq(config: &Config, pci: &ConfigSpace, wq: &Wq) -> Result<(), CmdError> {
    if wq.size() == 0 {
        return Err(CmdError::WqSize);
    }
    if !wq.dedicated() && !config.shared {
        return Err(CmdError::WqMode);
    }
    if wq.priority() == 0 {
        return Err(CmdError::WqPrior);
    }
    if wq.bof() && !pci.page_requests_enabled() {
        return Err(CmdError::BofEn);
    }
    let pasid = wq.pasid().is_some();
    if !pasid && !wq.dedicated() || pasid && !pci.pasid_enabled() {
        return Err(CmdError::PasidEn);
    }
    if wq.dedicated() && pasid && wq.privileged() && !pci.pasid_privileged() {
        return Err(CmdError::Priv);
    }
    if wq.max_xfer_shift() > config.max_xfer_shift {
        return Err(CmdError::MaxXferSize);
    }
    // A batch of one needs no more than the size 2^0.
    let least_batch = u32::from(!config.features.batch1);
    if !(least_batch..=MAX_BATCH_SHIFT).contains(&wq.max_batch_shift()) {
        return Err(CmdError::MaxBatchSize);
    }
    if wq
        .operations()
        .is_some_and(|[low, others @ ..]| low & !OPCAP != 0 || others.iter().any(|&bits| bits != 0))
    {
        return Err(CmdError::Operations);
    }
    Ok(())
}
