use crate::config::{Ack, Config, Files, Mode, NoFiles, Parity, Port, Problem, Ways, parse};
use core::time::Duration;
use forecourt::units::{UnitPrice, Volume};
use pump_drivers::line::Echo;
use pump_drivers::two_wire::{MoneyPreset, Width, block::Level};
use pump_drivers::{dart, gaskitlink};
use std::path::{Path, PathBuf};

const GOOD: &str = r#"[station]
id = "st-0001"
currency = "CNY"
data-directory = "/var/lib/forecourt-edge"
price-set = "PS-0001"

[[grade]]
code = "92"
unit-price-micros = 7450000

[[line]]
name = "island-1"
protocol = "dart"
port = "/dev/serial/by-id/usb-x"

[[line.dispenser]]
fuelling-point = 1
address = 0x50
decimals = { volume = 2, price = 2, amount = 2, totals = 2 }

[[line.dispenser.nozzle]]
number = 1
logical = 1
grade = "92"
"#;

fn good(text: &str) -> Config {
    match parse(text, &NoFiles) {
        Ok((config, warnings)) => {
            assert_eq!(warnings, [], "no warnings");
            config
        }
        Err(problems) => panic!("{}", show(&problems)),
    }
}

fn show(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

fn bad(text: &str) -> String {
    show(&parse(text, &NoFiles).expect_err("must be refused"))
}

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is in the sample");
    GOOD.replacen(from, to, 1)
}

#[test]
fn the_least_configuration_takes_every_default() {
    let config = good(GOOD);
    assert_eq!(config.cloud, None);
    assert_eq!(config.station.utc_offset_minutes, 480);
    assert_eq!(config.timers.lift_timeout, Duration::from_secs(120));
    assert_eq!(config.limits.minimum_volume, Volume::new(2_000));
    assert_eq!(config.grades[0].unit_price, UnitPrice::new(7_450_000));
    let line = &config.lines[0];
    assert_eq!((line.baud, line.parity, line.echo, line.rs485), (9_600, Parity::Odd, Echo::None, false));
    assert_eq!(line.pause_before_send, Duration::from_millis(10));
    assert_eq!(line.dispensers[0].address, 0x50);
    assert_eq!(line.dispensers[0].ways, Ways::Dart(dart::Habits::default()));
    assert_eq!(config.trace.directory, PathBuf::from("/var/lib/forecourt-edge/trace"));
    assert_eq!(config.trace.segment_bytes, 4 * 1024 * 1024);
}

#[test]
fn the_shipped_example_is_valid_and_shows_every_key() {
    let text = include_str!("../../../../systemd/edge.toml");
    let config = good(text);
    let cloud = config.cloud.expect("shows the cloud");
    assert_eq!(cloud.ack, Ack::Cloud);
    assert!(cloud.tls.is_some());
    assert!(config.lines.iter().any(|line| matches!(line.port, Port::Tcp { .. })));
}

#[test]
fn all_problems_are_listed_at_once_in_the_order_of_the_file() {
    let text = GOOD
        .replacen("id = \"st-0001\"", "id = \"größe\"\ncolour = 1", 1)
        .replacen("price-set = \"PS-0001\"\n", "", 1)
        .replacen("7450000", "7.45", 1)
        .replacen("protocol = \"dart\"", "protocol = \"tart\"", 1)
        .replacen("logical = 1", "logical = 16", 1)
        .replacen("grade = \"92\"", "grade = \"95\"", 1);
    let expected = "\
1:1: error: station.price-set: is missing; expected a name such as \"PS-0001\"
2:6: error: station.id: a station id must be 1 to 64 characters of A-Z a-z 0-9 _ -
3:1: error: station.colour: is not a key of this table; expected id, name, currency, utc-offset-minutes, time-zone, data-directory or price-set
9:21: error: grade[0].unit-price-micros: is a number with a fraction; expected an integer from 1 to 999999000000 millionths per litre
13:12: error: line[0].protocol: \"tart\" is not known here; expected dart, gaskitlink, two-wire or modbus
23:11: error: line[0].dispenser[0].nozzle[0].logical: 16 is out of range; expected an integer from 1 to 15
24:9: error: line[0].dispenser[0].nozzle[0].grade: no [[grade]] has the code \"95\"; expected 92";
    assert_eq!(bad(&text), expected);
}

