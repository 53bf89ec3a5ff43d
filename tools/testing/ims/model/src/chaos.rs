// SPDX-License-Identifier: GPL-2.0

//! A hostile device: what `--chaos SEED` makes of a good one.
//!
//! A seed draws one to four behaviours from [`TABLE`], each with its
//! particulars. They act at the device's boundary, so that the device knows
//! nothing of them: on accesses to BAR0 ([`Chaos::read`], [`Chaos::write`]),
//! as time passes ([`Chaos::due`]), and on what leaves it ([`HostileBus`]).
//! Some are a fault of [`crate::fault`].
//!
//! What a device could do to any machine is left out: DMA to addresses that
//! nobody gave it, and messages that nobody wrote into it. Remapping hardware
//! has to stop those, and the driver sees nothing of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bus::{Bus, DmaError, Pending};
use crate::completion;
use crate::config::Config;
use crate::fault::Fault;
use crate::layout::{Layout, IMS_STRIDE};
use crate::random::SplitMix64;
use crate::regs::{cmdsts, command, intcause, offset as reg, TABLE_MULT};

/// Name, what it means, and what draws it.
type Row = (&'static str, &'static str, fn(&mut Chaos) -> String);

const TABLE: [Row; 19] = [
    (
        "capability",
        "fields of the capability registers lie",
        Chaos::capability,
    ),
    (
        "table",
        "TABLE states another place for a table",
        Chaos::table,
    ),
    (
        "stuck",
        "commands stay active, for good or now and then",
        Chaos::stuck,
    ),
    ("error", "commands end with an error code", Chaos::error),
    ("quiet", "commands end without an interrupt", Chaos::quiet),
    ("late", "commands take their time", Chaos::late),
    ("result", "commands end with a random result", Chaos::result),
    (
        "control",
        "bits of the slots' control words read something else",
        Chaos::control,
    ),
    (
        "mask",
        "writes to mask bits do not take, or do the opposite",
        Chaos::mask,
    ),
    ("state", "GENSTATS has another state", Chaos::state),
    (
        "events",
        "MSI-X vector 0 comes again and again, with any cause and error",
        Chaos::events,
    ),
    (
        "raises",
        "slots are raised again and again, allocated or not",
        Chaos::raises,
    ),
    (
        "stray",
        "messages are sent again when their slot is masked or free",
        Chaos::stray,
    ),
    (
        "record",
        "completion records are not written, or with another status",
        Chaos::record,
    ),
    ("data", "what is copied changes on the way", Chaos::data),
    ("twice", "each interrupt is sent twice", Chaos::twice),
    (
        "noise",
        "a read of BAR0 is random now and then",
        Chaos::noise,
    ),
    (
        "gone",
        "all reads are ones, and writes lost, at some point",
        Chaos::gone,
    ),
    ("fault", "one of the other faults above", Chaos::fault),
];

/// Fields of the capability registers: name, register, highest and lowest bit.
const FIELDS: [(&str, u64, u32, u32); 17] = [
    ("VERSION", reg::VER, 31, 0),
    ("GENCAP.cmd_cap", reg::GENCAP, 4, 4),
    ("GENCAP.max_xfer_shift", reg::GENCAP, 20, 16),
    ("GENCAP.max_batch_shift", reg::GENCAP, 24, 21),
    ("GENCAP.max_ims_mult", reg::GENCAP, 30, 25),
    ("GENCAP.config_en", reg::GENCAP, 31, 31),
    ("GENCAP.rsvd3", reg::GENCAP, 63, 32),
    ("WQCAP.total_wq_size", reg::WQCAP, 15, 0),
    ("WQCAP.num_wqs", reg::WQCAP, 23, 16),
    ("WQCAP.wqcfg_size", reg::WQCAP, 27, 24),
    ("WQCAP.dedicated_mode", reg::WQCAP, 49, 49),
    ("WQCAP.op_config", reg::WQCAP, 54, 54),
    ("GRPCAP.num_groups", reg::GRPCAP, 7, 0),
    ("GRPCAP.total_rdbufs", reg::GRPCAP, 15, 8),
    ("ENGCAP.num_engines", reg::ENGCAP, 7, 0),
    ("OPCAP", reg::OPCAP, 63, 0),
    ("CMDCAP", reg::CMDCAP, 31, 0),
];

