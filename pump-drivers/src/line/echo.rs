//! Our own bytes, which some adapters and every current loop return before the answer.

use super::Echo;
use std::collections::VecDeque;

/// So many answers in a row before which nothing of ours came back: this wire has no echo.
pub(super) const NO_ECHO: u8 = 5;
/// So many answers before which all of ours came back: this wire has one for good, however noise spoils it later. Were it believed
/// away, 67, our question for the money of pump 7, would come back as its word that it is idle.
pub(super) const AN_ECHO: u8 = 3;

/// Takes off what comes back.
pub(super) struct EchoFilter {
    kind: Echo,
    /// Frames of ours that may come back, and how much of the first has.
    sent: VecDeque<Vec<u8>>,
    echoed: usize,
    /// Something else than what was sent came first.
    missed: bool,
    /// Answers in a row before which nothing of ours came back.
    plain: u8,
    /// Answers before which all of ours did.
    echoing: u8,
}

impl EchoFilter {
    /// For a port that was just opened.
    pub const fn new(kind: Echo) -> Self {
        Self { kind, sent: VecDeque::new(), echoed: 0, missed: false, plain: 0, echoing: 0 }
    }

    /// Whether what equals our bytes is dropped. Where nothing comes back an answer may equal the question: a two-wire pump says 07
    /// when it refused the preset before a 07, and to drop that would be to release it without a limit.
    fn strips(&self) -> bool {
        self.kind != Echo::None && self.plain < NO_ECHO
    }

    /// We say this now.
    pub fn note_sent(&mut self, bytes: &[u8]) {
        if self.strips() {
            self.sent.push_back(bytes.to_vec());
        }
    }

    /// A good answer came.
    pub fn note_answer(&mut self) {
        if self.strips() {
            let plain = self.missed || !self.sent.is_empty();
            self.echoing = self.echoing.saturating_add(u8::from(!plain));
            self.plain = if plain && self.echoing < AN_ECHO { self.plain + 1 } else { 0 };
            if self.plain == NO_ECHO && self.kind == Echo::Strip {
                tracing::warn!("echo = \"strip\" is set and nothing comes back on this line: nothing is stripped");
            }
        }
        self.forget();
    }

    /// What was sent does not come back any more.
    pub fn forget(&mut self) {
        self.sent.clear();
        self.echoed = 0;
        self.missed = false;
    }

    /// Drops bytes that equal those just sent. At the first that differs, what was held back of that frame is no echo.
    pub fn strip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut rest = bytes;
        while let ([byte, after @ ..], Some(frame)) = (rest, self.sent.front()) {
            if frame.get(self.echoed) != Some(byte) {
                let held = frame[..self.echoed].to_vec();
                self.forget();
                self.missed = true;
                return [&held, rest].concat();
            }
            self.echoed += 1;
            if self.echoed == frame.len() {
                self.sent.pop_front();
                self.echoed = 0;
            }
            rest = after;
        }
        rest.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One exchange: what is left of what comes back.
    fn exchange(filter: &mut EchoFilter, sent: &[u8], heard: &[u8]) -> Vec<u8> {
        filter.note_sent(sent);
        let left = filter.strip(heard);
        if left.is_empty() {
            filter.forget();
        } else {
            filter.note_answer();
        }
        left
    }

    #[test]
    fn an_answer_that_equals_its_question_is_kept_once_the_wire_is_known_to_have_no_echo() {
        for kind in [Echo::Auto, Echo::Strip] {
            let mut filter = EchoFilter::new(kind);
            assert!(exchange(&mut filter, &[0x07], &[0x07]).is_empty(), "an echo until the contrary is seen");
            for _ in 0..NO_ECHO {
                assert_eq!(exchange(&mut filter, &[0x07], &[0x67]), [0x67]);
            }
            assert_eq!(exchange(&mut filter, &[0x07], &[0x07]), [0x07], "{kind:?}");
        }
    }

    #[test]
    fn an_echo_is_stripped_for_good_whatever_becomes_of_single_answers() {
        let mut filter = EchoFilter::new(Echo::Auto);
        for round in 0..100 {
            // every third echo is spoilt
            let heard = if round % 3 == 0 { [0x47, 0x67] } else { [0x07, 0x67] };
            let left = exchange(&mut filter, &[0x07], &heard);
            assert!(left.ends_with(&[0x67]) && left.len() == if round % 3 == 0 { 2 } else { 1 });
            // nobody answers
            assert!(exchange(&mut filter, &[0x03], &[0x03]).is_empty());
        }
    }

    #[test]
    fn an_echo_that_was_seen_is_not_believed_away_by_noise() {
        for kind in [Echo::Auto, Echo::Strip] {
            let mut filter = EchoFilter::new(kind);
            for _ in 0..AN_ECHO {
                assert_eq!(exchange(&mut filter, &[0x07], &[0x07, 0x67]), [0x67]);
            }
            for _ in 0..10 * NO_ECHO {
                assert_eq!(exchange(&mut filter, &[0x07], &[0x97]), [0x97], "its echo was lost on the way");
            }
            assert!(exchange(&mut filter, &[0x67], &[0x67]).is_empty(), "{kind:?}: no pump said idle");
        }
    }

    #[test]
    fn what_is_not_to_be_stripped_is_left() {
        let mut filter = EchoFilter::new(Echo::None);
        assert_eq!(exchange(&mut filter, &[0x07], &[0x07, 0x67]), [0x07, 0x67]);
    }

    #[test]
    fn a_beginning_that_the_answer_shares_with_the_question_is_given_back() {
        let mut filter = EchoFilter::new(Echo::Auto);
        let (sent, answer) = ([0x02, 0x00, 0x05, 0x53, 0x56], [0x02, 0x00, 0x05, 0x53, 0x31, 0x30, 0x57]);
        assert_eq!(exchange(&mut filter, &sent, &answer), answer);
        assert_eq!(exchange(&mut filter, &sent, &[&sent[..], &answer].concat()), answer);
    }
}
