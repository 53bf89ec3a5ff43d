// SPDX-License-Identifier: GPL-2.0

//! A hostile device: what `--chaos SEED` makes of a good one.
//!
//! A seed draws one to four behaviours from `behaviours.rs`, each with its
//! particulars. They act at the device's boundary, so that the device knows
//! nothing of them: on accesses to BAR0 ([`Chaos::read`], [`Chaos::write`]),
//! as time passes ([`Chaos::due`]), and on what leaves it ([`Chaos::around`]).
//! Some are a fault of [`crate::fault`].
//!
//! What a device could do to any machine is left out: DMA to addresses that
//! nobody gave it, and messages that nobody wrote into it. Remapping hardware
//! has to stop those, and the driver sees nothing of it.

mod behaviours;
mod bus;
mod twist;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bus::Bus;
use crate::config::Config;
use crate::fault::Fault;
use crate::layout::Layout;
use crate::random::SplitMix64;

use behaviours::TABLE;
use bus::Tamper;
use twist::Twist;

pub use behaviours::help;

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
        self.tamper.around(bus)
    }
}

/// One line that says what will happen.
impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.story.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::fake::FakeBus;

    const SLOTS: u32 = 256;

    fn shape() -> Config {
        Config {
            slots: SLOTS,
            ..Config::default()
        }
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
}
