//! What is tried, in which order.

use super::Talk;
use crate::line::LineSettings;
use crate::port::Parity;
use crate::protocol::Protocol;
use core::fmt;
use core::time::Duration;

/// How bytes are put on the wire: 8 data bits, 1 stop bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Bits per second.
    pub baud: u32,
    /// Of each byte.
    pub parity: Parity,
}

impl Setting {
    /// A rate with a parity.
    #[must_use]
    pub const fn new(baud: u32, parity: Parity) -> Self {
        Self { baud, parity }
    }

    /// Bits of one byte with start, parity and stop.
    #[must_use]
    pub const fn bits_per_char(self) -> u8 {
        if matches!(self.parity, Parity::None) { 10 } else { 11 }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = match self.parity {
            Parity::None => 'N',
            Parity::Odd => 'O',
            Parity::Even => 'E',
        };
        write!(f, "{} 8{parity}1", self.baud)
    }
}

/// What one protocol may be asked.
pub struct Plan {
    /// Which.
    pub protocol: Protocol,
    /// Settings it is met with, the usual one first.
    pub settings: Vec<Setting>,
    /// Addresses there are.
    pub addresses: Vec<u8>,
    /// Those of them that are asked unless a person names others.
    pub usual: Vec<u8>,
    /// How long answers take. Rate and bits of a byte come from the setting.
    pub timing: LineSettings,
    /// Begins the talk with an address.
    pub talk: Box<dyn Fn(u8) -> Box<dyn Talk> + Send>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("protocol", &self.protocol)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What a person asked for.
#[derive(Debug)]
pub struct Options {
    /// What may be met.
    pub plans: Vec<Plan>,
    /// Only these rates; all of the plans if empty.
    pub bauds: Vec<u32>,
    /// Only these parities; all of the plans if empty.
    pub parities: Vec<Parity>,
    /// Only these addresses; all of the plans if empty.
    pub addresses: Vec<u8>,
    /// How long the wire is listened to before the first byte is sent.
    pub listen: Duration,
    /// How long an answer may take to begin; that of the plan if none is given.
    pub answer_window: Option<Duration>,
    /// After so long it ends with what was found.
    pub limit: Duration,
    /// Rate and parity are set at the other end, as in a serial device server: only the usual setting of each protocol is tried.
    pub fixed: bool,
}

/// One protocol at one setting, every address once.
pub(super) struct Pass {
    /// Index of the plan.
    pub plan: usize,
    pub setting: Setting,
    pub addresses: Vec<u8>,
}

/// The byte 1p releases, 3p stops pump p and F0 or FC stop all pumps of a two-wire line, with nothing around it (two-wire sheet,
/// section 2). Where the protocol is not known, no question to find an address may hold one.
fn is_order_elsewhere(byte: u8) -> bool {
    matches!(byte >> 4, 0x1 | 0x3) || matches!(byte, 0xF0 | 0xFC)
}

/// All passes, and for each plan the addresses that are left out for the sake of other dispensers.
pub(super) fn passes(options: &Options) -> (Vec<Pass>, Vec<(Protocol, Vec<u8>)>) {
    let mixed = options.plans.len() > 1;
    let mut left_out = Vec::new();
    let mut by_plan = Vec::new();
    for plan in &options.plans {
        let all = if options.addresses.is_empty() { &plan.usual } else { &plan.addresses };
        let wanted = all.iter().copied();
        let wanted = wanted.filter(|address| options.addresses.is_empty() || options.addresses.contains(address));
        let is_safe = |address: &u8| {
            let first = (plan.talk)(*address).ask();
            !mixed || first.is_none_or(|first| !first.bytes.iter().copied().any(is_order_elsewhere))
        };
        let (addresses, unsafe_ones): (Vec<u8>, Vec<u8>) = wanted.partition(is_safe);
        if !unsafe_ones.is_empty() {
            left_out.push((plan.protocol, unsafe_ones));
        }
        by_plan.push((settings(plan, options), addresses));
    }
    let most = by_plan.iter().map(|(settings, _)| settings.len()).max().unwrap_or(0);
    let mut passes = Vec::new();
    for round in 0..most {
        for (plan, (settings, addresses)) in by_plan.iter().enumerate() {
            if let Some(setting) = settings.get(round)
                && !addresses.is_empty()
            {
                passes.push(Pass { plan, setting: *setting, addresses: addresses.clone() });
            }
        }
    }
    (passes, left_out)
}

fn settings(plan: &Plan, options: &Options) -> Vec<Setting> {
    if options.fixed {
        return plan.settings.first().copied().into_iter().collect();
    }
    if options.bauds.is_empty() && options.parities.is_empty() {
        return plan.settings.clone();
    }
    let mut found: Vec<Setting> = Vec::new();
    let rates = plan.settings.iter().map(|setting| setting.baud);
    let rates: Vec<u32> = if options.bauds.is_empty() { rates.collect() } else { options.bauds.clone() };
    let parities = plan.settings.iter().map(|setting| setting.parity);
    let parities: Vec<Parity> = if options.parities.is_empty() { parities.collect() } else { options.parities.clone() };
    for baud in rates {
        for parity in &parities {
            let setting = Setting::new(baud, *parity);
            if !found.contains(&setting) {
                found.push(setting);
            }
        }
    }
    found
}
