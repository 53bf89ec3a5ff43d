// SPDX-License-Identifier: GPL-2.0

//! queue-model: the queue device as a program.

mod options;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use dsa_model::queue::worker::Shared;
use dsa_model::queue::{self, Device};
use dsa_model::server::{self, QemuBus, Shape};
use dsa_model::{logger, program};
use options::Options;

const NAME: &str = "queue-model";

fn main() -> ExitCode {
    let options = Options::parse();
    let config = options.config();
    let shape = Shape {
        bars: [queue::SIZE.into(), 0, 0],
        vectors: 0,
    };
    logger::start(NAME, options.verbose);
    program::run(NAME, &options.socket, options.keep, |client| {
        let create = |bus: Arc<QemuBus>| Shared::new(Device::new(config.clone()), bus);
        server::serve(&shape, client, create, Shared::run)
    })
}
