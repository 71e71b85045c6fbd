//! Block numbers, acknowledgements and repeats on the pump's side. DART sheet, section 3.

use super::frame::BlockNumber;

/// What to make of a block from the controller by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Acknowledge and do it.
    Execute,
    /// Acknowledge only: the number is that of the last block.
    AcknowledgeOnly,
    /// Refuse: the number is not the next one.
    Refuse,
}

/// How strictly a head takes the controller's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Numbering {
    /// NAK a number that is neither the last, nor the next, nor 0.
    pub refuses_jumps: bool,
    /// A block with number 0 after a block with number 0 is a repeat, whatever it holds.
    pub drops_repeated_zero: bool,
    /// An ACK counts only with the number of the block; otherwise nibble 0 does too.
    pub strict_ack: bool,
}

#[derive(Debug)]
struct Unacknowledged {
    number: BlockNumber,
    transactions: Vec<u8>,
}

/// Both counters of one pump.
#[derive(Debug)]
pub struct Link {
    numbering: Numbering,
    next: BlockNumber,
    waiting: Option<Unacknowledged>,
    accepted: Option<BlockNumber>,
}

impl Link {
    /// As after a power-up.
    #[must_use]
    pub const fn new(numbering: Numbering) -> Self {
        Self { numbering, next: BlockNumber::ZERO, waiting: None, accepted: None }
    }

    /// Goes on with this number, as a pump does that has talked before.
    pub const fn continue_at(&mut self, next: BlockNumber) {
        self.next = next;
    }

    /// The block that waits for its ACK, to be sent again unchanged.
    #[must_use]
    pub fn waiting(&self) -> Option<(BlockNumber, &[u8])> {
        self.waiting.as_ref().map(|block| (block.number, block.transactions.as_slice()))
    }

    /// Takes a new block to be sent. Its number.
    pub fn send(&mut self, transactions: Vec<u8>) -> BlockNumber {
        self.waiting = Some(Unacknowledged { number: self.next, transactions });
        self.next
    }

    /// An ACK came. Whether it was for the waiting block; a spurious one changes nothing.
    pub fn handle_ack(&mut self, number: BlockNumber) -> bool {
        let lenient = !self.numbering.strict_ack && number == BlockNumber::ZERO;
        let Some(block) = self.waiting.take_if(|block| block.number == number || lenient) else { return false };
        self.next = block.number.next();
        true
    }

    /// A NAK came: the same content comes again with number 0.
    pub fn handle_nak(&mut self) {
        if let Some(block) = &mut self.waiting {
            block.number = BlockNumber::ZERO;
        }
    }

    /// A good block came.
    pub fn judge(&mut self, number: BlockNumber) -> Verdict {
        let repeated = self.accepted == Some(number);
        if repeated && (number != BlockNumber::ZERO || self.numbering.drops_repeated_zero) {
            return Verdict::AcknowledgeOnly;
        }
        // After F both 1 and 0 are in use; 0 always is a new beginning.
        let expected = self.accepted.is_none_or(|last| last.next() == number) || number == BlockNumber::ZERO;
        if self.numbering.refuses_jumps && !expected {
            return Verdict::Refuse;
        }
        self.accepted = Some(number);
        Verdict::Execute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn number(nibble: u8) -> BlockNumber {
        BlockNumber::of(nibble)
    }

    #[test]
    fn the_number_after_f_is_one() {
        let mut link = Link::new(Numbering::default());
        let sent: Vec<_> = (0..17)
            .map(|_| {
                let number = link.send(vec![1]);
                assert!(link.handle_ack(number));
                number.nibble()
            })
            .collect();
        assert_eq!(sent, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 1]);
    }

    #[test]
    fn a_block_waits_through_wrong_acks_and_comes_again_as_zero_after_a_nak() {
        let mut link = Link::new(Numbering::default());
        link.continue_at(number(4));
        link.send(vec![9]);
        assert!(!link.handle_ack(number(3)));
        assert_eq!(link.waiting(), Some((number(4), &[9][..])));
        link.handle_nak();
        assert_eq!(link.waiting(), Some((number(0), &[9][..])));
        assert!(link.handle_ack(number(0)));
        assert!(!link.handle_ack(number(0)), "a spurious ACK is ignored");
        assert_eq!(link.send(vec![1]), number(1));
    }

    #[test]
    fn a_repeated_number_is_acknowledged_and_not_done_unless_it_is_zero() {
        let mut link = Link::new(Numbering::default());
        assert_eq!(link.judge(number(0)), Verdict::Execute);
        assert_eq!(link.judge(number(0)), Verdict::Execute);
        assert_eq!(link.judge(number(1)), Verdict::Execute);
        assert_eq!(link.judge(number(1)), Verdict::AcknowledgeOnly);
        assert_eq!(link.judge(number(5)), Verdict::Execute);
        let mut strict = Link::new(Numbering { refuses_jumps: true, drops_repeated_zero: true, strict_ack: true });
        assert_eq!(strict.judge(number(0)), Verdict::Execute);
        assert_eq!(strict.judge(number(0)), Verdict::AcknowledgeOnly);
        assert_eq!(strict.judge(number(2)), Verdict::Refuse);
        assert_eq!(strict.judge(number(1)), Verdict::Execute);
    }
}