#[test]
fn what_must_be_unique_is_refused_with_the_place_of_the_first() {
    let second = r#"
[[line]]
name = "island-1"
protocol = "dart"
port = "/dev/serial/by-id/usb-x"
[[line.dispenser]]
fuelling-point = 1
panel = 1
decimals = { volume = 2, price = 2, amount = 2, totals = 2 }
[[line.dispenser.nozzle]]
number = 1
logical = 1
grade = "92"
[[line.dispenser.nozzle]]
number = 2
logical = 1
grade = "92"
[[line.dispenser]]
fuelling-point = 2
address = 80
decimals = { volume = 2, price = 2, amount = 2, totals = 2 }
[[line.dispenser.nozzle]]
number = 3
logical = 1
grade = "92"
"#;
    let found = bad(&format!("{GOOD}{second}"));
    for expected in [
        "line[1].name: the name \"island-1\" is used in line 12 already",
        "line[1].port: the port /dev/serial/by-id/usb-x is used in line 14 already",
        "line[1].dispenser[0].fuelling-point: the fuelling point 1 is used in line 17 already",
        "line[1].dispenser[0].nozzle[0].number: the nozzle number 1 is used in line 22 already",
        "line[1].dispenser[0].nozzle[1].logical: logical nozzle 1 is used on this dispenser in line 36 already",
        "line[1].dispenser[1].address: address 80 (0x50) is used on this line in line 32 already",
    ] {
        assert!(found.contains(expected), "{expected}\nnot in\n{found}");
    }
    assert_eq!(found.lines().count(), 6, "{found}");
}

#[test]
fn a_price_must_fit_the_head_and_an_amount_the_currency() {
    let finer = changed("7450000", "7455000");
    assert!(bad(&finer).contains("has more than the 2 decimals of this head; expected a multiple of 10000"));
    let longer = changed("7450000", "99990000000");
    assert!(bad(&longer).contains("needs 9999000 in the digits of this head; expected at most 999999"));
    let zero = changed("7450000", "0");
    assert!(bad(&zero).contains("grade[0].unit-price-micros: 0 is out of range"));
    let yen = changed("CNY", "JPY");
    assert!(bad(&yen).contains("decimals.amount: 2 decimals of amount, but JPY has 0; expected 0 to 0"));
}

#[test]
fn a_port_is_a_device_or_a_device_server() {
    let tcp = changed("/dev/serial/by-id/usb-x", "tcp://[::1]:4001");
    assert_eq!(good(&tcp).lines[0].port, Port::Tcp { host: "::1".into(), port: 4001 });
    for port in ["COM1", "tcp://10.0.0.5", "tcp://:4001", "udp://a:1", "tcp://a:0", "tcp://a b:1", ""] {
        let found = bad(&changed("/dev/serial/by-id/usb-x", port));
        assert!(found.contains("line[0].port") && found.contains("tcp://HOST:PORT"), "{port}: {found}");
    }
}

/// A machine where every port is known by a name that lasts.
struct Named;

impl Files for Named {
    fn trouble_with(&self, _: &Path) -> Option<String> {
        None
    }

    fn is_open_to_all(&self, _: &Path) -> bool {
        false
    }

    fn text_of(&self, _: &Path) -> Result<String, String> {
        Err("is not there".into())
    }

    fn lasting_name(&self, port: &Path) -> Option<PathBuf> {
        Some(Path::new("/dev/serial/by-id").join(format!("usb-FTDI_{}", port.file_name()?.display())))
    }
}

