// SPDX-License-Identifier: GPL-2.0

//! The device as a whole: capabilities, commands, configuration and its own events.

use crate::{
    chip::Chip,
    parameters::Parameters,
    regs::*, //
};
use kernel::{
    device::Bound,
    held::Holder,
    ims::{
        self,
        MmioArray,
        Window, //
    },
    io::{
        poll::read_poll_timeout,
        Io,
        MmioBackend,
        Region, //
    },
    irq::{
        self,
        Flags,
        IrqReturn, //
    },
    msi,
    new_mutex,
    num::Bounded,
    pci::{
        self,
        DevresBar, //
    },
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex, //
    },
    time::Delta, //
};

pub(crate) type Registers<'a> = Window<'a, END>;

/// Failed commands that the log reports.
const MAX_REPORTS: u32 = 10;

/// What the device has, from its capability registers.
pub(crate) struct Capabilities {
    pub(crate) wqs: u32,
    wq_entries: u32,
    wqcfg_stride: usize,
    engines: u32,
    rdbufs: u8,
    max_xfer_shift: u8,
    max_batch_shift: u8,
    op_config: bool,
    shared_mode: bool,
    commands: Option<u32>,
    wqcfg: usize,
    grpcfg: usize,
    ims: usize,
    pub(crate) slots: u32,
}

/// The events of MSI-X vector 0.
pub(crate) struct Events {
    dev: ARef<pci::Device>,
    bar: Arc<DevresBar<END>>,
    command_done: Atomic<bool>,
    pub(crate) commands: Atomic<u64>,
    pub(crate) errors: Atomic<u64>,
    pub(crate) last_error: Atomic<u64>,
    pub(crate) halts: Atomic<u64>,
    pub(crate) handles_revoked: Atomic<u64>,
}

/// The handler of MSI-X vector 0.
struct EventHandler(Arc<Events>);

impl irq::Handler for EventHandler {
    fn handle(&self) -> IrqReturn {
        let events = &*self.0;
        let Some(bar) = events.bar.try_access() else {
            return IrqReturn::None;
        };
        let cause = bar.read(INTCAUSE);
        if cause.into_raw() == 0 || cause.into_raw() == u32::MAX {
            return IrqReturn::None;
        }
        bar.write_reg(cause);

        if cause.err() {
            let error = bar.try_read(SWERR).unwrap_or(SWERR::zeroed());
            acknowledge_error(&*bar);
            events.last_error.store(error.into_raw(), Relaxed);
            if events.errors.fetch_add(1, Relaxed) == 0 {
                dev_err!(
                    events.dev,
                    "software error {:#x}, operation {:#x}; later ones are only counted\n",
                    error.error().get(),
                    error.operation().get(),
                );
            }
        }
        if cause.halt() && events.halts.fetch_add(1, Relaxed) == 0 {
            dev_err!(events.dev, "the device halted\n");
        }
        if cause.int_handle_revoked() && events.handles_revoked.fetch_add(1, Relaxed) == 0 {
            dev_err!(events.dev, "interrupt handles were revoked\n");
        }
        if cause.cmd() {
            events.commands.fetch_add(1, Relaxed);
            events.command_done.store(true, Release);
        }
        IrqReturn::Handled
    }
}

/// The device.
#[pin_data]
pub(crate) struct Device<'a> {
    dev: &'a pci::Device,
    regs: Registers<'a>,
    pub(crate) portals: Window<'a>,
    pub(crate) caps: Capabilities,
    pub(crate) domain: ims::Domain<'a, Chip>,
    pub(crate) events: Arc<Events>,
    _events: msi::Registered<'a, EventHandler>,
    timeout: Delta,
    /// The device takes one command at a time.
    #[pin]
    command: Mutex<()>,
    /// A command never completed.
    dead: Atomic<bool>,
    /// Commands that failed.
    failures: Atomic<u32>,
}

