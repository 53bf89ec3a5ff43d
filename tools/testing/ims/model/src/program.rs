// SPDX-License-Identifier: GPL-2.0

//! The program around a device: socket, signals, clients.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use crate::server::Error;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}: exists already")]
    Exists(PathBuf),
    #[error("{0}: a socket path has at most 107 bytes, this one has {1}")]
    TooLong(PathBuf, usize),
    #[error("{0}: cannot listen: {1}")]
    Listen(PathBuf, #[source] io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Served(#[from] Error),
}

/// The socket in the file system; goes with the program.
struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

/// `sizeof(sun_path)`, less the terminating zero.
const MAX_PATH: usize = 107;

impl Socket {
    fn create(path: &Path) -> Result<Self, Failure> {
        let len = path.as_os_str().len();
        if len > MAX_PATH {
            return Err(Failure::TooLong(path.into(), len));
        }
        if is_abandoned(path) {
            remove(path);
        }
        let listener = UnixListener::bind(path).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => Failure::Exists(path.into()),
            _ => Failure::Listen(path.into(), error),
        })?;
        Ok(Self {
            path: path.into(),
            listener,
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Whether there is a socket that nobody listens on: that of a program that was killed. To connect to
/// one of another type tells, and is no client.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path));
    is_socket && connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn remove(path: &Path) {
    // Somebody else may have removed it already.
    let _ = fs::remove_file(path);
}

fn listen(
    name: &str,
    path: &Path,
    keep: bool,
    serve: impl Fn(UnixStream) -> Result<(), Error>,
) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let socket = Socket::create(path)?;
    let on_signal = path.to_path_buf();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            remove(&on_signal);
            std::process::exit(0);
        }
    });
    let mut output = io::stdout();
    writeln!(output, "listening on {}", path.display())?;
    output.flush()?;
    loop {
        let (client, _) = socket.listener.accept()?;
        match serve(client) {
            result if !keep => return Ok(result?),
            Ok(()) => {}
            Err(error) => report(name, &error),
        }
    }
}

fn report(name: &str, error: &dyn std::error::Error) {
    // Without stderr nobody can be told.
    let _ = writeln!(io::stderr(), "{name}: {error}");
}

/// Listens on `path`, and serves the client that connects; with `keep` also those that come after it.
pub fn run(
    name: &str,
    path: &Path,
    keep: bool,
    serve: impl Fn(UnixStream) -> Result<(), Error>,
) -> ExitCode {
    match listen(name, path, keep, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(name, &failure);
            ExitCode::FAILURE
        }
    }
}
