// SPDX-License-Identifier: GPL-2.0

//! Where interrupts go, from their allocation on.

use crate::{
    bindings,
    prelude::*, //
};

/// CPU masks for a number of interrupts.
///
/// C header: [`include/linux/interrupt.h`](srctree/include/linux/interrupt.h)
pub struct Affinity(KVec<bindings::irq_affinity_desc>);

impl Affinity {
    /// All on `cpu`.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if there cannot be such a CPU, [`ENOMEM`].
    #[inline(never)]
    pub fn cpu(cpu: u32) -> Result<Self> {
        // SAFETY: The mask does not change, and is only read. The number is checked first.
        let possible = cpu < crate::cpu::nr_cpu_ids()
            && unsafe {
                bindings::cpumask_test_cpu(cpu as c_int, &raw mut bindings::__cpu_possible_mask)
            };
        if !possible {
            return Err(EINVAL);
        }

        let mut masks = KVec::with_capacity(1, GFP_KERNEL)?;
        masks.push(pin_init::zeroed(), GFP_KERNEL)?;
        let mask: *mut bindings::irq_affinity_desc = &mut masks[0];
        // SAFETY: `cpu` is within the mask.
        unsafe { bindings::cpumask_set_cpu(cpu, &raw mut (*mask).mask) };
        Ok(Self(masks))
    }

    /// `count` interrupts spread over all CPUs, managed.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if `count` is zero, [`ENOMEM`].
    #[inline(never)]
    pub fn spread(count: u32) -> Result<Self> {
        if count == 0 {
            return Err(EINVAL);
        }
        // More than CPUs go around again.
        let count = count.min(crate::cpu::nr_cpu_ids());
        let mut all: bindings::irq_affinity = pin_init::zeroed();

        // SAFETY: `all` is valid, and asks for no callback.
        let masks = unsafe { bindings::irq_create_affinity_masks(count, &mut all) };
        if masks.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: An array of `count` masks that was allocated with kmalloc(), and is ours now.
        Ok(Self(unsafe {
            KVec::from_raw_parts(masks, count as usize, count as usize)
        }))
    }

    /// Says whether the kernel manages the interrupts: user space cannot move them, and one whose
    /// CPUs are all offline is masked until one of them is online again.
    pub fn managed(mut self, managed: bool) -> Self {
        for mask in self.0.iter_mut() {
            mask.set_is_managed(managed.into());
        }
        self
    }

    /// Returns whether the kernel manages the interrupts.
    pub fn is_managed(&self) -> bool {
        self.0.iter().any(|mask| mask.is_managed() != 0)
    }

    /// Interrupt `index` gets the mask of that number, counted around.
    #[inline]
    pub(super) fn get(&self, index: usize) -> *const bindings::irq_affinity_desc {
        &self.0[index % self.0.len()]
    }
}
