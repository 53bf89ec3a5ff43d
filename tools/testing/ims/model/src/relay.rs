// SPDX-License-Identifier: GPL-2.0

//! Stands between QEMU and the vfio_user server.
//!
//! The server serves QEMU's requests and knows no others. The device also asks
//! QEMU for DMA, on the same socket; so the relay forwards whole messages both
//! ways, and keeps QEMU's answers to the device's requests for [`Link`].

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use log::debug;
use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::link::Link;

/// Size of a message header, in bytes.
pub const HEADER: usize = 16;
/// Header flags: type in bits 3:0 (1 is a reply), no reply wanted, error.
const TYPE: u32 = 0xf;
const REPLY: u32 = 1;
pub const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

/// Largest message that makes sense: 1 MiB of data and its headers.
const MAX_MESSAGE: u32 = 0x10_1000;
/// Most file descriptors in a message.
const MAX_FDS: usize = 16;

/// A vfio-user message header, in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub id: u16,
    pub command: u16,
    /// Of the whole message, in bytes.
    pub size: u32,
    pub flags: u32,
    pub error: u32,
}

impl Header {
    pub fn parse(bytes: [u8; HEADER]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            id: u16::from_ne_bytes([a, b]),
            command: u16::from_ne_bytes([c, d]),
            size: u32::from_ne_bytes([e, f, g, h]),
            flags: u32::from_ne_bytes([i, j, k, l]),
            error: u32::from_ne_bytes([m, n, o, p]),
        }
    }

    pub fn bytes(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0..2].copy_from_slice(&self.id.to_ne_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.flags.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.error.to_ne_bytes());
        bytes
    }

    fn is_reply(&self) -> bool {
        self.flags & TYPE == REPLY
    }

    pub fn is_error(&self) -> bool {
        self.flags & ERROR != 0
    }
}

/// A whole message.
#[derive(Debug)]
pub struct Message {
    pub header: Header,
    /// With the header.
    pub bytes: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// Receives a message; `None` at the end of the connection.
pub fn receive(stream: &UnixStream) -> io::Result<Option<Message>> {
    let mut start = [0; HEADER];
    let mut fds = Vec::new();
    let mut filled = 0;
    while filled < HEADER {
        match receive_some(stream, &mut start[filled..], &mut fds)? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => filled += len,
        }
    }
    let header = Header::parse(start);
    if !(HEADER as u32..=MAX_MESSAGE).contains(&header.size) {
        let problem = format!("message of {} bytes", header.size);
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let mut bytes = start.to_vec();
    bytes.resize(header.size as usize, 0);
    (&mut &*stream).read_exact(&mut bytes[HEADER..])?;
    Ok(Some(Message { header, bytes, fds }))
}

/// One `recvmsg`: file descriptors come with the first bytes of a message.
fn receive_some(stream: &UnixStream, data: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(data)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::io::retry_on_intr(|| recvmsg(stream, &mut parts, &mut control, flags))?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(received.bytes)
}

/// Sends a message with its file descriptors.
pub fn forward(stream: &UnixStream, message: &Message) -> io::Result<()> {
    let fds: Vec<_> = message.fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "too many file descriptors",
        ));
    }
    let parts = [IoSlice::new(&message.bytes)];
    let sent =
        rustix::io::retry_on_intr(|| sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL))?;
    (&mut &*stream).write_all(&message.bytes[sent..])
}

/// Forwards QEMU's requests to the server until one of them goes.
pub fn to_server(qemu: &UnixStream, server: &UnixStream, link: &Link) {
    let result = (|| -> io::Result<()> {
        while let Some(message) = receive(qemu)? {
            if message.header.is_reply() {
                link.answer(&message.header, message.bytes);
            } else {
                forward(server, &message)?;
            }
        }
        Ok(())
    })();
    close("client", result, qemu, server, link);
}

/// Forwards the server's replies to QEMU until one of them goes.
pub fn to_client(qemu: &UnixStream, server: &UnixStream, link: &Link) {
    let result = (|| -> io::Result<()> {
        while let Some(message) = receive(server)? {
            link.send(&message.bytes)?;
        }
        Ok(())
    })();
    close("server", result, qemu, server, link);
}

