// SPDX-License-Identifier: GPL-2.0

//! Commands of the device.

use crate::{
    device::{
        Device,
        Registers, //
    },
    events::acknowledge_error,
    regs::*, //
};
use kernel::{
    fmt,
    io::{
        poll::read_poll_timeout,
        Io, //
    },
    num::Bounded,
    pci,
    prelude::*,
    sync::MutexGuard,
    time::Delta, //
};

/// The reason for which a command or a reset failed.
pub(crate) enum CommandError {
    NoResponse,
    Busy,
    Timeout(Command),
    Refused(Command, u32),
    NotDisabled,
    Broken,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoResponse => write!(f, "the device does not respond"),
            Self::Busy => write!(f, "an earlier command does not complete"),
            Self::Timeout(command) => write!(f, "{command:?} does not complete"),
            Self::Refused(command, error) => write!(f, "{command:?} failed with status {error:#x}"),
            Self::NotDisabled => write!(f, "reset, but not in the disabled state"),
            Self::Broken => write!(f, "it is broken"),
        }
    }
}

impl CommandError {
    pub(crate) fn report(self, dev: &pci::Device) -> Error {
        dev_err!(dev, "{self}\n");
        self.into()
    }
}

impl From<CommandError> for Error {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Busy | CommandError::Timeout(_) | CommandError::Broken => ETIMEDOUT,
            _ => EIO,
        }
    }
}

impl Device<'_> {
    /// Runs a command and returns its result.
    ///
    /// Errors: [`ETIMEDOUT`] if it does not complete, and then for every command until the device
    /// is reset, [`EIO`] if the device refuses it.
    pub(crate) fn command(&self, command: Command, operand: u32) -> Result<u16> {
        let operand = Bounded::try_new(operand).ok_or(EINVAL)?;
        let guard = self.command.lock();

        self.run(&guard, command, operand)
            .map_err(|error| self.command_failed(error))
    }

    /// As [`Self::command`], for a caller that holds its lock. Reports nothing.
    pub(crate) fn run(
        &self,
        _guard: &MutexGuard<'_, ()>,
        command: Command,
        operand: Bounded<u32, 20>,
    ) -> Result<u16, CommandError> {
        if !self.is_working() {
            return Err(CommandError::Broken);
        }
        self.regs.write_reg(
            CMD::zeroed()
                .with_cmd(command.code())
                .with_operand(operand)
                .with_int_req(matches!(command, Command::EnableDevice)),
        );
        completed(command, self.regs, self.timeout)
    }

    /// Reports that a command failed.
    pub(crate) fn command_failed(&self, error: CommandError) -> Error {
        if matches!(error, CommandError::Broken) {
            return error.into();
        }
        // The interrupt for a halt may be late, or masked.
        if !matches!(error, CommandError::Refused(..)) || self.is_halted() {
            self.mark_broken();
        }
        self.report(fmt!("{error}"));
        error.into()
    }
}

/// Waits until no command is active.
fn idle(regs: Registers<'_>, timeout: Delta) -> Result<CMDSTS> {
    let read = || regs.read(CMDSTS);
    let done = |status: &CMDSTS| !status.active() || status.into_raw() == u32::MAX;

    // This task may not have run for a while, so that a last look is due after the timeout.
    read_poll_timeout(|| Ok(read()), done, Delta::from_micros(50), timeout)
        .or_else(|error| Some(read()).filter(done).ok_or(error))
}

/// Waits until `command` has completed, and returns its result.
fn completed(command: Command, regs: Registers<'_>, timeout: Delta) -> Result<u16, CommandError> {
    let status = idle(regs, timeout).map_err(|_| CommandError::Timeout(command))?;

    if status.into_raw() == u32::MAX {
        return Err(CommandError::NoResponse);
    }
    match status.err().get() {
        // CAST: The field has 16 bits.
        0 => Ok(status.result().get() as u16),
        error => Err(CommandError::Refused(command, error)),
    }
}

/// Resets the device, which is then disabled and sends no events.
pub(crate) fn reset(regs: Registers<'_>, timeout: Delta) -> Result<(), CommandError> {
    idle(regs, timeout).map_err(|_| CommandError::Busy)?;
    regs.write_reg(GENCTRL::zeroed());
    regs.write_reg(CMD::zeroed().with_const_cmd::<{ Command::ResetDevice as u32 }>());
    completed(Command::ResetDevice, regs, timeout)?;
    // The reset clears INTCAUSE, not SWERR.
    acknowledge_error(regs);

    match regs.read(GENSTS).state().get() {
        STATE_DISABLED => Ok(()),
        _ => Err(CommandError::NotDisabled),
    }
}
