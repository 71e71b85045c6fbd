//! Transactions: what a controller orders (CD) and what a pump reports (DC). DART sheet, sections 5, 6 and 8.

use crate::dispenser::NozzleIndex;
use crate::dispenser::calculator::{AmountDigits, PriceDigits, VolumeDigits};

/// What a block from the controller asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// CD1 00.
    ReturnStatus,
    /// CD1 02.
    ReturnParameters,
    /// CD1 03.
    ReturnIdentity,
    /// CD1 04.
    ReturnFilling,
    /// CD1 05.
    Reset,
    /// CD1 06.
    Authorise,
    /// CD1 08.
    Stop,
    /// CD1 0A.
    SwitchOff,
    /// CD2.
    Allow(Vec<NozzleIndex>),
    /// CD3.
    PresetVolume(VolumeDigits),
    /// CD4.
    PresetAmount(AmountDigits),
    /// CD5, from nozzle 1 on.
    Prices(Vec<PriceDigits>),
    /// CD14.
    Suspend(NozzleIndex),
    /// CD15.
    Resume(NozzleIndex),
    /// CD101 with its counter: 01 to 0F volume of that nozzle, 11 to 1F amount.
    Totals(u8),
    /// CD102: amount totals of a nozzle.
    AmountTotals(u8),
    /// A transaction that this pump has no use for, by its number.
    Unknown(u8),
    /// A known transaction with a wrong length or no BCD, by its number.
    Malformed(u8),
}

/// Reads the transactions of a block, in order. One whose length overruns the block is malformed and ends it.
#[must_use]
pub fn orders(mut block: &[u8]) -> Vec<Order> {
    let mut orders = Vec::new();
    while let [trans, length, rest @ ..] = block {
        let length = usize::from(*length);
        if length > rest.len() {
            orders.push(Order::Malformed(*trans));
            return orders;
        }
        let (data, after) = rest.split_at(length);
        orders.push(order(*trans, data));
        block = after;
    }
    if let [trans] = block {
        orders.push(Order::Malformed(*trans));
    }
    orders
}

fn order(trans: u8, data: &[u8]) -> Order {
    let read = match (trans, data) {
        (0x01, [code]) => Some(command(*code)),
        (0x02, nozzles) => Some(Order::Allow(nozzles.iter().map(|nozzle| NozzleIndex(*nozzle)).collect())),
        (0x03, [_, _, _, _]) => bcd(data).map(VolumeDigits).map(Order::PresetVolume),
        (0x04, [_, _, _, _]) => bcd(data).map(AmountDigits).map(Order::PresetAmount),
        (0x05, prices) if !prices.is_empty() && prices.len().is_multiple_of(3) => {
            prices.chunks(3).map(|price| bcd(price).map(PriceDigits)).collect::<Option<_>>().map(Order::Prices)
        }
        (0x0E, [nozzle]) => Some(Order::Suspend(NozzleIndex(*nozzle))),
        (0x0F, [nozzle]) => Some(Order::Resume(NozzleIndex(*nozzle))),
        (0x65, [counter]) => Some(Order::Totals(*counter)),
        (0x66, [counter]) => Some(Order::AmountTotals(*counter)),
        (0x01 | 0x03..=0x05 | 0x0E | 0x0F | 0x65 | 0x66, _) => None,
        _ => Some(Order::Unknown(trans)),
    };
    read.unwrap_or(Order::Malformed(trans))
}

fn command(code: u8) -> Order {
    match code {
        0x00 => Order::ReturnStatus,
        0x02 => Order::ReturnParameters,
        0x03 => Order::ReturnIdentity,
        0x04 => Order::ReturnFilling,
        0x05 => Order::Reset,
        0x06 => Order::Authorise,
        0x08 => Order::Stop,
        0x0A => Order::SwitchOff,
        _ => Order::Unknown(0x01),
    }
}

/// Up to four bytes of packed BCD, most significant first.
fn bcd(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |value, byte| {
        let (tens, ones) = (byte >> 4, byte & 0x0F);
        (tens < 10 && ones < 10).then(|| value * 100 + u32::from(tens) * 10 + u32::from(ones))
    })
}

/// A number as packed BCD in so many bytes; higher digits are lost, as on a meter.
fn to_bcd(value: u64, bytes: u32) -> impl Iterator<Item = u8> {
    (0..bytes).rev().map(move |place| {
        let pair = value / 100_u64.pow(place) % 100;
        u8::try_from(pair / 10 * 16 + pair % 10).unwrap_or(0)
    })
}