fn close(from: &str, result: io::Result<()>, qemu: &UnixStream, server: &UnixStream, link: &Link) {
    if let Err(error) = result {
        debug!("messages from the {from}: {error}");
    }
    link.close();
    // Either may be closed already.
    let _ = qemu.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    fn message(id: u16, flags: u32, payload: &[u8]) -> Vec<u8> {
        let header = Header {
            id,
            command: 9,
            size: (HEADER + payload.len()) as u32,
            flags,
            error: 0,
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
    fn messages_in_pieces_and_in_a_row() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let bytes = [message(1, 0, b"hello"), message(2, 0, b"")].concat();
        let writer = thread::spawn(move || {
            for byte in bytes {
                theirs.write_all(&[byte]).unwrap();
                thread::yield_now();
            }
        });
        assert_eq!(receive(&ours).unwrap().unwrap().bytes[HEADER..], *b"hello");
        assert_eq!(receive(&ours).unwrap().unwrap().header.id, 2);
        assert!(receive(&ours).unwrap().is_none());
        writer.join().unwrap();
    }

    #[test]
    fn nonsense_sizes_are_refused() {
        for size in [0, 15, MAX_MESSAGE + 1, u32::MAX] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut bytes = message(1, 0, b"");
            bytes[4..8].copy_from_slice(&size.to_ne_bytes());
            theirs.write_all(&bytes).unwrap();
            assert!(receive(&ours).is_err(), "{size}");
        }
    }

    #[test]
    fn truncated_message_is_an_error() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&message(1, 0, b"hello")[..18]).unwrap();
        drop(theirs);
        assert!(receive(&ours).is_err());
    }

    #[test]
    fn file_descriptors_travel_with_their_message() {
        let (one, two) = UnixStream::pair().unwrap();
        let (mut gift, mut other_end) = UnixStream::pair().unwrap();
        let bytes = message(3, 0, b"with fd");
        let sent = Message {
            header: Header::parse(bytes[..HEADER].try_into().unwrap()),
            bytes,
            fds: vec![gift.try_clone().unwrap().into()],
        };
        forward(&one, &sent).unwrap();
        (&mut &one).write_all(&message(4, 0, b"")).unwrap();
        let mut received = receive(&two).unwrap().unwrap();
        assert_eq!(received.bytes, sent.bytes);
        assert_eq!(receive(&two).unwrap().unwrap().fds.len(), 0);

        let mut through = UnixStream::from(received.fds.pop().unwrap());
        through.write_all(b"x").unwrap();
        let mut data = [0];
        other_end.read_exact(&mut data).unwrap();
        gift.write_all(b"y").unwrap();
        other_end.read_exact(&mut data).unwrap();
        assert_eq!(data, *b"y");
    }

    #[test]
    fn replies_are_kept_and_the_rest_is_forwarded() {
        let (mut qemu, relay_qemu) = UnixStream::pair().unwrap();
        let (mut server, relay_server) = UnixStream::pair().unwrap();
        let link = Arc::new(Link::new(relay_qemu.try_clone().unwrap()));
        let run = |forward: fn(&UnixStream, &UnixStream, &Link)| {
            let (qemu, server) = (
                relay_qemu.try_clone().unwrap(),
                relay_server.try_clone().unwrap(),
            );
            let link = link.clone();
            thread::spawn(move || forward(&qemu, &server, &link))
        };
        let threads = [run(to_server), run(to_client)];

        qemu.write_all(&message(7, REPLY | ERROR, b"")).unwrap();
        qemu.write_all(&message(8, NO_REPLY, b"request")).unwrap();
        let forwarded = receive(&server).unwrap().unwrap();
        assert_eq!(
            (forwarded.header.id, &forwarded.bytes[HEADER..]),
            (8, &b"request"[..])
        );
        assert_eq!(link.refused(), 1, "the error reply stayed here");

        server.write_all(&message(8, REPLY, b"reply")).unwrap();
        assert_eq!(receive(&qemu).unwrap().unwrap().bytes[HEADER..], *b"reply");

        drop(qemu);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(receive(&server).unwrap().is_none());
    }
}
