//! How much of a grade is released at once, attended and not (rules of unattended service).

use crate::config::walk::{Report, Section};
use core::time::Duration;
use forecourt::units::Volume;

/// What kind of fuel a grade is: tells the usual limits of one release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FuelKind {
    /// For cars.
    Petrol,
    /// For lorries too.
    Diesel,
}

/// The most of one release.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MostAtOnce {
    /// Volume.
    pub volume: Volume,
    /// Time of flow.
    pub fill: Duration,
}

impl FuelKind {
    const fn usual(self, unattended: bool) -> (i64, i64) {
        match (self, unattended) {
            (Self::Petrol, false) => (100_000, 600),
            (Self::Petrol, true) => (90_000, 300),
            (Self::Diesel, false) => (400_000, 1_200),
            (Self::Diesel, true) => (200_000, 600),
        }
    }
}

/// `[unattended]`: nobody serves at the station. What must be there then is declared, or the configuration is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unattended {
    /// Who answers for the station.
    pub responsible: String,
    /// How a customer reaches a person.
    pub contact: String,
}

/// The limits of a grade, attended and unattended.
pub(super) fn most_at_once(section: &mut Section<'_, '_>) -> (MostAtOnce, MostAtOnce) {
    let words = [("petrol", FuelKind::Petrol), ("diesel", FuelKind::Diesel)];
    let kind = section.word("kind", &words).or(FuelKind::Petrol);
    let mut most = |volume_key, fill_key, unattended| {
        let (volume, fill) = kind.usual(unattended);
        let volume = section.integer(volume_key, 1_000..=999_999, " ml").or(volume);
        let fill = section.integer(fill_key, 60..=3_600, " seconds").or(fill);
        MostAtOnce { volume: Volume::new(volume), fill: Duration::from_secs(u64::try_from(fill).unwrap_or(60)) }
    };
    let attended = most("max-volume-ml", "max-fill-s", false);
    (attended, most("unattended-max-volume-ml", "unattended-max-fill-s", true))
}

/// Reads `[unattended]`.
pub(super) fn unattended(mut section: Section<'_, '_>, report: &Report<'_>) -> Option<Unattended> {
    let mut declared = |key, what: &str| {
        let expected = format!("true, once the station has {what}");
        let field = section.boolean(key).check(report, &expected, |there| {
            if there { Ok(()) } else { Err("says that it is missing: such a station must be attended".to_owned()) }
        });
        field.required(report, &expected).map(|_| ())
    };
    let cameras = declared("cameras", "cameras that show every nozzle");
    let stop = declared("emergency-stop", "an emergency stop that customers can reach");
    let mut words = |key, expected: &str| {
        let field = section.text(key).check(report, expected, |text| {
            let good = (1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control);
            if good { Ok(text.to_owned()) } else { Err("has no or too many characters".to_owned()) }
        });
        field.required(report, expected).map(|found| found.value)
    };
    let responsible = words("responsible", "the name of the person who answers for the station");
    let contact = words("contact", "how a customer reaches a person, such as a telephone number");
    section.finish();
    cameras?;
    stop?;
    Some(Unattended { responsible: responsible?, contact: contact? })
}

#[cfg(test)]
mod tests {
    use crate::config::{NoFiles, parse};
    use core::time::Duration;

    const STATION: &str = "[station]\nid = \"a\"\ncurrency = \"CNY\"\ndata-directory = \"/d\"\nprice-set = \"P\"\n";
    const REST: &str = "[[grade]]\ncode = \"0\"\nkind = \"diesel\"\nunit-price-micros = 7000000\nceiling-micros = 7500000\n\
        [[grade]]\ncode = \"92\"\nunit-price-micros = 7450000\nunattended-max-volume-ml = 50000\n[[line]]\nname = \"l\"\n\
        protocol = \"dart\"\nport = \"/dev/x\"\n[[line.dispenser]]\nfuelling-point = 1\naddress = 0x50\n\
        decimals = { volume = 2, price = 2, amount = 2, totals = 2 }\n[[line.dispenser.nozzle]]\nnumber = 1\nlogical = 1\n\
        grade = \"92\"\n[[line.dispenser.nozzle]]\nnumber = 2\nlogical = 2\ngrade = \"0\"\n";

    #[test]
    fn a_grade_has_the_usual_limits_of_its_kind_unless_it_says_otherwise() {
        let (config, _) = parse(&format!("{STATION}{REST}"), &NoFiles).expect("good");
        let figures = |at: usize| {
            let grade = &config.grades[at];
            let seconds = |time: Duration| time.as_secs();
            let (attended, unattended) = (grade.attended, grade.unattended);
            [attended.volume.get(), unattended.volume.get()]
                .map(|ml| ml / 1_000)
                .into_iter()
                .zip([seconds(attended.fill), seconds(unattended.fill)])
        };
        assert_eq!(figures(0).collect::<Vec<_>>(), [(400, 1_200), (200, 600)]);
        assert_eq!(figures(1).collect::<Vec<_>>(), [(100, 600), (50, 300)]);
        assert!(config.unattended.is_none());
    }

    #[test]
    fn an_unattended_station_declares_what_it_must_have() {
        let good = "[unattended]\ncameras = true\nemergency-stop = true\nresponsible = \"Li\"\ncontact = \"+86 1\"\n";
        let (config, _) = parse(&format!("{STATION}{good}{REST}"), &NoFiles).expect("good");
        assert_eq!(config.unattended.expect("unattended").responsible, "Li");
        let bad = format!("{STATION}[unattended]\ncameras = false\ncontact = \"\"\n{REST}");
        let problems = parse(&bad, &NoFiles).expect_err("refused");
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        for key in ["unattended.cameras", "unattended.emergency-stop", "unattended.responsible", "unattended.contact"] {
            assert!(told.iter().any(|problem| problem.contains(key)), "{key}: {told:?}");
        }
    }
}
