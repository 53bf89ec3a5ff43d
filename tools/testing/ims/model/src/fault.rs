// SPDX-License-Identifier: GPL-2.0

//! Ways to be broken, on the command line (`--fault`) and at run time (the
//! test page's FAULT register). The queue device has a table of its own, in
//! [`crate::queue::fault`].

use std::collections::BTreeMap;
use std::str::FromStr;

use thiserror::Error;

/// A way to be broken. The discriminant is its number in the FAULT register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[expect(missing_docs, reason = "the table below explains each")]
pub enum Fault {
    NoIms = 1,
    NoImsDvsec = 2,
    ImsTableBeyondBar = 3,
    ImsTableOverRegisters = 4,
    ImsTableOverMsix = 5,
    AllOnes = 6,
    AllOnesAfter = 7,
    CmdNeverCompletes = 8,
    CmdDelay = 9,
    CmdError = 10,
    NeverResets = 11,
    NoPending = 12,
    StuckMask = 13,
    DropMessage = 14,
    HandleLimit = 15,
    CmdSilent = 16,
    HandlesRevoked = 17,
    StuckPending = 18,
    Stalled = 19,
}

/// What the argument of a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// There is none.
    None,
    /// A number of at least this.
    Number(u64),
    /// An error code, 1..=255.
    Code,
    /// `CMD:CODE`; in the register, CMD << 8 | CODE.
    CommandError,
}

use Arg::{Code, CommandError, None as NoArg, Number};

/// Fault, name, argument, explanation.
pub type Row<F> = (F, &'static str, Arg, &'static str);

const TABLE: [Row<Fault>; 19] = [
    (
        Fault::NoIms,
        "no-ims",
        NoArg,
        "GENCAP.max_ims_mult is 0 and there are no slots",
    ),
    (
        Fault::NoImsDvsec,
        "no-ims-dvsec",
        NoArg,
        "the IMS bit of the SIOV DVSEC is clear",
    ),
    (
        Fault::ImsTableBeyondBar,
        "ims-table-beyond-bar",
        NoArg,
        "TABLE_OFFSETS.ims lets the table end beyond BAR0",
    ),
    (
        Fault::ImsTableOverRegisters,
        "ims-table-over-registers",
        NoArg,
        "TABLE_OFFSETS.ims is that of the work queues' registers",
    ),
    (
        Fault::ImsTableOverMsix,
        "ims-table-over-msix",
        NoArg,
        "TABLE_OFFSETS.ims is that of the MSI-X table",
    ),
    (
        Fault::AllOnes,
        "all-ones",
        NoArg,
        "BAR0 and BAR2 read all ones and ignore writes, like a device that is gone",
    ),
    (
        Fault::AllOnesAfter,
        "all-ones-after",
        Number(0),
        "as all-ones, after N more reads of BAR0 and BAR2",
    ),
    (
        Fault::CmdNeverCompletes,
        "cmd-never-completes",
        NoArg,
        "CMDSTS.active stays set",
    ),
    (
        Fault::CmdDelay,
        "cmd-delay",
        Number(1),
        "a command takes N milliseconds",
    ),
    (
        Fault::CmdError,
        "cmd-error",
        CommandError,
        "command number CMD does nothing and ends with error CODE",
    ),
    (
        Fault::NeverResets,
        "never-resets",
        NoArg,
        "RESET_DEVICE does not complete and FLR does nothing",
    ),
    (
        Fault::NoPending,
        "no-pending",
        NoArg,
        "a masked slot latches nothing; its pending bit reads 0",
    ),
    (
        Fault::StuckMask,
        "stuck-mask",
        NoArg,
        "the mask bit of every slot reads 0 and masks nothing",
    ),
    (
        Fault::DropMessage,
        "drop-message",
        Number(1),
        "every Nth message is counted as sent, and lost",
    ),
    (
        Fault::HandleLimit,
        "handle-limit",
        Number(0),
        "at most N interrupt handles can be held",
    ),
    (
        Fault::CmdSilent,
        "cmd-silent",
        NoArg,
        "a command ends without an interrupt",
    ),
    (
        Fault::HandlesRevoked,
        "handles-revoked",
        Number(0),
        "each interrupt handle is revoked once it is given; silently if N is 0",
    ),
    (
        Fault::StuckPending,
        "stuck-pending",
        NoArg,
        "a slot that is pending stays so: unmasking it sends nothing",
    ),
    (
        Fault::Stalled,
        "stalled",
        Number(0),
        "the engine takes N descriptors, and work queues keep the others",
    ),
];

