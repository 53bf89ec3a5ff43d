// SPDX-License-Identifier: GPL-2.0

//! The requests of a vfio-user client: each is checked as a whole before anything is done.

use std::ffi::CStr;

use rustix::io::Errno;

use crate::message::{Message, MAX_DATA, MAX_FDS};
use crate::pci::{self, Region};
use crate::shared::{Model, Shared};
use crate::vectors::Vectors;

/// Commands.
mod command {
    pub const VERSION: u16 = 1;
    pub const DMA_MAP: u16 = 2;
    pub const DMA_UNMAP: u16 = 3;
    pub const GET_INFO: u16 = 4;
    pub const GET_REGION_INFO: u16 = 5;
    pub const GET_IRQ_INFO: u16 = 7;
    pub const SET_IRQS: u16 = 8;
    pub const REGION_READ: u16 = 9;
    pub const REGION_WRITE: u16 = 10;
    pub const RESET: u16 = 13;
}

/// Of GET_INFO: can be reset, is a PCI device.
const DEVICE_FLAGS: u32 = 1 << 0 | 1 << 1;
/// Regions of a PCI device: six BARs, ROM, configuration space, VGA.
const REGIONS: u32 = 9;
/// Of GET_REGION_INFO: can be read and written.
const REGION_FLAGS: u32 = 1 << 0 | 1 << 1;
/// Kinds of interrupts of a PCI device: INTx, MSI, MSI-X, errors, requests.
const IRQS: u32 = 5;
const MSIX: u32 = 2;
/// Of GET_IRQ_INFO: signals eventfds.
const IRQ_FLAGS: u32 = 1 << 0;
/// Of SET_IRQS: no data, eventfds; both to trigger.
const TRIGGER_NONE: u32 = 1 << 0 | 1 << 5;
const TRIGGER_EVENTFD: u32 = 1 << 2 | 1 << 5;
/// Of DMA_MAP: can be read, can be written.
const MAP_FLAGS: u32 = 1 << 0 | 1 << 1;
/// Of DMA_UNMAP: all that is mapped.
const UNMAP_ALL: u32 = 1 << 1;

/// What QEMU has to know of a device before it asks it anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Size of BAR0, BAR2 and BAR4 in bytes; 0 if there is none.
    pub bars: [u64; 3],
    /// MSI-X table size.
    pub vectors: u16,
}

impl Shape {
    /// A region that the device has, and its size in bytes.
    fn region(&self, index: u32) -> Option<(Region, u64)> {
        let region = match index {
            0 => (Region::Bar0, self.bars[0]),
            2 => (Region::Bar2, self.bars[1]),
            4 => (Region::Bar4, self.bars[2]),
            7 => (Region::Config, pci::SIZE as u64),
            _ => return None,
        };
        (region.1 != 0).then_some(region)
    }

    /// The number of interrupts of a kind.
    fn interrupts(&self, index: u32) -> u32 {
        match index {
            MSIX => self.vectors.into(),
            _ => 0,
        }
    }
}

/// The payload of a reply, or an error.
type Reply = Result<Vec<u8>, Errno>;

/// The device, for one client.
pub struct Requests<'a, D, B: ?Sized> {
    shape: &'a Shape,
    shared: &'a Shared<D, B>,
    vectors: &'a Vectors,
    /// Whether the client has agreed on a version.
    agreed: bool,
}

impl<'a, D: Model, B: ?Sized> Requests<'a, D, B> {
    /// For a client that has said nothing yet.
    pub fn new(shape: &'a Shape, shared: &'a Shared<D, B>, vectors: &'a Vectors) -> Self {
        Self {
            shape,
            shared,
            vectors,
            agreed: false,
        }
    }

