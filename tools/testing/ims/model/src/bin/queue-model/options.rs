// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use dsa_model::fault::Faults;
use dsa_model::queue::config::{Config, MAX_QUEUES, MAX_UPDATE_US};
use dsa_model::queue::fault::{self, FaultOption};

/// A queue device that keeps its interrupt messages in host memory, as a vfio-user server.
///
/// QEMU connects with -device '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"PATH"}}'.
/// Prints "listening on PATH" when it is ready, and ends when QEMU disconnects.
#[derive(Parser)]
#[command(name = "queue-model", version, after_help = fault::help())]
pub struct Options {
    /// Socket to create and listen on
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,

    /// Queues, 1..=4096
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_QUEUES)))]
    queues: u16,

    /// Microseconds that an UPDATE takes at least, 0..=1000000
    #[arg(long, value_name = "N", default_value_t = 500,
          value_parser = clap::value_parser!(u32).range(..=i64::from(MAX_UPDATE_US)))]
    update_us: u32,

    /// Start with all contexts unmasked, with messages, as a driver left them before a kexec
    #[arg(long)]
    starts_unmasked: bool,

    /// Be broken in these ways (see below), separated by commas; repeatable
    #[arg(long, value_name = "NAME[=N],...", value_delimiter = ',')]
    fault: Vec<FaultOption>,

    /// Wait for another client when one disconnects
    #[arg(long)]
    pub keep: bool,

    /// Log commands, doorbells and messages; twice: every access
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Options {
    pub fn config(&self) -> Config {
        let mut faults = Faults::default();
        for &FaultOption(fault, arg) in &self.fault {
            faults.set(fault, arg);
        }
        Config {
            queues: self.queues,
            update: Duration::from_micros(self.update_us.into()),
            starts_unmasked: self.starts_unmasked,
            faults,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsa_model::queue::fault::Fault;

    fn parse(args: &[&str]) -> Result<Options, String> {
        let all = ["queue-model", "--socket", "x"].iter().chain(args);
        Options::try_parse_from(all).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_queue_device() {
        let config = parse(&[]).unwrap().config();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn options_reach_the_queue_device() {
        let config = parse(&["--queues", "4096", "--update-us", "1000000"])
            .unwrap()
            .config();
        assert_eq!((config.queues, config.update.as_millis()), (4096, 1000));
        let config = parse(&["--queues", "1", "--update-us", "0"])
            .unwrap()
            .config();
        assert_eq!((config.queues, config.update.as_nanos()), (1, 0));
        assert!(
            parse(&["--starts-unmasked"])
                .unwrap()
                .config()
                .starts_unmasked
        );
    }

    #[test]
    fn faults_as_a_list_or_one_by_one() {
        for args in [
            &["--fault", "no-magic,update-error=7,update-error-after=3"] as &[&str],
            &[
                "--fault",
                "no-magic,update-error=7",
                "--fault",
                "update-error-after=3",
            ],
        ] {
            let faults = parse(args).unwrap().config().faults;
            assert!(faults.is_on(Fault::NoMagic) && !faults.is_on(Fault::AllOnes));
            assert_eq!(faults.arg(Fault::UpdateError), Some(7));
            assert_eq!(faults.arg(Fault::UpdateErrorAfter), Some(3));
        }
    }

    #[test]
    fn bad_values_say_what_is_valid() {
        for (args, hint) in [
            (["--queues", "0"], "1..=4096"),
            (["--queues", "4097"], "1..=4096"),
            (["--queues", "many"], "invalid digit"),
            (["--update-us", "1000001"], "0..=1000000"),
            (["--fault", "no-ims"], "no fault is called 'no-ims'"),
            (["--fault", "all-ones,"], "no fault is called ''"),
            (["--fault", "all-ones=1"], "takes no argument"),
            (["--fault", "update-error"], "1..=255"),
            (["--fault", "update-error=256"], "1..=255"),
            (["--fault", "update-error-after"], "from 0"),
            (["--slots", "256"], "unexpected argument '--slots'"),
        ] {
            let error = parse(&args).err().unwrap_or_default();
            assert!(error.contains(hint), "{args:?}: {error}");
            assert_eq!(error.matches("error:").count(), 1, "{args:?}: {error}");
        }
    }

    #[test]
    fn help_lists_every_fault_of_the_queue_device() {
        let help = parse(&["--help"]).err().unwrap();
        for name in [
            "all-ones",
            "no-magic",
            "update-never-completes",
            "update-error=N",
            "update-error-after=N",
        ] {
            assert!(help.contains(&format!("  {name}\n")), "{name}");
        }
    }
}