/// A status (DC1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Status {
    /// After power-up, no price yet.
    NotProgrammed = 0,
    /// Ready to be authorised.
    Reset = 1,
    /// Authorised, no fuel yet.
    Authorised = 2,
    /// Filling.
    Filling = 4,
    /// Also the resting state.
    Completed = 5,
    /// Preset or head limit reached.
    MaxReached = 6,
    /// Out of service.
    SwitchedOff = 7,
    /// Held.
    Suspended = 8,
}

impl Status {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// How a head answers a request for totals. DART sheet, section 8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TotalsForm {
    /// LNG 16: counter, total, the same again, zero.
    SixteenTwice,
    /// LNG 16: counter, total, zero, zero (Europump, MKR5).
    SixteenOnce,
    /// LNG 6: counter, total.
    Six,
    /// LNG 13: counter, volume and amount in six bytes each.
    Thirteen,
    /// LNG says 16 and 15 bytes follow: no counter, three totals.
    SixteenWithFifteen,
}

/// What a pump reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// DC1.
    Status(Status),
    /// DC2.
    Filling(VolumeDigits, AmountDigits),
    /// DC3: price and nozzle of the selected nozzle, and whether it is out.
    Nozzle(PriceDigits, NozzleIndex, bool),
    /// DC5.
    Alarm(u8),
    /// DC7: decimals of volume, amount and price; the largest amount; the rest zero.
    Parameters(u8, u8, u8),
    /// DC9: ten digits.
    Identity(u64),
    /// DC14.
    Suspended(NozzleIndex),
    /// DC15.
    Resumed(NozzleIndex),
    /// DC101 or DC102.
    Totals {
        /// 65 or 66.
        trans: u8,
        /// As requested.
        counter: u8,
        /// The total asked for.
        total: u64,
        /// The amount total, for the form that tells both.
        amount: u64,
        /// How the head writes it.
        form: TotalsForm,
    },
}

impl Report {
    /// Appends the transaction.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Status(status) => out.extend([0x01, 1, status.code()]),
            Self::Filling(volume, amount) => {
                out.extend([0x02, 8]);
                out.extend(to_bcd(volume.0.into(), 4).chain(to_bcd(amount.0.into(), 4)));
            }
            Self::Nozzle(price, nozzle, is_out) => {
                out.extend([0x03, 4]);
                out.extend(to_bcd(price.0.into(), 3));
                out.push(nozzle.0 & 0x0F | u8::from(is_out) << 4);
            }
            Self::Alarm(code) => out.extend([0x05, 1, code]),
            Self::Parameters(volume, amount, price) => {
                out.extend([0x07, 51]);
                out.extend([0; 22]);
                out.extend([volume, amount, price, 0, 0, 0, 0, 0, 0x99, 0x99, 0x99, 0x99]);
                out.extend([0; 17]);
            }
            Self::Identity(digits) => {
                out.extend([0x09, 5]);
                out.extend(to_bcd(digits, 5));
            }
            Self::Suspended(nozzle) => out.extend([0x0E, 1, nozzle.0]),
            Self::Resumed(nozzle) => out.extend([0x0F, 1, nozzle.0]),
            Self::Totals { trans, counter, total, amount, form } => {
                out.push(trans);
                match form {
                    TotalsForm::SixteenTwice => {
                        out.extend([16, counter]);
                        out.extend(to_bcd(total, 5).chain(to_bcd(total, 5)).chain(to_bcd(0, 5)));
                    }
                    TotalsForm::SixteenOnce => {
                        out.extend([16, counter]);
                        out.extend(to_bcd(total, 5).chain([0; 10]));
                    }
                    TotalsForm::Six => {
                        out.extend([6, counter]);
                        out.extend(to_bcd(total, 5));
                    }
                    TotalsForm::Thirteen => {
                        out.extend([13, counter]);
                        out.extend(to_bcd(total, 6).chain(to_bcd(amount, 6)));
                    }
                    TotalsForm::SixteenWithFifteen => {
                        out.push(16);
                        out.extend(to_bcd(total, 5).chain(to_bcd(total, 5)).chain(to_bcd(0, 5)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_overruns_the_block_is_malformed_and_the_ones_before_it_count() {
        let block = [1, 1, 5, 0x64, 2, 0, 0, 3, 4, 0, 0];
        assert_eq!(orders(&block), [Order::Reset, Order::Unknown(0x64), Order::Malformed(3)]);
    }

    #[test]
    fn digits_that_are_no_bcd_are_refused() {
        assert_eq!(orders(&[4, 4, 0, 0, 0x0A, 0]), [Order::Malformed(4)]);
        assert_eq!(orders(&[5, 2, 0, 1]), [Order::Malformed(5)]);
    }

    #[test]
    fn a_meter_of_ten_digits_rolls_over() {
        assert_eq!(to_bcd(12_345_678_901, 5).collect::<Vec<_>>(), [0x23, 0x45, 0x67, 0x89, 0x01]);
    }
}
