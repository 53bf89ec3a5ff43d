// SPDX-License-Identifier: GPL-2.0

//! Masks an interrupt that arrives too often.

use crate::storm::Storm;
use core::num::NonZero;
use kernel::{
    held::Line,
    prelude::*,
    time::{
        Instant,
        Monotonic, //
    }, //
};

/// The rate limit of one interrupt.
pub(crate) struct RateLimit<'a> {
    storm: Storm,
    start: Instant<Monotonic>,
    name: &'a CStr,
}

impl<'a> RateLimit<'a> {
    /// Limits interrupt `name` to `limit` times in a second.
    pub(crate) fn new(limit: Option<NonZero<u32>>, name: &'a CStr) -> Self {
        Self {
            storm: Storm::new(limit.map_or(0, NonZero::get)),
            start: Instant::now(),
            name,
        }
    }

    /// Counts an interrupt, and masks `line` if that exceeds the limit. Only for the handler.
    #[inline]
    pub(crate) fn count(&self, line: &Line) {
        if self.storm.is_exceeded(|| self.start.elapsed().as_nanos()) {
            self.mask(line);
        }
    }

    #[cold]
    #[inline(never)]
    fn mask(&self, line: &Line) {
        if line.mask() && self.storm.report_once() {
            pr_warn!(
                "interrupt {} arrived more than {} times in a second: masked\n",
                self.name,
                self.storm.limit()
            );
        }
    }
}
