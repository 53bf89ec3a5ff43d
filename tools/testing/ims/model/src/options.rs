// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dsa_model::chaos::{self, Chaos};
use dsa_model::config::{Config, HandleMode};
use dsa_model::fault::{self, FaultOption, Faults};
use dsa_model::layout::{MAX_GROUPS, MAX_SLOTS, MAX_VECTORS, MAX_WQS};

/// An Intel DSA device with an Interrupt Message Store, as a vfio-user server.
///
/// QEMU connects with -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'.
/// Prints "listening on PATH" when it is ready, and ends when QEMU disconnects.
#[derive(Parser)]
#[command(name = "dsa-model", version, after_help = help())]
pub struct Options {
    /// Socket to create and listen on
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,

    /// IMS slots: a multiple of 256, 256..=16128
    #[arg(long, value_name = "N", default_value = "2048", value_parser = slots)]
    slots: u32,

    /// Work queues, 1..=128
    #[arg(long, value_name = "N", default_value_t = 8,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_WQS)))]
    wqs: u16,

    /// Engines, 1..=64
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_GROUPS)))]
    engines: u8,

    /// Groups, 1..=64
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_GROUPS)))]
    groups: u8,

    /// Work queue entries in all (WQCAP.total_wq_size), 1..=65535
    #[arg(long, value_name = "N", default_value_t = 128,
          value_parser = clap::value_parser!(u16).range(1..))]
    wq_size_total: u16,

    /// MSI-X vectors, 1..=2048 [default: one more than work queues]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_VECTORS)))]
    msix_vectors: Option<u16>,

    /// PCI device id of a DSA, in hex: 0b25, 11fb or 1212
    #[arg(long, value_name = "ID", default_value = "0b25", value_parser = device_id)]
    device_id: u16,

    /// Contents of the VERSION register, in hex: 100, 200 or 300
    #[arg(long, value_name = "VERSION", default_value = "100", value_parser = dsa_version)]
    dsa_version: u32,

    /// Log2 of the largest transfer in bytes (GENCAP.max_xfer_shift), 12..=31
    #[arg(long, value_name = "N", default_value_t = 31,
          value_parser = clap::value_parser!(u32).range(12..=31))]
    max_xfer_shift: u32,

    /// What REQUEST_INT_HANDLE gives
    #[arg(long, value_name = "KIND", default_value = "mapped")]
    handles: Handles,

    /// Support dedicated work queues only
    #[arg(long)]
    no_shared: bool,

    /// Leave out the SIOV DVSEC
    #[arg(long)]
    no_dvsec: bool,

    /// Have the ATS and PASID capabilities
    #[arg(long)]
    pasid: bool,

    /// RESET_DEVICE leaves slots, MSIXPERM and interrupt handles alone
    #[arg(long)]
    reset_keeps_interrupts: bool,

    /// Lose all state in D3hot: leaving it is a reset
    #[arg(long)]
    d3_resets: bool,

    /// Start with all slots unmasked, with messages, as a driver left them before a kexec
    #[arg(long)]
    starts_unmasked: bool,

    /// Be broken in this way (see below); repeatable
    #[arg(long, value_name = "NAME[=ARG]")]
    fault: Vec<FaultOption>,

    /// Be hostile, in ways that are drawn from this seed (see below)
    #[arg(long, value_name = "SEED")]
    pub chaos: Option<u64>,

    /// Wait for another client when one disconnects
    #[arg(long)]
    pub keep: bool,

    /// Log commands, descriptors and messages; twice: every access
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Clone, Copy, ValueEnum)]
enum Handles {
    /// Handles that differ from every index
    Mapped,
    /// No such command; handles are indices
    Identity,
}

impl Options {
    pub fn config(&self) -> Config {
        let draw = |seed| Chaos::draw(seed, self.slots);
        let chaos = self.chaos.map(draw).unwrap_or_default();
        let mut faults = Faults::default();
        for &(fault, arg) in chaos.faults() {
            faults.set(fault, arg);
        }
        for &FaultOption(fault, arg) in &self.fault {
            faults.set(fault, arg);
        }
        Config {
            slots: self.slots,
            wqs: self.wqs,
            engines: self.engines,
            groups: self.groups,
            wq_size_total: self.wq_size_total,
            vectors: self.msix_vectors.unwrap_or(self.wqs + 1),
            device_id: self.device_id,
            max_xfer_shift: self.max_xfer_shift,
            version: self.dsa_version,
            handles: match self.handles {
                Handles::Mapped => HandleMode::Mapped,
                Handles::Identity => HandleMode::Identity,
            },
            shared: !self.no_shared,
            dvsec: !self.no_dvsec,
            pasid: self.pasid,
            reset_keeps_interrupts: self.reset_keeps_interrupts,
            d3_resets: self.d3_resets,
            starts_unmasked: self.starts_unmasked,
            faults,
            chaos,
        }
    }
}

