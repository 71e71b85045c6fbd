//! Transactions inside a block (DART sheet, sections 5, 6 and 8).
//!
//! Transaction numbers are shared by both directions, so the direction is always the caller's word: what a pump says is never
//! read as a command.

use super::digits::Digits;

/// Commands without data (CD1, the byte DCC).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// 00: asks for DC1 and DC3, and DC5 if an alarm stands.
    ReturnStatus,
    /// 02: asks for DC7.
    ReturnParameters,
    /// 03: asks for DC9.
    ReturnIdentity,
    /// 04: asks for DC2 and DC3.
    ReturnFilling,
    /// 05: zeroes the display and makes ready for AUTHORIZE. Wipes the last filling.
    Reset,
    /// 06: releases one fuelling.
    Authorize,
    /// 08: motor off, fuelling ends.
    Stop,
    /// 0A: out of service. Not sent.
    SwitchOff,
    /// Anything else.
    Other(u8),
}

impl Command {
    /// From the byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0x00 => Self::ReturnStatus,
            0x02 => Self::ReturnParameters,
            0x03 => Self::ReturnIdentity,
            0x04 => Self::ReturnFilling,
            0x05 => Self::Reset,
            0x06 => Self::Authorize,
            0x08 => Self::Stop,
            0x0A => Self::SwitchOff,
            other => Self::Other(other),
        }
    }

    /// The byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::ReturnStatus => 0x00,
            Self::ReturnParameters => 0x02,
            Self::ReturnIdentity => 0x03,
            Self::ReturnFilling => 0x04,
            Self::Reset => 0x05,
            Self::Authorize => 0x06,
            Self::Stop => 0x08,
            Self::SwitchOff => 0x0A,
            Self::Other(byte) => byte,
        }
    }

    /// The sheet's words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ReturnStatus => "RETURN STATUS",
            Self::ReturnParameters => "RETURN PUMP PARAMETERS",
            Self::ReturnIdentity => "RETURN PUMP IDENTITY",
            Self::ReturnFilling => "RETURN FILLING INFORMATION",
            Self::Reset => "RESET",
            Self::Authorize => "AUTHORIZE",
            Self::Stop => "STOP",
            Self::SwitchOff => "SWITCH OFF",
            Self::Other(_) => "UNDEFINED",
        }
    }
}

/// What the controller says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ControllerSays {
    /// CD1.
    Command(Command),
    /// CD2: logical nozzles that may fuel, until changed.
    AllowedNozzles(Vec<u8>),
    /// CD3: limit of one fuelling.
    PresetVolume(Digits<4>),
    /// CD4: limit of one fuelling.
    PresetAmount(Digits<4>),
    /// CD5: prices of logical nozzles 1 to n.
    Prices(Vec<Digits<3>>),
    /// CD14: hold the flow of a nozzle, 0 for the one in use.
    Suspend(u8),
    /// CD15: let it flow again.
    Resume(u8),
    /// CD8, CD101, CD102 or 67: asks for a total.
    Total {
        /// 08, 65, 66 or 67 (hex).
        trans: u8,
        /// Which counter.
        counter: u8,
    },
    /// Not understood, or of no use here.
    Other {
        /// Its number.
        trans: u8,
        /// Its data.
        data: Vec<u8>,
    },
}

/// CD101: asks for a volume total.
pub const VOLUME_TOTAL: u8 = 0x65;

impl ControllerSays {
    /// Appends the transaction to a block.
    pub fn write(&self, body: &mut Vec<u8>) {
        let (trans, data): (u8, Vec<u8>) = match self {
            Self::Command(command) => (0x01, vec![command.byte()]),
            Self::AllowedNozzles(nozzles) => (0x02, nozzles.clone()),
            Self::PresetVolume(digits) => (0x03, digits.0.to_vec()),
            Self::PresetAmount(digits) => (0x04, digits.0.to_vec()),
            Self::Prices(prices) => (0x05, prices.iter().flat_map(|price| price.0).collect()),
            Self::Suspend(nozzle) => (0x0E, vec![*nozzle]),
            Self::Resume(nozzle) => (0x0F, vec![*nozzle]),
            Self::Total { trans, counter } => (*trans, vec![*counter]),
            Self::Other { trans, data } => (*trans, data.clone()),
        };
        body.push(trans);
        body.push(u8::try_from(data.len()).unwrap_or(u8::MAX));
        body.extend_from_slice(&data[..data.len().min(usize::from(u8::MAX))]);
    }