#[test]
fn a_port_by_a_name_that_counts_is_used_with_a_warning_that_names_the_lasting_one() {
    let shaky = changed("/dev/serial/by-id/usb-x", "/dev/ttyUSB0");
    let told = |files: &dyn Files| show(&parse(&shaky, files).expect("used all the same").1);
    let named = told(&Named);
    assert!(named.contains("warning: line[0].port: this name may belong to another adapter"), "{named}");
    assert!(
        named.contains("expected port = \"/dev/serial/by-id/usb-FTDI_ttyUSB0\", which is this adapter now"),
        "{named}"
    );
    let unnamed = told(&NoFiles);
    assert!(unnamed.contains("/dev/serial/by-id, or in /dev/serial/by-path"), "{unnamed}");
    assert_eq!(show(&parse(GOOD, &Named).expect("good").1), "", "a name by-id needs no warning");
}

#[test]
fn a_broker_is_reached_over_tls_or_on_this_machine() {
    let cloud = |rest: &str| format!("{GOOD}\n[cloud]\njwks-file = \"/k/jwks.json\"\n{rest}");
    let config = good(&cloud("brokers = [\"mqtt://127.0.0.1:1884\", \"mqtt://localhost\"]"));
    let brokers = config.cloud.expect("there").brokers;
    assert_eq!((brokers[0].port, brokers[1].port, brokers[1].tls), (1884, 1883, false));

    let plain = bad(&cloud("brokers = [\"mqtt://broker.example\"]"));
    assert!(plain.contains("cloud.brokers[0]: plain TCP to another host; expected mqtts://, or allow-plaintext"));
    let (_, warnings) =
        parse(&cloud("brokers = [\"mqtt://broker.example\"]\nallow-plaintext = true"), &NoFiles).expect("allowed");
    assert!(show(&warnings).contains("plain TCP"), "{}", show(&warnings));

    let bare = bad(&cloud("brokers = [\"mqtts://broker.example\"]"));
    for key in ["cloud.ca-file", "cloud.cert-file", "cloud.key-file"] {
        assert!(bare.contains(&format!("{key}: is missing")), "{bare}");
    }
    assert!(bad(&cloud("brokers = []")).contains("cloud.brokers: names no broker"));
    assert!(bad(&cloud("brokers = [7, \"http://x\"]")).contains("cloud.brokers[0]: is an integer"));
}

#[test]
fn a_missing_file_is_named() {
    let text = format!("{GOOD}\n[cloud]\nbrokers = [\"mqtt://localhost\"]\njwks-file = \"/nowhere/jwks.json\"\n");
    let problems = parse(&text, &crate::config::Disk).expect_err("no such file");
    assert!(show(&problems).contains("cloud.jwks-file: /nowhere/jwks.json: No such file"), "{}", show(&problems));
}

#[test]
fn broken_toml_is_named_by_its_place_alone() {
    let found = bad("[station\nid = \"a\"\n[station]\n");
    assert!(found.starts_with("1:9: error: "), "{found}");
    let twice = bad(&changed("currency", "id = \"b\"\ncurrency"));
    assert!(twice.starts_with("3:1: error: duplicate key"), "{twice}");
}

#[test]
fn an_empty_text_asks_for_what_is_needed() {
    let found = bad("");
    for key in ["station.id", "station.currency", "station.data-directory", "station.price-set", "grade", "line"] {
        assert!(found.contains(&format!("1:1: error: {key}: is missing")), "{key}\n{found}");
    }
}

