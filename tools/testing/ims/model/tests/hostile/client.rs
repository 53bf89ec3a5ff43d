// SPDX-License-Identifier: GPL-2.0

//! A vfio-user client that sends whatever it is told to. It shares no code with the models.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

pub const VERSION: u16 = 1;
pub const DMA_MAP: u16 = 2;
pub const DMA_UNMAP: u16 = 3;
pub const GET_INFO: u16 = 4;
pub const GET_REGION_INFO: u16 = 5;
pub const GET_IRQ_INFO: u16 = 7;
pub const SET_IRQS: u16 = 8;
pub const REGION_READ: u16 = 9;
pub const REGION_WRITE: u16 = 10;
pub const DMA_READ: u16 = 11;
pub const DMA_WRITE: u16 = 12;
pub const RESET: u16 = 13;

pub const REPLY: u32 = 1;
pub const NO_REPLY: u32 = 1 << 4;
pub const ERROR: u32 = 1 << 5;

/// Regions and interrupts of a PCI device.
pub const REGIONS: u32 = 9;
pub const BAR0: u32 = 0;
pub const BAR2: u32 = 2;
pub const BAR4: u32 = 4;
pub const CONFIG: u32 = 7;
pub const IRQS: u32 = 5;
pub const MSIX: u32 = 2;

/// Of SET_IRQS.
pub const DATA_NONE: u32 = 1;
pub const DATA_BOOL: u32 = 2;
pub const DATA_EVENTFD: u32 = 4;
pub const TRIGGER: u32 = 32;

pub const HEADER: usize = 16;
const CAPABILITIES: &[u8] =
    b"{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576}}\0";

