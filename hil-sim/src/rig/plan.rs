//! A station as demo, bench and tests lay it out, and the daemon's configuration for it.

use super::bus;
use forecourt::ids::{FuellingPointId, Grade, NozzleId};
use forecourt::units::{Currency, UnitPrice};
use pump_drivers::protocol::Protocol;
use std::fmt::Write as _;
use std::path::PathBuf;

/// A grade and its price.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GradePlan {
    /// What it is called.
    pub code: Grade,
    /// In force at the start.
    pub unit_price: UnitPrice,
}

/// A nozzle of a dispenser. Its logical number is its place in [`DispenserPlan::nozzles`], from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NozzlePlan {
    /// Painted on the pump.
    pub number: NozzleId,
    /// What it sells.
    pub grade: Grade,
}

/// One address on a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DispenserPlan {
    /// Where a customer stands.
    pub fuelling_point: FuellingPointId,
    /// Address byte on its line.
    pub address: u8,
    /// In logical order.
    pub nozzles: Vec<NozzlePlan>,
}

/// One wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinePlan {
    /// In logs and alarms.
    pub name: String,
    /// A serial port, pty or `tcp://host:port`.
    pub port: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// What is connected to it.
    pub dispensers: Vec<DispenserPlan>,
}

/// A whole station.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Its id.
    pub station: String,
    /// Of its money.
    pub currency: Currency,
    /// Holds everything: configuration, store, keys, logs.
    pub directory: PathBuf,
    /// What it sells.
    pub grades: Vec<GradePlan>,
    /// Its wires.
    pub lines: Vec<LinePlan>,
}

impl Plan {
    /// Where the daemon keeps its store.
    #[must_use]
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The daemon's configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.directory.join("edge.toml")
    }

    /// The platform's public keys, for the daemon.
    #[must_use]
    pub fn jwks_file(&self) -> PathBuf {
        self.directory.join("jwks.json")
    }

    /// Every nozzle number, in order.
    #[must_use]
    pub fn nozzles(&self) -> Vec<NozzleId> {
        let dispensers = self.lines.iter().flat_map(|line| &line.dispensers);
        let mut numbers: Vec<_> =
            dispensers.flat_map(|dispenser| &dispenser.nozzles).map(|nozzle| nozzle.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// What a nozzle sells. `None` if there is no such nozzle.
    #[must_use]
    pub fn grade_of(&self, number: NozzleId) -> Option<&Grade> {
        let dispensers = self.lines.iter().flat_map(|line| &line.dispensers);
        let mut nozzles = dispensers.flat_map(|dispenser| &dispenser.nozzles);
        nozzles.find(|nozzle| nozzle.number == number).map(|nozzle| &nozzle.grade)
    }

    /// The price of a grade.
    #[must_use]
    pub fn price_of(&self, code: &Grade) -> Option<UnitPrice> {
        self.grades.iter().find(|grade| grade.code == *code).map(|grade| grade.unit_price)
    }

    /// The daemon's configuration. `extra` is put at its end, such as `[timers]`.
    #[must_use]
    pub fn toml(&self, broker_url: &str, extra: &str) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_toml(&mut text, broker_url, extra);
        text
    }

    fn write_toml(&self, text: &mut String, broker_url: &str, extra: &str) -> std::fmt::Result {
        let quoted = |path: PathBuf| toml::Value::String(path.display().to_string());
        writeln!(text, "[station]\nid = \"{}\"\ncurrency = \"{}\"", self.station, self.currency)?;
        writeln!(text, "data-directory = {}\nprice-set = \"PS-0001\"\n", quoted(self.data_directory()))?;
        writeln!(text, "[cloud]\nbrokers = [\"{broker_url}\"]\njwks-file = {}\n", quoted(self.jwks_file()))?;
        for grade in &self.grades {
            writeln!(text, "[[grade]]\ncode = \"{}\"\nunit-price-micros = {}", grade.code, grade.unit_price.get())?;
            writeln!(text, "max-volume-ml = 100000\nmax-fill-s = 600\n")?;
        }
        for line in &self.lines {
            writeln!(text, "[[line]]\nname = \"{}\"\nprotocol = \"{}\"", line.name, line.protocol.word())?;
            writeln!(text, "port = {}", toml::Value::String(line.port.clone()))?;
            if bus::echoes(line.protocol) {
                writeln!(text, "{}", bus::STRIPS_ECHO)?;
            }
            writeln!(text, "pause-before-send-ms = 0\nlisten-before-ms = 0\n")?;
            for dispenser in &line.dispensers {
                writeln!(text, "[[line.dispenser]]\nfuelling-point = {}", dispenser.fuelling_point)?;
                writeln!(text, "address = {:#04x}", dispenser.address)?;
                writeln!(text, "decimals = {{ volume = 2, price = 2, amount = 2, totals = 2 }}")?;
                writeln!(text, "{}", bus::keys(line.protocol))?;
                for (logical, nozzle) in (1..).zip(&dispenser.nozzles) {
                    let (number, grade) = (nozzle.number, &nozzle.grade);
                    writeln!(
                        text,
                        "[[line.dispenser.nozzle]]\nnumber = {number}\nlogical = {logical}\ngrade = \"{grade}\"\n"
                    )?;
                }
            }
        }
        writeln!(text, "[observe]\nsocket = {}\n", quoted(self.data_directory().join("observe.sock")))?;
        text.push_str(extra);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_toml_with_every_line_dispenser_and_nozzle() {
        let grade = Grade::new("92").expect("a grade");
        let nozzle = |number| NozzlePlan { number: NozzleId(number), grade: grade.clone() };
        let dispenser = |fp, address, nozzles| DispenserPlan { fuelling_point: FuellingPointId(fp), address, nozzles };
        let line = |name: &str, dispensers| LinePlan {
            name: name.into(),
            port: format!("/tmp/x/{name}"),
            protocol: Protocol::Dart,
            dispensers,
        };
        let plan = Plan {
            station: "st-1".into(),
            currency: Currency::CNY,
            directory: "/tmp/a \"b\"".into(),
            grades: vec![GradePlan { code: grade.clone(), unit_price: UnitPrice::new(7_450_000) }],
            lines: vec![
                line("one", vec![dispenser(1, 0x50, vec![nozzle(1), nozzle(2)]), dispenser(2, 0x51, vec![nozzle(3)])]),
                line("two", vec![dispenser(3, 0x50, vec![nozzle(4)])]),
            ],
        };
        let read: toml::Table = plan.toml("mqtt://127.0.0.1:1883", "[timers]\nno-flow-s = 60\n").parse().expect("TOML");
        assert_eq!(read["station"]["data-directory"].as_str(), Some("/tmp/a \"b\"/data"));
        assert_eq!(read["timers"]["no-flow-s"].as_integer(), Some(60));
        let dispensers = read["line"][0]["dispenser"].as_array().expect("a list");
        assert_eq!(dispensers[1]["address"].as_integer(), Some(0x51));
        assert_eq!(dispensers[0]["nozzle"][1]["logical"].as_integer(), Some(2));
        assert_eq!(read["line"][1]["dispenser"][0]["nozzle"][0]["number"].as_integer(), Some(4));
        assert_eq!(plan.nozzles(), [1, 2, 3, 4].map(NozzleId));
    }
}
