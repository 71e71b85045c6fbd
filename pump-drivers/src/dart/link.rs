//! Block numbers, acknowledgement and repetition with one pump (DART sheet, section 3).

use super::frame::{Control, TooLong, encode_block, encode_short};

/// Tries of one block that is not answered.
const TRIES: u8 = 3;
/// Refusals of one block until it is given up.
const MOST_NAKS: u8 = 3;

/// What became of a block of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The pump has it. Its effect is still to be seen.
    Accepted,
    /// It will be sent again with the number 0.
    Again,
    /// Nobody knows whether the pump has it.
    Doubt,
    /// Refused again and again.
    GivenUp,
}

/// What a block of the pump is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Seen before: to be acknowledged and not processed.
    pub repeat: bool,
    /// The pump began to number anew.
    pub restarted: bool,
}

struct Outgoing {
    body: Vec<u8>,
    bytes: Vec<u8>,
    tx: u8,
    tries: u8,
    naks: u8,
    /// An AUTHORIZE is never sent twice without a look in between.
    once: bool,
}

/// The link with one pump.
pub struct Link {
    address: u8,
    next: u8,
    outgoing: Option<Outgoing>,
    last_heard: Option<(u8, Vec<u8>)>,
    /// A block of ours was accepted since: the same bytes with number 0 are a new answer.
    asked: bool,
    ack_due: Option<u8>,
}

const fn successor(tx: u8) -> u8 {
    if tx >= 15 { 1 } else { tx + 1 }
}

impl Link {
    pub fn new(address: u8) -> Self {
        Self { address, next: 0, outgoing: None, last_heard: None, asked: false, ack_due: None }
    }

    /// The port was opened anew: numbering starts at 0 and the pump's next block is the first.
    pub fn restart(&mut self) {
        *self = Self::new(self.address);
    }

    /// Puts a block in line for sending.
    pub fn offer(&mut self, body: Vec<u8>, once: bool) -> Result<(), TooLong> {
        let bytes = encode_block(self.address, self.next, &body)?;
        self.outgoing = Some(Outgoing { body, bytes, tx: self.next, tries: 0, naks: 0, once });
        Ok(())
    }

    /// Drops the block in line. If it was sent already the next one takes the next number.
    pub fn withdraw(&mut self) {
        if let Some(outgoing) = self.outgoing.take()
            && outgoing.tries > 0
        {
            self.next = successor(outgoing.tx);
        }
    }

    /// The block's bytes, one try used.
    pub fn transmit(&mut self) -> Option<Vec<u8>> {
        let outgoing = self.outgoing.as_mut()?;
        outgoing.tries += 1;
        Some(outgoing.bytes.clone())
    }

    pub fn poll_frame(&self) -> Vec<u8> {
        encode_short(self.address, Control::Poll, 0)
    }

    pub fn owes_ack(&self) -> bool {
        self.ack_due.is_some()
    }

    pub fn take_ack(&mut self) -> Option<Vec<u8>> {
        self.ack_due.take().map(|tx| encode_short(self.address, Control::Ack, tx))
    }

    /// The pump will repeat its block and be answered then.
    pub fn forget_ack(&mut self) {
        self.ack_due = None;
    }

    /// Nothing came back on the block.
    pub fn handle_silence(&mut self) -> Option<Outcome> {
        let outgoing = self.outgoing.as_ref()?;
        if outgoing.tries == 0 || (outgoing.tries < TRIES && !outgoing.once) {
            return None;
        }
        self.withdraw();
        Some(Outcome::Doubt)
    }

    /// ACK or NAK of a block. `None` where none was sent.
    pub fn handle_answer(&mut self, accepted: bool, tx: u8) -> Option<Outcome> {
        let outgoing = self.outgoing.as_mut().filter(|outgoing| outgoing.tries > 0)?;
        if accepted && tx == outgoing.tx {
            self.next = successor(outgoing.tx);
            self.outgoing = None;
            self.asked = true;
            return Some(Outcome::Accepted);
        }
        outgoing.naks += 1;
        self.next = 0;
        if outgoing.once {
            self.outgoing = None;
            return Some(Outcome::Doubt);
        }
        if outgoing.naks >= MOST_NAKS {
            self.outgoing = None;
            return Some(Outcome::GivenUp);
        }
        if let Ok(bytes) = encode_block(self.address, 0, &outgoing.body) {
            outgoing.bytes = bytes;
        }
        outgoing.tx = 0;
        outgoing.tries = 0;
        Some(Outcome::Again)
    }

    /// Whether these are the bytes of our own block, come back over an echoing adapter.
    pub fn is_own(&self, tx: u8, body: &[u8]) -> bool {
        self.outgoing.as_ref().is_some_and(|own| own.tries > 0 && own.tx == tx && own.body == body)
    }

