//! One reading of several points: the requests that it takes, and whether nothing changed in between.

use super::image::Image;
use super::profile::{Block, Profile, Role};
use super::wire::{Answer, Question};

/// What a reading is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// State and running figures.
    Live,
    /// The same with the record of the last sale.
    Whole,
    /// What changes rarely: fault and heartbeat.
    Slow,
    /// Totalisers.
    Totals,
    /// The value that tells the right device.
    Identity,
    /// What stands in the command register.
    Command,
}

/// A reading under way.
#[derive(Clone, Debug)]
pub struct Pass {
    /// What for.
    pub purpose: Purpose,
    blocks: Vec<Block>,
    at: usize,
    image: Image,
    guarded: bool,
}

/// How far it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Read {
    /// Another request.
    More,
    /// All is read.
    Done(Image),
    /// Values changed while they were read: all of it again.
    Torn,
}

impl Pass {
    /// A reading that has not begun. `None` where the profile has none of these points.
    #[must_use]
    pub fn new(profile: &Profile, purpose: Purpose) -> Option<Self> {
        let live = [Role::State, Role::Nozzle, Role::Volume, Role::Amount, Role::Price, Role::SaleSequence];
        let record = [Role::SaleVolume, Role::SaleAmount, Role::SalePrice, Role::SaleAck];
        let whole = [live.as_slice(), &record].concat();
        let roles: &[Role] = match purpose {
            Purpose::Live => &live,
            Purpose::Whole => &whole,
            Purpose::Slow => &[Role::ErrorCode, Role::Heartbeat],
            Purpose::Totals => &Role::TOTALS,
            Purpose::Identity => &[Role::Identity],
            Purpose::Command => &[Role::Command],
        };
        let mut blocks = profile.blocks(roles);
        let guarded = blocks.len() > 1 && profile.has(Role::Guard) && matches!(purpose, Purpose::Live | Purpose::Whole);
        if guarded {
            let guard = profile.blocks(&[Role::Guard]);
            blocks = [guard.as_slice(), &blocks, &guard].concat();
        }
        (!blocks.is_empty()).then_some(Self { purpose, blocks, at: 0, image: Image::default(), guarded })
    }

    /// The request to be made now.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        self.blocks.get(self.at).map(|block| block.question.clone())
    }

    /// Its answer.
    pub fn take(&mut self, profile: &Profile, answer: &Answer) -> Read {
        let Some(block) = self.blocks.get(self.at) else { return Read::More };
        let before = self.image.raw(Role::Guard);
        if !self.image.take(profile, block, answer) {
            return Read::More;
        }
        self.at += 1;
        if self.at < self.blocks.len() {
            Read::More
        } else if self.guarded && before != self.image.raw(Role::Guard) {
            Read::Torn
        } else {
            Read::Done(core::mem::take(&mut self.image))
        }
    }
}
