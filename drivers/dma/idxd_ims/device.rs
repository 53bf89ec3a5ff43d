// SPDX-License-Identifier: GPL-2.0

//! The device as a whole: capabilities, commands, configuration and its own events.

use crate::{
    chip::Chip,
    gate::{
        Gate,
        Pass, //
    },
    parameters::Parameters,
    regs::*, //
};
use kernel::{
    bindings,
    device::Bound,
    fmt,
    held::Holder,
    ims::{
        self,
        MmioArray, //
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
    new_spinlock_irq,
    num::Bounded,
    pci::{
        self,
        can_enqueue,
        DevresBar,
        Window, //
    },
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex,
        MutexGuard,
        SpinLockIrq, //
    },
    time::{
        Delta,
        Instant,
        Monotonic, //
    },
};

use core::num::Wrapping;

pub(crate) type Registers<'a> = Window<'a, END>;

/// Attempts at a handle that the device has not revoked by the time that it is used: 32, but none
/// begins 300 ms after the first has failed, as those of a slow device would take too long.
pub(crate) fn handle_tries() -> impl Iterator<Item = u32> {
    let mut failed: Option<Instant<Monotonic>> = None;

    (0..32).take_while(move |&tries| {
        tries == 0 || failed.get_or_insert_with(Instant::now).elapsed() < Delta::from_millis(300)
    })
}

/// Failures at run time that the log reports.
const MAX_REPORTS: u64 = 10;

/// Whether the device works, as [`Device::health`] has it.
mod health {
    pub(super) const GOOD: u32 = 0;
    /// It halted, or something never completed: a reset may help.
    pub(super) const BROKEN: u32 = 1;
    /// A reset did not help.
    pub(super) const GONE: u32 = 2;
}

/// What the device has, from its capability registers.
pub(crate) struct Capabilities {
    pub(crate) wqs: u32,
    wq_entries: u32,
    wqcfg_stride: usize,
    engines: u32,
    groups: u32,
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
#[pin_data]
pub(crate) struct Events {
    dev: ARef<pci::Device>,
    bar: Arc<DevresBar>,
    health: Atomic<u32>,
    /// How often interrupt handles became invalid. Held by who acknowledges causes, so that none
    /// is acknowledged and not noted; but for a reset, after which all are invalid.
    #[pin]
    epoch: SpinLockIrq<Wrapping<u32>>,
    /// How often the device has said that it is enabled.
    pub(crate) enabled: Atomic<u64>,
    pub(crate) errors: Atomic<u64>,
    pub(crate) last_error: Atomic<u64>,
    pub(crate) halts: Atomic<u64>,
    pub(crate) handles_revoked: Atomic<u64>,
}

impl Events {
    fn broke(&self) {
        // One that is gone stays so.
        let _ = self.health.cmpxchg(health::GOOD, health::BROKEN, Relaxed);
    }

    /// Acknowledges which of the causes `wanted` there are, and returns them. Notes if the device
    /// revoked its handles.
    fn take<'a, const SIZE: usize>(
        &self,
        regs: impl Io<'a, Target = Region<SIZE>, Backend = MmioBackend>,
        wanted: INTCAUSE,
    ) -> INTCAUSE {
        let causes = {
            let mut epoch = self.epoch.lock();
            let causes = match regs.try_read(INTCAUSE).map(INTCAUSE::into_raw) {
                Ok(u32::MAX) | Err(_) => INTCAUSE::zeroed(),
                Ok(causes) => INTCAUSE::from_raw(causes & wanted.into_raw()),
            };
            if causes.into_raw() != 0 {
                // It only fails for a BAR that is not aligned.
                let _ = regs.try_write_reg(causes);
            }
            if causes.int_handle_revoked() {
                *epoch += 1;
            }
            causes
        };
        if causes.int_handle_revoked() && self.handles_revoked.fetch_add(1, Relaxed) == 0 {
            dev_warn!(
                self.dev,
                "interrupt handles were revoked: asks for new ones\n"
            );
        }
        causes
    }
}

/// The handler of MSI-X vector 0.
pub(crate) struct EventHandler(Arc<Events>);

