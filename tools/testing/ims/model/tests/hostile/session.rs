// SPDX-License-Identifier: GPL-2.0

//! A session as a good client has it.

use crate::client::*;

/// Its messages, each of which has a reply. IDs count from 0.
pub fn messages() -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut add = |command, payload: Vec<u8>| {
        let id = messages.len() as u16;
        messages.push(message(id, command, 0, &payload));
    };
    add(VERSION, version());
    add(GET_INFO, words(&[16, 0, 0, 0]));
    for index in 0..REGIONS {
        add(GET_REGION_INFO, region_info(index));
    }
    for index in 0..IRQS {
        add(GET_IRQ_INFO, irq_info(index));
    }
    add(DMA_MAP, map(3, 0, 0, 0xa_0000));
    add(DMA_MAP, map(3, 0, 0x10_0000, 0x1000_0000));
    add(REGION_READ, access(CONFIG, 0, 64, &[]));
    add(REGION_WRITE, access(CONFIG, 4, 2, &[0x06, 0x00]));
    add(REGION_READ, access(BAR0, 0, 4, &[]));
    add(REGION_WRITE, access(BAR0, 0x88, 4, &[0; 4]));
    add(SET_IRQS, irqs(DATA_NONE | TRIGGER, MSIX, 0, 0));
    add(DMA_UNMAP, unmap(0, 0, 0xa_0000));
    add(RESET, Vec::new());
    messages
}

pub fn bytes() -> Vec<u8> {
    messages().concat()
}
