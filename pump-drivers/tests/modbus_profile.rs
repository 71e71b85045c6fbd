//! Profiles: those that are shipped are good, and every problem of a bad one is told with its line.

use pump_drivers::modbus::profile::{Kind, Profile, Role};
use pump_drivers::modbus::wire::{Area, Question};

const GENERIC: &str = include_str!("../../profiles/modbus/generic-dispenser.toml");
const COLUMN: &str = include_str!("../../profiles/modbus/gas-column-p1.toml");
const PULSES: &str = include_str!("../../profiles/modbus/pulse-valve-p2.toml");
const RELAYS: &str = include_str!("../../profiles/modbus/relay-board-p3.toml");

fn problems(text: &str) -> Vec<String> {
    Profile::parse(text).expect_err("a problem").iter().map(ToString::to_string).collect()
}

/// The reference without the table of one point.
fn without(point: &str) -> String {
    let head = format!("[point.{point}]");
    let from = GENERIC.find(&head).expect("such a point");
    let to = GENERIC[from + 1..].find("\n[").map_or(GENERIC.len(), |at| from + 1 + at);
    format!("{}{}", &GENERIC[..from], &GENERIC[to..])
}

#[test]
fn the_shipped_profiles_are_good() {
    for (text, kind) in
        [(GENERIC, Kind::Dispenser), (COLUMN, Kind::Collect), (PULSES, Kind::Pulses), (RELAYS, Kind::Outputs)]
    {
        match Profile::parse(text) {
            Ok(profile) => assert_eq!(profile.kind, kind),
            Err(problems) => panic!("{problems:#?}"),
        }
    }
}

#[test]
fn live_values_and_the_record_of_a_sale_come_in_one_request_each() {
    let generic = Profile::parse(GENERIC).expect("good");
    let live =
        generic.blocks(&[Role::State, Role::Nozzle, Role::Volume, Role::Amount, Role::Price, Role::SaleSequence]);
    let question = Question::Read { area: Area::Holding, address: 0, count: 9 };
    assert_eq!(
        live.iter().map(|block| &block.question).collect::<Vec<_>>(),
        [&question],
        "Modbus sheet, section 9.5, frame 1"
    );
    let column = Profile::parse(COLUMN).expect("good");
    let record = column.blocks(&Role::SALE);
    let question = Question::Read { area: Area::Input, address: 1, count: 8 };
    assert_eq!(record.iter().map(|block| &block.question).collect::<Vec<_>>(), [&question], "M32");
}

#[test]
fn a_releasing_map_without_a_mandatory_point_is_refused() {
    for point in ["state", "volume", "command", "preset-value"] {
        let text = without(point);
        let told = problems(&text);
        assert!(told.iter().any(|problem| problem.contains(&format!("{point} is missing"))), "{point}: {told:#?}");
    }
    let derived = without("sale-sequence").replace("[point.sale-ack]", "[point.heartbeat-2]");
    assert!(Profile::parse(&derived).is_err());
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let text = r#"
name = "odd"
kind = "dispenser"
speed = 1
[limits]
registers-per-read = 200
[point.state]
area = "holding"
address = 70_000
type = "u16"
values = { idle = 0, calling = 0, resting = 7 }
[point.volume]
area = "holding"
address = 2
type = "u32"
scale = [1, 0]
[point.amount]
area = "input"
address = 1
type = "u16"
order = "ABCD"
unit = "ml"
[point.command]
area = "input"
address = 1
type = "u16"
values = { authorise = 0 }
[point.colour]
area = "holding"
"#;
    let told = problems(text);
    let lines: Vec<&str> = told.iter().filter_map(|problem| problem.split(':').next()).collect();
    for line in ["4", "6", "9", "11", "12", "16", "21", "22", "23", "24", "28"] {
        assert!(lines.contains(&line), "line {line} of {told:#?}");
    }
    assert!(told.iter().any(|problem| problem.contains("16:1: point.volume.scale")), "{told:#?}");
}