/// Where a [`Twist`] is, in BAR0.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// The 8 bytes at an offset.
    Register(u64),
    /// The control words of so many slots, whose table begins there.
    Controls {
        table: u64,
        slots: u64,
    },
    Anywhere,
}

impl Place {
    /// The offset of the bytes that are twisted in an access.
    fn base(self, offset: u64, len: usize) -> Option<u64> {
        let end = offset + len as u64;
        let base = match self {
            Self::Register(at) => at,
            Self::Controls { table, slots } => {
                let slot = offset.checked_sub(table)? / IMS_STRIDE;
                (slot < slots).then_some(table + slot * IMS_STRIDE + 12)?
            }
            Self::Anywhere => offset & !7,
        };
        (base < end && offset < base + 8).then_some(base)
    }
}

/// Bits that an access to BAR0 does not carry as it should.
#[derive(Clone, Debug)]
struct Twist {
    place: Place,
    mask: u64,
    /// What the bits are; random if `None`.
    value: Option<u64>,
    /// One access in so many.
    one_in: u64,
    /// Not before so many reads of BAR0.
    after: u64,
    random: SplitMix64,
}

impl Twist {
    fn apply(&mut self, reads: u64, offset: u64, data: &mut [u8]) {
        let Some(base) = self.place.base(offset, data.len()) else {
            return;
        };
        if reads < self.after || self.random.below(self.one_in) != 0 {
            return;
        }
        let value = self.value.unwrap_or_else(|| self.random.draw());
        for (at, byte) in (offset..).zip(data) {
            let Some(index @ 0..8) = at.checked_sub(base) else {
                continue;
            };
            let (mask, value) = (
                (self.mask >> (8 * index)) as u8,
                (value >> (8 * index)) as u8,
            );
            *byte = *byte & !mask | value & mask;
        }
    }
}

/// Something that the device does of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Raises MSI-X vector 0.
    Event,
    /// Raises this slot, or any.
    Raise(Option<u32>),
    /// Sends a message that it has sent before.
    Replay,
}

/// An act, over and over.
#[derive(Clone, Debug)]
struct Beat {
    act: Act,
    period: Duration,
    next: Option<Instant>,
}

/// What happens to completion records.
#[derive(Clone, Copy, Debug)]
enum Record {
    Lost,
    Status(u8),
}

/// What happens to what leaves the device.
#[derive(Clone, Debug, Default)]
struct Tamper {
    /// And in how many one of them.
    record: Option<(Record, u64)>,
    data: bool,
    twice: bool,
    random: SplitMix64,
}

/// What a seed draws, and the state of that. The default changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Chaos {
    story: Vec<String>,
    faults: Vec<(Fault, u64)>,
    reads: Vec<Twist>,
    writes: Vec<Twist>,
    beats: Vec<Beat>,
    tamper: Tamper,
    slots: u32,
    layout: Layout,
    random: SplitMix64,
    /// Reads of BAR0 so far.
    count: u64,
    /// Messages that were sent, the latest first.
    sent: Vec<(u64, u32)>,
}

/// Messages that are kept for [`Act::Replay`].
const KEPT: usize = 16;

impl Chaos {
    /// What `seed` makes of a device of that shape.
    pub fn draw(seed: u64, config: &Config) -> Self {
        let mut chaos = Self {
            slots: config.slots,
            layout: config.layout(),
            random: SplitMix64::new(seed),
            ..Self::default()
        };
        let mut rows: Vec<_> = TABLE.iter().collect();
        for _ in 0..1 + chaos.random.below(4) {
            let row = rows.swap_remove(chaos.random.below(rows.len() as u64) as usize);
            let what = row.2(&mut chaos);
            chaos.story.push(format!("{}: {what}", row.0));
        }
        chaos
    }

    /// The faults that are part of it, with their arguments.
    pub fn faults(&self) -> &[(Fault, u64)] {
        &self.faults
    }

