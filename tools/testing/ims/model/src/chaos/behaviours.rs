// SPDX-License-Identifier: GPL-2.0

//! The behaviours, and what a seed draws for each.

use std::fmt;
use std::time::Duration;

use super::bus::Record;
use super::twist::{Place, Twist};
use super::{Act, Beat, Chaos};
use crate::fault::Fault;
use crate::regs::{cmdsts, command, intcause, offset as reg, TABLE_MULT};

/// Name, what it means, and what draws it.
pub(super) type Row = (&'static str, &'static str, fn(&mut Chaos) -> String);

pub(super) const TABLE: [Row; 19] = [
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

impl Chaos {
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

    pub(super) fn beat(&mut self, act: Act) -> String {
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
