// SPDX-License-Identifier: GPL-2.0

//! Configuration space: 4096 bytes with the capabilities of the device.
//!
//! | offset | capability | of |
//! | --- | --- | --- |
//! | 0x40 | PCI Express 2, root complex integrated endpoint, FLR | both devices |
//! | 0x80 | MSI-X | DSA |
//! | 0x90 | power management, no soft reset but with `--d3-resets` | both devices |
//! | 0x100 | DVSEC: scalable I/O virtualization (SIOV) | DSA |
//! | 0x220, 0x230, 0x240 | ATS, PASID, PRS (`--pasid`) | DSA |
//!
//! Offsets and contents of a DSA's are those of appendix C, but for this:
//!
//! - AER, LTR, TPH and VC are missing, although DEVCAP2 states LTR. The DVSEC, which
//!   is not in it, lies where AER would.
//! - BAR4 is the test page.
//! - The subsystem's IDs are read-only, as after firmware has written them.
//! - No bit of PCISTS and DEVSTS is ever set, so that there is none to clear.

use std::ops::Range;

use crate::config::Config;

pub const SIZE: usize = 4096;

const COMMAND: usize = 0x04;
const EXPRESS: usize = 0x40;
const DEVCTL: usize = EXPRESS + 0x08;
const DEVCAP2: usize = EXPRESS + 0x24;
const DEVCTL2: usize = EXPRESS + 0x28;
const MSIX: usize = 0x80;
const POWER: usize = 0x90;
const PMCSR: usize = POWER + 4;
const NO_SOFT_RESET: u16 = 1 << 3;
const DVSEC: usize = 0x100;
const DVSEC_CAPS: usize = DVSEC + 0x14;
const ATS: usize = 0x220;
const PASID: usize = 0x230;
const PRS: usize = 0x240;
const PRS_CTL: usize = PRS + 4;
const PRS_ALLOC: usize = PRS + 0xc;
/// The three capabilities that control address translation (9.1.3).
const TRANSLATION: Range<usize> = ATS..PRS + 0x10;
/// Page requests that the device can have outstanding (PRSREQCAP).
const PRS_CAPACITY: u32 = 0x200;

const COMMAND_MASTER: u16 = 1 << 2;
const DEVCTL_FLR: u16 = 1 << 15;

/// A region of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Region {
    /// Registers and tables.
    Bar0,
    /// Portals.
    Bar2,
    /// The test page.
    Bar4,
    /// Configuration space.
    Config,
}

/// What the header says of a device.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub vendor: u16,
    pub device: u16,
    /// Class code in bits 31:8, revision in bits 7:0.
    pub class: u32,
}

/// What a write to configuration space asks the device to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// To reset: Function Level Reset was initiated, or the device left D3hot and does not keep its
    /// state there.
    pub reset: bool,
    /// Bus mastering went from on to off.
    pub master_off: bool,
    /// The controls of ATS, PASID or PRS are others.
    pub translation: bool,
}

pub struct ConfigSpace {
    bytes: Vec<u8>,
    /// Bits that software can write.
    writable: Vec<u8>,
    reset: Vec<u8>,
}

impl ConfigSpace {
    /// That of a DSA.
    pub fn new(config: &Config) -> Self {
        let mut space = Self::blank();
        space.header(Identity {
            vendor: 0x8086,
            device: config.device_id,
            class: 0x0880_0000,
        });
        let layout = config.layout();
        let bars = [layout.bar0_size, config.bar2_size(), config.bar4_size()];
        for (index, size) in bars.into_iter().enumerate() {
            let at = 0x10 + index * 8;
            space.put32(at, 0xc); // 64-bit, prefetchable
            space.allow32(at, (size - 1) as u32 ^ u32::MAX);
            space.allow32(at + 4, u32::MAX);
        }
        space.express(MSIX);
        space.device_capabilities();
        space.msix(config);
        space.power(config.d3_resets);
        space.extended(config);
        space.reset = space.bytes.clone();
        space
    }

    /// That of a device with `size` bytes of registers in BAR0 (32-bit, not
    /// prefetchable), and neither MSI nor MSI-X.
    pub fn plain(identity: Identity, size: u32) -> Self {
        let mut space = Self::blank();
        space.header(identity);
        space.allow32(0x10, !(size - 1));
        space.express(POWER);
        space.power(false);
        space.reset = space.bytes.clone();
        space
    }

    fn blank() -> Self {
        Self {
            bytes: vec![0; SIZE],
            writable: vec![0; SIZE],
            reset: Vec::new(),
        }
    }

    fn header(&mut self, identity: Identity) {
        self.put16(0x00, identity.vendor);
        self.put16(0x02, identity.device);
        // Memory space, bus master, parity, SERR. There is no INTx to disable.
        self.allow16(COMMAND, 0x0146);
        self.put16(0x06, 0x0010); // capabilities list
        self.put32(0x08, identity.class);
        self.allow16(0x0c, 0xff); // cache line size
        self.put16(0x2c, identity.vendor);
        self.put32(0x34, EXPRESS as u32);
    }

    fn express(&mut self, next: usize) {
        self.put32(EXPRESS, 0x0092_0010 | (next as u32) << 8);
        self.put32(EXPRESS + 4, 1 << 28 | 1 << 15); // FLR, role-based errors
        self.allow16(DEVCTL, 0x79ff);
    }

    /// A DSA's DEVCAP, DEVCTL, DEVCAP2 and DEVCTL2. Linux enables PASIDs only on a
    /// device with End-End TLP prefixes.
    fn device_capabilities(&mut self) {
        self.put32(EXPRESS + 4, 0x1000_8022); // and extended tags, payloads of 512 bytes
        self.put16(DEVCTL, 0x2910); // 512 bytes a read, no snoop, extended tags, relaxed order
        self.put32(DEVCAP2, 0x1073_0810); // DMWr, one prefix, 10-bit tags, LTR, timeout disable
        self.allow16(DEVCTL2, 0x1410); // 10-bit tags, LTR, timeout disable
    }