    fn read(raw: &Raw<'_>) -> Self {
        match (raw.trans, raw.data) {
            (0x01, [byte]) => Self::Command(Command::from_byte(*byte)),
            (0x02, nozzles) if !nozzles.is_empty() => Self::AllowedNozzles(nozzles.to_vec()),
            (0x03, &[a, b, c, d]) => Self::PresetVolume(Digits([a, b, c, d])),
            (0x04, &[a, b, c, d]) => Self::PresetAmount(Digits([a, b, c, d])),
            (0x05, prices) if !prices.is_empty() && prices.len() % 3 == 0 => {
                Self::Prices(prices.chunks_exact(3).map(|p| Digits([p[0], p[1], p[2]])).collect())
            }
            (0x0E, [nozzle]) => Self::Suspend(*nozzle),
            (0x0F, [nozzle]) => Self::Resume(*nozzle),
            (trans @ (0x08 | 0x65..=0x67), [counter]) => Self::Total { trans, counter: *counter },
            (trans, data) => Self::Other { trans, data: data.to_vec() },
        }
    }
}

/// Status of a pump (DC1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// 0: no prices since power-up.
    NotProgrammed,
    /// 1: ready to be authorised.
    Reset,
    /// 2: released.
    Authorized,
    /// 4: fuel may flow.
    Filling,
    /// 5: ended, at rest, or stopped.
    Completed,
    /// 6: limit reached.
    MaxReached,
    /// 7: out of service.
    SwitchedOff,
    /// 8: fuelling open, no flow.
    Suspended,
    /// 3 and above 8: undefined.
    Undefined(u8),
}

impl Status {
    /// From the byte.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::NotProgrammed,
            1 => Self::Reset,
            2 => Self::Authorized,
            4 => Self::Filling,
            5 => Self::Completed,
            6 => Self::MaxReached,
            7 => Self::SwitchedOff,
            8 => Self::Suspended,
            other => Self::Undefined(other),
        }
    }

    /// The sheet's words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotProgrammed => "NOT PROGRAMMED",
            Self::Reset => "RESET",
            Self::Authorized => "AUTHORIZED",
            Self::Filling => "FILLING",
            Self::Completed => "FILLING COMPLETED",
            Self::MaxReached => "MAX AMOUNT/VOLUME",
            Self::SwitchedOff => "SWITCHED OFF",
            Self::Suspended => "SUSPENDED",
            Self::Undefined(_) => "UNDEFINED",
        }
    }
}

/// Which nozzle is selected and whether it is out (the byte NOZIO of DC3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nozio(pub u8);

impl Nozio {
    /// Logical nozzle 1 to 15; `None` for none.
    #[must_use]
    pub const fn selected(self) -> Option<u8> {
        match self.0 & 0x0F {
            0 => None,
            nozzle => Some(nozzle),
        }
    }

    /// Whether a nozzle is out of its holder.
    #[must_use]
    pub const fn is_out(self) -> bool {
        self.0 & 0x10 != 0
    }
}

/// What the pump says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PumpSays {
    /// DC1.
    Status(Status),
    /// DC2: volume, then amount.
    Filling {
        /// Volume.
        volume: Digits<4>,
        /// Amount.
        amount: Digits<4>,
    },
    /// DC3: price of the selected nozzle.
    Nozzle {
        /// Unit price.
        price: Digits<3>,
        /// Which nozzle, and where.
        nozio: Nozio,
    },
    /// DC5.
    Alarm(u8),
    /// DC9: ten digits, their meaning unknown.
    Identity(Digits<5>),
    /// DC14: held.
    Suspended(u8),
    /// DC15: goes on.
    Resumed(u8),
    /// DC101 or DC102, any form.
    Total {
        /// 65 volume, 66 amount (hex).
        trans: u8,
        /// Echo of the request; `None` in the form that lacks it.
        counter: Option<u8>,
        /// The first total. The others repeat it or are of unknown use.
        total: Digits<5>,
    },
    /// Not understood, or of no use here.
    Other {
        /// Its number.
        trans: u8,
        /// Its data.
        data: Vec<u8>,
    },
}

fn digits5(bytes: &[u8]) -> Option<Digits<5>> {
    bytes.get(..5)?.try_into().ok().map(Digits)
}

impl PumpSays {
    fn read(raw: &Raw<'_>) -> Self {
        let other = || Self::Other { trans: raw.trans, data: raw.data.to_vec() };
        match (raw.trans, raw.data) {
            (0x01, [byte]) => Self::Status(Status::from_byte(*byte)),
            (0x02, &[a, b, c, d, e, f, g, h]) => {
                Self::Filling { volume: Digits([a, b, c, d]), amount: Digits([e, f, g, h]) }
            }
            (0x03, &[a, b, c, nozio]) => Self::Nozzle { price: Digits([a, b, c]), nozio: Nozio(nozio) },
            (0x05, [code]) => Self::Alarm(*code),
            (0x09, data) if data.len() == 5 => digits5(data).map_or_else(other, Self::Identity),
            (0x0E, [nozzle]) => Self::Suspended(*nozzle),
            (0x0F, [nozzle]) => Self::Resumed(*nozzle),
            (trans @ (0x65 | 0x66), data @ [counter, rest @ ..]) => {
                let total = match data.len() {
                    16 | 6 => digits5(rest),
                    // volume 6, amount 6: the top byte of each is ignored (DART sheet, section 8)
                    13 => digits5(&rest[1..]),
                    _ => None,
                };
                total.map_or_else(other, |total| Self::Total { trans, counter: Some(*counter), total })
            }
            _ => other(),
        }
    }
}