    /// A read of BAR0 gave `data`.
    pub fn read(&mut self, offset: u64, data: &mut [u8]) {
        for twist in &mut self.reads {
            twist.apply(self.count, offset, data);
        }
        self.count += 1;
    }

    /// BAR0 is written; what arrives is returned.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Vec<u8> {
        let mut data = data.to_vec();
        for twist in &mut self.writes {
            twist.apply(self.count, offset, &mut data);
        }
        data
    }

    /// What the device does now.
    pub fn due(&mut self, now: Instant) -> Vec<Act> {
        let mut due = Vec::new();
        for beat in &mut self.beats {
            let next = *beat.next.get_or_insert(now);
            if next <= now {
                due.push(beat.act);
                // Never faster than that, if the machine was too slow for it.
                beat.next = Some((next + beat.period).max(now));
            }
        }
        due
    }

    /// When it does the next thing.
    pub fn deadline(&self) -> Option<Instant> {
        self.beats.iter().filter_map(|beat| beat.next).min()
    }

    /// A slot for [`Act::Raise`].
    pub fn any_slot(&mut self) -> u32 {
        self.random.below(self.slots.into()) as u32
    }

    /// A message was sent.
    pub fn sent(&mut self, address: u64, data: u32) {
        if self.beats.iter().any(|beat| beat.act == Act::Replay) {
            self.sent.truncate(KEPT - 1);
            self.sent.insert(0, (address, data));
        }
    }

    /// A message for [`Act::Replay`].
    pub fn replay(&mut self) -> Option<(u64, u32)> {
        (!self.sent.is_empty()).then(|| self.random.pick(&self.sent))
    }

    /// The bus that the device is to have.
    pub fn around(&self, bus: Arc<dyn Bus>) -> Arc<dyn Bus> {
        let tamper = self.tamper.clone();
        if tamper.record.is_none() && !tamper.data && !tamper.twice {
            return bus;
        }
        Arc::new(HostileBus {
            bus,
            tamper: Mutex::new(tamper),
        })
    }

    fn controls(&self) -> Place {
        Place::Controls {
            table: self.layout.ims,
            slots: self.slots.into(),
        }
    }

    fn twist(&mut self, place: Place, mask: u64, value: Option<u64>, one_in: u64) -> Twist {
        Twist {
            place,
            mask,
            value,
            one_in,
            after: 0,
            random: self.random.fork(),
        }
    }

    /// When something begins, in reads: at once, in probe, or about when probe is over, which looks
    /// at each slot once.
    fn begin(&mut self) -> u64 {
        match self.random.below(4) {
            0 => 0,
            1 => self.random.below(64),
            _ => u64::from(self.slots) + self.random.below(128),
        }
    }

    fn beat(&mut self, act: Act) -> String {
        let rate = self.random.pick(&[20, 200, 1000]);
        self.beats.push(Beat {
            act,
            period: Duration::from_secs(1) / rate,
            next: None,
        });
        format!("{rate}/s")
    }

    fn capability(&mut self) -> String {
        let lies: Vec<_> = (0..1 + self.random.below(3))
            .map(|_| {
                let (name, register, high, low) = self.random.pick(&FIELDS);
                let most = u64::MAX >> (63 - (high - low));
                let some = self.random.draw() & most;
                let value = self.random.pick(&[0, 1, most, some]);
                let twist = self.twist(
                    Place::Register(register),
                    most << low,
                    Some(value << low),
                    1,
                );
                self.reads.push(twist);
                format!("{name} reads {value:#x}")
            })
            .collect();
        lies.join(", ")
    }

    fn table(&mut self) -> String {
        let (name, shift) =
            self.random
                .pick(&[("grpcfg", 0), ("wqcfg", 16), ("msix_perm", 32), ("ims", 48)]);
        let layout = self.layout;
        let end = layout.bar0_size;
        let some = self.random.below(end / TABLE_MULT) * TABLE_MULT;
        let at = self.random.pick(&[
            0,
            layout.grpcfg,
            layout.wqcfg,
            layout.msixperm,
            layout.msix_pba,
            layout.msix_table,
            layout.ims,
            layout.ims + TABLE_MULT,
            end - TABLE_MULT,
            end,
            0xffff * TABLE_MULT,
            some,
        ]);
        let value = (at / TABLE_MULT) << shift;
        let twist = self.twist(Place::Register(reg::TABLE), 0xffff << shift, Some(value), 1);
        self.reads.push(twist);
        format!("TABLE.{name} says {at:#x}")
    }

    fn stuck(&mut self) -> String {
        let active = cmdsts::ACTIVE.into();
        let one_in = self.random.pick(&[1, 1, 8]);
        let twist = self.twist(Place::Register(reg::CMDSTS), active, Some(active), one_in);
        let after = self.begin();
        self.reads.push(Twist { after, ..twist });
        format!("1 in {one_in} reads of CMDSTS, after {after}")
    }

    fn error(&mut self) -> String {
        let code = 1 + self.random.below(255);
        let one_in = self.random.pick(&[1, 2, 8]);
        let twist = self.twist(Place::Register(reg::CMDSTS), 0xff, Some(code), one_in);
        let after = self.begin();
        self.reads.push(Twist { after, ..twist });
        format!("{code:#x}, 1 in {one_in}, after {after} reads")
    }

    fn quiet(&mut self) -> String {
        let one_in = self.random.pick(&[1, 2, 8]);
        let int_req = command::INT_REQ.into();
        let twist = self.twist(Place::Register(reg::CMD), int_req, Some(0), one_in);
        let after = self.begin();
        self.writes.push(Twist { after, ..twist });
        format!("1 in {one_in}, after {after} reads")
    }

    fn late(&mut self) -> String {
        let millis = self.random.pick(&[5, 40, 100, 1000]);
        self.faults.push((Fault::CmdDelay, millis));
        format!("{millis} ms")
    }

    fn result(&mut self) -> String {
        let results = 0xffff << cmdsts::RESULT_SHIFT;
        let twist = self.twist(Place::Register(reg::CMDSTS), results, None, 1);
        self.reads.push(twist);
        "all".into()
    }

    fn control(&mut self) -> String {
        let (what, mask, value) = self.random.pick(&[
            ("mask clear", 1, Some(0)),
            ("mask set", 1, Some(1)),
            ("mask random", 1, None),
            ("pending set", 2, Some(2)),
            ("pending random", 2, None),
            ("reserved bits set", 0xff4, Some(0xff4)),
            ("PASID random", 0xffff_f008, None),
            ("all bits random", 0xffff_ffff, None),
            ("all bits set", 0xffff_ffff, Some(0xffff_ffff)),
        ]);
        let one_in = self.random.pick(&[1, 1, 16]);
        let after = self.begin();
        let twist = self.twist(self.controls(), mask, value, one_in);
        self.reads.push(Twist { after, ..twist });
        format!("{what} in 1 of {one_in} reads, after {after}")
    }

    fn mask(&mut self) -> String {
        let (what, value) =
            self.random
                .pick(&[("clear", Some(0)), ("set", Some(1)), ("random", None)]);
        let one_in = self.random.pick(&[1, 4]);
        let after = self.begin();
        let twist = self.twist(self.controls(), 1, value, one_in);
        self.writes.push(Twist { after, ..twist });
        format!("{what} in 1 of {one_in} writes, after {after} reads")
    }

    fn state(&mut self) -> String {
        let value = self
            .random
            .pick(&[None, Some(0), Some(1), Some(2), Some(3)]);
        let after = self.begin();
        let twist = self.twist(Place::Register(reg::GENSTATS), 3, value, 1);
        self.reads.push(Twist { after, ..twist });
        format!("{}, after {after} reads", Shown(value))
    }

    fn events(&mut self) -> String {
        let rate = self.beat(Act::Event);
        let causes = [
            None,
            Some(0),
            Some(intcause::ERR),
            Some(intcause::CMD),
            Some(intcause::HALT_STATE),
            Some(intcause::INT_HANDLE_REVOKED),
            Some(u32::MAX),
        ];
        let cause = self.random.pick(&causes).map(u64::from);
        let twist = self.twist(Place::Register(reg::INTCAUSE), 0xffff_ffff, cause, 1);
        self.reads.push(twist);
        let twist = self.twist(Place::Register(reg::SWERR), u64::MAX, None, 1);
        self.reads.push(twist);
        format!("{rate}, INTCAUSE reads {}", Shown(cause))
    }

    fn raises(&mut self) -> String {
        // The first slots are those that are likely to be in use.
        let slot = self.random.pick(&[None, Some(0), Some(1)]);
        let rate = self.beat(Act::Raise(slot));
        match slot {
            None => format!("{rate}, any slot"),
            Some(slot) => format!("{rate}, slot {slot}"),
        }
    }

    fn stray(&mut self) -> String {
        self.beat(Act::Replay)
    }

    fn record(&mut self) -> String {
        let status = self.random.draw() as u8;
        let record = self.random.pick(&[Record::Lost, Record::Status(status)]);
        let one_in = self.random.pick(&[1, 3]);
        self.tamper.record = Some((record, one_in));
        format!("1 in {one_in} {record:x?}")
    }

    fn data(&mut self) -> String {
        self.tamper.data = true;
        "a bit flips".into()
    }

    fn twice(&mut self) -> String {
        self.tamper.twice = true;
        "all".into()
    }

    fn noise(&mut self) -> String {
        let one_in = self.random.pick(&[8, 64, 512]);
        let twist = self.twist(Place::Anywhere, u64::MAX, None, one_in);
        self.reads.push(twist);
        format!("1 in {one_in}")
    }

    fn gone(&mut self) -> String {
        let reads = self.begin();
        self.faults.push((Fault::AllOnesAfter, reads));
        format!("after {reads} reads")
    }

    fn fault(&mut self) -> String {
        let (fault, arg) = self.random.pick(&[
            (Fault::NoImsDvsec, 0),
            (Fault::NeverResets, 0),
            (Fault::NoPending, 0),
            (Fault::StuckMask, 0),
            (Fault::DropMessage, 3),
            (Fault::HandleLimit, 1),
        ]);
        self.faults.push((fault, arg));
        format!("{fault:?} {arg}")
    }
}

