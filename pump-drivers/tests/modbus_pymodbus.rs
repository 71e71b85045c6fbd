//! The driver's framing against pymodbus, which shares nothing with it: Modbus TCP and RTU over TCP.
//!
//! Needs Python with `pip install pymodbus==3.16.1`, at `target/pymodbus/bin/python` or where `MODBUS_PYTHON` says.

use core::time::Duration;
use pump_drivers::modbus::point::{Order, Point, Raw, Scale, ValueType};
use pump_drivers::modbus::wire::{Answer, Area, Framing, Question, Taken, Talk};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

fn python() -> Option<PathBuf> {
    let local = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/pymodbus/bin/python");
    let python = std::env::var_os("MODBUS_PYTHON").map_or_else(|| PathBuf::from(local), PathBuf::from);
    let there = Command::new(&python).args(["-c", "import pymodbus"]).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    eprintln!(
        "skipped: no pymodbus; python3 -m venv target/pymodbus && target/pymodbus/bin/pip install pymodbus==3.16.1"
    );
    None
}

struct Device {
    process: Child,
    link: TcpStream,
    talk: Talk,
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Device {
    fn start(python: &PathBuf, framing: Framing) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pymodbus_device.py");
        let framer = if framing == Framing::Tcp { "socket" } else { "rtu" };
        let mut process = Command::new(python)
            .args([script, &free.port().to_string(), framer])
            .stderr(Stdio::null())
            .spawn()
            .expect("python runs");
        for _ in 0..200 {
            if let Ok(link) = TcpStream::connect(free) {
                link.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
                return Self { process, link, talk: Talk::new(framing, 77) };
            }
            assert!(process.try_wait().expect("a process").is_none(), "pymodbus ended by itself");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("pymodbus does not listen");
    }

    fn ask(&mut self, question: Question) -> Answer {
        let bytes = self.talk.ask(9, question.clone()).expect("a frame");
        self.link.write_all(&bytes).expect("sent");
        loop {
            let mut byte = [0];
            self.link.read_exact(&mut byte).unwrap_or_else(|why| panic!("{question:?}: {why}"));
            match self.talk.take(byte[0]) {
                Taken::More => {}
                Taken::Answer(answer) => return answer,
                Taken::Bad(why) => panic!("{question:?}: {why}"),
            }
        }
    }
}

fn read(area: Area, address: u16, count: u16) -> Question {
    Question::Read { area, address, count }
}

#[test]
fn every_function_is_understood_by_pymodbus_and_its_answers_by_us() {
    let Some(python) = python() else { return };
    for framing in [Framing::Tcp, Framing::Rtu] {
        let mut device = Device::start(&python, framing);
        let bits: Vec<bool> = (0..13).map(|n| n % 3 == 0).collect();
        assert_eq!(device.ask(read(Area::Coil, 0, 13)), Answer::Bits(bits.clone()));
        assert_eq!(device.ask(read(Area::Discrete, 3, 13)), Answer::Bits(bits), "every third from the third on");
        for area in [Area::Input, Area::Holding] {
            let words: Vec<u16> = (10..135).map(|n| 1_000 + n).collect();
            assert_eq!(device.ask(read(area, 10, 125)), Answer::Registers(words));
        }
        assert_eq!(device.ask(Question::WriteCoil { address: 1, on: true }), Answer::Written);
        assert_eq!(device.ask(read(Area::Coil, 0, 3)), Answer::Bits(vec![true, true, false]));
        assert_eq!(device.ask(Question::WriteRegister { address: 25, value: 1 }), Answer::Written);
        let values: Vec<u16> = (0..123).collect();
        assert_eq!(device.ask(Question::WriteRegisters { address: 40, values: values.clone() }), Answer::Written);
        assert_eq!(device.ask(read(Area::Holding, 40, 123)), Answer::Registers(values));
        assert_eq!(device.ask(read(Area::Holding, 25, 1)), Answer::Registers(vec![1]));
        assert_eq!(device.ask(read(Area::Holding, 299, 2)), Answer::Exception(2));
    }
}

#[test]
fn a_value_comes_out_alike_in_all_four_orders() {
    let Some(python) = python() else { return };
    let mut device = Device::start(&python, Framing::Rtu);
    let orders = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];
    for (address, order) in (200..).step_by(2).zip(orders) {
        let point = Point {
            area: Area::Input,
            address,
            kind: ValueType::S32,
            order,
            scale: Scale::ONE,
            writable: false,
            invalid: Vec::new(),
            values: Vec::new(),
            bit: None,
            active_low: false,
            expect: None,
        };
        let Answer::Registers(words) = device.ask(point.question()) else { panic!("no registers") };
        assert_eq!(point.raw(&words), Some(Raw(98_765)), "{order:?}");
    }
}