fn help() -> String {
    format!("{}\n{}", fault::help(), chaos::help())
}

fn slots(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(slots) if slots % 256 == 0 && (256..=MAX_SLOTS).contains(&slots) => Ok(slots),
        _ => Err(format!("must be a multiple of 256 in 256..={MAX_SLOTS}")),
    }
}

/// Ids of DSA devices in the kernel's `idxd_pci_tbl`.
fn device_id(text: &str) -> Result<u16, String> {
    match u16::from_str_radix(text.trim_start_matches("0x"), 16) {
        Ok(id @ (0x0b25 | 0x11fb | 0x1212)) => Ok(id),
        _ => Err("must be 0b25, 11fb or 1212".into()),
    }
}

fn dsa_version(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.trim_start_matches("0x"), 16) {
        Ok(version @ (0x100 | 0x200 | 0x300)) => Ok(version),
        _ => Err("must be 100, 200 or 300".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let all = ["dsa-model", "--socket", "x"].iter().chain(args);
        Options::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_library() {
        let config = parse(&[]).unwrap().config();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn options_reach_the_device() {
        let config = parse(&[
            "--slots",
            "16128",
            "--wqs",
            "128",
            "--engines",
            "64",
            "--groups",
            "2",
            "--wq-size-total",
            "640",
            "--device-id",
            "11FB",
            "--dsa-version",
            "200",
            "--handles",
            "identity",
            "--no-shared",
            "--no-dvsec",
            "--pasid",
            "--reset-keeps-interrupts",
            "--d3-resets",
            "--starts-unmasked",
            "--fault",
            "no-ims",
            "--fault",
            "drop-message=5",
        ])
        .unwrap()
        .config();
        assert_eq!(
            (config.slots, config.wqs, config.vectors),
            (16128, 128, 129)
        );
        assert_eq!(
            (config.engines, config.groups, config.wq_size_total),
            (64, 2, 640)
        );
        assert_eq!((config.device_id, config.version), (0x11fb, 0x200));
        assert_eq!(config.handles, HandleMode::Identity);
        assert!(!config.shared && !config.dvsec && config.pasid);
        assert!(config.reset_keeps_interrupts && config.d3_resets && config.starts_unmasked);
        assert_eq!(config.faults.bitmap(), 1 << 1 | 1 << 14);
    }

    #[test]
    fn bad_values_say_the_valid_range() {
        for (args, range) in [
            (["--slots", "100"], "multiple of 256 in 256..=16128"),
            (["--slots", "16384"], "256..=16128"),
            (["--slots", "0"], "256..=16128"),
            (["--wqs", "129"], "1..=128"),
            (["--wqs", "0"], "1..=128"),
            (["--engines", "65"], "1..=64"),
            (["--groups", "0"], "1..=64"),
            (["--wq-size-total", "0"], "1..=65535"),
            (["--msix-vectors", "2049"], "1..=2048"),
            (["--max-xfer-shift", "32"], "12..=31"),
            (["--device-id", "0cfe"], "0b25, 11fb or 1212"),
            (["--dsa-version", "400"], "100, 200 or 300"),
            (["--handles", "some"], "mapped, identity"),
            (["--fault", "drop-message=0"], "from 1"),
            (["--chaos", "-1"], "unexpected argument"),
            (["--chaos", "all"], "invalid digit"),
        ] {
            let error = parse(&args).err().unwrap_or_default();
            assert!(error.contains(range), "{args:?}: {error}");
        }
    }

    #[test]
    fn a_seed_draws_what_the_library_draws() {
        let config = parse(&["--chaos", "7", "--slots", "512"]).unwrap().config();
        let chaos = Chaos::draw(7, 512);
        assert_eq!(config.chaos.to_string(), chaos.to_string());
        for seed in 0..100 {
            let config = parse(&["--chaos", &seed.to_string()]).unwrap().config();
            for &(fault, arg) in config.chaos.faults() {
                assert_eq!(config.faults.arg(fault), Some(arg));
            }
        }
    }

    #[test]
    fn help_lists_every_behaviour() {
        let help = parse(&["--help"]).err().unwrap();
        assert!(help.contains(&chaos::help()));
    }

    #[test]
    fn help_lists_every_fault() {
        let help = parse(&["--help"]).err().unwrap();
        for number in 1..=16 {
            assert!(help.contains(&format!("[{number}]")), "{number}");
        }
    }
}