impl irq::Handler for EventHandler {
    fn handle(&self) -> IrqReturn {
        let events = &*self.0;
        // A message is nobody else's, whatever it means.
        let Some(bar) = events.bar.try_access() else {
            return IrqReturn::Handled;
        };
        let cause = events.take(&*bar, INTCAUSE::from_raw(u32::MAX));

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
        if cause.halt() {
            events.broke();
            if events.halts.fetch_add(1, Relaxed) == 0 {
                dev_err!(
                    events.dev,
                    "the device halted; later halts are only counted\n"
                );
            }
        }
        if cause.cmd() {
            events.enabled.fetch_add(1, Relaxed);
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
    timeout: Delta,
    /// The device takes one command at a time.
    #[pin]
    command: Mutex<()>,
    /// Held by who has the device reset because it is broken.
    #[pin]
    recovery: Mutex<()>,
    #[pin]
    gate: Gate,
    /// Closed while a handle is given out: no descriptor with another one is on its way.
    #[pin]
    handles: Gate,
    /// [`Self::resume_early`] is due.
    asleep: Atomic<bool>,
    /// The last reset or sleep has ended well.
    resumed: Atomic<bool>,
    /// Failures at run time.
    pub(crate) failures: Atomic<u64>,
    /// Resets because the device was broken.
    pub(crate) recoveries: Atomic<u64>,
}

/// What descriptors name an interrupt by, until the device revokes it.
#[derive(Clone, Copy)]
pub(crate) struct Handle {
    pub(crate) value: u16,
    epoch: Wrapping<u32>,
}

/// Reads what the device can do, and refuses what this driver cannot use.
fn capabilities(
    dev: &pci::Device<Bound>,
    regs: Registers<'_>,
    portals: Window<'_>,
) -> Result<Capabilities> {
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
        groups: grpcap.num_groups().get() as u32,
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
    if caps.wqs == 0 || caps.engines == 0 || caps.groups == 0 {
        dev_err!(dev, "no work queue, engine or group\n");
        return Err(EIO);
    }

    check_places(
        dev,
        &caps,
        offset(offsets.msix_perm().get()),
        [regs.size(), portals.size()],
    )?;
    Ok(caps)
}

/// Refuses what lies beyond its BAR, of so many bytes, or over something else there.
fn check_places(
    dev: &pci::Device<Bound>,
    caps: &Capabilities,
    permissions: usize,
    [registers_size, portals_size]: [usize; 2],
) -> Result {
    // Offsets have 32 bits at most, so that no sum overflows.
    let at = |start, count: u32, size| (REGISTERS_BAR, start..start + count as usize * size);
    let [msix, pending] = dev.msix_tables()?;
    // CAST: There are at most 2048 vectors.
    let vectors = (msix.1.len() / bindings::PCI_MSIX_ENTRY_SIZE as usize) as u32;
    let portals = 0..caps.wqs as usize * PORTALS_PER_WQ * PORTAL_SIZE;
    let places = [
        ("registers", at(0, 1, END)),
        ("group table", at(caps.grpcfg, caps.groups, grpcfg::STRIDE)),
        (
            "work queue table",
            at(caps.wqcfg, caps.wqs, caps.wqcfg_stride),
        ),
        (
            "message store",
            at(caps.ims, caps.slots, size_of::<SlotRegisters>()),
        ),
        ("portals", (PORTALS_BAR, portals)),
        ("MSI-X table", msix),
        ("MSI-X pending bits", pending),
        (
            "MSI-X permissions",
            at(permissions, vectors, MSIX_PERMISSION_SIZE),
        ),
    ];

    // The driver has no business with the last three.
    for (index, (name, (bar, place))) in places.iter().enumerate().take(5) {
        let size = if *bar == REGISTERS_BAR {
            registers_size
        } else {
            portals_size
        };
        if place.end > size {
            dev_err!(dev, "{name}: beyond BAR {bar}\n");
            return Err(EIO);
        }
        for (other, (other_bar, other_place)) in &places[index + 1..] {
            let apart = place.end <= other_place.start || other_place.end <= place.start;
            if bar == other_bar && !other_place.is_empty() && !apart {
                dev_err!(dev, "{name} and {other}: in the same place of BAR {bar}\n");
                return Err(EIO);
            }
        }
    }
    Ok(())
}

/// Returns whether a Scalable I/O Virtualization DVSEC exists and denies a message store.
fn dvsec_without_ims(dev: &pci::Device<Bound>) -> bool {
    /// Vendor and id of the DVSEC, offset and bit of its capabilities (SIOV specification).
    const VENDOR_INTEL: u16 = 0x8086;
    const ID_SIOV: u16 = 5;
    const CAPABILITIES: usize = 0x14;
    const IMS: u32 = 1;

    let Some(offset) = dev.find_dvsec(VENDOR_INTEL, ID_SIOV) else {
        return false;
    };
    dev.config_space_extended()
        .and_then(|config| config.try_read32(usize::from(offset) + CAPABILITIES))
        .is_ok_and(|capabilities| capabilities & IMS == 0)
}

impl<'a> Device<'a> {
    /// Finds out what the device can do, resets it and gives it an irq domain. The handler of its
    /// events comes with it.
    pub(crate) fn new(
        holder: &Holder<'_, 'a>,
        parameters: &Parameters,
    ) -> Result<(
        impl PinInit<Self, Error> + 'a,
        msi::Registered<'a, EventHandler>,
    )> {
        let (timeout, limit) = (parameters.timeout, parameters.storm_limit);
        let dev = holder.device();
        let regs =
            Registers::new(holder, REGISTERS_BAR, c"idxd_ims registers").inspect_err(|e| {
                dev_err!(dev, "cannot map BAR {REGISTERS_BAR}: {e:?}\n");
            })?;
        let portals = Window::new(holder, PORTALS_BAR, c"idxd_ims portals").inspect_err(|e| {
            dev_err!(dev, "cannot map BAR {PORTALS_BAR}: {e:?}\n");
        })?;
        let caps = capabilities(dev, regs, portals)?;

        if regs.read(GENSTS).state().get() == STATE_HALTED {
            holder
                .reset_function()
                .inspect_err(|e| dev_err!(dev, "halted, and cannot be reset: {e:?}\n"))?;
        }
        reset(regs, timeout).map_err(|why| why.report(dev))?;

        let store = MmioArray::new(regs, caps.ims, caps.slots)?;
        let domain = ims::Domain::new(holder, store).inspect_err(|&e| {
            if e == EOPNOTSUPP {
                dev_err!(dev, "message stores need interrupt remapping and MSI\n");
            } else {
                dev_err!(dev, "cannot use the message store: {e:?}\n");
            }
        })?;

        let events = Arc::pin_init(
            try_pin_init!(Events {
                dev: holder.unbound().into(),
                bar: regs.revocable(),
                health: Atomic::new(health::GOOD),
                epoch <- new_spinlock_irq!(Wrapping(0)),
                enabled: Atomic::new(0),
                errors: Atomic::new(0),
                last_error: Atomic::new(0),
                halts: Atomic::new(0),
                handles_revoked: Atomic::new(0),
            }? Error),
            GFP_KERNEL,
        )?;
        let name = CString::try_from_fmt(fmt!("idxd_ims-{}-events", dev.as_ref().name()))?;
        let name = Arc::new(name, GFP_KERNEL)?;
        let handler = msi::Vectors::new(holder, 1, 1)
            .and_then(|vectors| {
                let handler = EventHandler(events.clone());
                vectors.request(0, Flags::TRIGGER_NONE, name, limit, Ok(handler))
            })
            .inspect_err(|e| dev_err!(dev, "cannot use MSI-X vector 0: {e:?}\n"))?;

        let dev = holder.unbound();
        let device = try_pin_init!(Self {
            dev,
            regs,
            portals,
            caps,
            domain,
            events,
            timeout,
            command <- new_mutex!(()),
            recovery <- new_mutex!(()),
            gate <- Gate::new(),
            handles <- Gate::new(),
            asleep: Atomic::new(false),
            resumed: Atomic::new(true),
            failures: Atomic::new(0),
            recoveries: Atomic::new(0),
        }? Error);
        Ok((device, handler))
    }

    pub(crate) fn pci(&self) -> &'a pci::Device {
        self.dev
    }

    /// Runs a command and returns its result.
    ///
    /// Errors: [`ETIMEDOUT`] if it does not complete, and from then on for every command until the
    /// device is reset, [`EIO`] if the device refuses it.
    pub(crate) fn command(&self, command: Command, operand: u32) -> Result<u16> {
        let operand = Bounded::try_new(operand).ok_or(EINVAL)?;
        let turn = self.command.lock();

        self.run(&turn, command, operand)
            .map_err(|why| self.failed(why))
    }

    /// As [`Self::command`], for who holds its lock, and reports nothing.
    fn run(
        &self,
        _turn: &MutexGuard<'_, ()>,
        command: Command,
        operand: Bounded<u32, 20>,
    ) -> Result<u16, Why> {
        if self.health() != health::GOOD {
            return Err(Why::Broken);
        }
        self.regs.write_reg(
            CMD::zeroed()
                .with_cmd(command.code())
                .with_operand(operand)
                .with_int_req(matches!(command, Command::EnableDevice)),
        );
        completed(command, self.regs, self.timeout)
    }

    /// Reports why a command failed.
    fn failed(&self, why: Why) -> Error {
        if matches!(why, Why::Broken) {
            return why.into();
        }
        // That it halted may not have been heard of.
        if !matches!(why, Why::Failed(..)) || self.is_halted() {
            self.broke();
        }
        self.report(fmt!("{why}"));
        why.into()
    }

    fn is_halted(&self) -> bool {
        self.regs.read(GENSTS).state().get() == STATE_HALTED
    }

    /// Reports a failure at run time, of which a device or user space can have many.
    pub(crate) fn report(&self, what: fmt::Arguments<'_>) -> Error {
        match self.failures.fetch_add(1, Relaxed) + 1 {
            MAX_REPORTS => dev_err!(self.dev, "{what}; later failures are only counted\n"),
            count if count < MAX_REPORTS => dev_err!(self.dev, "{what}\n"),
            _ => (),
        }
        EIO
    }

    fn health(&self) -> u32 {
        self.events.health.load(Relaxed)
    }

    /// Notes that only a reset can help.
    pub(crate) fn broke(&self) {
        self.events.broke();
    }

    /// Returns whether a reset has not helped.
    pub(crate) fn is_gone(&self) -> bool {
        self.health() == health::GONE
    }

    /// Keeps the device from being reset or put to sleep, or waits until it is over.
    pub(crate) fn enter(&self) -> Pass<'_> {
        self.gate.enter()
    }

