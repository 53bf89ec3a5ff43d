// SPDX-License-Identifier: GPL-2.0

//! What comes first: the version and the capabilities.

use crate::client::*;
use crate::model::*;

fn version_of(major: u16, minor: u16, data: &[u8]) -> Vec<u8> {
    [&major.to_le_bytes()[..], &minor.to_le_bytes(), data].concat()
}

#[test]
fn versions_that_are_agreed_on() {
    let many = format!(
        "{{\"capabilities\":{{\"unknown\":[{}0]}}}}\0",
        "0,".repeat(50_000)
    );
    for program in BOTH {
        let model = Model::kept(program);
        for (what, payload) in [
            ("no capabilities", version_of(0, 0, b"")),
            ("an empty object", version_of(0, 0, b"{}\0")),
            ("no migration", version_of(0, 0, b"{\"capabilities\":{}}\0")),
            (
                "a later minor",
                version_of(0, 9, b"{\"capabilities\":{}}\0"),
            ),
            ("large capabilities", version_of(0, 0, many.as_bytes())),
        ] {
            let mut client = model.connect();
            let reply = client.request(VERSION, &payload);
            assert!(reply.is_success(), "{what}: {reply:?}");
            // Not above the client's version; capabilities end with a zero.
            assert_eq!(reply.word(0), 0, "{what}");
            let end = reply.payload[4..].iter().position(|&byte| byte == 0);
            assert_eq!(end, Some(reply.payload.len() - 5), "{what}: {reply:?}");
            client.check();
        }
        model.is_sound();
    }
}

#[test]
fn versions_that_are_refused() {
    let deep = [&b"{\"capabilities\":"[..], &b"[".repeat(100_000), b"\0"].concat();
    for program in BOTH {
        let model = Model::kept(program);
        for (what, payload) in [
            ("nothing", Vec::new()),
            ("half of it", vec![0, 0]),
            ("three bytes of it", vec![0; 3]),
            ("another major", version_of(1, 0, b"{}\0")),
            ("the last major", version_of(0xffff, 0xffff, b"{}\0")),
            (
                "no zero at the end",
                version_of(0, 0, b"{\"capabilities\":{}}"),
            ),
            (
                "a zero within",
                version_of(0, 0, b"{\"capa\0bilities\":{}}\0"),
            ),
            ("two zeros", version_of(0, 0, b"{}\0\0")),
            ("not UTF-8", version_of(0, 0, b"{\"\xff\xfe\":1}\0")),
            (
                "deep nesting, without end",
                version_of(0, 0, &deep[..deep.len() - 1]),
            ),
        ] {
            let mut client = model.connect();
            let reply = client.request(VERSION, &payload);
            assert!(reply.is_refusal(), "{what}: {reply:?}");
            // Nothing is agreed on, but the client can try again.
            let reply = client.read(CONFIG, 0, 4);
            assert!(reply.is_refusal(), "{what}: {reply:?}");
            assert!(client.request(VERSION, &version()).is_success(), "{what}");
            client.check();
        }
        model.is_sound();
    }
}

#[test]
fn capabilities_are_not_trusted() {
    for program in BOTH {
        let model = Model::kept(program);
        for data in [
            "{\"capabilities\":{\"max_msg_fds\":4294967295}}\0",
            "{\"capabilities\":{\"max_msg_fds\":-1,\"max_data_xfer_size\":0}}\0",
            "{\"capabilities\":{\"max_data_xfer_size\":18446744073709551615}}\0",
            "{\"capabilities\":{\"migration\":{\"pgsize\":0}}}\0",
            "{\"capabilities\":{\"max_data_xfer_size\":1e999}}\0",
        ] {
            let mut client = model.connect();
            // To take them or to refuse them is the model's choice.
            let reply = client.request(VERSION, &version_of(0, 0, data.as_bytes()));
            assert!(
                reply.is_success() || reply.is_refusal(),
                "{data}: {reply:?}"
            );
        }
        model.serves();
    }
}

#[test]
fn nothing_comes_before_the_version() {
    for program in BOTH {
        let model = Model::kept(program);
        for (command, payload) in [
            (DMA_MAP, map(3, 0, 0, 0x1000)),
            (DMA_UNMAP, unmap(0, 0, 0x1000)),
            (GET_INFO, words(&[16, 0, 0, 0])),
            (GET_REGION_INFO, region_info(0)),
            (GET_IRQ_INFO, irq_info(0)),
            (SET_IRQS, irqs(DATA_NONE | TRIGGER, MSIX, 0, 0)),
            (REGION_READ, access(CONFIG, 0, 4, &[])),
            (REGION_WRITE, access(CONFIG, 4, 2, &[6, 0])),
            (RESET, Vec::new()),
        ] {
            let mut client = model.connect();
            let reply = client.request(command, &payload);
            assert!(reply.is_refusal(), "{command}: {reply:?}");
            assert!(client.request(VERSION, &version()).is_success());
            client.check();
        }
    }
}

#[test]
fn a_version_comes_once() {
    for program in BOTH {
        let model = Model::kept(program);
        let mut client = model.agreed();
        let reply = client.request(VERSION, &version());
        assert!(reply.is_refusal(), "{reply:?}");
        client.check();
    }
}
