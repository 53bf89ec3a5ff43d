// SPDX-License-Identifier: GPL-2.0

//! The device's own requests to QEMU: DMA.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bus::{Answer, DmaError, Pending};
use crate::relay::{self, Header};

/// vfio-user commands.
const DMA_READ: u16 = 11;
const DMA_WRITE: u16 = 12;

/// Bytes in front of the data: header, address (8), count (8).
const DATA: usize = relay::HEADER + 16;

/// Largest transfer in one message, in bytes.
const MAX_DATA: usize = 0x4_0000;

#[derive(Default)]
struct Waiting {
    next_id: u16,
    answers: HashMap<u16, Sender<Answer>>,
    closed: bool,
}

/// Sends to QEMU. Whole messages only, whoever sends them.
pub struct Link {
    stream: Mutex<UnixStream>,
    waiting: Mutex<Waiting>,
    refused: AtomicU64,
}

impl Link {
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream: Mutex::new(stream),
            waiting: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// Sends a whole message.
    pub fn send(&self, message: &[u8]) -> std::io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(message)
    }

    /// Hands over QEMU's answer to a request of ours.
    pub fn answer(&self, header: &Header, mut message: Vec<u8>) {
        let sender = self.waiting().answers.remove(&header.id);
        let answer = if header.is_error() {
            Err(DmaError)
        } else {
            message.drain(..DATA.min(message.len()));
            Ok(message)
        };
        match sender {
            // Whoever asked may have given up by now.
            Some(sender) => drop(sender.send(answer)),
            // Nobody waits for a posted write; only its refusal is answered.
            None => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The connection is gone: nobody waits any longer.
    pub fn close(&self) {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.answers.clear();
    }

    /// Posted writes that QEMU refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        for (index, part) in data.chunks_mut(MAX_DATA).enumerate() {
            let answer = self.start_read(at(address, index), part.len()).wait()?;
            part.copy_from_slice(answer.get(..part.len()).ok_or(DmaError)?);
        }
        Ok(())
    }

    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        for (index, part) in data.chunks(MAX_DATA).enumerate() {
            self.start_write(at(address, index), part).wait()?;
        }
        Ok(())
    }

    pub fn post(&self, address: u64, data: &[u8]) {
        let id = self.next_id();
        let message = message(DMA_WRITE, id, relay::NO_REPLY, address, data.len(), data);
        if self.send(&message).is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Asks for up to [`MAX_DATA`] bytes, and does not wait for them.
    pub fn start_read(&self, address: u64, len: usize) -> Pending {
        self.start(DMA_READ, address, len, &[])
    }

    /// Writes up to [`MAX_DATA`] bytes, and does not wait until that is done.
    pub fn start_write(&self, address: u64, data: &[u8]) -> Pending {
        self.start(DMA_WRITE, address, data.len(), data)
    }

    fn start(&self, command: u16, address: u64, count: usize, data: &[u8]) -> Pending {
        let id = self.next_id();
        let (sender, pending) = Pending::channel();
        {
            let mut waiting = self.waiting();
            if waiting.closed {
                return Pending::known(Err(DmaError));
            }
            waiting.answers.insert(id, sender);
        }
        let message = message(command, id, 0, address, count, data);
        if self.send(&message).is_err() {
            // Nobody will answer: drops the sender.
            self.waiting().answers.remove(&id);
        }
        pending
    }

    /// A number that no request waits with.
    fn next_id(&self) -> u16 {
        let mut waiting = self.waiting();
        loop {
            waiting.next_id = waiting.next_id.wrapping_add(1);
            if !waiting.answers.contains_key(&waiting.next_id) {
                return waiting.next_id;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at(address: u64, index: usize) -> u64 {
    address.wrapping_add((index * MAX_DATA) as u64)
}

fn message(command: u16, id: u16, flags: u32, address: u64, count: usize, data: &[u8]) -> Vec<u8> {
    let size = DATA + data.len();
    let header = Header {
        id,
        command,
        size: size as u32,
        flags,
        error: 0,
    };
    let mut message = Vec::with_capacity(size);
    message.extend_from_slice(&header.bytes());
    message.extend_from_slice(&address.to_le_bytes());
    message.extend_from_slice(&(count as u64).to_le_bytes());
    message.extend_from_slice(data);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn dma_message_layout() {
        let message = message(DMA_WRITE, 0x1234, 0x10, 0xfee0_1000, 4, &[1, 2, 3, 4]);
        let expected = [
            0x34, 0x12, 12, 0, // id, command
            36, 0, 0, 0, // size
            0x10, 0, 0, 0, // no reply
            0, 0, 0, 0, // error
            0x00, 0x10, 0xe0, 0xfe, 0, 0, 0, 0, // address
            4, 0, 0, 0, 0, 0, 0, 0, // count
            1, 2, 3, 4, // data
        ];
        assert_eq!(message, expected);
    }

    /// A client that answers each request with `reply(header, request)`.
    fn linked(
        count: usize,
        reply: impl Fn(&Header, &[u8]) -> Vec<u8> + Send + 'static,
    ) -> (Arc<Link>, std::thread::JoinHandle<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Arc::new(Link::new(ours));
        let answers = link.clone();
        let client = std::thread::spawn(move || {
            for _ in 0..count {
                let request = relay::receive(&theirs).unwrap().unwrap();
                let bytes = reply(&request.header, &request.bytes);
                let header = Header::parse(bytes[..16].try_into().unwrap());
                answers.answer(&header, bytes);
            }
        });
        (link, client)
    }

    #[test]
    fn read_takes_the_data_of_its_answer() {
        let (link, client) = linked(1, |header, request| {
            assert_eq!((header.command, request[24]), (DMA_READ, 3));
            message(DMA_READ, header.id, 1, 0, 3, &[7, 8, 9])
        });
        let mut data = [0; 3];
        assert_eq!(link.read(0x1000, &mut data), Ok(()));
        assert_eq!(data, [7, 8, 9]);
        client.join().unwrap();
    }

    #[test]
    fn large_transfers_are_split() {
        let (link, client) = linked(2, |header, _| {
            let mut bytes = header.bytes().to_vec();
            bytes[8] = 1;
            bytes
        });
        assert_eq!(link.write(0, &vec![0; MAX_DATA + 1]), Ok(()));
        client.join().unwrap();
    }

    #[test]
    fn answers_find_the_request_that_they_are_for() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours);
        let read = link.start_read(0x1000, 2);
        let write = link.start_write(0x2000, &[1, 2, 3, 4]);
        let [first, second] = [(), ()].map(|()| relay::receive(&theirs).unwrap().unwrap());
        assert_eq!((first.header.command, first.header.flags), (DMA_READ, 0));
        assert_eq!((second.header.command, second.header.flags), (DMA_WRITE, 0));
        assert_eq!(
            second.bytes[16..],
            message(0, 0, 0, 0x2000, 4, &[1, 2, 3, 4])[16..]
        );

        let refusal = Header {
            flags: 0x21,
            ..second.header
        };
        link.answer(&refusal, refusal.bytes().to_vec());
        let data = message(DMA_READ, first.header.id, 1, 0x1000, 2, &[8, 9]);
        link.answer(&first.header, data);
        assert_eq!((read.wait(), write.wait()), (Ok(vec![8, 9]), Err(DmaError)));
        assert_eq!(link.refused(), 0);

        link.close();
        assert_eq!(link.start_write(0, &[0]).wait(), Err(DmaError));
    }

    #[test]
    fn refused_requests_fail() {
        let (link, client) = linked(1, |header, _| {
            let mut bytes = header.bytes().to_vec();
            bytes[8] = 0x21;
            bytes
        });
        assert_eq!(link.write(0, &[0]), Err(DmaError));
        assert_eq!(link.refused(), 0);
        client.join().unwrap();
    }

    #[test]
    fn refused_posts_are_counted() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours);
        link.post(0xfee0_0000, &[0; 4]);
        let header = Header {
            id: 1,
            command: DMA_WRITE,
            size: 16,
            flags: 0x21,
            error: 14,
        };
        link.answer(&header, Vec::new());
        assert_eq!(link.refused(), 1);
    }

    #[test]
    fn closing_releases_whoever_waits() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Arc::new(Link::new(ours));
        let waiting = link.clone();
        let reader = std::thread::spawn(move || waiting.read(0, &mut [0; 4]));
        relay::receive(&theirs).unwrap();
        link.close();
        assert_eq!(reader.join().unwrap(), Err(DmaError));
        assert_eq!(link.read(0, &mut [0; 4]), Err(DmaError));
    }
}