/// How long a model may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A message as bytes. `size` is what its header says.
pub fn message_of_size(id: u16, command: u16, flags: u32, size: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend(id.to_le_bytes());
    bytes.extend(command.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

pub fn message(id: u16, command: u16, flags: u32, payload: &[u8]) -> Vec<u8> {
    let size = (HEADER + payload.len()) as u32;
    message_of_size(id, command, flags, size, payload)
}

/// Words as bytes.
pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub fn version() -> Vec<u8> {
    [&[0, 0, 0, 0], CAPABILITIES].concat()
}

pub fn access(region: u32, offset: u64, count: u32, data: &[u8]) -> Vec<u8> {
    let mut payload = offset.to_le_bytes().to_vec();
    payload.extend(words(&[region, count]));
    payload.extend(data);
    payload
}

pub fn map(flags: u32, offset: u64, address: u64, size: u64) -> Vec<u8> {
    let mut payload = words(&[32, flags]);
    payload.extend([offset, address, size].map(u64::to_le_bytes).concat());
    payload
}

pub fn unmap(flags: u32, address: u64, size: u64) -> Vec<u8> {
    let mut payload = words(&[24, flags]);
    payload.extend([address, size].map(u64::to_le_bytes).concat());
    payload
}

pub fn region_info(index: u32) -> Vec<u8> {
    words(&[32, 0, index, 0, 0, 0, 0, 0])
}

pub fn irq_info(index: u32) -> Vec<u8> {
    words(&[16, 0, index, 0])
}

pub fn irqs(flags: u32, index: u32, start: u32, count: u32) -> Vec<u8> {
    words(&[20, flags, index, start, count])
}

/// A message of the model: a reply, or a request for DMA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub id: u16,
    pub command: u16,
    pub flags: u32,
    pub error: u32,
    pub payload: Vec<u8>,
}

impl Message {
    pub fn is_reply(&self) -> bool {
        self.flags & 0xf == REPLY
    }

    /// Whether this refuses a request: says so, and why, and nothing else.
    pub fn is_refusal(&self) -> bool {
        let marked = self.flags == REPLY | ERROR;
        marked && self.error != 0 && self.payload.is_empty()
    }

    pub fn is_success(&self) -> bool {
        self.flags == REPLY && self.error == 0
    }

    pub fn word(&self, index: usize) -> u32 {
        let bytes = self.payload[index * 4..].first_chunk();
        u32::from_le_bytes(*bytes.expect("four bytes"))
    }
}

pub struct Client {
    pub stream: UnixStream,
    next_id: u16,
    /// What the device has asked for while a reply was waited for.
    asked: VecDeque<Message>,
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("the model listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            next_id: 0,
            asked: VecDeque::new(),
        }
    }

    /// A client that has agreed on a version.
    pub fn agreed(path: &Path) -> Self {
        let mut client = Self::connect(path);
        let reply = client.request(VERSION, &version());
        assert!(reply.is_success(), "{reply:?}");
        client
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the model reads");
    }

    /// Sends bytes that the model may not want to read to their end.
    pub fn try_send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream.write_all(bytes) {
            assert!(is_gone(&error), "{error}");
        }
    }

    pub fn send_with(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        let parts = [io::IoSlice::new(bytes)];
        match sendmsg(&self.stream, &parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) => assert_eq!(sent, bytes.len()),
            Err(error) => assert!(is_gone(&error.into()), "{error}"),
        }
    }

    /// The next message, or `None` if the model has closed the connection.
    pub fn receive(&mut self) -> Option<Message> {
        let mut header = [0; HEADER];
        match self.stream.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if is_gone(&error) => return None,
            Err(error) => panic!("no answer: {error}"),
        }
        let word = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().unwrap());
        let size = word(4) as usize;
        assert!((HEADER..=0x10_1000).contains(&size), "a size of {size}");
        let mut payload = vec![0; size - HEADER];
        self.stream
            .read_exact(&mut payload)
            .expect("a whole message");
        Some(Message {
            id: word(0) as u16,
            command: (word(0) >> 16) as u16,
            flags: word(8),
            error: word(12),
            payload,
        })
    }

    /// The next reply. What the device asks for waits.
    pub fn reply(&mut self) -> Option<Message> {
        loop {
            match self.receive() {
                Some(message) if !message.is_reply() => self.asked.push_back(message),
                other => return other,
            }
        }
    }

    /// The next request of the device.
    pub fn asked(&mut self) -> Message {
        self.asked.pop_front().unwrap_or_else(|| {
            let message = self.receive().expect("a request");
            assert!(!message.is_reply(), "{message:?}");
            message
        })
    }

    pub fn request(&mut self, command: u16, payload: &[u8]) -> Message {
        self.request_with(command, payload, &[])
    }

    pub fn request_with(
        &mut self,
        command: u16,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Message {
        self.next_id = self.next_id.wrapping_add(1);
        let bytes = message(self.next_id, command, 0, payload);
        match fds {
            [] => self.send(&bytes),
            _ => self.send_with(&bytes, fds),
        }
        let reply = self.reply().expect("a reply");
        assert_eq!((reply.id, reply.command), (self.next_id, command));
        reply
    }

    pub fn read(&mut self, region: u32, offset: u64, count: u32) -> Message {
        self.request(REGION_READ, &access(region, offset, count, &[]))
    }

    pub fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Message {
        let count = data.len() as u32;
        self.request(REGION_WRITE, &access(region, offset, count, data))
    }

    pub fn write_word(&mut self, region: u32, offset: u64, value: u32) {
        let reply = self.write(region, offset, &value.to_le_bytes());
        assert!(reply.is_success(), "{reply:?}");
    }

    pub fn read_word(&mut self, region: u32, offset: u64) -> u32 {
        let reply = self.read(region, offset, 4);
        assert!(reply.is_success(), "{reply:?}");
        reply.word(4)
    }

    pub fn region_size(&mut self, index: u32) -> u64 {
        let reply = self.request(GET_REGION_INFO, &region_info(index));
        assert!(reply.is_success(), "{reply:?}");
        u64::from(reply.word(4)) | u64::from(reply.word(5)) << 32
    }

    /// The model still serves: the vendor ID in configuration space is there.
    pub fn check(&mut self) {
        let id = self.read_word(CONFIG, 0);
        assert!(matches!(id, 0x0b25_8086 | 0x10f0_1af4), "{id:#x}");
    }

    /// Sends no more, and reads until the model closes the connection.
    pub fn finish(mut self) -> Vec<Message> {
        let _ = self.stream.shutdown(Shutdown::Write);
        std::iter::from_fn(|| self.receive()).collect()
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