    /// Has a device that is broken reset. Not for a task that has a pass.
    ///
    /// Errors: [`EAGAIN`] if it is just being unbound or reset, [`EIO`] if that does not help.
    pub(crate) fn recover(&self) -> Result {
        if self.health() == health::GOOD {
            return Ok(());
        }
        // Who waits here may find it done.
        let _guard = self.recovery.lock();
        match self.health() {
            health::GOOD => return Ok(()),
            health::GONE => return Err(EIO),
            _ => (),
        }

        let status = {
            let _pass = self.enter();

            if self.health() == health::GOOD {
                return Ok(());
            }
            self.regs.read(GENSTS)
        };
        let beyond = status.state().get() == STATE_HALTED && status.reset_type().get() > RESET_FLR;
        if !beyond {
            if self.recoveries.fetch_add(1, Relaxed) == 0 {
                dev_warn!(
                    self.dev,
                    "broken: resets it; later resets are only counted\n"
                );
            }
            match self.dev.try_reset() {
                // It may be broken again by now: for the next one to find out.
                Ok(()) if self.resumed.load(Relaxed) => return Ok(()),
                Err(EAGAIN) => return Err(EAGAIN),
                _ => (),
            }
        }
        let health = &self.events.health;
        if health.cmpxchg(health::BROKEN, health::GONE, Relaxed) == Err(health::GOOD) {
            // Another reset has helped, or what follows one.
            return Ok(());
        }
        dev_err!(self.dev, "broken, and a reset does not help\n");
        Err(EIO)
    }