/// Reads what the device can do, and refuses what this driver cannot use.
fn capabilities(dev: &pci::Device<Bound>, regs: Registers<'_>) -> Result<Capabilities> {
    if regs.read(VERSION).into_raw() == u32::MAX {
        dev_err!(dev, "the device does not respond\n");
        return Err(EIO);
    }

    let grpcap = regs.try_read(GRPCAP)?;
    let (gencap, wqcap, offsets) = (
        regs.try_read(GENCAP)?,
        regs.try_read(WQCAP)?,
        regs.try_read(OFFSETS)?,
    );
    // CAST: The fields are 8 bits wide at most, the table offsets 16 bits.
    let offset = |units: u64| units as usize * TABLE_MULT;
    let wqcfg_stride = 1 << (wqcap.wqcfg_size().get() as u32 + wqcfg::MIN_SHIFT);
    let caps = Capabilities {
        wqs: wqcap.num_wqs().get() as u32,
        wq_entries: wqcap.total_wq_size().get() as u32,
        wqcfg_stride,
        engines: regs.try_read(ENGCAP)?.num_engines().get() as u32,
        rdbufs: grpcap.total_rdbufs().get() as u8,
        max_xfer_shift: gencap.max_xfer_shift().get() as u8,
        max_batch_shift: gencap.max_batch_shift().get() as u8,
        op_config: wqcap.op_config(),
        shared_mode: wqcap.shared_mode(),
        commands: gencap.cmd_cap().then(|| regs.read(CMDCAP).commands().get()),
        wqcfg: offset(offsets.wqcfg().get()),
        grpcfg: offset(offsets.grpcfg().get()),
        ims: offset(offsets.ims().get()),
        slots: gencap.max_ims_mult().get() as u32 * IMS_MULT,
    };

    if caps.slots == 0 || caps.ims == 0 {
        dev_err!(dev, "the device has no message store\n");
        return Err(EOPNOTSUPP);
    }
    if dvsec_without_ims(dev) {
        dev_err!(
            dev,
            "the SIOV capability says that there is no message store\n"
        );
        return Err(EOPNOTSUPP);
    }
    if !gencap.config_en() || !wqcap.dedicated_mode() {
        dev_err!(dev, "no configurable dedicated work queues\n");
        return Err(EOPNOTSUPP);
    }
    if caps.op_config && wqcfg_stride < wqcfg::OPERATIONS + OPCAP_SIZE {
        dev_err!(
            dev,
            "work queue entries of {wqcfg_stride} bytes have no operations\n"
        );
        return Err(EIO);
    }
    if caps.wqs == 0 || caps.engines == 0 || grpcap.num_groups().get() == 0 {
        dev_err!(dev, "no work queue, engine or group\n");
        return Err(EIO);
    }

    let slots = caps.slots as usize * size_of::<SlotRegisters>();
    let tables = [
        ("group", caps.grpcfg, grpcfg::STRIDE),
        (
            "work queue",
            caps.wqcfg,
            caps.wqs as usize * caps.wqcfg_stride,
        ),
        ("message store", caps.ims, slots),
    ];
    for (name, start, len) in tables {
        // Offsets have 16 bits, so that no sum overflows.
        let overlap = tables.iter().any(|&(other, begin, size)| {
            other != name && start < begin + size && begin < start + len
        });
        if start < END || start + len > regs.size() || overlap {
            dev_err!(dev, "the {name} table does not fit BAR {REGISTERS_BAR}\n");
            return Err(EIO);
        }
    }
    Ok(caps)
}

/// Returns whether a Scalable I/O Virtualization DVSEC exists and denies a message store.
fn dvsec_without_ims(dev: &pci::Device<Bound>) -> bool {
    /// Vendor and id of the DVSEC, offset and bit of its capabilities (SIOV specification).
    const VENDOR_INTEL: u16 = 0x8086;
    const ID_SIOV: u16 = 5;
    const CAPABILITIES: usize = 0x14;
    const IMS: u32 = 1;

    let Some(offset) = ims::find_dvsec(dev, VENDOR_INTEL, ID_SIOV) else {
        return false;
    };
    dev.config_space_extended()
        .and_then(|config| config.try_read32(usize::from(offset) + CAPABILITIES))
        .is_ok_and(|capabilities| capabilities & IMS == 0)
}

impl<'a> Device<'a> {
    /// Finds out what the device can do, resets it and gives it an irq domain.
    pub(crate) fn new(
        holder: &Holder<'_, 'a>,
        timeout: Delta,
    ) -> Result<impl PinInit<Self, Error> + 'a> {
        let dev = holder.device();
        let regs =
            Registers::new(holder, REGISTERS_BAR, c"idxd_ims registers").inspect_err(|e| {
                dev_err!(dev, "cannot map BAR {REGISTERS_BAR}: {e:?}\n");
            })?;
        let portals = Window::new(holder, PORTALS_BAR, c"idxd_ims portals").inspect_err(|e| {
            dev_err!(dev, "cannot map BAR {PORTALS_BAR}: {e:?}\n");
        })?;
        let caps = capabilities(dev, regs)?;
        if caps.wqs as usize * PORTALS_PER_WQ * PORTAL_SIZE > portals.size() {
            dev_err!(dev, "the portals do not fit BAR {PORTALS_BAR}\n");
            return Err(EIO);
        }

        reset(dev, regs, timeout)?;

        let store = MmioArray::new(regs, caps.ims, caps.slots)?;
        let domain = ims::Domain::new(holder, store).inspect_err(|&e| {
            if e == EOPNOTSUPP {
                dev_err!(dev, "message stores need interrupt remapping and MSI\n");
            } else {
                dev_err!(dev, "cannot use the message store: {e:?}\n");
            }
        })?;

