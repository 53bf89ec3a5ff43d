// SPDX-License-Identifier: GPL-2.0

//! The device's own requests to QEMU: DMA.

use std::collections::HashMap;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};

use log::debug;

use crate::bus::{Answer, DmaError, Pending};
use crate::message::{self, Header};

/// vfio-user commands.
const DMA_READ: u16 = 11;
const DMA_WRITE: u16 = 12;

/// Bytes between header and data: address (8), count (8).
const PREFIX: usize = 16;

/// Largest transfer in one message, in bytes. Each client has to take as many (1 MiB, if it does not
/// say less).
const MAX_DATA: usize = 0x4_0000;

/// Most requests that wait for an answer. A client has them all before it answers the first only if it
/// does not answer.
const MAX_WAITING: usize = 0x4000;

#[derive(Default)]
struct Waiting {
    next_id: u16,
    answers: HashMap<u16, Sender<Answer>>,
    closed: bool,
}

impl Waiting {
    /// A number that no request waits with. There are more than [`MAX_WAITING`].
    fn next_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.wrapping_add(1);
            if !self.answers.contains_key(&self.next_id) {
                return self.next_id;
            }
        }
    }
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
    pub fn answer(&self, header: &Header, mut payload: Vec<u8>) {
        let sender = self.waiting().answers.remove(&header.id);
        let answer = if header.is_error() {
            Err(DmaError)
        } else {
            payload.drain(..PREFIX.min(payload.len()));
            Ok(payload)
        };
        match sender {
            // Whoever asked may have given up by now.
            Some(sender) => drop(sender.send(answer)),
            // Nobody waits for a posted write; only its refusal is answered.
            None if answer.is_err() => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            None => debug!("an answer to nothing: {header:x?}"),
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
        let id = self.waiting().next_id();
        let message = request(DMA_WRITE, id, message::NO_REPLY, address, data.len(), data);
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
        let (sender, pending) = Pending::channel();
        let id = {
            let mut waiting = self.waiting();
            if waiting.closed || waiting.answers.len() >= MAX_WAITING {
                return Pending::known(Err(DmaError));
            }
            let id = waiting.next_id();
            waiting.answers.insert(id, sender);
            id
        };
        let message = request(command, id, 0, address, count, data);
        if self.send(&message).is_err() {
            // Nobody will answer: drops the sender.
            self.waiting().answers.remove(&id);
        }
        pending
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at(address: u64, index: usize) -> u64 {
    address.wrapping_add((index * MAX_DATA) as u64)
}

fn request(command: u16, id: u16, flags: u32, address: u64, count: usize, data: &[u8]) -> Vec<u8> {
    let size = message::HEADER + PREFIX + data.len();
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
    use crate::message::Message;
    use std::sync::Arc;

    #[test]
    fn dma_message_layout() {
        let message = request(DMA_WRITE, 0x1234, 0x10, 0xfee0_1000, 4, &[1, 2, 3, 4]);
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

    fn receive(stream: &UnixStream) -> Message {
        message::receive(stream).unwrap().unwrap()
    }

    /// A client that answers each request with flags and a payload.
    fn linked(
        count: usize,
        reply: impl Fn(Message) -> (u32, Vec<u8>) + Send + 'static,
    ) -> (Arc<Link>, std::thread::JoinHandle<()>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Arc::new(Link::new(ours));
        let answers = link.clone();
        let client = std::thread::spawn(move || {
            for _ in 0..count {
                let request = receive(&theirs);
                let header = request.header;
                let (flags, payload) = reply(request);
                answers.answer(&Header { flags, ..header }, payload);
            }
        });
        (link, client)
    }

    #[test]
    fn read_takes_the_data_of_its_answer() {
        let (link, client) = linked(1, |request| {
            assert_eq!((request.header.command, request.payload[8]), (DMA_READ, 3));
            (1, [&request.payload[..], &[7, 8, 9]].concat())
        });
        let mut data = [0; 3];
        assert_eq!(link.read(0x1000, &mut data), Ok(()));
        assert_eq!(data, [7, 8, 9]);
        client.join().unwrap();
    }

    #[test]
    fn large_transfers_are_split() {
        let (link, client) = linked(2, |_| (1, Vec::new()));
        assert_eq!(link.write(0, &vec![0; MAX_DATA + 1]), Ok(()));
        client.join().unwrap();
    }

    #[test]
    fn answers_find_the_request_that_they_are_for() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours);
        let read = link.start_read(0x1000, 2);
        let write = link.start_write(0x2000, &[1, 2, 3, 4]);
        let [first, second] = [(), ()].map(|()| receive(&theirs));
        assert_eq!((first.header.command, first.header.flags), (DMA_READ, 0));
        assert_eq!((second.header.command, second.header.flags), (DMA_WRITE, 0));
        assert_eq!(
            second.payload,
            request(0, 0, 0, 0x2000, 4, &[1, 2, 3, 4])[16..]
        );

        let refusal = Header {
            flags: 0x21,
            ..second.header
        };
        link.answer(&refusal, Vec::new());
        link.answer(&first.header, [&first.payload[..], &[8, 9]].concat());
        assert_eq!((read.wait(), write.wait()), (Ok(vec![8, 9]), Err(DmaError)));
        assert_eq!(link.refused(), 0);

        link.close();
        assert_eq!(link.start_write(0, &[0]).wait(), Err(DmaError));
    }

    #[test]
    fn refused_requests_fail() {
        let (link, client) = linked(1, |_| (0x21, Vec::new()));
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
        // An answer that nobody asked for is no refusal.
        link.answer(&Header { flags: 1, ..header }, Vec::new());
        assert_eq!(link.refused(), 1);
    }

    #[test]
    fn requests_fail_at_once_while_too_many_wait() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Link::new(ours);
        let reader = std::thread::spawn(move || {
            let ids = (0..MAX_WAITING).map(|_| receive(&theirs).header.id);
            (ids.collect::<Vec<_>>(), theirs)
        });
        let mut pending: Vec<_> = (0..MAX_WAITING).map(|_| link.start_read(0, 4)).collect();
        assert_eq!(link.start_read(0, 4).wait(), Err(DmaError));
        let (ids, _theirs) = reader.join().unwrap();
        let header = Header {
            id: ids[7],
            ..Header::default()
        };
        link.answer(&header, vec![0; 20]);
        assert_eq!(pending.remove(7).wait(), Ok(vec![0; 4]));
        assert!(!link.start_read(0, 4).is_over());
    }

    #[test]
    fn closing_releases_whoever_waits() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let link = Arc::new(Link::new(ours));
        let waiting = link.clone();
        let reader = std::thread::spawn(move || waiting.read(0, &mut [0; 4]));
        receive(&theirs);
        link.close();
        assert_eq!(reader.join().unwrap(), Err(DmaError));
        assert_eq!(link.read(0, &mut [0; 4]), Err(DmaError));
    }
}