    fn msix(&mut self, config: &Config) {
        self.put32(
            MSIX,
            u32::from(config.vectors - 1) << 16 | (POWER as u32) << 8 | 0x11,
        );
        self.allow16(MSIX + 2, 0xc000); // enable, function mask
        let layout = config.layout();
        self.put32(MSIX + 4, layout.msix_table as u32);
        self.put32(MSIX + 8, layout.msix_pba as u32);
    }

    fn power(&mut self, d3_resets: bool) {
        self.put32(POWER, 0x0003_0001); // version 3
        self.put16(PMCSR, if d3_resets { 0 } else { NO_SOFT_RESET });
        self.allow16(PMCSR, 0x3);
    }

    fn extended(&mut self, config: &Config) {
        // Without a DVSEC the chain begins with an empty header of ID 0.
        let next = if config.pasid { ATS as u32 } else { 0 };
        self.put32(DVSEC, next << 20);
        if config.dvsec {
            self.put32(DVSEC, next << 20 | 1 << 16 | 0x23);
            self.put32(DVSEC + 4, 0x18 << 20 | 0x8086); // length, vendor
            self.put16(DVSEC + 8, 5); // SIOV
            self.put32(DVSEC + 0xc, 1); // supported page sizes: 4 KiB
            self.put32(DVSEC + 0x10, 1); // system page size
            self.put32(DVSEC_CAPS, 1); // IMS
        }
        if config.pasid {
            self.put32(ATS, (PASID as u32) << 20 | 1 << 16 | 0x0f);
            self.put16(ATS + 4, 0x60); // global invalidate, page aligned, queue of 32
            self.allow16(ATS + 6, 0x801f); // enable, smallest unit
            self.put32(PASID, (PRS as u32) << 20 | 1 << 16 | 0x1b);
            self.put16(PASID + 4, 20 << 8 | 1 << 2); // 20 bits, privileged mode
            self.allow16(PASID + 6, 0x5); // enable, privileged mode
            self.put32(PRS, 1 << 16 | 0x13);
            self.allow16(PRS_CTL, 0x3); // enable, reset
            self.put16(PRS_CTL + 2, 0x8100); // responses need a PASID, stopped
            self.put32(PRS + 8, PRS_CAPACITY);
            self.allow32(PRS_ALLOC, u32::MAX);
        }
    }

    fn put16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn put32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn allow16(&mut self, at: usize, bits: u16) {
        self.writable[at..at + 2].copy_from_slice(&bits.to_le_bytes());
    }

    fn allow32(&mut self, at: usize, bits: u32) {
        self.writable[at..at + 4].copy_from_slice(&bits.to_le_bytes());
    }

    fn get16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub fn bus_master(&self) -> bool {
        self.get16(COMMAND) & COMMAND_MASTER != 0
    }

    /// Whether the device is in power state D0.
    pub fn powered(&self) -> bool {
        self.get16(PMCSR) & 0x3 == 0
    }

    pub fn ats_enabled(&self) -> bool {
        self.get16(ATS + 6) & 1 << 15 != 0
    }

    pub fn pasid_enabled(&self) -> bool {
        self.get16(PASID + 6) & 1 != 0
    }

    pub fn pasid_privileged(&self) -> bool {
        self.get16(PASID + 6) & 1 << 2 != 0
    }

    pub fn page_requests_enabled(&self) -> bool {
        self.get16(PRS_CTL) & 1 != 0
    }

    /// Whether page requests are disabled, or as many are allowed as there can be.
    pub fn page_requests_valid(&self) -> bool {
        let bytes = self.bytes[PRS_ALLOC..].first_chunk().expect("four bytes");
        let allowed = u32::from_le_bytes(*bytes);
        !self.page_requests_enabled() || (1..=PRS_CAPACITY).contains(&allowed)
    }

    /// Sets or clears the IMS bit of the DVSEC, if there is one.
    pub fn set_ims(&mut self, ims: bool) {
        if self.get16(DVSEC) == 0x23 {
            self.put32(DVSEC_CAPS, u32::from(ims));
        }
    }

    pub fn read(&self, offset: usize, data: &mut [u8]) {
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = self.bytes.get(offset + index).copied().unwrap_or(0xff);
        }
    }

    pub fn write(&mut self, offset: usize, data: &[u8]) -> Effect {
        let (master, powered) = (self.bus_master(), self.powered());
        let translation = self.bytes[TRANSLATION].to_vec();
        let power = self.bytes[PMCSR];
        let mut effect = Effect::default();
        for (index, &value) in data.iter().enumerate() {
            let at = offset + index;
            let Some(&writable) = self.writable.get(at) else {
                break;
            };
            self.bytes[at] = self.bytes[at] & !writable | value & writable;
            // The bit that initiates FLR always reads 0.
            effect.reset |= at == DEVCTL + 1 && value & (DEVCTL_FLR >> 8) as u8 != 0;
        }
        // D1 and D2 are not supported: to write them changes nothing.
        if matches!(self.bytes[PMCSR] & 0x3, 1 | 2) {
            self.bytes[PMCSR] = power;
        }
        effect.reset |= !powered && self.powered() && self.get16(PMCSR) & NO_SOFT_RESET == 0;
        effect.master_off = master && !self.bus_master();
        effect.translation = self.bytes[TRANSLATION] != translation;
        effect
    }

    /// Function Level Reset, or a reset by QEMU.
    pub fn reset(&mut self) {
        self.bytes.clone_from(&self.reset);
    }
}

#[cfg(test)]
mod tests;
