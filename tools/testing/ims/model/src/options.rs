// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use dsa_model::chaos::{self, Chaos};
use dsa_model::config::{Config, HandleMode};
use dsa_model::fault::{self, FaultOption};
use dsa_model::kind::Kind;
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

    /// The device to be; the options below change what it has
    #[arg(long, value_name = "KIND", default_value = "spr")]
    like: Like,

    /// IMS slots: a multiple of 256, 256..=16128 [default: 2048]
    #[arg(long, value_name = "N", value_parser = slots)]
    slots: Option<u32>,

    /// Work queues, 1..=128 [default: 8]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_WQS)))]
    wqs: Option<u16>,

    /// Engines, 1..=64; above 24 GRPCAP states more read buffers [default: 4]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_GROUPS)))]
    engines: Option<u8>,

    /// Groups, 1..=64 [default: 4]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_GROUPS)))]
    groups: Option<u8>,

    /// Work queue entries in all (WQCAP.total_wq_size), 1..=65535 [default: 128]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..))]
    wq_size_total: Option<u16>,

    /// MSI-X vectors, 1..=2048 [default: one more than work queues]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_VECTORS)))]
    msix_vectors: Option<u16>,

    /// PCI device id of a DSA, in hex: 0b25, 11fb or 1212 [default: that of KIND]
    #[arg(long, value_name = "ID", value_parser = device_id)]
    device_id: Option<u16>,

    /// Contents of the VERSION register, in hex: 100, 200 or 300 [default: that of KIND]
    #[arg(long, value_name = "VERSION", value_parser = dsa_version)]
    dsa_version: Option<u32>,

    /// Log2 of the largest transfer in bytes (GENCAP.max_xfer_shift), 12..=31 [default: 31]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(12..=31))]
    max_xfer_shift: Option<u32>,

    /// What REQUEST_INT_HANDLE gives [default: mapped with --like virtual, else identity]
    #[arg(long, value_name = "KIND")]
    handles: Option<Handles>,

    /// Support dedicated work queues only
    #[arg(long)]
    no_shared: bool,

    /// Leave out the SIOV DVSEC
    #[arg(long)]
    no_dvsec: bool,

    /// Have the ATS, PASID and PRS capabilities [default, but for --like virtual]
    #[arg(long, overrides_with = "no_pasid")]
    pasid: bool,

    /// Leave out the ATS, PASID and PRS capabilities
    #[arg(long, overrides_with = "pasid")]
    no_pasid: bool,

    /// RESET_DEVICE leaves slots, MSIXPERM and interrupt handles alone, against the specification
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
enum Like {
    /// Sapphire Rapids: 8 work queues, 2048 slots, handles are indices
    Spr,
    /// A virtual device: CMDCAP, commands for interrupt handles, no PASID
    Virtual,
    /// Version 2.0: CMDCAP, operations of each work queue, progress limits
    #[value(name = "2.0")]
    V2,
    /// Version 3.0: as 2.0, bandwidth limits, batches of one
    #[value(name = "3.0")]
    V3,
}

impl From<Like> for Kind {
    fn from(like: Like) -> Self {
        match like {
            Like::Spr => Self::Spr,
            Like::Virtual => Self::Virtual,
            Like::V2 => Self::V2,
            Like::V3 => Self::V3,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Handles {
    /// Handles that differ from every index
    Mapped,
    /// No such command; handles are indices
    Identity,
}

impl From<Handles> for HandleMode {
    fn from(handles: Handles) -> Self {
        match handles {
            Handles::Mapped => Self::Mapped,
            Handles::Identity => Self::Identity,
        }
    }
}

impl Options {
    pub fn config(&self) -> Config {
        let like = Kind::from(self.like).config();
        let vectors = match (self.msix_vectors, self.wqs) {
            (Some(vectors), _) => vectors,
            (None, Some(wqs)) => wqs + 1,
            (None, None) => like.vectors,
        };
        let mut config = Config {
            slots: self.slots.unwrap_or(like.slots),
            wqs: self.wqs.unwrap_or(like.wqs),
            engines: self.engines.unwrap_or(like.engines),
            groups: self.groups.unwrap_or(like.groups),
            wq_size_total: self.wq_size_total.unwrap_or(like.wq_size_total),
            vectors,
            device_id: self.device_id.unwrap_or(like.device_id),
            max_xfer_shift: self.max_xfer_shift.unwrap_or(like.max_xfer_shift),
            version: self.dsa_version.unwrap_or(like.version),
            handles: self.handles.map_or(like.handles, HandleMode::from),
            shared: like.shared && !self.no_shared,
            dvsec: like.dvsec && !self.no_dvsec,
            pasid: (like.pasid || self.pasid) && !self.no_pasid,
            reset_keeps_interrupts: self.reset_keeps_interrupts,
            d3_resets: self.d3_resets,
            starts_unmasked: self.starts_unmasked,
            ..like
        };
        if let Some(seed) = self.chaos {
            config.chaos = Chaos::draw(seed, &config);
        }
        for &(fault, arg) in config.chaos.faults() {
            config.faults.set(fault, arg);
        }
        for &FaultOption(fault, arg) in &self.fault {
            config.faults.set(fault, arg);
        }
        config
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
    fn kinds_and_what_changes_them() {
        let config = |args: &[&str]| parse(args).unwrap().config();
        let debug = |config: &Config| format!("{config:?}");
        for (name, kind) in [
            ("spr", Kind::Spr),
            ("virtual", Kind::Virtual),
            ("2.0", Kind::V2),
            ("3.0", Kind::V3),
        ] {
            let config = config(&["--like", name]);
            assert_eq!(debug(&config), debug(&kind.config()), "{name}");
        }
        let two = config(&["--like", "2.0", "--wqs", "4", "--no-pasid"]);
        assert_eq!((two.version, two.wqs, two.vectors), (0x200, 4, 5));
        assert!(two.features.op_config && !two.pasid);
        let other = config(&["--like", "virtual", "--handles", "identity", "--pasid"]);
        assert_eq!(other.handles, HandleMode::Identity);
        assert!(other.pasid && other.features.cmd_cap);
        assert_eq!(config(&["--handles", "mapped"]).cmdcap(), 0x7ffe);
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
            (["--like", "icx"], "spr, virtual, 2.0, 3.0"),
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
        let sound = Config {
            slots: 512,
            ..Config::default()
        };
        let chaos = Chaos::draw(7, &sound);
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
