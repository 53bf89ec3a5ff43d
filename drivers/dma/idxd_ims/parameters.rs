// SPDX-License-Identifier: GPL-2.0

//! The module parameters, checked.

use crate::module_parameters;
use core::{
    num::NonZero,
    ops::RangeInclusive, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    time::Delta, //
};

/// The module parameters.
pub(crate) struct Parameters {
    /// The device is emulated: descriptors are written with eight stores.
    pub(crate) emulated: bool,
    /// Work queues to enable; 0 for all.
    pub(crate) wqs: u32,
    pub(crate) timeout: Delta,
    /// Slots that are reserved for each work queue.
    pub(crate) min_slots: u32,
    /// Maximum number of slots of each work queue; 0 for all.
    pub(crate) max_slots: u32,
    /// Maximum number of interrupts of one open file.
    pub(crate) max_per_file: u32,
    /// Maximum number of times that an interrupt may arrive in a second.
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
        let parameters = Self {
            emulated: within(
                "emulated",
                module_parameters::emulated.value().into(),
                0..=1,
            )? != 0,
            wqs: within("wqs", module_parameters::wqs.value().into(), 0..=128)?,
            timeout: Delta::from_millis(
                within(
                    "timeout_ms",
                    module_parameters::timeout_ms.value().into(),
                    1..=60_000,
                )?
                .into(),
            ),
            min_slots: within(
                "min_slots",
                module_parameters::min_slots.value().into(),
                0..=1 << 16,
            )?,
            max_slots: within(
                "max_slots",
                module_parameters::max_slots.value().into(),
                0..=1 << 16,
            )?,
            max_per_file: within(
                "max_per_file",
                module_parameters::max_per_file.value().into(),
                1..=1 << 16,
            )?,
            storm_limit: NonZero::new(module_parameters::storm_limit.value()),
        };

        if parameters.max_slots != 0 && parameters.min_slots > parameters.max_slots {
            dev_err!(dev, "parameter min_slots is above parameter max_slots\n");
            return Err(EINVAL);
        }
        Ok(parameters)
    }
}