        let events = Arc::new(
            Events {
                dev: holder.unbound().into(),
                bar: regs.revocable(),
                command_done: Atomic::new(false),
                commands: Atomic::new(0),
                errors: Atomic::new(0),
                last_error: Atomic::new(0),
                halts: Atomic::new(0),
                handles_revoked: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        let name = CString::try_from_fmt(fmt!("idxd_ims-{}-events", dev.as_ref().name()))?;
        let handler = msi::Vectors::new(holder, 1, 1)
            .and_then(|vectors| {
                let handler = EventHandler(events.clone());
                vectors.request(0, Flags::TRIGGER_NONE, name, Ok(handler))
            })
            .inspect_err(|e| dev_err!(dev, "cannot use MSI-X vector 0: {e:?}\n"))?;

        let dev = holder.unbound();
        Ok(try_pin_init!(Self {
            dev,
            regs,
            portals,
            caps,
            domain,
            events,
            _events: handler,
            timeout,
            command <- new_mutex!(()),
            dead: Atomic::new(false),
            failures: Atomic::new(0),
        }))
    }

    pub(crate) fn pci(&self) -> &'a pci::Device {
        self.dev
    }

    /// Runs a command and returns its result.
    ///
    /// Errors: [`ETIMEDOUT`] if it does not complete, and from then on for every command, [`EIO`]
    /// if the device refuses it or sends no interrupt.
    pub(crate) fn command(&self, command: Command, operand: u32) -> Result<u16> {
        let operand = Bounded::<u32, 20>::try_new(operand).ok_or(EINVAL)?;
        let done = &self.events.command_done;
        let _guard = self.command.lock();

        if self.dead.load(Relaxed) {
            return Err(ETIMEDOUT);
        }

        done.store(false, Relaxed);
        self.regs.write_reg(
            CMD::zeroed()
                .with_cmd(Bounded::<u32, 5>::try_new(command as u32).ok_or(EINVAL)?)
                .with_operand(operand)
                .with_int_req(true),
        );
        let waited = read_poll_timeout(
            || Ok(done.load(Acquire)),
            |&done| done,
            Delta::from_micros(50),
            self.timeout,
        );
        let status = self.regs.read(CMDSTS);
        if status.active() || waited.is_err() {
            // What comes of it later could be taken for the next one's.
            self.dead.store(true, Relaxed);
        }
        if status.active() && status.into_raw() != u32::MAX {
            dev_err!(self.dev, "{command:?} does not complete\n");
            return Err(ETIMEDOUT);
        }
        // User space can have as many failures as it likes: it is told, the log is not.
        let loud = self.failures.load(Relaxed) < MAX_REPORTS;
        let result = check(self.dev, command, status, loud).inspect_err(|_| {
            self.failures.fetch_add(1, Relaxed);
        })?;
        if waited.is_err() {
            dev_err!(self.dev, "{command:?} completed without an interrupt\n");
            return Err(EIO);
        }
        Ok(result)
    }

    /// Returns whether the device has `command`.
    fn has(&self, command: Command) -> bool {
        self.caps
            .commands
            .is_some_and(|commands| commands & (1 << command as u32) != 0)
    }