    /// A good block of the pump.
    pub fn handle_block(&mut self, tx: u8, body: &[u8]) -> Heard {
        let before = self.last_heard.as_ref().map(|(tx, _)| *tx);
        let same = self.last_heard.as_ref().is_some_and(|(t, b)| *t == tx && b == body);
        self.ack_due = Some(tx);
        let repeat = same && !(tx == 0 && self.asked);
        if !repeat {
            self.last_heard = Some((tx, body.to_vec()));
            self.asked = false;
        }
        // some pumps always send 0, and one that counts may come to 0 after F
        let restarted = tx == 0 && !same && before.is_some_and(|before| before != 0 && before != 15);
        Heard { repeat, restarted }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(link: &mut Link) -> u8 {
        link.transmit().expect("a block")[1] & 0x0F
    }

    #[test]
    fn numbers_start_at_zero_and_go_from_fifteen_to_one() {
        let mut link = Link::new(0x57);
        let mut seen = Vec::new();
        for _ in 0..18 {
            link.offer(vec![1, 1, 0], false).expect("fits");
            let tx = sent(&mut link);
            seen.push(tx);
            assert_eq!(link.handle_answer(true, tx), Some(Outcome::Accepted));
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1, 2]);
    }

    #[test]
    fn a_block_without_answer_is_repeated_unchanged_and_given_up_after_the_third_try() {
        let mut link = Link::new(0x57);
        link.offer(vec![1, 1, 0], false).expect("fits");
        let first = link.transmit();
        assert_eq!(link.handle_silence(), None);
        assert_eq!(link.transmit(), first);
        assert_eq!(link.handle_silence(), None);
        assert_eq!(link.transmit(), first);
        assert_eq!(link.handle_silence(), Some(Outcome::Doubt));
        link.offer(vec![1, 1, 0], false).expect("fits");
        assert_eq!(sent(&mut link), 1, "the pump may have taken number 0");
    }

    #[test]
    fn a_block_that_goes_once_is_in_doubt_after_silence_refusal_or_a_wrong_number() {
        for answer in [None, Some((false, 0)), Some((true, 9))] {
            let mut link = Link::new(0x57);
            link.offer(vec![1, 1, 6], true).expect("fits");
            assert_eq!(link.handle_silence(), None, "not sent yet");
            sent(&mut link);
            let outcome = match answer {
                None => link.handle_silence(),
                Some((accepted, tx)) => link.handle_answer(accepted, tx),
            };
            assert_eq!(outcome, Some(Outcome::Doubt));
            assert_eq!(link.transmit(), None);
        }
    }

    #[test]
    fn a_refused_block_is_sent_with_number_zero_and_given_up_at_the_third_refusal() {
        let mut link = Link::new(0x57);
        link.next = 5;
        link.offer(vec![1, 1, 0], false).expect("fits");
        assert_eq!(sent(&mut link), 5);
        assert_eq!(link.handle_answer(false, 5), Some(Outcome::Again));
        assert_eq!(sent(&mut link), 0);
        assert_eq!(link.handle_answer(false, 0), Some(Outcome::Again));
        assert_eq!(sent(&mut link), 0);
        assert_eq!(link.handle_answer(false, 0), Some(Outcome::GivenUp));
    }

    #[test]
    fn a_repeat_is_known_by_number_and_bytes_and_a_fresh_zero_by_our_question() {
        let mut link = Link::new(0x57);
        let heard = |repeat, restarted| Heard { repeat, restarted };
        assert_eq!(link.handle_block(0, &[1]), heard(false, false), "the first ever");
        assert_eq!(link.handle_block(0, &[1]), heard(true, false));
        link.offer(vec![1, 1, 4], false).expect("fits");
        sent(&mut link);
        link.handle_answer(true, 0);
        assert_eq!(link.handle_block(0, &[1]), heard(false, false), "the same answer to a new question");
        assert_eq!(link.handle_block(7, &[1]), heard(false, false));
        assert_eq!(link.handle_block(7, &[2]), heard(false, false));
        assert_eq!(link.handle_block(0, &[2]), heard(false, true), "7 to 0: numbering restarted");
        assert_eq!(link.handle_block(15, &[2]), heard(false, false));
        assert_eq!(link.handle_block(0, &[3]), heard(false, false), "15 to 0 is a count");
    }

    #[test]
    fn our_own_block_come_back_is_known() {
        let mut link = Link::new(0x57);
        link.offer(vec![1, 1, 5], false).expect("fits");
        assert!(!link.is_own(0, &[1, 1, 5]));
        sent(&mut link);
        assert!(link.is_own(0, &[1, 1, 5]));
        assert!(!link.is_own(1, &[1, 1, 5]));
    }
}
