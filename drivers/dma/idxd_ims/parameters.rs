// SPDX-License-Identifier: GPL-2.0

//! The module parameters, checked.

use crate::module_parameters;
use core::{
    num::NonZero,
    ops::RangeInclusive, //
};
use kernel::{
    device::Bound,
    ims::Pasid,
    pci,
    prelude::*,
    time::Delta, //
};

/// The module parameters, as a device gets them.
pub(crate) struct Parameters {
    /// Work queues to enable; 0 for all.
    pub(crate) wqs: u32,
    pub(crate) timeout: Delta,
    pub(crate) pasid: Option<Pasid>,
    pub(crate) shared: bool,
    /// Slots that each work queue can count on.
    pub(crate) guarantee: u32,
    /// Slots that each work queue can have; 0 for all.
    pub(crate) ceiling: u32,
    /// Interrupts that one open file can have.
    pub(crate) file_ceiling: u32,
    /// How often an interrupt may come in a second before it is masked.
    pub(crate) storm_limit: Option<NonZero<u32>>,
}

impl Parameters {
    /// Fails with [`EINVAL`] for a parameter that is out of bounds.
    pub(crate) fn get(dev: &pci::Device<Bound>) -> Result<Self> {
        let within = |name: &str, value: i64, bounds: RangeInclusive<i64>| {
            // CAST: No bound is outside of either type.
            if bounds.contains(&value) {
                return Ok(value as u32);
            }
            let (low, high) = (bounds.start(), bounds.end());
            dev_err!(
                dev,
                "parameter {name}={value} is not within {low}..={high}\n"
            );
            Err(EINVAL)
        };
        let pasid = module_parameters::pasid.value().into();
        let pasid = within("pasid", pasid, -1..=(1 << 20) - 1)?;
        let parameters = Self {
            wqs: within("wqs", module_parameters::wqs.value().into(), 0..=128)?,
            timeout: Delta::from_millis(
                within(
                    "timeout_ms",
                    module_parameters::timeout_ms.value().into(),
                    1..=60_000,
                )?
                .into(),
            ),
            // -1 is no PASID, nor is what it is cast to.
            pasid: Pasid::try_new(pasid),
            shared: within("shared", module_parameters::shared.value().into(), 0..=1)? != 0,
            guarantee: within(
                "guarantee",
                module_parameters::guarantee.value().into(),
                0..=1 << 16,
            )?,
            ceiling: within(
                "ceiling",
                module_parameters::ceiling.value().into(),
                0..=1 << 16,
            )?,
            file_ceiling: within(
                "file_ceiling",
                module_parameters::file_ceiling.value().into(),
                1..=1 << 16,
            )?,
            storm_limit: NonZero::new(module_parameters::storm_limit.value()),
        };

        if parameters.shared && parameters.pasid.is_none() {
            dev_err!(
                dev,
                "shared work queues need a PASID: set parameter pasid\n"
            );
            return Err(EINVAL);
        }
        if parameters.ceiling != 0 && parameters.guarantee > parameters.ceiling {
            dev_err!(dev, "parameter guarantee is above parameter ceiling\n");
            return Err(EINVAL);
        }
        Ok(parameters)
    }
}
