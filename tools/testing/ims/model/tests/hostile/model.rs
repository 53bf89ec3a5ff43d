// SPDX-License-Identifier: GPL-2.0

//! A model as a process, which has to survive or to end in order.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, PATIENCE};

pub const DSA: &str = env!("CARGO_BIN_EXE_dsa-model");
pub const QUEUE: &str = env!("CARGO_BIN_EXE_queue-model");
pub const BOTH: [&str; 2] = [DSA, QUEUE];

/// Most memory that a model may ever have had, in KiB. It needs less than 16 MiB.
const MEMORY: u64 = 64 << 10;

/// A directory of its own, removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hostile-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a model ended.
#[derive(Debug)]
pub struct End {
    pub code: Option<i32>,
    pub log: String,
}

impl End {
    /// The client did nothing wrong.
    pub fn is_clean(&self) {
        assert_eq!(self.code, Some(0), "{}", self.log);
    }

    /// The client broke the protocol, and the model's last line says how.
    pub fn says(&self, what: &str) {
        let last = self.log.lines().last().unwrap_or("");
        assert!(last.contains(what), "{what}: {}", self.log);
        assert_eq!(self.code, Some(1), "{}", self.log);
    }
}

pub struct Model {
    process: Child,
    scratch: Scratch,
}

impl Model {
    /// Ends with its first client.
    pub fn start(program: &str) -> Self {
        Self::start_in(Scratch::new(), program, &[])
    }

    /// Waits for further clients.
    pub fn kept(program: &str) -> Self {
        Self::start_in(Scratch::new(), program, &["--keep"])
    }

    pub fn start_in(scratch: Scratch, program: &str, options: &[&str]) -> Self {
        let mut process = Command::new(program)
            .arg("--socket")
            .arg(scratch.socket())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(scratch.log()).unwrap())
            .spawn()
            .unwrap();
        let (sender, listening) = mpsc::channel();
        let output = process.stdout.take().unwrap();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("listening on ") {
                    let _ = sender.send(());
                }
            }
        });
        let started = listening.recv_timeout(PATIENCE);
        let mut model = Self { process, scratch };
        if started.is_err() {
            panic!("does not listen: {:?}", model.wait());
        }
        model
    }

    pub fn socket(&self) -> PathBuf {
        self.scratch.socket()
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.socket())
    }

    pub fn agreed(&self) -> Client {
        Client::agreed(&self.socket())
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn log(&self) -> String {
        let log = fs::read(self.scratch.log()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Of `/proc/PID/NAME`.
    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.pid().to_string()).join(name)
    }

    /// File descriptors and threads.
    pub fn resources(&self) -> [usize; 2] {
        ["fd", "task"].map(|name| fs::read_dir(self.proc(name)).map_or(0, Iterator::count))
    }

    /// CPU time used, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let time = |index: usize| fields[index].parse::<u64>().unwrap();
        time(11) + time(12)
    }

    /// Waits until clients that are gone have left nothing behind.
    pub fn settles_at(&self, expected: [usize; 2]) {
        let deadline = Instant::now() + PATIENCE;
        while self.resources() != expected {
            assert!(
                Instant::now() < deadline,
                "{:?} file descriptors and threads, not {expected:?}",
                self.resources()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn check_memory(&self) {
        // A process that has ended has no memory to tell of.
        let Ok(status) = fs::read_to_string(self.proc("status")) else {
            return;
        };
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(most) = most {
            let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
            assert!(most < MEMORY, "{most} KiB of memory");
        }
    }

    /// Still serves clients, without a panic, and within its memory.
    pub fn serves(&self) {
        self.agreed().check();
        self.is_sound();
    }

    pub fn is_sound(&self) {
        self.check_memory();
        let log = self.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Waits for the end of the model, which has to come.
    pub fn wait(&mut self) -> End {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                let log = self.log();
                assert!(!log.contains("panicked"), "{log}");
                assert!(!self.socket().exists(), "the socket is left");
                let code = status.code();
                return End { code, log };
            }
            assert!(Instant::now() < deadline, "does not end: {}", self.log());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal: `TERM`, `KILL`.
    pub fn signal(&mut self, signal: &str) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let signal = match signal {
            "TERM" => rustix::process::Signal::TERM,
            _ => rustix::process::Signal::KILL,
        };
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Kills the model, and leaves what a killed process leaves.
    pub fn kill(mut self) -> Scratch {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::mem::replace(&mut self.scratch, Scratch(PathBuf::new()))
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("log of the model:\n{}", self.log());
        }
    }
}