    /// Configures `wqs` work queues in one group with all engines, and enables the device.
    pub(crate) fn configure(&self, wqs: u32, parameters: &Parameters) -> Result {
        let caps = &self.caps;
        if parameters.shared && !(caps.shared_mode && ims::can_enqueue()) {
            dev_err!(
                self.dev,
                "no shared work queues: the device or the CPU cannot\n"
            );
            return Err(EOPNOTSUPP);
        }
        let entries = caps.wq_entries / wqs;
        if entries == 0 {
            dev_err!(
                self.dev,
                "{} entries for {wqs} work queues\n",
                caps.wq_entries
            );
            return Err(EINVAL);
        }

        let mode = WqMode::zeroed()
            .with_dedicated(!parameters.shared)
            .with_const_priority::<10>();
        let mode = match parameters.pasid {
            Some(pasid) => mode.with_pasid_en(true).with_pasid(pasid),
            None => mode,
        };
        let threshold = WqThreshold::zeroed().try_with_threshold(entries)?;
        let limits = WqLimits::zeroed()
            .try_with_max_xfer_shift(caps.max_xfer_shift)?
            .try_with_max_batch_shift(caps.max_batch_shift)?;

        for wq in 0..caps.wqs {
            let used = wq < wqs;
            let at = caps.wqcfg + wq as usize * caps.wqcfg_stride;

            for word in (0..wqcfg::OPERATIONS).step_by(size_of::<u32>()) {
                let value = match word {
                    wqcfg::SIZE if used => entries,
                    wqcfg::THRESHOLD if used && parameters.shared => threshold.into_raw(),
                    wqcfg::MODE if used => mode.into_raw(),
                    wqcfg::LIMITS if used => limits.into_raw(),
                    _ => 0,
                };
                self.regs.try_write32(value, at + word)?;
            }
            if caps.op_config {
                for word in (0..OPCAP_SIZE).step_by(size_of::<u32>()) {
                    let all = self.regs.try_read32(OPCAP + word)?;
                    self.regs.try_write32(all, at + wqcfg::OPERATIONS + word)?;
                }
            }
        }

        for word in 0..4 {
            let first = word * 64;
            let bits = wqs.saturating_sub(first).min(64);
            let mask = if bits == 64 {
                u64::MAX
            } else {
                (1 << bits) - 1
            };
            let at = caps.grpcfg + grpcfg::WQS + word as usize * size_of::<u64>();
            self.regs.try_write64(mask, at)?;
        }
        let engines = u64::MAX >> (64 - caps.engines.min(64));
        self.regs
            .try_write64(engines, caps.grpcfg + grpcfg::ENGINES)?;
        // All read buffers, and a traffic class other than 0, which the specification keeps for
        // the lowest.
        let flags = GroupFlags::zeroed()
            .with_const_tc_a::<1>()
            .with_const_tc_b::<1>()
            .with_rdbufs_allowed(caps.rdbufs);
        self.regs
            .try_write64(flags.into_raw(), caps.grpcfg + grpcfg::FLAGS)?;

        self.regs.write_reg(
            GENCTRL::zeroed()
                .with_softerr_int_en(true)
                .with_halt_int_en(true),
        );
        self.command(Command::EnableDevice, 0)?;
        if self.regs.read(GENSTS).state().get() != STATE_ENABLED {
            dev_err!(self.dev, "enabled, but not in the enabled state\n");
            return Err(EIO);
        }
        Ok(())
    }

    /// Enables work queue `wq`.
    pub(crate) fn enable_wq(&self, wq: u32) -> Result {
        self.command(Command::EnableWq, wq).map(|_| ())
    }

    /// Returns the handle that descriptors name slot `index` by.
    pub(crate) fn request_handle(&self, index: u16) -> Result<u16> {
        if !self.has(Command::RequestIntHandle) {
            return Ok(index);
        }
        self.command(Command::RequestIntHandle, INT_HANDLE_IMS | u32::from(index))
    }

    /// Resets the device: no descriptor survives.
    pub(crate) fn quiesce(&self) -> Result {
        if self.dead.load(Relaxed) {
            return Err(ETIMEDOUT);
        }
        reset(self.dev, self.regs, self.timeout)
    }

    /// Returns `handle` to the device, which then does not raise its slot any more.
    pub(crate) fn release_handle(&self, handle: u16) -> Result {
        if !self.has(Command::ReleaseIntHandle) {
            return Ok(());
        }
        let operand = INT_HANDLE_IMS | u32::from(handle);
        self.command(Command::ReleaseIntHandle, operand).map(|_| ())
    }
}

/// Resets the device without its interrupts.
fn reset(dev: &pci::Device, regs: Registers<'_>, timeout: Delta) -> Result {
    let idle = |what| {
        read_poll_timeout(
            || Ok(regs.read(CMDSTS)),
            |status| !status.active() || status.into_raw() == u32::MAX,
            Delta::from_micros(50),
            timeout,
        )
        .inspect_err(|_| dev_err!(dev, "{what} does not complete\n"))
    };

    idle("an earlier command")?;
    regs.write_reg(GENCTRL::zeroed());
    regs.write_reg(CMD::zeroed().with_const_cmd::<{ Command::ResetDevice as u32 }>());
    check(dev, Command::ResetDevice, idle("ResetDevice")?, true)?;
    regs.write_reg(INTCAUSE::from_raw(u32::MAX));
    acknowledge_error(regs);

    if regs.read(GENSTS).state().get() != STATE_DISABLED {
        dev_err!(dev, "reset, but not in the disabled state\n");
        return Err(EIO);
    }
    Ok(())
}

fn acknowledge_error<'a>(regs: impl Io<'a, Target = Region<END>, Backend = MmioBackend>) {
    // It only fails for a BAR that is not aligned.
    let _ = regs.try_write_reg(SWERR::zeroed().with_valid(true).with_overflow(true));
}

/// Returns the result of a command that completed.
fn check(dev: &pci::Device, command: Command, status: CMDSTS, loud: bool) -> Result<u16> {
    if status.into_raw() == u32::MAX {
        dev_err!(dev, "the device does not respond\n");
        return Err(EIO);
    }
    match status.err().get() {
        // CAST: The field has 16 bits.
        0 => Ok(status.result().get() as u16),
        error => {
            if loud {
                dev_err!(dev, "{command:?} failed with status {error:#x}\n");
            }
            Err(EIO)
        }
    }
}