    /// Stops using the device, which is about to be reset or put to sleep.
    pub(crate) fn suspend(&self) {
        self.gate.close();
        self.asleep.store(true, Relaxed);
        self.domain.suspend();
    }

    /// Restores the message store, and has the device do nothing.
    pub(crate) fn resume_early(&self) -> Result {
        self.asleep.store(false, Relaxed);
        let restored = reset(self.regs, self.timeout)
            .map_err(|why| why.report(self.dev))
            .and_then(|()| self.domain.resume());

        let health = if restored.is_ok() {
            health::GOOD
        } else {
            health::GONE
        };
        self.events.health.store(health, Relaxed);
        restored.inspect_err(|e| dev_err!(self.dev, "cannot restore the message store: {e:?}\n"))
    }

    /// Uses the device again, as `configure` has it.
    pub(crate) fn resume(&self, configure: impl FnOnce() -> Result) -> Result {
        if self.asleep.load(Relaxed) {
            // What it fails with shows below.
            let _ = self.resume_early();
        }
        let configured = match self.health() {
            health::GONE => Err(EIO),
            _ => configure().inspect_err(|_| self.broke()),
        };

        self.resumed.store(configured.is_ok(), Relaxed);
        *self.events.epoch.lock() += 1;
        self.gate.open();
        configured
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
        if parameters.shared && !(caps.shared_mode && can_enqueue()) {
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

    /// Waits until the device has said that it is enabled. One that does not would not be heard of
    /// when it fails, halts or revokes handles either.
    pub(crate) fn hear(&self) -> Result {
        let heard = read_poll_timeout(
            || Ok(self.events.enabled.load(Relaxed)),
            |&times| times != 0,
            Delta::from_micros(50),
            self.timeout,
        );
        match heard {
            Err(_) => Err(self.report(fmt!("EnableDevice sent no interrupt"))),
            Ok(_) => Ok(()),
        }
    }

    /// Enables work queue `wq`.
    pub(crate) fn enable_wq(&self, wq: u32) -> Result {
        self.command(Command::EnableWq, wq).map(|_| ())
    }

    /// Returns the handle that descriptors name slot `index` by. It does not become that of another
    /// slot as long as the pass exists, with which no command may be run.
    pub(crate) fn request_handle(&self, index: u16) -> Result<(Handle, Pass<'_>)> {
        if !self.has(Command::RequestIntHandle) {
            let handle = Handle {
                epoch: self.epoch(),
                value: index,
            };
            return Ok((handle, self.handles.enter()));
        }
        let turn = self.command.lock();
        self.handles.close();
        let handle = self.try_handles(&turn, index);
        let pass = self.handles.open_and_enter();
        Ok((handle?, pass))
    }

    /// As [`Self::request_handle`], when no descriptor is on its way.
    fn try_handles(&self, turn: &MutexGuard<'_, ()>, index: u16) -> Result<Handle> {
        self.hear_of_revocation();
        for _ in handle_tries() {
            let handle = Handle {
                // First: a handle that is revoked meanwhile is of an old epoch.
                epoch: self.epoch(),
                value: self
                    .run(turn, Command::RequestIntHandle, of_store(index))
                    .map_err(|why| self.failed(why))?,
            };
            // It may be what another had until it was revoked.
            self.hear_of_revocation();
            if self.is_valid(handle) {
                return Ok(handle);
            }
        }
        Err(self.report(fmt!("revokes each interrupt handle that it gives")))
    }

    /// Notes if the device revoked its handles: the handler may be late, or masked.
    fn hear_of_revocation(&self) {
        let revoked = INTCAUSE::zeroed().with_int_handle_revoked(true);

        self.events.take(self.regs, revoked);
    }

    fn epoch(&self) -> Wrapping<u32> {
        *self.events.epoch.lock()
    }

    /// Makes `handle`, if it may not be that of slot `index` any more, a new one. The result is as
    /// that of [`Self::request_handle`].
    pub(crate) fn use_handle(&self, handle: &mut Handle, index: u16) -> Result<Pass<'_>> {
        let pass = self.handles.enter();
        if self.is_valid(*handle) {
            return Ok(pass);
        }
        drop(pass);

        let (new, pass) = self.request_handle(index)?;
        *handle = new;
        Ok(pass)
    }

    /// Returns whether the device still knows `handle`.
    fn is_valid(&self, handle: Handle) -> bool {
        handle.epoch == self.epoch()
    }

    /// Notes that the device does not know `handle` any more.
    pub(crate) fn expire(&self, handle: Handle) {
        let mut epoch = self.events.epoch.lock();

        // Should that have been heard of, it is of an older epoch already.
        if *epoch == handle.epoch {
            *epoch += 1;
        }
    }

    /// The device goes. Should it be asleep, nobody is to wait for it.
    pub(crate) fn unbind(&self) {
        if self.asleep.load(Relaxed) {
            self.events.health.store(health::GONE, Relaxed);
        }
        self.gate.open();
    }

    /// Has the device do nothing any more. It does not write to memory from here on.
    pub(crate) fn quiesce(&self) -> Result<(), Why> {
        let done = match self.health() {
            health::GOOD => reset(self.regs, self.timeout),
            _ => Err(Why::Broken),
        };

        // Whatever became of that.
        self.dev.clear_master();
        done
    }

    /// Returns `handle` to the device, which then does not raise its slot any more.
    pub(crate) fn release_handle(&self, handle: Handle) -> Result {
        if !self.has(Command::ReleaseIntHandle) {
            return Ok(());
        }
        // What was revoked may be somebody else's by now: it takes a command to become that.
        let turn = self.command.lock();
        self.hear_of_revocation();
        if !self.is_valid(handle) {
            return Ok(());
        }
        let Err(why) = self.run(&turn, Command::ReleaseIntHandle, of_store(handle.value)) else {
            return Ok(());
        };
        if matches!(why, Why::Failed(..)) {
            self.hear_of_revocation();
            if !self.is_valid(handle) {
                // It was revoked just before.
                return Ok(());
            }
        }
        Err(self.failed(why))
    }
}

/// Waits until no command is active.
fn idle(regs: Registers<'_>, timeout: Delta) -> Result<CMDSTS> {
    let read = || regs.read(CMDSTS);
    let done = |status: &CMDSTS| !status.active() || status.into_raw() == u32::MAX;

    // Should it not have run for a while, that is not the device's doing: a last look.
    read_poll_timeout(|| Ok(read()), done, Delta::from_micros(50), timeout)
        .or_else(|error| Some(read()).filter(done).ok_or(error))
}

/// Waits until `command`, which was given, has completed, and returns its result.
fn completed(command: Command, regs: Registers<'_>, timeout: Delta) -> Result<u16, Why> {
    let status = idle(regs, timeout).map_err(|_| Why::Incomplete(command))?;

    if status.into_raw() == u32::MAX {
        return Err(Why::NoResponse);
    }
    match status.err().get() {
        // CAST: The field has 16 bits.
        0 => Ok(status.result().get() as u16),
        error => Err(Why::Failed(command, error)),
    }
}

/// Resets the device without its interrupts.
fn reset(regs: Registers<'_>, timeout: Delta) -> Result<(), Why> {
    idle(regs, timeout).map_err(|_| Why::Busy)?;
    regs.write_reg(GENCTRL::zeroed());
    regs.write_reg(CMD::zeroed().with_const_cmd::<{ Command::ResetDevice as u32 }>());
    completed(Command::ResetDevice, regs, timeout)?;
    regs.write_reg(INTCAUSE::from_raw(u32::MAX));
    acknowledge_error(regs);

    match regs.read(GENSTS).state().get() {
        STATE_DISABLED => Ok(()),
        _ => Err(Why::NotDisabled),
    }
}

/// Returns the operand for a slot of the message store, or for a handle of one.
#[inline(always)]
fn of_store(value: u16) -> Bounded<u32, 20> {
    Bounded::from_expr(INT_HANDLE_IMS | u32::from(value))
}

fn acknowledge_error<'a, const SIZE: usize>(
    regs: impl Io<'a, Target = Region<SIZE>, Backend = MmioBackend>,
) {
    // It only fails for a BAR that is not aligned.
    let _ = regs.try_write_reg(SWERR::zeroed().with_valid(true).with_overflow(true));
}

/// Why a command or a reset failed.
pub(crate) enum Why {
    NoResponse,
    Busy,
    Incomplete(Command),
    Failed(Command, u32),
    NotDisabled,
    Broken,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoResponse => write!(f, "the device does not respond"),
            Self::Busy => write!(f, "an earlier command does not complete"),
            Self::Incomplete(command) => write!(f, "{command:?} does not complete"),
            Self::Failed(command, error) => write!(f, "{command:?} failed with status {error:#x}"),
            Self::NotDisabled => write!(f, "reset, but not in the disabled state"),
            Self::Broken => write!(f, "it is broken"),
        }
    }
}

impl Why {
    fn report(self, dev: &pci::Device) -> Error {
        dev_err!(dev, "{self}\n");
        self.into()
    }
}

impl From<Why> for Error {
    fn from(why: Why) -> Self {
        match why {
            Why::Busy | Why::Incomplete(_) | Why::Broken => ETIMEDOUT,
            _ => EIO,
        }
    }
}
