// SPDX-License-Identifier: GPL-2.0

//! What a PCI device can do to the rest of the machine.

use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};

use thiserror::Error;

/// A transfer that the root complex refused, or that had nobody to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("DMA refused")]
pub struct DmaError;

/// DMA and MSI-X. The device itself checks bus mastering before it calls.
pub trait Bus: Send + Sync {
    /// Reads memory at `address`; waits for the data.
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError>;

    /// Writes memory at `address`; waits until the write is done.
    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError>;

    /// Writes memory at `address` and does not wait: an interrupt message.
    fn post(&self, address: u64, data: &[u8]);

    /// An answer that comes once all that was posted before has been done.
    fn sync(&self) -> Pending;

    /// Posted writes that were refused so far.
    fn post_errors(&self) -> u64;

    /// Raises MSI-X vector `vector`.
    fn signal(&self, vector: u16);
}

/// What the machine answers: the data of a read, nothing for a write.
pub type Answer = Result<Vec<u8>, DmaError>;

/// An answer that may still be on its way.
pub struct Pending(Receiver<Answer>);

impl Pending {
    /// A pending answer, and where to deliver it.
    pub fn channel() -> (Sender<Answer>, Self) {
        let (sender, receiver) = mpsc::channel();
        (sender, Self(receiver))
    }

    /// An answer that is there.
    pub fn known(answer: Answer) -> Self {
        let (sender, pending) = Self::channel();
        // The other end is right here.
        let _ = sender.send(answer);
        pending
    }

    /// Whether the answer has come, or never will. To be asked until then.
    pub fn is_over(&self) -> bool {
        self.0.try_recv() != Err(TryRecvError::Empty)
    }

    /// Waits; an answer that will never come is an error.
    pub fn wait(self) -> Answer {
        self.0.recv().unwrap_or(Err(DmaError))
    }
}

/// DMA in two steps: the request is out when these return, which they do
/// without waiting for its answer. The machine sees requests in their order.
pub trait Dma: Send + Sync {
    /// Reads `len` bytes at `address`.
    fn start_read(&self, address: u64, len: usize) -> Pending;

    /// Writes memory at `address`.
    fn start_write(&self, address: u64, data: &[u8]) -> Pending;
}

#[cfg(test)]
pub(crate) mod fake {
    //! A bus with memory in an array, which records what it sees.

    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::mpsc::Sender;
    use std::sync::Mutex;

    use super::{Answer, Bus, DmaError, Pending};

    /// Size of the fake memory, from address 0; everything above is refused.
    pub const MEMORY: usize = 0x10_0000;

    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Event {
        Write(u64, usize),
        Post(u64, u32),
        Signal(u16),
    }

    pub struct FakeBus {
        memory: Mutex<Vec<u8>>,
        events: Mutex<Vec<Event>>,
        /// Whether [`Bus::sync`] waits for the test to answer.
        pub busy: AtomicBool,
        /// Who waits for that.
        pub syncs: Mutex<Vec<Sender<Answer>>>,
        pub refused_posts: AtomicU64,
    }

    impl Default for FakeBus {
        fn default() -> Self {
            Self {
                memory: Mutex::new(vec![0; MEMORY]),
                events: Mutex::default(),
                busy: AtomicBool::new(false),
                syncs: Mutex::default(),
                refused_posts: AtomicU64::new(0),
            }
        }
    }

    impl FakeBus {
        /// The events since the last call.
        pub fn take(&self) -> Vec<Event> {
            std::mem::take(&mut self.events.lock().unwrap())
        }

        pub fn fill(&self, address: u64, data: &[u8]) {
            let start = address as usize;
            self.memory.lock().unwrap()[start..start + data.len()].copy_from_slice(data);
        }

        pub fn peek(&self, address: u64, len: usize) -> Vec<u8> {
            let start = address as usize;
            self.memory.lock().unwrap()[start..start + len].to_vec()
        }
    }

    fn range(address: u64, len: usize) -> Result<std::ops::Range<usize>, DmaError> {
        let start = usize::try_from(address).map_err(|_| DmaError)?;
        let end = start.checked_add(len).ok_or(DmaError)?;
        (end <= MEMORY).then_some(start..end).ok_or(DmaError)
    }

    impl Bus for FakeBus {
        fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
            data.copy_from_slice(&self.memory.lock().unwrap()[range(address, data.len())?]);
            Ok(())
        }

        fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
            self.memory.lock().unwrap()[range(address, data.len())?].copy_from_slice(data);
            self.events
                .lock()
                .unwrap()
                .push(Event::Write(address, data.len()));
            Ok(())
        }

        fn post(&self, address: u64, data: &[u8]) {
            let data = u32::from_le_bytes(data.try_into().expect("a message is 4 bytes"));
            self.events.lock().unwrap().push(Event::Post(address, data));
        }

        fn sync(&self) -> Pending {
            if !self.busy.load(Ordering::Relaxed) {
                return Pending::known(Ok(Vec::new()));
            }
            let (sender, pending) = Pending::channel();
            self.syncs.lock().unwrap().push(sender);
            pending
        }

        fn post_errors(&self) -> u64 {
            self.refused_posts.load(Ordering::Relaxed)
        }

        fn signal(&self, vector: u16) {
            self.events.lock().unwrap().push(Event::Signal(vector));
        }
    }
}