#[test]
fn text_that_is_no_toml_is_told_with_its_place() {
    assert_eq!(problems("name = \"x\nkind = 1").len(), 1);
    assert!(problems("name = \"x")[0].starts_with("1:"));
}

#[test]
fn values_that_can_tear_are_refused_unless_guarded() {
    let torn = GENERIC.replace("registers-per-read = 125", "registers-per-read = 4");
    let told = problems(&torn);
    assert!(told.iter().any(|problem| problem.contains("can tear")), "{told:#?}");
    let guarded = format!("{torn}\n[point.guard]\narea = \"holding\"\naddress = 8\ntype = \"u16\"\n");
    assert!(Profile::parse(&guarded).is_ok());
}

#[test]
fn a_32_bit_value_has_an_order_and_an_output_is_never_inverted() {
    let orderless = GENERIC.replacen("order = \"ABCD\"\n", "", 1);
    assert!(problems(&orderless).iter().any(|problem| problem.contains("ABCD, CDAB, BADC or DCBA")));
    let inverted = RELAYS.replace("area = \"coil\"", "area = \"coil\"\nactive-low = true");
    assert!(problems(&inverted).iter().any(|problem| problem.contains("energised to run")));
}

#[test]
fn a_function_that_the_device_lacks_is_not_used() {
    let text = GENERIC.replace("functions = [1, 2, 3, 4, 5, 6, 15, 16]", "functions = [3]");
    let told = problems(&text);
    assert!(told.iter().any(|problem| problem.contains("point.command: needs function 6 or 16")), "{told:#?}");
    let text = RELAYS.replace("functions = [1, 2, 5, 15]", "functions = [1, 2, 23]");
    assert_eq!(problems(&text).len(), 2);
}

#[test]
fn a_collecting_map_writes_nothing_but_its_acknowledgement() {
    let text = format!(
        "{COLUMN}\n[point.command]\narea = \"holding\"\naddress = 0\ntype = \"u16\"\nvalues = {{ stop = 2 }}\n"
    );
    assert!(problems(&text)[0].contains("kind collect has no such point"));
}

#[test]
fn a_float_is_read_where_it_is_a_figure_and_refused_where_it_is_written_or_counts_a_limit() {
    let float = |table: &str| {
        let from = GENERIC.find(&format!("[point.{table}]")).expect("such a point");
        let place = from + GENERIC[from..].find("type = \"u").expect("a type");
        let end = place + GENERIC[place..].find('\n').expect("a line");
        format!("{}type = \"f32\"{}", &GENERIC[..place], &GENERIC[end..])
    };
    assert_eq!(Profile::parse(&float("total-volume")).err(), None);
    for (point, why) in [
        ("set-price", "a float is only read"),
        ("preset-value", "a float is only read"),
        ("volume", "a limit is counted as this point is"),
        ("amount", "a limit is counted as this point is"),
        ("sale-sequence", "has no fraction"),
    ] {
        let told = problems(&float(point));
        assert!(told.iter().any(|problem| problem.contains(why)), "{point}: {told:#?}");
    }
}

#[test]
fn a_pulse_counter_has_32_bits_and_its_overflow_one_register() {
    let narrow = PULSES.replace("type = \"u32\"\norder = \"ABCD\"", "type = \"u16\"");
    assert!(problems(&narrow)[0].contains("point.pulse-counter: a counter begins anew after 2^32"), "{narrow}");
    let wide = PULSES.replacen("type = \"u16\"", "type = \"u32\"\norder = \"ABCD\"", 1);
    assert!(problems(&wide).iter().any(|problem| problem.contains("pulse-overflow: is one register")), "{wide}");
}

#[test]
fn a_relay_that_nobody_switches_is_refused_and_not_passed_over() {
    for role in ["pump-enable", "valve-slow", "light", "buzzer"] {
        let text = format!("{RELAYS}\n[point.{role}]\narea = \"coil\"\naddress = 5\n");
        assert!(problems(&text)[0].contains("is not switched by this version"), "{role}");
    }
}
