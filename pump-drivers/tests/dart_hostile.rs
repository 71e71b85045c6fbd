//! Whatever a pump answers: no AUTHORIZE without a limit, none twice without a look, no RESET before the end is stored.

mod common;

use common::*;
use core::time::Duration;
use forecourt::pump::{Preset, PumpCommand, PumpEvent, Token};
use forecourt::units::Volume;
use proptest::prelude::*;
use pump_drivers::dart::frame::{Control, decode, encode_block, encode_short};
use pump_drivers::dart::message::{Command, ControllerSays, PumpSays, read_controller, read_pump};
use std::cell::RefCell;
use std::rc::Rc;

#[derive(Clone, Debug)]
enum Answer {
    Proper,
    Silence,
    Garbage(Vec<u8>),
    Block(u8, Vec<Vec<u8>>),
    Nak,
    WrongAck(u8),
}

fn transaction() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => (0..9_u8).prop_map(|status| vec![1, 1, status]),
        3 => prop_oneof![Just(0x11_u8), Just(0x01), Just(0x12), Just(0)].prop_map(|nozio| vec![3, 4, 1, 5, 0, nozio]),
        2 => (0..100_u8).prop_map(|v| vec![2, 8, 0, 0, v / 10 * 16 + v % 10, 0, 0, 1, 0, 0]),
        1 => Just([vec![0x65, 16, 1], vec![0; 15]].concat()),
        1 => Just(vec![5, 1, 9]),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => Just(Answer::Proper),
        1 => Just(Answer::Silence),
        1 => proptest::collection::vec(any::<u8>(), 1..12).prop_map(Answer::Garbage),
        5 => (0..16_u8, proptest::collection::vec(transaction(), 1..4)).prop_map(|(tx, all)| Answer::Block(tx, all)),
        1 => Just(Answer::Nak),
        1 => (0..16_u8).prop_map(Answer::WrongAck),
    ]
}

#[derive(Default)]
struct Seen {
    authorizes: u32,
    looked: bool,
    reset_allowed: bool,
    wrong: Vec<&'static str>,
}

/// A real pump behind someone who answers for it now and then.
struct Liar {
    pump: Pump,
    answers: Vec<Answer>,
    at: usize,
    seen: Rc<RefCell<Seen>>,
}

impl Device for Liar {
    fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let frame = decode(bytes).expect("we send good frames only");
        let mut seen = self.seen.borrow_mut();
        if frame.control == Control::Data {
            let says = read_controller(&frame.body);
            let is = |command| says.contains(&ControllerSays::Command(command));
            if is(Command::Authorize) {
                seen.authorizes += 1;
                let limit =
                    |s: &ControllerSays| matches!(s, ControllerSays::PresetVolume(_) | ControllerSays::PresetAmount(_));
                if says.iter().filter(|s| limit(s)).count() != 1 {
                    seen.wrong.push("AUTHORIZE without one limit");
                }
                if !seen.looked {
                    seen.wrong.push("AUTHORIZE twice without a look");
                }
                seen.looked = false;
            }
            if is(Command::Reset) && !seen.reset_allowed {
                seen.wrong.push("RESET before the end was stored");
            }
        }
        let proper = self.pump.hear(bytes);
        if frame.control == Control::Ack {
            return None;
        }
        let answer = self.answers[self.at % self.answers.len()].clone();
        self.at += 1;
        let address = frame.address;
        let reply = match answer {
            Answer::Proper => proper,
            Answer::Silence => None,
            Answer::Garbage(bytes) => Some(bytes),
            Answer::Block(tx, all) if frame.control == Control::Poll => {
                Some(encode_block(address, tx, &all.concat()).expect("short"))
            }
            Answer::Block(..) => proper,
            Answer::Nak => Some(encode_short(address, Control::Nak, frame.tx)),
            Answer::WrongAck(tx) => Some(encode_short(address, Control::Ack, tx)),
        };
        let told = reply.as_ref().and_then(|bytes| decode(bytes).ok());
        if told.is_some_and(|f| read_pump(&f.body).0.iter().any(|s| matches!(s, PumpSays::Status(_)))) {
            seen.looked = true;
        }
        reply
    }

    fn pump(&mut self) -> Option<&mut Pump> {
        Some(&mut self.pump)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_makes_us_release_without_limit_or_twice_or_reset_an_unstored_end(
        answers in proptest::collection::vec(answer(), 1..40), storing in any::<bool>()
    ) {
        let seen = Rc::new(RefCell::new(Seen { looked: true, reset_allowed: true, ..Seen::default() }));
        let liar = Liar { pump: Pump::new(0x57), answers, at: 0, seen: seen.clone() };
        let mut world = World::new(fast(), vec![head()], vec![Box::new(liar)]);
        world.storing = Storing::Never;
        let mut newest = 0;
        let mut told = 0;
        for round in 0..60_u64 {
            match round % 6 {
                0 => world.pump().lift(1),
                4 => world.pump().hang(),
                1 | 3 => world.command(order(round, Preset::Volume(Volume::new(20_000)))),
                _ => {}
            }
            for _ in 0..10 {
                world.run(Duration::from_millis(12));
                for (_, _, event) in &world.events[told..] {
                    let token = match event {
                        PumpEvent::Snapshot(snapshot) => snapshot.token,
                        PumpEvent::EndSeen { token, .. } | PumpEvent::Ended { token, .. } => *token,
                        _ => continue,
                    };
                    newest = token.0;
                    seen.borrow_mut().reset_allowed = false;
                }
                told = world.events.len();
            }
            if storing || round % 7 == 0 {
                world.command(PumpCommand::Stored(Token(newest)));
                let later = world.events[told..].iter().any(|(_, _, event)| {
                    matches!(event, PumpEvent::Snapshot(_) | PumpEvent::EndSeen { .. } | PumpEvent::Ended { .. })
                });
                seen.borrow_mut().reset_allowed = !later;
            }
        }
        prop_assert_eq!(&seen.borrow().wrong, &Vec::<&str>::new());
    }
}

#[test]
fn a_pump_that_answers_properly_is_released_so_that_the_checks_see_something() {
    let seen = Rc::new(RefCell::new(Seen { looked: true, reset_allowed: true, ..Seen::default() }));
    let liar = Liar { pump: Pump::new(0x57), answers: vec![Answer::Proper], at: 0, seen: seen.clone() };
    let mut world = World::new(fast(), vec![head()], vec![Box::new(liar)]);
    world.run(Duration::from_millis(600));
    world.pump().lift(1);
    world.run(Duration::from_millis(100));
    world.command(order(1, Preset::Volume(Volume::new(20_000))));
    world.run(Duration::from_millis(300));
    assert_eq!((seen.borrow().authorizes, seen.borrow().wrong.len()), (1, 0));
}