/// Why there is no such fault.
#[derive(Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum FaultError {
    #[error("no fault is called '{0}'; --help lists them")]
    Unknown(String),
    #[error("fault {0} takes no argument")]
    Surplus(&'static str),
    #[error("fault {0} needs an argument: a number from {1}")]
    Number(&'static str, u64),
    #[error("fault {0} needs an argument: an error code in 1..=255")]
    Code(&'static str),
    #[error("fault {0} needs CMD:CODE with CMD 1..=31 and CODE 1..=255")]
    CommandError(&'static str),
}

/// The faults that are on, with their arguments (0 if none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults<F = Fault>(BTreeMap<F, u64>);

impl<F> Default for Faults<F> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<F: Ord> Faults<F> {
    /// Whether a fault is on.
    pub fn is_on(&self, fault: F) -> bool {
        self.0.contains_key(&fault)
    }

    /// The argument of a fault that is on.
    pub fn arg(&self, fault: F) -> Option<u64> {
        self.0.get(&fault).copied()
    }

    /// Switches a fault on.
    pub fn set(&mut self, fault: F, arg: u64) {
        self.0.insert(fault, arg);
    }

    /// Switches all faults off.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl Faults {
    /// Bit n for fault number n.
    pub fn bitmap(&self) -> u32 {
        self.0
            .keys()
            .fold(0, |bits, &fault| bits | 1 << fault as u32)
    }
}

impl Fault {
    /// The fault with that number, if `arg` is one that it can have.
    pub fn from_register(number: u32, arg: u64) -> Option<(Self, u64)> {
        let (fault, _, kind, _) = TABLE.iter().find(|row| row.0 as u32 == number)?;
        let valid = match kind {
            NoArg => true,
            Number(least) => arg >= *least,
            Code => (1..=255).contains(&arg),
            CommandError => (1..=31).contains(&(arg >> 8)) && arg & 0xff != 0,
        };
        valid.then_some((*fault, if *kind == NoArg { 0 } else { arg }))
    }
}

/// One `NAME[=ARG]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultOption(pub Fault, pub u64);

impl FromStr for FaultOption {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        parse(&TABLE, text).map(|(fault, arg)| Self(fault, arg))
    }
}

/// Fault and argument (0 if none) of one `NAME[=ARG]`.
pub fn parse<F: Copy>(table: &[Row<F>], text: &str) -> Result<(F, u64), FaultError> {
    let (name, arg) = match text.split_once('=') {
        Some((name, arg)) => (name, Some(arg)),
        None => (text, None),
    };
    let &(fault, name, kind, _) = table
        .iter()
        .find(|row| row.1 == name)
        .ok_or_else(|| FaultError::Unknown(name.into()))?;
    let value = match (kind, arg) {
        (NoArg, None) => 0,
        (NoArg, Some(_)) => return Err(FaultError::Surplus(name)),
        (Number(least), arg) => arg
            .and_then(|arg| arg.parse().ok())
            .filter(|&value| value >= least)
            .ok_or(FaultError::Number(name, least))?,
        (Code, arg) => arg
            .and_then(number)
            .filter(|value| (1..=255).contains(value))
            .ok_or(FaultError::Code(name))?,
        (CommandError, arg) => arg
            .and_then(command_error)
            .ok_or(FaultError::CommandError(name))?,
    };
    Ok((fault, value))
}

fn command_error(text: &str) -> Option<u64> {
    let (command, code) = text.split_once(':')?;
    let (command, code) = (number(command)?, number(code)?);
    ((1..=31).contains(&command) && (1..=255).contains(&code)).then_some(command << 8 | code)
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The list of faults for `--help`.
pub fn help() -> String {
    let mut text = String::from("Faults (number in the test page's FAULT register in brackets):\n");
    for row in TABLE {
        text += &help_of(&row, &format!(" [{}]", row.0 as u32));
    }
    text
}

/// The lines of one fault, with `note` after its name.
pub fn help_of<F>((_, name, arg, meaning): &Row<F>, note: &str) -> String {
    let arg = match arg {
        NoArg => "",
        Number(_) | Code => "=N",
        CommandError => "=CMD:CODE",
    };
    format!("  {name}{arg}{note}\n          {meaning}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_order_of_numbers() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.0 as usize, index + 1);
        }
    }

    #[test]
    fn parses_names_and_arguments() {
        let parse = |text: &str| text.parse::<FaultOption>();
        assert_eq!(parse("no-ims"), Ok(FaultOption(Fault::NoIms, 0)));
        assert_eq!(
            parse("drop-message=3"),
            Ok(FaultOption(Fault::DropMessage, 3))
        );
        assert_eq!(
            parse("cmd-error=6:0x24"),
            Ok(FaultOption(Fault::CmdError, 0x624))
        );
        assert_eq!(parse("nothing"), Err(FaultError::Unknown("nothing".into())));
        assert_eq!(parse("no-ims=1"), Err(FaultError::Surplus("no-ims")));
        assert_eq!(
            parse("drop-message"),
            Err(FaultError::Number("drop-message", 1))
        );
        assert_eq!(
            parse("drop-message=0"),
            Err(FaultError::Number("drop-message", 1))
        );
        for bad in [
            "cmd-error",
            "cmd-error=6",
            "cmd-error=0:1",
            "cmd-error=32:1",
            "cmd-error=1:256",
        ] {
            assert_eq!(
                parse(bad),
                Err(FaultError::CommandError("cmd-error")),
                "{bad}"
            );
        }
    }

    #[test]
    fn register_numbers_check_arguments() {
        assert_eq!(Fault::from_register(0, 0), None);
        assert_eq!(Fault::from_register(20, 0), None);
        assert_eq!(Fault::from_register(1, 9), Some((Fault::NoIms, 0)));
        assert_eq!(Fault::from_register(18, 0), Some((Fault::StuckPending, 0)));
        assert_eq!(Fault::from_register(14, 0), None);
        assert_eq!(Fault::from_register(14, 2), Some((Fault::DropMessage, 2)));
        for bad in [0x600, 0x024, 0x2024] {
            assert_eq!(Fault::from_register(10, bad), None, "{bad:#x}");
        }
        for good in [0x1ff, 0x1f01] {
            assert!(Fault::from_register(10, good).is_some(), "{good:#x}");
        }
        assert_eq!(
            Fault::from_register(10, 0x624),
            Some((Fault::CmdError, 0x624))
        );
    }

    #[test]
    fn bitmap_has_a_bit_for_each() {
        let mut faults = Faults::default();
        assert_eq!(faults.bitmap(), 0);
        faults.set(Fault::NoIms, 0);
        faults.set(Fault::DropMessage, 7);
        assert_eq!(faults.bitmap(), 1 << 1 | 1 << 14);
        assert_eq!(faults.arg(Fault::DropMessage), Some(7));
        faults.clear();
        assert!(!faults.is_on(Fault::NoIms));
    }
}
