// SPDX-License-Identifier: GPL-2.0

//! Start, end, and the next client.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use crate::client::*;
use crate::model::*;

/// A start that has to fail; returns what it says.
fn refused(program: &str, scratch: &Scratch) -> String {
    let output = Command::new(program)
        .arg("--socket")
        .arg(scratch.socket())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_model_that_was_killed_does_not_keep_the_next_from_its_socket() {
    for program in BOTH {
        let model = Model::start(program);
        let client = model.agreed();
        let scratch = model.kill();
        drop(client);
        assert!(scratch.socket().exists());
        let mut model = Model::start_in(scratch, program, &[]);
        model.agreed().check();
        model.wait().is_clean();
    }
}

#[test]
fn a_socket_in_use_stays_in_use() {
    for program in BOTH {
        let scratch = Scratch::new();
        let listener = UnixListener::bind(scratch.socket()).unwrap();
        assert!(refused(program, &scratch).contains("exists already"));
        assert!(scratch.socket().exists());
        drop(listener);
    }
}

#[test]
fn a_model_that_waits_is_not_disturbed_by_another_start() {
    for program in BOTH {
        let mut model = Model::start(program);
        let output = Command::new(program)
            .arg("--socket")
            .arg(model.socket())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        model.agreed().check();
        model.wait().is_clean();
    }
}

#[test]
fn a_file_that_is_no_socket_stays() {
    for program in BOTH {
        let scratch = Scratch::new();
        fs::write(scratch.socket(), "mine").unwrap();
        assert!(refused(program, &scratch).contains("exists already"));
        assert_eq!(fs::read(scratch.socket()).unwrap(), b"mine");
    }
}

#[test]
fn without_keep_there_is_one_client() {
    for program in BOTH {
        let mut model = Model::start(program);
        let mut first = model.agreed();
        let second = Client::connect(&model.socket());
        first.check();
        drop(first);
        model.wait().is_clean();
        assert!(second.finish().is_empty());
    }
}

#[test]
fn with_keep_each_client_has_a_new_device() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut first = model.agreed();
        first.write_word(CONFIG, 0x0c, 0x10);
        first.write_word(CONFIG, 4, 6);
        assert_eq!(first.read_word(CONFIG, 0x0c), 0x10);
        // Waits until the first is gone.
        let mut second = Client::connect(&model.socket());
        second.send(&message(1, VERSION, 0, &version()));
        first.check();
        drop(first);
        assert!(second.reply().unwrap().is_success());
        assert_eq!(second.read_word(CONFIG, 0x0c), 0);
        assert_eq!(second.read_word(CONFIG, 4) & 6, 0);
    }
}

#[test]
fn with_keep_a_client_that_breaks_the_protocol_is_not_the_last() {
    for program in BOTH {
        let mut model = Model::kept(program);
        for _ in 0..10 {
            let mut client = model.agreed();
            client.send(&message_of_size(1, GET_INFO, 0, 3, &[]));
            assert_eq!(client.reply(), None);
        }
        model.serves();
        model.signal("TERM");
        model.wait().is_clean();
    }
}

/// Two in one network namespace, which may have the same process ID in another.
#[test]
fn models_do_not_get_in_each_others_way() {
    let models: Vec<_> = BOTH
        .iter()
        .cycle()
        .take(6)
        .map(|program| Model::start(program))
        .collect();
    let mut clients: Vec<_> = models.iter().map(Model::agreed).collect();
    clients.iter_mut().for_each(Client::check);
}

/// Whoever reads the log may end before the model does.
#[test]
fn a_log_that_nobody_reads_is_no_reason_to_end() {
    for program in BOTH {
        let scratch = Scratch::new();
        let mut process = Command::new(program)
            .arg("-vv")
            .arg("--socket")
            .arg(scratch.socket())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(process.stderr.take());
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let mut client = Client::agreed(&scratch.socket());
        client.request(RESET, &[]);
        client.check();
        drop(client);
        assert_eq!(process.wait().unwrap().code(), Some(0));
        assert!(!scratch.socket().exists());
    }
}

#[test]
fn a_start_that_nobody_can_be_told_of_fails() {
    for program in BOTH {
        let scratch = Scratch::new();
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(ours);
        let status = Command::new(program)
            .arg("--socket")
            .arg(scratch.socket())
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(1));
        assert!(!scratch.socket().exists());
    }
}
