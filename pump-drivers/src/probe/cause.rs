//! The likely cause where nothing answers, or where something is wrong beside what answers.

use super::{Report, Setting};
use crate::hex::hex_of;
use crate::protocol::Protocol;
use core::fmt;
use core::time::Duration;

/// Of bytes shown as evidence, at most so many.
const SHOWN: usize = 16;

/// Fewer bytes than this are no two answers at once.
const SHORTEST_ANSWER: usize = 3;

/// What is wrong, with its evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cause {
    /// Requests of another controller were heard before anything was sent.
    OtherMaster {
        /// What it speaks.
        protocol: Protocol,
        /// At which setting.
        setting: Setting,
        /// Good frames heard.
        frames: usize,
        /// For how long the wire was listened to.
        listened: Duration,
        /// Some of the bytes.
        heard: Vec<u8>,
    },
    /// Bytes were heard before anything was sent, and no setting makes frames of them.
    Unasked {
        /// How many, at the first setting.
        count: usize,
        /// For how long the wire was listened to.
        listened: Duration,
        /// Some of them.
        heard: Vec<u8>,
    },
    /// Two devices at one address.
    TwoDevices {
        /// Which they speak.
        protocol: Protocol,
        /// At which setting.
        setting: Setting,
        /// Theirs.
        address: u8,
        /// What came.
        heard: Vec<u8>,
    },
    /// Answers come after their time.
    Late {
        /// Which is spoken.
        protocol: Protocol,
        /// Who spoke when another was asked.
        addresses: Vec<u8>,
    },
    /// A dispenser that was found does not always answer.
    BadLine {
        /// Which it speaks.
        protocol: Protocol,
        /// Its own.
        address: u8,
        /// Questions.
        checks: u32,
        /// How many of them got no good answer.
        failures: u32,
    },
    /// Bytes come back that make no frame.
    NoFrame {
        /// Where most of them came.
        setting: Setting,
        /// How many, everywhere.
        count: u32,
        /// Some of them.
        heard: Vec<u8>,
    },
    /// Only our own bytes come back.
    EchoOnly {
        /// Questions.
        asked: u32,
        /// How many of them came back.
        echoed: u32,
    },
    /// Nothing comes back.
    Silence {
        /// Questions.
        asked: u32,
    },
    /// The port takes none of the settings.
    NoSetting {
        /// What it says.
        why: String,
    },
    /// Nothing was asked: no setting or no address is left.
    NothingToAsk,
}

impl Cause {
    /// One word for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::OtherMaster { .. } => "other-master",
            Self::Unasked { .. } => "unasked-bytes",
            Self::TwoDevices { .. } => "two-devices",
            Self::Late { .. } => "late-answers",
            Self::BadLine { .. } => "bad-line",
            Self::NoFrame { .. } => "no-frame",
            Self::EchoOnly { .. } => "echo-only",
            Self::Silence { .. } => "silence",
            Self::NoSetting { .. } => "no-setting",
            Self::NothingToAsk => "nothing-to-ask",
        }
    }

    /// Whether nothing may be sent on this wire.
    #[must_use]
    pub const fn forbids_asking(&self) -> bool {
        matches!(self, Self::OtherMaster { .. } | Self::Unasked { .. })
    }
}

/// An address as it stands in the sheets: hex where they have it so.
#[must_use]
pub(super) fn address_text(protocol: Protocol, address: u8) -> String {
    match protocol {
        Protocol::Dart => format!("0x{address:02X}"),
        _ => address.to_string(),
    }
}

