//! The example map of the Modbus sheet, section 9.5, as one device keeps it: addresses of holding registers.

/// 0 idle, 1 calling, 2 authorised, 3 fuelling, 4 paused, 5 finished, 9 fault.
pub const STATE: u16 = 0;
/// Logical number of the nozzle that is out.
pub const NOZZLE: u16 = 1;
/// Millilitres, two registers, high word first, as all 32-bit values here.
pub const VOLUME: u16 = 2;
/// Units of the last amount digit.
pub const AMOUNT: u16 = 4;
/// Units of the last price digit.
pub const PRICE: u16 = 6;
/// Number of the last sale.
pub const SALE_SEQUENCE: u16 = 8;
/// Its volume.
pub const SALE_VOLUME: u16 = 9;
/// Its amount.
pub const SALE_AMOUNT: u16 = 11;
/// Its price.
pub const SALE_PRICE: u16 = 13;
/// Number of the sale that the controller has stored.
pub const SALE_ACK: u16 = 15;
/// Volume totaliser of nozzle 1.
pub const TOTAL: u16 = 16;
/// Fault, 0 for none.
pub const ERROR: u16 = 18;
/// Seconds since the power came.
pub const HEARTBEAT: u16 = 19;
/// 1 volume, 2 amount.
pub const PRESET_KIND: u16 = 20;
/// Counted as volume or amount are.
pub const PRESET_VALUE: u16 = 21;
/// Price of the next fuelling.
pub const SET_PRICE: u16 = 23;
/// 1 authorise, 2 stop, 3 release, 4 pause, 5 resume; 0 between two.
pub const COMMAND: u16 = 25;
/// 0 pending, 1 done, 2 refused.
pub const RESULT: u16 = 26;
/// Volume totalisers of nozzles 2 to 4.
pub const MORE_TOTALS: u16 = 27;
/// The address behind the last one.
pub const END: u16 = 33;

/// What a request asks for, or the exception that it deserves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Function 3: first register and count.
    Read(u16, u16),
    /// Functions 6 and 16: first register and values.
    Write(u16, Vec<u16>),
    /// Exception code.
    Exception(u8),
}

/// Illegal function.
const FUNCTION: u8 = 1;
/// Illegal data address.
const ADDRESS: u8 = 2;
/// Illegal data value.
const VALUE: u8 = 3;

/// Reads function and data.
#[must_use]
pub fn request(pdu: &[u8]) -> Request {
    let word = |at: usize| pdu.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (Some(function), first, second) = (pdu.first(), word(1), word(3)) else {
        return Request::Exception(FUNCTION);
    };
    match (function, first, second) {
        (3, Some(first), Some(count)) if pdu.len() == 5 => {
            if !(1..=125).contains(&count) {
                Request::Exception(VALUE)
            } else if u32::from(first) + u32::from(count) > u32::from(END) {
                Request::Exception(ADDRESS)
            } else {
                Request::Read(first, count)
            }
        }
        (6, Some(register), Some(value)) if pdu.len() == 5 => writable(register, vec![value]),
        (16, Some(first), Some(count)) => {
            let values: Vec<u16> = pdu
                .get(6..)
                .unwrap_or_default()
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            let lengths = [pdu.get(5).map(|bytes| usize::from(*bytes) / 2), Some(usize::from(count))];
            if values.is_empty() || lengths.iter().any(|length| *length != Some(values.len())) {
                Request::Exception(VALUE)
            } else {
                writable(first, values)
            }
        }
        (3 | 6 | 16, ..) => Request::Exception(VALUE),
        _ => Request::Exception(FUNCTION),
    }
}

/// Only the acknowledgement, the preset and the command can be written.
fn writable(first: u16, values: Vec<u16>) -> Request {
    let last = usize::from(first) + values.len() - 1;
    let within = |from: u16, to: u16| {
        (usize::from(from)..=usize::from(to)).contains(&usize::from(first)) && last <= usize::from(to)
    };
    if within(SALE_ACK, SALE_ACK) || within(PRESET_KIND, COMMAND) {
        Request::Write(first, values)
    } else {
        Request::Exception(ADDRESS)
    }
}
