// SPDX-License-Identifier: GPL-2.0

//! Contexts in host memory. `doc/queue-device.md` describes them.

use crate::ims::LEFT_OVER;
use crate::rules::Rules;

/// Bytes of a context.
pub const SIZE: u64 = 32;
/// Bytes that the device reads, from offset 0 on.
pub const READ: usize = 16;
/// Offset of the word that the device writes.
pub const STATUS: u64 = 16;
/// Its bit 0.
pub const PENDING: u32 = 1 << 0;

/// Control bit 0.
const MASK: u32 = 1 << 0;

/// An interrupt message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub address: u64,
    pub data: u32,
}

/// What the host has in a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image {
    pub message: Message,
    pub masked: bool,
}

impl Image {
    /// `None` if reserved bits are set.
    pub fn parse(bytes: [u8; READ]) -> Option<Self> {
        let [address @ .., a, b, c, d, e, f, g, h] = bytes;
        let control = u32::from_le_bytes([e, f, g, h]);
        (control & !MASK == 0).then_some(Self {
            message: Message {
                address: u64::from_le_bytes(address),
                data: u32::from_le_bytes([a, b, c, d]),
            },
            masked: control & MASK != 0,
        })
    }
}

/// The device's copy of a context. It knows nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    message: Message,
    masked: bool,
    pending: bool,
}

impl Default for Context {
    /// Masked, without a message, not pending.
    fn default() -> Self {
        Self {
            message: Message::default(),
            masked: true,
            pending: false,
        }
    }
}

impl Context {
    /// As a driver may have left it that was not told to stop: unmasked, with
    /// its message.
    pub fn left_over() -> Self {
        let (address, data) = LEFT_OVER;
        Self {
            message: Message { address, data },
            masked: false,
            pending: false,
        }
    }

    /// Judges a driver that has the device of context `queue` find `image` there, by an UPDATE or
    /// when it is enabled.
    pub fn judge(&self, image: Image, enables: bool, rules: &mut Rules, queue: usize) {
        let address = image.message.address;
        if enables {
            // No driver of now gave the device what it had before.
            rules.message(queue, true, Some(address != 0));
        }
        if image.masked {
            rules.mask(queue, self.masked, true);
        }
        if !enables && image.message != self.message {
            rules.message(queue, self.masked || image.masked, Some(address != 0));
        }
        if !image.masked {
            rules.mask(queue, self.masked, false);
        }
    }

    /// The queue raises its interrupt: the message to send, or none if that is
    /// latched.
    pub fn raise(&mut self) -> Option<Message> {
        self.pending = self.masked;
        (!self.masked).then_some(self.message)
    }

    /// Takes what the host has. The message to send, if that unmasks a pending
    /// context.
    pub fn take(&mut self, image: Image) -> Option<Message> {
        self.message = image.message;
        self.masked = image.masked;
        let replay = self.pending && !self.masked;
        self.pending &= self.masked;
        replay.then_some(self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 16] = [
        0x00, 0x10, 0xe0, 0xfe, 0x78, 0x56, 0x34, 0x12, // address
        0xd0, 0xc0, 0xb0, 0xa0, // data
        0x00, 0x00, 0x00, 0x00, // control
    ];

    const MESSAGE: Message = Message {
        address: 0x1234_5678_fee0_1000,
        data: 0xa0b0_c0d0,
    };

    fn image(masked: bool) -> Image {
        Image {
            message: MESSAGE,
            masked,
        }
    }

    #[test]
    fn layout() {
        assert_eq!(Image::parse(BYTES), Some(image(false)));
        let mut masked = BYTES;
        masked[12] = 1;
        assert_eq!(Image::parse(masked), Some(image(true)));
    }

    #[test]
    fn control_bits_but_one_are_reserved() {
        for bit in 1..32 {
            for mask in [0, 1] {
                let mut bytes = BYTES;
                bytes[12..].copy_from_slice(&(mask | 1u32 << bit).to_le_bytes());
                assert_eq!(Image::parse(bytes), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn every_bit_of_the_message_counts() {
        for byte in 0..12 {
            for bit in 0..8 {
                let mut bytes = [0; READ];
                bytes[byte] = 1 << bit;
                let Message { address, data } = Image::parse(bytes).unwrap().message;
                let place = u128::from(address) | u128::from(data) << 64;
                assert_eq!(place, 1 << (byte * 8 + bit));
            }
        }
    }

    #[test]
    fn begins_masked_and_clean() {
        let mut context = Context::default();
        assert_eq!(context.take(image(false)), None, "nothing was pending");
        let mut context = Context::default();
        assert_eq!(context.raise(), None);
    }

    #[test]
    fn raises_collapse_and_are_replayed_once() {
        let mut context = Context::default();
        for _ in 0..3 {
            assert_eq!(context.raise(), None);
        }
        assert_eq!(context.take(image(true)), None, "still masked");
        assert_eq!(context.take(image(false)), Some(MESSAGE));
        assert_eq!(context.take(image(false)), None);
        assert_eq!(context.take(image(true)), None);
        assert_eq!(context.take(image(false)), None);
    }

    #[test]
    fn unmasked_sends_and_latches_nothing() {
        let mut context = Context::default();
        context.take(image(false));
        assert_eq!(context.raise(), Some(MESSAGE));
        assert_eq!(context.raise(), Some(MESSAGE));
        assert_eq!(context.take(image(true)), None);
        assert_eq!(context.take(image(false)), None);
    }
}
