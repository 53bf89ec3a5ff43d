// SPDX-License-Identifier: GPL-2.0

//! A device as a vfio-user server, for one client.

use std::fs::File;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use log::{debug, warn};
use vfio_bindings::bindings::vfio::{
    vfio_region_info, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_PCI_BAR0_REGION_INDEX,
    VFIO_PCI_BAR2_REGION_INDEX, VFIO_PCI_BAR4_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion};

use crate::bus::{Bus, Dma, DmaError, Pending};
use crate::link::Link;
use crate::pci::{self, Region};
use crate::relay;
use crate::shared::{Model, Shared};

/// Where messages go on x86.
const MESSAGES: u64 = 0xfee0_0000;

/// What QEMU has to know of a device before it asks it anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shape {
    /// Size of BAR0, BAR2 and BAR4 in bytes; 0 if there is none.
    pub bars: [u64; 3],
    /// MSI-X table size.
    pub vectors: u16,
}

/// DMA through the relay, MSI-X through QEMU's eventfds.
pub struct QemuBus {
    link: Link,
    vectors: Mutex<Vec<Option<File>>>,
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
        let vectors = self.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        // A vector without an eventfd is disabled.
        if let Some(Some(eventfd)) = vectors.get(usize::from(vector)) {
            if let Err(error) = (&mut &*eventfd).write_all(&1u64.to_ne_bytes()) {
                warn!("vector {vector}: {error}");
            }
        }
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

struct Backend<'a, D, B: ?Sized> {
    shared: &'a Shared<D, B>,
    bus: &'a QemuBus,
}

fn region(index: u32) -> Option<Region> {
    match index {
        VFIO_PCI_BAR0_REGION_INDEX => Some(Region::Bar0),
        VFIO_PCI_BAR2_REGION_INDEX => Some(Region::Bar2),
        VFIO_PCI_BAR4_REGION_INDEX => Some(Region::Bar4),
        VFIO_PCI_CONFIG_REGION_INDEX => Some(Region::Config),
        _ => None,
    }
}

impl<D: Model, B: ?Sized> ServerBackend for Backend<'_, D, B> {
    fn region_read(&mut self, index: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        match region(index) {
            Some(region) => self.shared.device().read(region, offset, data),
            None => data.fill(0xff),
        }
        Ok(())
    }

    fn region_write(&mut self, index: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        if let Some(region) = region(index) {
            self.shared.device().write(region, offset, data);
            self.shared.notify();
        }
        Ok(())
    }

    /// Memory is reached by DMA messages, never mapped.
    fn dma_map(
        &mut self,
        _flags: DmaMapFlags,
        _offset: u64,
        _address: u64,
        _size: u64,
        _fd: Option<File>,
    ) -> io::Result<()> {
        Ok(())
    }

    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, _address: u64, _size: u64) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        self.shared.device().reset();
        self.shared.notify();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> io::Result<()> {
        if index != VFIO_PCI_MSIX_IRQ_INDEX {
            return Ok(());
        }
        let mut vectors = self
            .bus
            .vectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if count == 0 {
            vectors.fill_with(|| None);
        } else if flags & VFIO_IRQ_SET_DATA_EVENTFD != 0 {
            let mut fds = fds.into_iter();
            for vector in vectors.iter_mut().skip(start as usize).take(count as usize) {
                *vector = fds.next();
            }
        }
        Ok(())
    }
}

fn regions(shape: &Shape) -> Vec<ServerRegion> {
    (0..VFIO_PCI_NUM_REGIONS)
        .map(|index| {
            let size = match region(index) {
                Some(Region::Bar0) => shape.bars[0],
                Some(Region::Bar2) => shape.bars[1],
                Some(Region::Bar4) => shape.bars[2],
                Some(Region::Config) => pci::SIZE as u64,
                None => 0,
            };
            let access = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
            ServerRegion {
                region_info: vfio_region_info {
                    argsz: size_of::<vfio_region_info>() as u32,
                    flags: if size == 0 { 0 } else { access },
                    index,
                    size,
                    ..Default::default()
                },
                sparse_areas: Vec::new(),
                mmap_fd: None,
            }
        })
        .collect()
}

fn irqs(shape: &Shape) -> Vec<IrqInfo> {
    (0..VFIO_PCI_NUM_IRQS)
        .map(|index| {
            let msix = index == VFIO_PCI_MSIX_IRQ_INDEX;
            IrqInfo {
                index,
                flags: if msix { VFIO_IRQ_INFO_EVENTFD } else { 0 },
                count: if msix { shape.vectors.into() } else { 0 },
            }
        })
        .collect()
}

/// Both ends of a connection to the vfio_user server, which accepts one itself.
fn inner_socket() -> io::Result<(UnixListener, UnixStream)> {
    let name = format!("dsa-model-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(name)?;
    let listener = UnixListener::bind_addr(&address)?;
    let stream = UnixStream::connect_addr(&address)?;
    Ok((listener, stream))
}

/// Is the device that `create` makes, for this client, until the client goes.
/// `work` is for the device's own thread, and returns once it is stopped.
pub fn serve<D: Model, B: ?Sized + Send + Sync>(
    shape: &Shape,
    client: UnixStream,
    create: impl FnOnce(Arc<QemuBus>) -> Shared<D, B>,
    work: impl FnOnce(&Shared<D, B>) + Send,
) -> io::Result<()> {
    let (listener, to_server) = inner_socket()?;
    let server = Server::from_owned_fd(listener.into(), true, irqs(shape), regions(shape));
    let bus = Arc::new(QemuBus {
        link: Link::new(client.try_clone()?),
        vectors: Mutex::new((0..shape.vectors).map(|_| None).collect()),
    });
    let shared = create(bus.clone());
    let mut backend = Backend {
        shared: &shared,
        bus: &bus,
    };

    thread::scope(|scope| {
        scope.spawn(|| work(&shared));
        scope.spawn(|| relay::to_server(&client, &to_server, &bus.link));
        scope.spawn(|| relay::to_client(&client, &to_server, &bus.link));
        match server.run(&mut backend) {
            Ok(()) => debug!("client gone"),
            Err(error) => debug!("client gone: {error}"),
        }
        // Also the way out if the server gave up first.
        bus.link.close();
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = to_server.shutdown(std::net::Shutdown::Both);
        shared.stop();
    });
    Ok(())
}