fn some(bytes: &[u8]) -> String {
    let more = if bytes.len() > SHOWN { " …" } else { "" };
    format!("{}{more}", hex_of(&bytes[..bytes.len().min(SHOWN)]))
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherMaster { protocol, setting, frames, listened, heard } => write!(
                f,
                "another master is polling: {frames} {} frames at {setting} within {} s ({}). Nothing was sent. Disconnect \
                 it from this wire and probe again",
                protocol.word(),
                listened.as_secs(),
                some(heard)
            ),
            Self::Unasked { count, listened, heard } => write!(
                f,
                "{count} bytes came within {} s without being asked, and make no frame at any setting ({}). Nothing was \
                 sent. Likely another master at a rate or in a protocol that is not known here, or noise on an open wire: \
                 disconnect the other controller, check termination and bias, and probe again",
                listened.as_secs(),
                some(heard)
            ),
            Self::TwoDevices { protocol, setting, address, heard } => write!(
                f,
                "two devices answer at address {}: {} answers collide there at {setting} ({}). Give one of them another \
                 address, or take one off the wire, and probe again",
                address_text(*protocol, *address),
                protocol.word(),
                some(heard)
            ),
            Self::Late { protocol, addresses } => {
                let who: Vec<String> = addresses.iter().map(|address| address_text(*protocol, *address)).collect();
                write!(
                    f,
                    "{} spoke after its time, when another question was asked: answers come late. Raise answer-window-ms of \
                     this line, and look for a slow converter on the wire or a busy machine",
                    who.join(", ")
                )
            }
            Self::BadLine { protocol, address, checks, failures } => write!(
                f,
                "{} did not answer {failures} of {checks} questions well: look at termination, screen and a common ground; \
                 or a second device has this address",
                address_text(*protocol, *address)
            ),
            Self::NoFrame { setting, count, heard } => write!(
                f,
                "{count} bytes came back that make no frame at any setting tried, most at {setting} ({}). Likely the parity \
                 or the rate is another: try --parity and --baud as in the pump's manual; or A and B are swapped: swap them",
                some(heard)
            ),
            Self::EchoOnly { asked, echoed } => write!(
                f,
                "only our own bytes came back ({echoed} of {asked} questions, no answer). Likely A and B are swapped, the \
                 wire behind the adapter is open, the pumps have no power, or a half-duplex adapter does not let go of the \
                 wire"
            ),
            Self::Silence { asked } => write!(
                f,
                "silence: no byte came back on {asked} questions. Check in this order: power of the pumps; the cable up to \
                 the last terminal; A and B (swap them); address and rate in the pump's menu; whether it speaks a protocol \
                 that was tried"
            ),
            Self::NoSetting { why } => {
                write!(f, "the port takes none of the settings to be tried: {why}. Use another adapter")
            }
            Self::NothingToAsk => {
                f.write_str("nothing was asked: no address of the protocols is among those given. Widen --addresses")
            }
        }
    }
}

/// What is most likely wrong after all that was heard.
pub(super) fn judge(report: &Report) -> Vec<Cause> {
    let mut causes = Vec::new();
    for found in report.found.iter().filter(|found| found.failures > 0) {
        let (protocol, address) = (found.protocol, found.address);
        causes.push(Cause::BadLine { protocol, address, checks: found.checks, failures: found.failures });
    }
    for pass in &report.passes {
        let is_found =
            report.found.iter().any(|found| found.protocol == pass.protocol && found.setting == pass.setting);
        // bytes at one or two of many addresses are answers that collide; bytes everywhere are a wrong setting
        let is_local = is_found || pass.garbled.len() <= 2 && pass.asked > 4;
        let alone = report.passes.iter().all(|other| core::ptr::eq(other, pass) || other.garbled.is_empty());
        let two = |(address, heard): &(u8, Vec<u8>)| Cause::TwoDevices {
            protocol: pass.protocol,
            setting: pass.setting,
            address: *address,
            heard: heard.clone(),
        };
        if is_local && (is_found || report.found.is_empty() && alone) {
            // less is a spike on the wire, not an answer
            causes.extend(pass.garbled.iter().filter(|(_, heard)| heard.len() >= SHORTEST_ANSWER).map(two));
        }
        causes.extend(pass.doubled.iter().filter(|one| !pass.garbled.iter().any(|other| other.0 == one.0)).map(two));
        if !pass.strays.is_empty() {
            causes.push(Cause::Late { protocol: pass.protocol, addresses: pass.strays.clone() });
        }
    }
    if report.found.is_empty() && causes.is_empty() {
        causes.push(nothing(report));
    }
    causes
}

fn nothing(report: &Report) -> Cause {
    let sum = |of: fn(&super::PassReport) -> u32| report.passes.iter().map(of).sum::<u32>();
    let (asked, echoed, count) = (sum(|p| p.asked), sum(|p| p.echoed), sum(|p| p.bytes));
    let loudest = report.passes.iter().max_by_key(|pass| pass.bytes);
    if asked == 0 {
        let why = report.passes.iter().find_map(|pass| pass.refused.clone());
        return why.map_or(Cause::NothingToAsk, |why| Cause::NoSetting { why });
    }
    match loudest {
        Some(pass) if count > 0 => Cause::NoFrame {
            setting: pass.setting,
            count,
            heard: pass.garbled.last().map(|(_, heard)| heard.clone()).unwrap_or_default(),
        },
        _ if echoed > 0 => Cause::EchoOnly { asked, echoed },
        _ => Cause::Silence { asked },
    }
}
