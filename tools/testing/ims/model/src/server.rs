// SPDX-License-Identifier: GPL-2.0

//! A device as a vfio-user server, for one client.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use log::debug;
use thiserror::Error;

use crate::bus::{Bus, Dma, DmaError, Pending};
use crate::link::Link;
use crate::message::{self, Broken};
use crate::request::Requests;
use crate::shared::{Model, Shared};
use crate::vectors::Vectors;

pub use crate::request::Shape;

/// Where messages go on x86.
const MESSAGES: u64 = 0xfee0_0000;

/// DMA by messages to QEMU, MSI-X through its eventfds.
pub struct QemuBus {
    link: Link,
    vectors: Vectors,
}

impl Bus for QemuBus {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        self.link.read(address, data)
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        self.link.write(address, data)
    }

    fn post(&self, address: u64, data: &[u8]) {
        self.link.post(address, data);
    }

    fn sync(&self) -> Pending {
        // The host takes requests in their order. Where messages go there is nothing to read.
        self.link.start_read(MESSAGES, 4)
    }

    fn post_errors(&self) -> u64 {
        self.link.refused()
    }

    fn signal(&self, vector: u16) {
        self.vectors.signal(vector);
    }
}

impl Dma for QemuBus {
    fn start_read(&self, address: u64, len: usize) -> Pending {
        self.link.start_read(address, len)
    }

    fn start_write(&self, address: u64, data: &[u8]) -> Pending {
        self.link.start_write(address, data)
    }
}

/// Why a client is not served any more, though it did not go.
#[derive(Debug, Error)]
pub enum Error {
    /// It does not speak vfio-user.
    #[error("the client broke the protocol: {0}")]
    Protocol(#[from] Broken),
    /// There is no connection to begin with.
    #[error("the client cannot be served: {0}")]
    Io(#[from] io::Error),
}

/// Ends the connection, and whoever waits for it, when the first of its threads ends.
struct End<'a, D, B: ?Sized> {
    client: &'a UnixStream,
    link: &'a Link,
    shared: &'a Shared<D, B>,
}

impl<D, B: ?Sized> Drop for End<'_, D, B> {
    fn drop(&mut self) {
        self.link.close();
        // It may be closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        self.shared.stop();
    }
}

/// Is the device that `create` makes, for this client, until the client goes.
/// `work` is for the device's own thread, and returns once it is stopped.
pub fn serve<D: Model, B: ?Sized + Send + Sync>(
    shape: &Shape,
    client: UnixStream,
    create: impl FnOnce(Arc<QemuBus>) -> Shared<D, B>,
    work: impl FnOnce(&Shared<D, B>) + Send,
) -> Result<(), Error> {
    let bus = Arc::new(QemuBus {
        link: Link::new(client.try_clone()?),
        vectors: Vectors::new(shape.vectors),
    });
    let shared = create(bus.clone());
    let end = || End {
        client: &client,
        link: &bus.link,
        shared: &shared,
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _end = end();
            work(&shared);
        });
        let _end = end();
        let mut requests = Requests::new(shape, &shared, &bus.vectors);
        while let Some(message) = message::receive(&client)? {
            let header = message.header;
            if header.is_reply() {
                bus.link.answer(&header, message.payload);
                continue;
            }
            let result = requests.handle(message);
            if let Err(error) = &result {
                debug!("{header:x?} refused: {error}");
            }
            if let Some(reply) = header.reply(result) {
                if let Err(error) = bus.link.send(&reply) {
                    debug!("client gone: {error}");
                    break;
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::Region;
    use std::io::Write;
    use std::panic::{catch_unwind, AssertUnwindSafe};

    struct Faulty;

    impl Model for Faulty {
        fn read(&mut self, _: Region, _: u64, _: &mut [u8]) {}

        fn write(&mut self, _: Region, _: u64, _: &[u8]) {}

        fn reset(&mut self) {
            panic!("a fault in a device");
        }
    }

    type Device = Shared<Faulty, QemuBus>;

    fn serve_faulty(client: UnixStream, work: impl FnOnce(&Device) + Send) -> thread::Result<()> {
        let create = |bus| Shared::new(Faulty, bus);
        let serve = || serve(&Shape::default(), client, create, work).unwrap();
        catch_unwind(AssertUnwindSafe(serve))
    }

    fn sleep(shared: &Device) {
        loop {
            let device = shared.device();
            if shared.stopped() {
                return;
            }
            shared.sleep(device, None);
        }
    }

    #[test]
    fn a_fault_in_a_register_ends_the_server() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let version = [1, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let reset = [2, 0, 13, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        theirs.write_all(&version).unwrap();
        theirs.write_all(&reset).unwrap();
        assert!(serve_faulty(ours, sleep).is_err());
    }

    #[test]
    fn a_fault_of_the_thread_ends_the_server() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        assert!(serve_faulty(ours, |_| panic!("a fault in a thread")).is_err());
    }
}
