// SPDX-License-Identifier: GPL-2.0

//! Log lines on stderr.

use std::io::{self, Write};
use std::sync::OnceLock;

use log::{LevelFilter, Log, Metadata, Record};

/// Log lines begin with the program's name.
struct Stderr(&'static str);

static STDERR: OnceLock<Stderr> = OnceLock::new();

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries log protocol details that are of no use here.
        metadata.target().starts_with("dsa_model")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // Without stderr nobody reads it.
            let _ = writeln!(io::stderr(), "{}: {}", self.0, record.args());
        }
    }

    fn flush(&self) {}
}

/// Starts logging: 0 only warnings, 1 what the device does, 2 every access.
pub fn start(program: &'static str, verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    if log::set_logger(STDERR.get_or_init(|| Stderr(program))).is_ok() {
        log::set_max_level(level);
    }
}
