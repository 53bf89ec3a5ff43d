// SPDX-License-Identifier: GPL-2.0

//! Messages of vfio-user, as they travel on the socket.

use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};
use thiserror::Error;

/// Size of a message header, in bytes.
pub const HEADER: usize = 16;

/// Header flags: the type in bits 3:0 (0 is a request, 1 a reply), no reply wanted, error.
const TYPE: u32 = 0xf;
const REPLY: u32 = 1;
/// The sender of a request wants no reply.
pub const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

/// Most data in a message, in bytes.
pub const MAX_DATA: u32 = 0x10_0000;
/// Largest message, in bytes: data, and a page for what is in front of it.
const MAX_MESSAGE: u32 = MAX_DATA + 0x1000;
/// Most file descriptors in a message.
pub const MAX_FDS: usize = 16;

/// A message header, little endian as the hosts that this is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// A reply has that of its request.
    pub id: u16,
    /// What is asked for.
    pub command: u16,
    /// Of the whole message, in bytes.
    pub size: u32,
    /// Whether it is a reply, whether it wants one, and whether it is an error.
    pub flags: u32,
    /// An error number.
    pub error: u32,
}

impl Header {
    /// Takes a header apart.
    pub fn parse(bytes: [u8; HEADER]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            id: u16::from_le_bytes([a, b]),
            command: u16::from_le_bytes([c, d]),
            size: u32::from_le_bytes([e, f, g, h]),
            flags: u32::from_le_bytes([i, j, k, l]),
            error: u32::from_le_bytes([m, n, o, p]),
        }
    }

    /// Puts a header together.
    pub fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.flags.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.error.to_le_bytes());
        bytes
    }

    /// Whether this is a reply.
    pub fn is_reply(&self) -> bool {
        self.flags & TYPE == REPLY
    }

    /// Whether a reply is an error.
    pub fn is_error(&self) -> bool {
        self.flags & ERROR != 0
    }

    /// Whether this is a request with all its flags known.
    pub fn is_request(&self) -> bool {
        self.flags & !NO_REPLY == 0
    }

    /// The reply to a request, if it wants one.
    pub fn reply(&self, result: Result<Vec<u8>, Errno>) -> Option<Vec<u8>> {
        if self.flags & NO_REPLY != 0 {
            return None;
        }
        let (flags, error, payload) = match result {
            Ok(payload) => (REPLY, 0, payload),
            Err(error) => (REPLY | ERROR, error.raw_os_error() as u32, Vec::new()),
        };
        let header = Self {
            size: (HEADER + payload.len()) as u32,
            flags,
            error,
            ..*self
        };
        Some([&header.bytes()[..], &payload].concat())
    }
}

/// A whole message.
#[derive(Debug, Default)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// What came with it, [`MAX_FDS`] at most.
    pub fds: Vec<OwnedFd>,
    /// Whether there were more file descriptors. They are closed.
    pub fds_lost: bool,
}

/// Why there are no more messages.
#[derive(Debug, Error)]
pub enum Broken {
    /// A size that no message has: nothing that follows can be understood.
    #[error("a message of {0} bytes")]
    Size(u32),
    /// The connection ended where it must not.
    #[error("the connection ended within a message")]
    Ended,
    /// The socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Receives a message; `None` at the end of the connection.
pub fn receive(stream: &UnixStream) -> Result<Option<Message>, Broken> {
    let mut message = Message::default();
    let mut start = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match receive_some(stream, &mut start[filled..], &mut message) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(Broken::Ended),
            Ok(len) => filled += len,
            Err(error) => return gone(error),
        }
    }
    message.header = Header::parse(start);
    let size = message.header.size;
    if !(HEADER as u32..=MAX_MESSAGE).contains(&size) {
        return Err(Broken::Size(size));
    }
    message.payload.resize(size as usize - HEADER, 0);
    match (&mut &*stream).read_exact(&mut message.payload) {
        Ok(()) => Ok(Some(message)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Broken::Ended),
        Err(error) => gone(error),
    }
}

/// A client that goes before it has read everything resets the connection.
fn gone(error: io::Error) -> Result<Option<Message>, Broken> {
    match error.kind() {
        io::ErrorKind::ConnectionReset => Ok(None),
        _ => Err(error.into()),
    }
}

/// One `recvmsg`: file descriptors come with the first bytes of a message.
fn receive_some(stream: &UnixStream, data: &mut [u8], message: &mut Message) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(data)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| recvmsg(stream, &mut parts, &mut control, flags))?;
    message.fds_lost |= received.flags.contains(ReturnFlags::CTRUNC);
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = part {
            let room = MAX_FDS - message.fds.len();
            message.fds.extend(fds.by_ref().take(room));
            message.fds_lost |= fds.next().is_some();
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::thread;

    fn message(id: u16, payload: &[u8]) -> Vec<u8> {
        let header = Header {
            id,
            command: 9,
            size: (HEADER + payload.len()) as u32,
            ..Header::default()
        };
        [&header.bytes()[..], payload].concat()
    }

    #[test]
    fn header_layout() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let header = Header::parse(bytes);
        assert_eq!(header.id, 0x0201);
        assert_eq!(header.command, 0x0403);
        assert_eq!(header.size, 0x0807_0605);
        assert_eq!(header.flags, 0x0c0b_0a09);
        assert_eq!(header.error, 0x100f_0e0d);
        assert_eq!(header.bytes(), bytes);
    }

    #[test]
    fn replies() {
        let header = Header::parse(*message(7, b"").first_chunk().unwrap());
        let reply = header.reply(Ok(vec![0xaa])).unwrap();
        assert_eq!(
            reply,
            [7, 0, 9, 0, 17, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0xaa]
        );
        let refusal = header.reply(Err(Errno::INVAL)).unwrap();
        assert_eq!(
            refusal,
            [7, 0, 9, 0, 16, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0]
        );
        let header = Header {
            flags: NO_REPLY,
            ..header
        };
        assert!(header.is_request());
        assert_eq!(header.reply(Ok(Vec::new())), None);
    }

    #[test]
    fn messages_in_pieces_and_in_a_row() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = [message(1, b"hello"), message(2, b"")].concat();
        let writer = thread::spawn(move || {
            for byte in bytes {
                theirs.write_all(&[byte]).unwrap();
                thread::yield_now();
            }
        });
        assert_eq!(receive(&ours).unwrap().unwrap().payload, *b"hello");
        assert_eq!(receive(&ours).unwrap().unwrap().header.id, 2);
        assert!(receive(&ours).unwrap().is_none());
        writer.join().unwrap();
    }
}
