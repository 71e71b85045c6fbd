//! The worked exchanges of the DART sheet, section 12, byte by byte through the line. Pump blocks are sent as printed; of ours the
//! transactions must be as printed, and each acknowledgement must carry the number of the block.

mod common;

use common::*;
use core::time::Duration;
use forecourt::pump::{Preset, PumpEvent, Snapshot, State};
use forecourt::units::{Money, Volume};
use pump_drivers::dart::frame::{Control, decode, encode_block, encode_short};
use pump_drivers::dart::{Habits, Recipe};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Transactions of our next block.
    Ours(&'static str),
    /// The pump's next block.
    Pump(&'static str),
}
use Step::{Ours, Pump as Says};

#[derive(Default)]
struct Play {
    steps: VecDeque<Step>,
    pending: Option<Vec<u8>>,
    wrong: Vec<String>,
}

struct Script(Rc<RefCell<Play>>);

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

impl Device for Script {
    fn hear(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut play = self.0.borrow_mut();
        let frame = decode(bytes).expect("we send good frames only");
        match frame.control {
            Control::Poll => {
                if play.pending.is_none()
                    && let Some(Says(block)) = play.steps.front().cloned()
                {
                    play.steps.pop_front();
                    play.pending = Some(hex(block));
                }
                Some(play.pending.clone().unwrap_or_else(|| encode_short(0x57, Control::Eot, 0)))
            }
            Control::Ack => {
                match play.pending.take() {
                    Some(block) if block[1] & 0x0F == frame.tx => {}
                    other => play.wrong.push(format!("ACK {:X} of {other:02X?}", frame.tx)),
                }
                None
            }
            _ => {
                match play.steps.front().cloned() {
                    Some(Ours(body)) if hex(body) == frame.body => {
                        play.steps.pop_front();
                    }
                    step => play.wrong.push(format!("{} where {step:02X?} belongs", hex_of(&frame.body))),
                }
                Some(encode_short(0x57, Control::Ack, frame.tx))
            }
        }
    }
}

/// Read-in of an idle pump up to prices written and status seen; the total is A's first block.
fn idle() -> Vec<Step> {
    vec![
        Ours("01 01 00 01 01 04"),
        Says("57 37 01 01 05 03 04 01 05 00 01 02 08 00 00 04 92 00 05 16 60 89 20 03 FA"),
        Ours("65 01 01"),
        Says("57 31 65 10 01 00 00 28 12 49 00 00 28 12 49 00 00 00 00 00 D5 3E 03 FA"),
        Ours("65 01 02"),
        Says("57 32 65 10 02 00 00 28 12 49 00 00 28 12 49 00 00 00 00 00 CRC"),
        Ours("02 02 01 02 05 06 01 05 00 01 24 00"),
        Ours("01 01 00"),
        Says("57 33 01 01 05 03 04 01 05 00 01 CRC"),
    ]
}

struct Stage {
    world: World,
    play: Rc<RefCell<Play>>,
}

impl Stage {
    fn new(recipe: Recipe, steps: Vec<Step>) -> Self {
        let play = Rc::new(RefCell::new(Play::default()));
        let driver = dart(head(), Habits { recipe, ..Habits::default() });
        let world = World::with_drivers(fast(), vec![driver], vec![Box::new(Script(play.clone()))]);
        let mut stage = Self { world, play };
        stage.go(steps);
        stage
    }

    /// Plays these steps to their end.
    fn go(&mut self, steps: Vec<Step>) {
        self.play.borrow_mut().steps.extend(steps.into_iter().map(whole));
        for _ in 0..4_000 {
            self.world.run(Duration::from_millis(1));
            let play = self.play.borrow();
            assert_eq!(play.wrong, Vec::<String>::new());
            if play.steps.is_empty() && play.pending.is_none() {
                return;
            }
        }
        panic!("stuck before {:?}; told {:#?}", self.play.borrow().steps.front(), self.world.told());
    }

    fn told(&self, event: &PumpEvent) -> bool {
        self.world.told().contains(event)
    }

    fn ended(&self) -> (Volume, Money, Option<Volume>) {
        let ended = self.world.told().into_iter().find_map(|event| match event {
            PumpEvent::Ended { reading, totaliser, .. } => Some((reading.volume, reading.amount, totaliser)),
            _ => None,
        });
        ended.expect("an end")
    }

    fn snapshot(&self) -> Snapshot {
        let snapshot = self.world.told().into_iter().find_map(|event| match event {
            PumpEvent::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        });
        snapshot.expect("a snapshot")
    }
}

/// Blocks that the sheet does not print get their checksum here.
fn whole(step: Step) -> Step {
    match step {
        Says(text) if text.ends_with("CRC") => {
            let bytes = hex(text.trim_end_matches(" CRC"));
            let block = encode_block(bytes[0], bytes[1] & 0x0F, &bytes[2..]).expect("short");
            Says(Box::leak(hex_of(&block).into_boxed_str()))
        }
        Says(text) => {
            decode(&hex(text)).expect("as printed");
            step
        }
        Ours(_) => step,
    }
}

fn released(stage: &Stage) -> bool {
    stage.told(&PumpEvent::Released { release: forecourt::ids::ReleaseId(1) })
}

#[test]
fn exchange_a_a_whole_sale_with_recipe_one() {
    let mut stage = Stage::new(Recipe::TwoBlocks, idle());
    stage.go(vec![Says("57 32 03 04 01 05 00 11 77 1B 03 FA")]);
    assert!(stage.told(&PumpEvent::State { state: State::Calling, lifted: Some(NOZZLE) }));
    stage.world.command(order(1, Preset::Volume(Volume::new(999_000))));
    stage.go(vec![
        Ours("02 01 01 05 06 01 05 00 01 24 00 01 01 05"),
        Says("57 33 02 08 00 00 00 00 00 00 00 00 01 01 01 03 04 01 05 00 11 2C 61 03 FA"),
        Ours("03 04 00 09 99 00 01 01 06"),
        Says("57 34 01 01 02 03 04 01 05 00 11 95 C1 03 FA"),
        Says("57 35 01 01 04 2B 93 03 FA"),
        Says("57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA"),
    ]);
    assert!(released(&stage));
    assert!(stage.told(&PumpEvent::Running { volume: Volume::new(2_000), amount: Money::new(2_100_000) }));
    stage.go(vec![
        Says("57 37 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 01 01 05 67 E9 03 FA"),
        Ours("01 01 04"),
        Says("57 38 02 08 00 00 04 92 00 05 16 60 03 04 01 05 00 01 42 05 03 FA"),
        Ours("65 01 01"),
        Says("57 39 65 10 01 00 00 28 17 41 00 00 28 17 41 00 00 00 00 00 45 7B 03 FA"),
    ]);
    assert_eq!(stage.ended(), (Volume::new(4_920), Money::new(5_166_000), Some(Volume::new(2_817_410))));
}

#[test]
fn exchange_b_a_preset_amount_with_recipe_two() {
    let mut stage = Stage::new(Recipe::OneBlock, idle());
    stage.go(vec![Says("57 3A 03 04 01 05 00 11 FE DB 03 FA")]);
    stage.world.command(order(1, Preset::Amount(Money::new(5_000_000))));
    stage.go(vec![
        Ours("01 01 05 02 01 01 05 06 01 05 00 01 24 00 04 04 00 05 00 00 01 01 06"),
        Says("57 3B 02 08 00 00 00 00 00 00 00 00 01 01 01 01 01 02 03 04 01 05 00 11 40 CB 03 FA"),
        Says("57 3C 01 01 04 02 08 00 00 01 00 00 01 05 00 54 3B 03 FA"),
        Says("57 3D 02 08 00 00 04 76 00 05 00 00 01 01 06 A8 97 03 FA"),
    ]);
    assert!(released(&stage));
    assert!(!stage.world.told().iter().any(|e| matches!(e, PumpEvent::EndSeen { .. })), "6 with the nozzle out");
    stage.go(vec![
        Says("57 3E 03 04 01 05 00 01 01 01 05 EE 46 03 FA"),
        Ours("01 01 04"),
        Says("57 3F 02 08 00 00 04 76 00 05 00 00 03 04 01 05 00 01 53 E7 03 FA"),
        Ours("65 01 01"),
        Says("57 31 65 10 01 00 00 28 22 17 00 00 28 22 17 00 00 00 00 00 9D EA 03 FA"),
    ]);
    assert_eq!(stage.ended(), (Volume::new(4_760), Money::new(5_000_000), Some(Volume::new(2_822_170))));
    assert!(!stage.world.told().iter().any(|e| matches!(e, PumpEvent::Alarm { .. })), "within one volume step");
}

#[test]
fn exchange_c_a_nozzle_hung_up_before_the_limit_and_one_without_fuel() {
    let release = "01 01 05 02 01 01 05 06 01 05 00 01 24 00 04 04 00 05 00 00 01 01 06";
    let mut early = Stage::new(Recipe::OneBlock, idle());
    early.go(vec![Says("57 3A 03 04 01 05 00 11 FE DB 03 FA")]);
    early.world.command(order(1, Preset::Amount(Money::new(5_000_000))));
    early.go(vec![
        Ours(release),
        Says("57 3B 02 08 00 00 00 00 00 00 00 00 01 01 01 01 01 02 03 04 01 05 00 11 40 CB 03 FA"),
        Says("57 3C 01 01 04 02 08 00 00 01 00 00 01 05 00 54 3B 03 FA"),
        Says("57 3D 03 04 01 05 00 01 02 08 00 00 01 20 00 01 26 00 01 01 05 A4 2D 03 FA"),
        Ours("01 01 04"),
        Says("57 3E 02 08 00 00 01 20 00 01 26 00 03 04 01 05 00 01 CRC"),
        Ours("65 01 01"),
        Says("57 31 65 10 01 00 00 28 22 17 00 00 28 22 17 00 00 00 00 00 9D EA 03 FA"),
    ]);
    assert_eq!(early.ended().0, Volume::new(1_200));

    let mut dry = Stage::new(Recipe::OneBlock, idle());
    dry.go(vec![Says("57 32 03 04 01 05 00 11 77 1B 03 FA")]);
    dry.world.command(order(1, Preset::Amount(Money::new(5_000_000))));
    dry.go(vec![
        Ours(release),
        Says("57 33 02 08 00 00 00 00 00 00 00 00 01 01 01 01 01 02 03 04 01 05 00 11 27 6D 03 FA"),
        Says("57 34 03 04 01 05 00 01 10 D7 03 FA"),
        Ours("01 01 08"),
        Says("57 35 01 01 05 02 08 00 00 00 00 00 00 00 00 0A 8F 03 FA"),
        // not printed: the zero is read twice as every end
        Ours("01 01 04"),
        Says("57 37 02 08 00 00 00 00 00 00 00 00 03 04 01 05 00 01 CRC"),
        Ours("65 01 01"),
        Says("57 36 65 10 01 00 00 28 22 17 00 00 28 22 17 00 00 00 00 00 28 9E 03 FA"),
    ]);
    assert_eq!(dry.ended(), (Volume::ZERO, Money::ZERO, Some(Volume::new(2_822_170))));
}

#[test]
fn exchange_d_a_controller_restart_while_a_sale_is_open_ended_or_the_power_was_cut() {
    let unacknowledged = Says("57 36 02 08 00 00 02 00 00 02 10 00 BF 6B 03 FA");
    let totals = [
        Ours("65 01 01"),
        Says("57 38 65 10 01 00 00 28 17 41 00 00 28 17 41 00 00 00 00 00 78 87 03 FA"),
        Ours("65 01 02"),
        Says("57 39 65 10 02 00 00 28 17 41 00 00 28 17 41 00 00 00 00 00 CRC"),
    ];
    let ask = Ours("01 01 00 01 01 04");
    let play = |reply: &'static str, after: Vec<Step>| {
        Stage::new(
            Recipe::TwoBlocks,
            [vec![unacknowledged.clone(), ask.clone(), Says(reply)], totals.to_vec(), after].concat(),
        )
    };
    let open = play("57 37 01 01 04 03 04 01 05 00 11 02 08 00 00 03 10 00 03 25 50 01 3C 03 FA", vec![]);
    let snapshot = open.snapshot();
    assert_eq!((snapshot.state, snapshot.lifted, snapshot.power_cycled), (State::Fuelling, Some(NOZZLE), false));
    assert_eq!(snapshot.reading.map(|r| (r.volume, r.amount)), Some((Volume::new(3_100), Money::new(3_255_000))));

    let program = Ours("02 02 01 02 05 06 01 05 00 01 24 00");
    let ended =
        play("57 37 01 01 05 03 04 01 05 00 01 02 08 00 00 04 92 00 05 16 60 89 20 03 FA", vec![program.clone()]);
    let snapshot = ended.snapshot();
    assert_eq!((snapshot.state, snapshot.power_cycled), (State::Idle, false));
    assert_eq!(snapshot.reading.map(|r| r.volume), Some(Volume::new(4_920)));
    assert_eq!(snapshot.totalisers.get(&NOZZLE), Some(&Volume::new(2_817_410)));

    let cut = play("57 30 01 01 00 03 04 00 00 00 00 26 25 03 FA", vec![program]);
    let snapshot = cut.snapshot();
    assert_eq!((snapshot.state, snapshot.power_cycled), (State::Closed, true));
}
