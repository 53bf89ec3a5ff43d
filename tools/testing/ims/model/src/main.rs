// SPDX-License-Identifier: GPL-2.0

//! dsa-model: the DSA as a program.

mod options;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use dsa_model::device::Device;
use dsa_model::processor::Shared;
use dsa_model::server::{self, QemuBus, Shape};
use dsa_model::{logger, program};
use options::Options;

const NAME: &str = "dsa-model";

fn main() -> ExitCode {
    let options = Options::parse();
    let config = options.config();
    let shape = Shape {
        bars: [
            config.layout().bar0_size,
            config.bar2_size(),
            config.bar4_size(),
        ],
        vectors: config.vectors,
    };
    logger::start(NAME, options.verbose);
    if let Some(seed) = options.chaos {
        println!("chaos {seed}: {}", config.chaos);
    }
    program::run(NAME, &options.socket, options.keep, |client| {
        let create = |bus: Arc<QemuBus>| {
            let bus = config.chaos.around(bus);
            Shared::new(Device::new(config.clone(), bus.clone()), bus)
        };
        server::serve(&shape, client, create, Shared::run)
    })
}
