// SPDX-License-Identifier: GPL-2.0

//! The program around the device: command line, socket, signals.

mod options;

use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use dsa_model::{logger, server};
use options::Options;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use thiserror::Error;

#[derive(Debug, Error)]
enum Failure {
    #[error("{0}: exists already")]
    Exists(PathBuf),
    #[error("{0}: a socket path has at most 107 bytes, this one has {1}")]
    TooLong(PathBuf, usize),
    #[error("{0}: cannot listen: {1}")]
    Listen(PathBuf, #[source] io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
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

fn remove(path: &Path) {
    // Somebody else may have removed it already.
    let _ = std::fs::remove_file(path);
}

fn run(options: &Options) -> Result<(), Failure> {
    let config = options.config();
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let socket = Socket::create(&options.socket)?;
    let path = options.socket.clone();
    thread::spawn(move || {
        if signals.forever().next().is_some() {
            remove(&path);
            std::process::exit(0);
        }
    });
    println!("listening on {}", options.socket.display());
    io::stdout().flush()?;
    loop {
        let (client, _) = socket.listener.accept()?;
        server::serve(&config, client)?;
        if !options.keep {
            return Ok(());
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    logger::start(options.verbose);
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("dsa-model: {failure}");
            ExitCode::FAILURE
        }
    }
}
