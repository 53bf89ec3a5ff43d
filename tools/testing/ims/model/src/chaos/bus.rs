// SPDX-License-Identifier: GPL-2.0

//! What happens to what leaves the device.

use std::sync::{Arc, Mutex, PoisonError};

use crate::bus::{Bus, DmaError, Pending};
use crate::completion;
use crate::random::SplitMix64;

/// What happens to completion records.
#[derive(Clone, Copy, Debug)]
pub enum Record {
    Lost,
    Status(u8),
}

/// What happens to what leaves the device.
#[derive(Clone, Debug, Default)]
pub struct Tamper {
    /// And in how many one of them.
    pub record: Option<(Record, u64)>,
    pub data: bool,
    pub twice: bool,
    pub random: SplitMix64,
}

impl Tamper {
    /// `bus`, with that happening to what the device sends.
    pub fn around(&self, bus: Arc<dyn Bus>) -> Arc<dyn Bus> {
        if self.record.is_none() && !self.data && !self.twice {
            return bus;
        }
        Arc::new(HostileBus {
            bus,
            tamper: Mutex::new(self.clone()),
        })
    }
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

    fn hostile(tamper: Tamper) -> (Arc<FakeBus>, Arc<dyn Bus>) {
        let bus = Arc::new(FakeBus::default());
        (bus.clone(), tamper.around(bus))
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