/// One line that says what will happen.
impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.story.join("; "))
    }
}

/// A value that is random if there is none.
struct Shown(Option<u64>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:#x}"),
            None => write!(f, "random"),
        }
    }
}

/// The list of behaviours for `--help`.
pub fn help() -> String {
    let mut text = String::from("Behaviours that --chaos draws from:\n");
    for (name, meaning, _) in TABLE {
        text += &format!("  {name}\n          {meaning}\n");
    }
    text
}

/// A bus on which things happen to what the device sends.
struct HostileBus {
    bus: Arc<dyn Bus>,
    tamper: Mutex<Tamper>,
}

impl HostileBus {
    /// How often an interrupt is sent.
    fn times(&self) -> usize {
        let tamper = self.tamper.lock().unwrap_or_else(PoisonError::into_inner);
        1 + usize::from(tamper.twice)
    }
}

impl Bus for HostileBus {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        self.bus.read(address, data)
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        let mut data = data.to_vec();
        {
            let mut tamper = self.tamper.lock().unwrap_or_else(PoisonError::into_inner);
            let record = tamper.record;
            match record {
                _ if data.len() != completion::SIZE => {
                    if let Some(first) = data.first_mut() {
                        *first ^= u8::from(tamper.data);
                    }
                }
                Some((record, one_in)) if tamper.random.below(one_in) == 0 => match record {
                    Record::Lost => return Ok(()),
                    Record::Status(status) => data[0] = status,
                },
                _ => {}
            }
        }
        self.bus.write(address, &data)
    }

    fn post(&self, address: u64, data: &[u8]) {
        for _ in 0..self.times() {
            self.bus.post(address, data);
        }
    }

    fn sync(&self) -> Pending {
        self.bus.sync()
    }

    fn post_errors(&self) -> u64 {
        self.bus.post_errors()
    }

    fn signal(&self, vector: u16) {
        for _ in 0..self.times() {
            self.bus.signal(vector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::fake::{Event, FakeBus};

    const SLOTS: u32 = 256;
    const IMS: u64 = 0x4000;

    fn shape() -> Config {
        Config {
            slots: SLOTS,
            ..Config::default()
        }
    }

    fn register(at: u64, mask: u64, value: Option<u64>) -> Twist {
        Chaos::default().twist(Place::Register(at), mask, value, 1)
    }

    fn read(twist: &mut Twist, offset: u64, data: u64, len: usize) -> u64 {
        let mut bytes = data.to_le_bytes();
        twist.apply(0, offset, &mut bytes[..len]);
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn the_same_seed_is_the_same_device() {
        for seed in 0..100 {
            let [mut one, mut other] = [(); 2].map(|()| Chaos::draw(seed, &shape()));
            assert_eq!(one.to_string(), other.to_string());
            for access in 0..500 {
                let at = (access * 36) % 0x5000;
                let [mut a, mut b] = [[0; 4]; 2];
                one.read(at, &mut a);
                other.read(at, &mut b);
                assert_eq!((a, one.write(at, &a)), (b, other.write(at, &b)));
            }
        }
        let stories: std::collections::BTreeSet<_> = (0..100)
            .map(|seed| Chaos::draw(seed, &shape()).to_string())
            .collect();
        assert!(stories.len() > 90, "others for other seeds");
    }

    #[test]
    fn every_behaviour_is_drawn_and_changes_something() {
        let drawn: Vec<_> = (0..1000).map(|seed| Chaos::draw(seed, &shape())).collect();
        for chaos in &drawn {
            assert!((1..=4).contains(&chaos.story.len()));
        }
        for (name, _, draw) in TABLE {
            let prefix = format!("{name}: ");
            let has = |chaos: &Chaos| chaos.story.iter().any(|what| what.starts_with(&prefix));
            assert!(drawn.iter().any(has), "{name}");
            let mut chaos = Chaos {
                slots: SLOTS,
                layout: shape().layout(),
                ..Chaos::default()
            };
            draw(&mut chaos);
            let parts = chaos.faults.len() + chaos.reads.len() + chaos.writes.len();
            let Tamper {
                record,
                data,
                twice,
                ..
            } = chaos.tamper;
            assert!(
                parts + chaos.beats.len() > 0 || record.is_some() || data || twice,
                "{name}"
            );
        }
    }

    #[test]
    fn nothing_is_drawn_by_default() {
        let mut chaos = Chaos::default();
        let mut data = [1, 2, 3, 4];
        chaos.read(0, &mut data);
        assert_eq!((data, chaos.write(0, &data)), ([1, 2, 3, 4], data.into()));
        assert_eq!(
            (chaos.due(Instant::now()), chaos.deadline()),
            (vec![], None)
        );
        let bus: Arc<dyn Bus> = Arc::new(FakeBus::default());
        assert!(Arc::ptr_eq(&bus, &chaos.around(bus.clone())));
    }

    #[test]
    fn a_twist_concerns_its_bits_only_however_they_are_accessed() {
        let mut twist = register(0x20, 0xff_0000_ff00, Some(0x12_3456_7890));
        assert_eq!(read(&mut twist, 0x20, 0, 8), 0x12_0000_7800);
        assert_eq!(read(&mut twist, 0x20, u64::MAX, 8), 0xffff_ff12_ffff_78ff);
        assert_eq!(read(&mut twist, 0x20, 0, 4), 0x7800);
        assert_eq!(read(&mut twist, 0x24, 0, 4), 0x12);
        assert_eq!(read(&mut twist, 0x21, 0, 1), 0x78);
        for (offset, len) in [(0x18, 8), (0x1c, 4), (0x28, 8)] {
            assert_eq!(read(&mut twist, offset, 5, len), 5, "{offset:#x}");
        }
    }

    #[test]
    fn control_words_are_found_in_every_slot() {
        let mut twist = register(0, 3, Some(2));
        twist.place = Place::Controls {
            table: IMS,
            slots: 2,
        };
        assert_eq!(read(&mut twist, IMS + 12, 1, 4), 2);
        assert_eq!(read(&mut twist, IMS + 28, 0, 4), 2);
        assert_eq!(read(&mut twist, IMS + 24, 0, 8), 2 << 32);
        for offset in [0, IMS - 4, IMS, IMS + 8, IMS + 44] {
            assert_eq!(read(&mut twist, offset, 1, 4), 1, "{offset:#x}");
        }
    }

    #[test]
    fn a_twist_waits_and_chooses() {
        let mut twist = register(0, u64::MAX, Some(9));
        twist.after = 3;
        let mut data = [0; 8];
        twist.apply(2, 0, &mut data);
        assert_eq!(data[0], 0);
        twist.apply(3, 0, &mut data);
        assert_eq!(data[0], 9);

        let mut twist = register(0, u64::MAX, Some(1));
        twist.one_in = 8;
        let hits: u64 = (0..800).map(|_| read(&mut twist, 0, 0, 8)).sum();
        assert!((50..150).contains(&hits), "{hits}");

        let mut twist = register(0, 0xff, None);
        let values: Vec<_> = (0..8).map(|_| read(&mut twist, 0, 0, 8)).collect();
        assert!(values.iter().all(|value| *value < 0x100));
        assert!(values.iter().any(|value| *value != values[0]));
    }

    #[test]
    fn beats_keep_their_pace_and_do_not_catch_up() {
        let mut chaos = Chaos::default();
        chaos.beats.push(Beat {
            act: Act::Event,
            period: Duration::from_millis(10),
            next: None,
        });
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(chaos.due(start), [Act::Event]);
        assert_eq!(chaos.deadline(), Some(at(10)));
        assert_eq!(chaos.due(at(9)), []);
        assert_eq!(chaos.due(at(10)), [Act::Event]);
        assert_eq!(chaos.due(at(1000)), [Act::Event]);
        assert_eq!(chaos.deadline(), Some(at(1000)));
    }

    #[test]
    fn replays_what_was_sent() {
        let mut chaos = Chaos::default();
        chaos.sent(0xfee0_0000, 1);
        assert_eq!(chaos.replay(), None, "only if it will");
        chaos.beat(Act::Replay);
        for data in 0..40 {
            chaos.sent(0xfee0_0000, data);
        }
        assert_eq!(chaos.sent.len(), KEPT);
        for _ in 0..40 {
            assert!(matches!(chaos.replay(), Some((0xfee0_0000, 24..40))));
        }
    }

    fn hostile(tamper: Tamper) -> (Arc<FakeBus>, Arc<dyn Bus>) {
        let bus = Arc::new(FakeBus::default());
        let chaos = Chaos {
            tamper,
            ..Chaos::default()
        };
        (bus.clone(), chaos.around(bus))
    }

    #[test]
    fn records_are_lost_or_wrong() {
        let record = [1; completion::SIZE];
        let (memory, bus) = hostile(Tamper {
            record: Some((Record::Lost, 1)),
            ..Tamper::default()
        });
        assert_eq!(bus.write(0x100, &record), Ok(()));
        assert_eq!(memory.peek(0x100, 1), [0]);
        bus.write(0x100, &[7; 64]).unwrap();
        assert_eq!(memory.peek(0x100, 64), [7; 64], "no record");

        let (memory, bus) = hostile(Tamper {
            record: Some((Record::Status(0x42), 1)),
            ..Tamper::default()
        });
        bus.write(0x100, &record).unwrap();
        assert_eq!(memory.peek(0x100, 2), [0x42, 1]);
    }

    #[test]
    fn data_changes_and_interrupts_double() {
        let (memory, bus) = hostile(Tamper {
            data: true,
            twice: true,
            ..Tamper::default()
        });
        bus.write(0x100, &[1; completion::SIZE]).unwrap();
        bus.write(0x200, &[2; 8]).unwrap();
        assert_eq!(memory.peek(0x100, 2), [1, 1]);
        assert_eq!(memory.peek(0x200, 2), [3, 2]);
        memory.take();
        bus.post(0xfee0_0000, &[4, 0, 0, 0]);
        bus.signal(3);
        let (post, signal) = (Event::Post(0xfee0_0000, 4), Event::Signal(3));
        assert_eq!(memory.take(), [post.clone(), post, signal.clone(), signal]);
    }
}