#[test]
fn wrong_kinds_never_panic_and_are_named() {
    let found = bad("station = 1\ngrade = {}\nline = [1, {dispenser = 2}]\ncloud = []\nlog = \"x\"\n");
    for expected in [
        "station: is an integer; expected a table",
        "grade: is a table; expected an array of tables",
        "line[0]: is an integer; expected a table",
        "line[1].dispenser: is an integer; expected an array of tables",
        "cloud: is an array; expected a table",
        "log: is a string; expected a table",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn no_slip_of_a_hand_makes_it_panic_and_every_refusal_has_a_place() {
    let text = include_str!("../../../../systemd/edge.toml");
    for (offset, _) in text.char_indices().filter(|(offset, _)| offset % 11 == 0) {
        for slip in ["", "\"", "[", "=", "-", "é", "\n"] {
            let (before, after) = text.split_at(offset);
            let after = after.chars().skip(usize::from(offset % 2 == 0)).collect::<String>();
            if let Err(problems) = parse(&format!("{before}{slip}{after}"), &NoFiles) {
                assert!(problems.iter().any(|problem| problem.severity == crate::config::Severity::Error));
                assert!(problems.iter().all(|problem| problem.line > 0 && problem.column > 0));
            }
        }
    }
}

#[test]
fn each_protocol_has_its_own_defaults_and_keys() {
    let post = GOOD.replacen("protocol = \"dart\"", "protocol = \"gaskitlink\"", 1).replacen(
        "address = 0x50",
        "address = 5\nauthorise-in = \"idle\"",
        1,
    );
    let (config, _) = parse(&post, &NoFiles).expect("good");
    let line = &config.lines[0];
    assert_eq!((line.baud, line.parity, line.answer_window), (9_600, Parity::None, Duration::from_millis(100)));
    let authorise_in = gaskitlink::AuthoriseIn::Idle;
    let habits = gaskitlink::Habits { authorise_in, ..gaskitlink::Habits::default() };
    assert_eq!(line.dispensers[0].ways, Ways::GasKitLink(habits));
    let problems = parse(&post.replacen("authorise-in = \"idle\"", "recipe = \"one-block\"", 1), &NoFiles).unwrap_err();
    assert!(problems.iter().any(|problem| problem.to_string().contains("recipe")), "{problems:?}");
}

#[test]
fn a_two_wire_head_has_the_digits_level_and_echo_that_are_set_for_it() {
    let head = |keys: &str| {
        let text = changed("protocol = \"dart\"", "protocol = \"two-wire\"");
        text.replacen("address = 0x50", &format!("address = 7\n{keys}"), 1)
    };
    let ways = |text: &str| match good(text).lines[0].dispensers[0].ways {
        Ways::TwoWire(habits) => (habits.width, habits.money_preset, habits.level),
        ref other => panic!("{other:?}"),
    };
    assert_eq!(ways(&head("")), (Width::Six, MoneyPreset::LevelAndGrade, Level::One));
    assert_eq!(ways(&head("price-level = 2")), (Width::Six, MoneyPreset::LevelAndGrade, Level::Two));
    let plain = bad(&head("price-level = 2\nmoney-preset = \"plain\""));
    assert!(plain.contains("names no price level, and price-level is 2"), "{plain}");
    assert_eq!(good(&head("")).lines[0].echo, Echo::Auto);
    assert_eq!(good(&head("").replacen("[[line.disp", "echo = \"strip\"\n[[line.disp", 1)).lines[0].echo, Echo::Strip);
    // 1234.56 has six digits
    let dear = |text: &str| text.replacen("7450000", "1234560000", 1);
    assert_eq!(ways(&dear(&head("digits = \"eight\""))).0, Width::Eight);
    let narrow = bad(&dear(&head("")));
    assert!(narrow.contains("needs 123456 in the digits of this head"), "{narrow}");
}

#[test]
fn a_line_is_driven_by_us_unless_it_says_that_another_does() {
    let config = good(GOOD);
    assert_eq!((config.lines[0].mode, config.lines[0].listen_before), (Mode::Control, Duration::from_secs(1)));
    let heard = changed("protocol = \"dart\"", "protocol = \"dart\"\nmode = \"listen-only\"");
    assert_eq!(good(&heard).lines[0].mode, Mode::ListenOnly);
    let slow = changed("protocol = \"dart\"", "protocol = \"dart\"\nlisten-before-ms = 3001");
    assert!(bad(&slow).contains("listen-before-ms: 3001 is out of range; expected an integer from 0 to 3000 ms"));
    let word = changed("protocol = \"dart\"", "protocol = \"dart\"\nmode = \"listen\"");
    assert!(bad(&word).contains("line[0].mode: \"listen\" is not known here; expected control or listen-only"));
}

#[test]
fn what_is_only_listened_to_takes_no_word_on_sending_and_needs_a_protocol_with_ears() {
    let keys = "mode = \"listen-only\"\necho = \"strip\"\npause-before-send-ms = 5\nlisten-before-ms = 500";
    let text = GOOD.replacen("protocol = \"dart\"", &format!("protocol = \"dart\"\n{keys}"), 1).replacen(
        "address = 0x50",
        "address = 0x50\nsuspend = true\nrecipe = \"one-block\"",
        1,
    );
    let found = bad(&text);
    for key in [
        "line[0].echo",
        "line[0].pause-before-send-ms",
        "line[0].listen-before-ms",
        "line[0].dispenser[0].suspend",
        "line[0].dispenser[0].recipe",
    ] {
        let expected =
            format!("{key}: has no use with mode \"listen-only\": nothing is sent there; expected to be left out");
        assert!(found.contains(&expected), "{expected}\n{found}");
    }
    assert_eq!(found.lines().count(), 5, "{found}");
    let deaf = GOOD.replacen("protocol = \"dart\"", "protocol = \"gaskitlink\"\nmode = \"listen-only\"", 1).replacen(
        "address = 0x50",
        "address = 5",
        1,
    );
    let expected = "line[0].mode: a line that speaks gaskitlink cannot be listened to; \
                    expected mode = \"control\", or protocol dart";
    assert!(bad(&deaf).contains(expected), "{}", bad(&deaf));
}

/// The sample with a device by its register map.
fn by_map(keys: &str) -> String {
    GOOD.replacen("protocol = \"dart\"", "protocol = \"modbus\"", 1).replacen(
        "address = 0x50",
        &format!("address = 2\n{keys}"),
        1,
    )
}

#[test]
fn a_pulse_counter_has_a_board_with_a_valve_and_one_nozzle() {
    let keys = "profile = \"pulse-valve-p2\"\nvalve-profile = \"relay-board-p3\"\nvalve-address = 5\nrun-on-ml = 70";
    let Ways::Pulses(habits) = &good(&by_map(keys)).lines[0].dispensers[0].ways else { panic!("pulses") };
    assert_eq!((habits.board_unit, habits.run_on), (5, Volume::new(70)));
    let alone = bad(&by_map("profile = \"pulse-valve-p2\""));
    assert!(
        alone.contains("is that of a pulse counter; expected valve-profile and valve-address beside it"),
        "{alone}"
    );
    let other = bad(&by_map(&keys.replace("relay-board-p3", "generic-dispenser")));
    assert!(other.contains("valve-profile: is not that of a board with relays"), "{other}");
    let two = by_map(keys) + "[[line.dispenser.nozzle]]\nnumber = 2\nlogical = 2\ngrade = \"92\"\n";
    assert!(bad(&two).contains("one counter with one valve has one nozzle"), "{}", bad(&two));
}

#[test]
fn what_a_register_map_does_not_have_is_told_before_the_daemon_starts() {
    let board = bad(&by_map("profile = \"relay-board-p3\""));
    assert!(
        board.contains("is no dispenser's: a counter of kind pulses and a board of kind outputs make one"),
        "{board}"
    );
    let valve = bad(&by_map("profile = \"generic-dispenser\"\nvalve-address = 5"));
    assert!(valve.contains("valve-address: is for a pulse counter"), "{valve}");
    let unknown = bad(&by_map("profile = \"dispenser\""));
    assert!(
        unknown.contains("no profile \"dispenser\" comes with the daemon; expected generic-dispenser"),
        "{unknown}"
    );
}