/// One transaction as bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Raw<'a> {
    /// Its number.
    pub trans: u8,
    /// Its data.
    pub data: &'a [u8],
}

/// Where the lengths of a block do not come out at its checksum. What stood before is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overrun<'a> {
    /// From the transaction that does not fit to the checksum.
    pub raw: &'a [u8],
}

/// Splits a block into transactions by their lengths.
#[must_use]
pub fn walk(body: &[u8]) -> (Vec<Raw<'_>>, Option<Overrun<'_>>) {
    let mut found = Vec::new();
    let mut rest = body;
    while let [trans, length, after @ ..] = rest {
        let Some((data, next)) = after.split_at_checked(usize::from(*length)) else { break };
        found.push(Raw { trans: *trans, data });
        rest = next;
    }
    (found, (!rest.is_empty()).then_some(Overrun { raw: rest }))
}

/// What the controller says in a block.
#[must_use]
pub fn read_controller(body: &[u8]) -> Vec<ControllerSays> {
    walk(body).0.iter().map(ControllerSays::read).collect()
}

/// What the pump says in a block, and the bytes that could not be read.
///
/// One head sends a total of length 16 with 15 bytes: no counter, three totals (DART sheet, section 8).
#[must_use]
pub fn read_pump(body: &[u8]) -> (Vec<PumpSays>, Option<Overrun<'_>>) {
    let (raw, overrun) = walk(body);
    let mut says: Vec<PumpSays> = raw.iter().map(PumpSays::read).collect();
    if let Some(Overrun { raw: [trans @ (0x65 | 0x66), 16, totals @ ..] }) = overrun
        && totals.len() == 15
        && let Some(total) = digits5(totals)
    {
        says.push(PumpSays::Total { trans: *trans, counter: None, total });
        return (says, None);
    }
    (says, overrun)
}

/// The bytes of a block with these transactions.
#[must_use]
pub fn write(says: &[ControllerSays]) -> Vec<u8> {
    let mut body = Vec::new();
    for transaction in says {
        transaction.write(&mut body);
    }
    body
}

/// What an alarm code means (DART sheet, section 6).
#[must_use]
pub const fn alarm_text(code: u8) -> Option<&'static str> {
    Some(match code {
        0x01 => "CPU reset",
        0x03 => "RAM error",
        0x04 => "PROM checksum error",
        0x06 => "pulser error",
        0x07 => "pulser current error",
        0x09 => "emergency stop",
        0x0A => "power failure",
        0x0B => "pressure lost",
        0x0C => "blend ratio error",
        0x0D => "low leak",
        0x0E => "high leak",
        0x0F => "hose leak",
        0x10..=0x13 | 0x19 | 0x20 => "vapour recovery",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Digits<5> = Digits([0, 0x28, 0x12, 0x49, 0x01]);

    #[test]
    fn every_form_of_a_total_gives_its_first_total() {
        let five = [0, 0x28, 0x12, 0x49, 0x01];
        let zero = [0; 5];
        let long = [&[0x65, 16, 2][..], &five, &five, &zero].concat();
        let short = [&[0x65, 6, 2][..], &five].concat();
        let six = [&[0x65, 13, 2, 0x77][..], &five, &[0x77], &zero].concat();
        let lacking = [&[0x65, 16][..], &five, &five, &zero].concat();
        for (body, counter) in [(long, Some(2)), (short, Some(2)), (six, Some(2)), (lacking, None)] {
            let (says, overrun) = read_pump(&body);
            assert_eq!(says, [PumpSays::Total { trans: 0x65, counter, total: TOTAL }], "{body:02X?}");
            assert_eq!(overrun, None);
        }
    }

    #[test]
    fn an_unknown_transaction_is_skipped_by_its_length_and_the_rest_is_read() {
        let (says, overrun) = read_pump(&[0x7F, 2, 1, 1, 0x01, 1, 5]);
        assert_eq!(says[1], PumpSays::Status(Status::Completed));
        assert_eq!(overrun, None);
    }

    #[test]
    fn what_stood_before_a_length_that_overruns_is_good() {
        let (says, overrun) = read_pump(&[0x01, 1, 5, 0x02, 0x0C, 0, 0]);
        assert_eq!(says, [PumpSays::Status(Status::Completed)]);
        assert_eq!(overrun.map(|o| o.raw.to_vec()), Some(vec![0x02, 0x0C, 0, 0]));
    }

    #[test]
    fn the_same_bytes_mean_different_things_by_direction() {
        let body = [0x01, 1, 5];
        assert_eq!(read_pump(&body).0, [PumpSays::Status(Status::Completed)]);
        assert_eq!(read_controller(&body), [ControllerSays::Command(Command::Reset)]);
    }
}
