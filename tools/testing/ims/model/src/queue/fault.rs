// SPDX-License-Identifier: GPL-2.0

//! Ways for the queue device to be broken (`--fault`).

use std::str::FromStr;

use crate::fault::{self, Arg, FaultError, Row};

/// A way to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table below explains each")]
pub enum Fault {
    AllOnes,
    NoMagic,
    UpdateNeverCompletes,
    UpdateError,
    UpdateErrorAfter,
}

const TABLE: [Row<Fault>; 5] = [
    (
        Fault::AllOnes,
        "all-ones",
        Arg::None,
        "registers read all ones and ignore writes, like a device that is gone",
    ),
    (Fault::NoMagic, "no-magic", Arg::None, "MAGIC reads 0"),
    (
        Fault::UpdateNeverCompletes,
        "update-never-completes",
        Arg::None,
        "STATUS.BUSY stays set, until a reset",
    ),
    (
        Fault::UpdateError,
        "update-error",
        Arg::Code,
        "every UPDATE ends with error N, and takes nothing",
    ),
    (
        Fault::UpdateErrorAfter,
        "update-error-after",
        Arg::Number(0),
        "the first N UPDATEs work, later ones end with an error: 4, or that of update-error",
    ),
];

/// One `NAME[=ARG]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultOption(pub Fault, pub u64);

impl FromStr for FaultOption {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        fault::parse(&TABLE, text).map(|(fault, arg)| Self(fault, arg))
    }
}

/// The list of faults for `--help`.
pub fn help() -> String {
    TABLE.iter().fold(String::from("Faults:\n"), |text, row| {
        text + &fault::help_of(row, "")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_and_arguments() {
        let parse = |text: &str| text.parse::<FaultOption>();
        assert_eq!(parse("all-ones"), Ok(FaultOption(Fault::AllOnes, 0)));
        assert_eq!(parse("no-magic"), Ok(FaultOption(Fault::NoMagic, 0)));
        assert_eq!(
            parse("update-never-completes"),
            Ok(FaultOption(Fault::UpdateNeverCompletes, 0))
        );
        for (text, code) in [("1", 1), ("255", 255), ("0x2a", 42)] {
            assert_eq!(
                parse(&format!("update-error={text}")),
                Ok(FaultOption(Fault::UpdateError, code))
            );
        }
        for count in [0, 1, 1000] {
            assert_eq!(
                parse(&format!("update-error-after={count}")),
                Ok(FaultOption(Fault::UpdateErrorAfter, count))
            );
        }
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        let error = |text: &str| text.parse::<FaultOption>().unwrap_err();
        assert_eq!(error("no-ims"), FaultError::Unknown("no-ims".into()));
        assert_eq!(error("all-ones=1"), FaultError::Surplus("all-ones"));
        for text in ["", "=", "=0", "=256", "=-1", "=x"] {
            let code = error(&format!("update-error{text}"));
            assert_eq!(code, FaultError::Code("update-error"), "{text}");
            if text != "=0" && text != "=256" {
                let count = error(&format!("update-error-after{text}"));
                assert_eq!(count, FaultError::Number("update-error-after", 0));
            }
        }
    }
}