    /// Does what a request asks for. One that is refused changes nothing.
    pub fn handle(&mut self, message: Message) -> Reply {
        let Message {
            header, payload, ..
        } = &message;
        if message.fds_lost {
            return Err(Errno::TOOBIG);
        }
        if !header.is_request() || self.agreed == (header.command == command::VERSION) {
            return Err(Errno::INVAL);
        }
        match header.command {
            command::VERSION => self.version(payload),
            command::DMA_MAP => map(payload, message.fds.len()),
            command::DMA_UNMAP => unmap(payload),
            command::GET_INFO => info(payload),
            command::GET_REGION_INFO => self.region_info(payload),
            command::GET_IRQ_INFO => self.irq_info(payload),
            command::SET_IRQS => self.set_irqs(message),
            command::REGION_READ => self.read(payload),
            command::REGION_WRITE => self.write(payload),
            command::RESET => self.reset(payload),
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    /// The capabilities of a client do not matter: the device asks for less at a time than any
    /// client has to grant.
    fn version(&mut self, payload: &[u8]) -> Reply {
        let (version, capabilities) = payload.split_at_checked(4).ok_or(Errno::INVAL)?;
        // Any minor version of major version 0 has what 0.0 has.
        if version[..2] != [0, 0] {
            return Err(Errno::OPNOTSUPP);
        }
        if !capabilities.is_empty() {
            let text = CStr::from_bytes_with_nul(capabilities).or(Err(Errno::INVAL))?;
            text.to_str().or(Err(Errno::INVAL))?;
        }
        self.agreed = true;
        let capabilities = format!(
            "{{\"capabilities\":{{\"max_msg_fds\":{MAX_FDS},\"max_data_xfer_size\":{MAX_DATA}}}}}\0"
        );
        Ok([&[0; 4], capabilities.as_bytes()].concat())
    }

    fn region_info(&self, payload: &[u8]) -> Reply {
        let [_, _, index, ..] = words::<8>(payload)?;
        if index >= REGIONS {
            return Err(Errno::INVAL);
        }
        let region = self.shape.region(index);
        let flags = region.map_or(0, |_| REGION_FLAGS);
        let size = region.map_or(0, |(_, size)| size);
        let [low, high] = [size as u32, (size >> 32) as u32];
        Ok(bytes(&[32, flags, index, 0, low, high, 0, 0]))
    }

    fn irq_info(&self, payload: &[u8]) -> Reply {
        let [_, _, index, _] = words(payload)?;
        if index >= IRQS {
            return Err(Errno::INVAL);
        }
        let count = self.shape.interrupts(index);
        let flags = if count == 0 { 0 } else { IRQ_FLAGS };
        Ok(bytes(&[16, flags, index, count]))
    }

    fn set_irqs(&self, message: Message) -> Reply {
        let [_, flags, index, start, count] = words(&message.payload)?;
        let fds = message.fds;
        let end = start.checked_add(count).ok_or(Errno::INVAL)?;
        if index >= IRQS || end > self.shape.interrupts(index) {
            return Err(Errno::INVAL);
        }
        let (start, count) = (start as usize, count as usize);
        match flags {
            // Disables all of them. There are none but those of MSI-X.
            TRIGGER_NONE if count == 0 && fds.is_empty() => {
                if index == MSIX {
                    self.vectors.clear();
                }
            }
            // Without eventfds disables these.
            TRIGGER_EVENTFD if count != 0 && [0, count].contains(&fds.len()) => {
                self.vectors.set(start, count, fds);
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(Vec::new())
    }

    /// The region of an access, and where it is in there.
    fn place(&self, access: &Access) -> Result<Region, Errno> {
        let (region, size) = self.shape.region(access.region).ok_or(Errno::INVAL)?;
        let end = access.offset.checked_add(access.count.into());
        match end {
            Some(end) if end <= size && access.count <= MAX_DATA => Ok(region),
            _ => Err(Errno::INVAL),
        }
    }

    fn read(&self, payload: &[u8]) -> Reply {
        let (access, data) = Access::parse(payload)?;
        let region = self.place(&access)?;
        if !data.is_empty() {
            return Err(Errno::INVAL);
        }
        let mut reply = payload.to_vec();
        reply.resize(ACCESS + access.count as usize, 0);
        self.shared
            .device()
            .read(region, access.offset, &mut reply[ACCESS..]);
        Ok(reply)
    }

    fn write(&self, payload: &[u8]) -> Reply {
        let (access, data) = Access::parse(payload)?;
        let region = self.place(&access)?;
        if data.len() != access.count as usize {
            return Err(Errno::INVAL);
        }
        self.shared.device().write(region, access.offset, data);
        self.shared.notify();
        Ok(payload[..ACCESS].to_vec())
    }

    fn reset(&self, payload: &[u8]) -> Reply {
        let [] = words(payload)?;
        self.shared.device().reset();
        self.shared.notify();
        Ok(Vec::new())
    }
}

/// What an access begins with: offset, region, count. Bytes.
const ACCESS: usize = 16;

struct Access {
    offset: u64,
    region: u32,
    count: u32,
}

impl Access {
    /// An access, and the data behind it.
    fn parse(payload: &[u8]) -> Result<(Self, &[u8]), Errno> {
        let (start, data) = payload.split_at_checked(ACCESS).ok_or(Errno::INVAL)?;
        let [low, high, region, count] = words(start)?;
        let access = Self {
            offset: long(low, high),
            region,
            count,
        };
        Ok((access, data))
    }
}

fn info(payload: &[u8]) -> Reply {
    let [_, _, _, _] = words(payload)?;
    Ok(bytes(&[16, DEVICE_FLAGS, REGIONS, IRQS]))
}

/// Memory is reached by DMA messages, never mapped: a map has to make sense, and is forgotten.
fn map(payload: &[u8], files: usize) -> Reply {
    let [_, flags, a, b, c, d, e, f] = words(payload)?;
    let [offset, address, size] = [long(a, b), long(c, d), long(e, f)];
    if flags & !MAP_FLAGS != 0 || files > 1 {
        return Err(Errno::INVAL);
    }
    check_range(address, size)?;
    check_range(offset, size)?;
    Ok(Vec::new())
}

fn unmap(payload: &[u8]) -> Reply {
    let [_, flags, a, b, c, d] = words(payload)?;
    let [address, size] = [long(a, b), long(c, d)];
    match flags {
        0 => check_range(address, size)?,
        UNMAP_ALL if address == 0 && size == 0 => {}
        _ => return Err(Errno::INVAL),
    }
    Ok(payload.to_vec())
}

/// Whether a range has a last byte.
fn check_range(start: u64, size: u64) -> Result<(), Errno> {
    let last = size.checked_sub(1).and_then(|rest| start.checked_add(rest));
    last.map(drop).ok_or(Errno::INVAL)
}

/// A payload of exactly so many words.
fn words<const COUNT: usize>(payload: &[u8]) -> Result<[u32; COUNT], Errno> {
    if payload.len() != COUNT * 4 {
        return Err(Errno::INVAL);
    }
    let mut words = [0; COUNT];
    for (word, bytes) in words.iter_mut().zip(payload.chunks_exact(4)) {
        *word = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    }
    Ok(words)
}

fn long(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
