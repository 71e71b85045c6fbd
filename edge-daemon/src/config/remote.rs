//! A document of the platform over the station's own file. Whatever names a file, a port, a key or the station itself comes from the file
//! alone.

use crate::config::{self, Config, Files, Problem, Severity};
use forecourt::errand::ConfigProblem;
use serde_json::Value;
use std::collections::BTreeSet;
use toml::{Table, Value as Toml};

/// Tables that only the station's own file has.
const OWN_TABLES: [&str; 5] = ["cloud", "consumers", "control", "observe", "voucher"];
/// Keys of other tables that only it has.
const OWN_KEYS: [(&str, &str); 3] = [("station", "id"), ("station", "data-directory"), ("trace", "directory")];
/// Where the document stands in its command.
const ROOT: &str = "/data/document";
/// Problems told of one document; with more than these nobody begins to read.
const MOST_PROBLEMS: usize = 50;

/// A configuration from the station's own text and a document, with what a person should know although it is used.
///
/// # Errors
/// Every problem, each with the place in the command that brought the document.
pub fn compose(own: &str, document: &Value, files: &dyn Files) -> Result<(Config, Vec<Problem>), Vec<ConfigProblem>> {
    let own: Table = own.parse().map_err(|why| vec![problem(ROOT, format!("the station's own file: {why}"), "")])?;
    let mut problems = Vec::new();
    let merged = merge(&own, document, &mut problems);
    let text = toml::to_string(&merged).map_err(|why| vec![problem(ROOT, why.to_string(), "")]);
    let parsed = text.and_then(|text| {
        config::parse(&text, files).map_err(|found| {
            let errors = found.iter().filter(|found| found.severity == Severity::Error);
            errors.map(|found| problem(&pointer(&found.key), found.what.clone(), &found.expected)).collect()
        })
    });
    match parsed {
        Ok(config) if problems.is_empty() => Ok(config),
        Ok(_) => Err(bounded(problems)),
        Err(more) => {
            problems.extend(more);
            Err(bounded(problems))
        }
    }
}

fn bounded(mut problems: Vec<ConfigProblem>) -> Vec<ConfigProblem> {
    problems.truncate(MOST_PROBLEMS);
    problems
}

fn problem(at: &str, what: String, expected: &str) -> ConfigProblem {
    ConfigProblem { at: at.into(), what, expected: expected.into() }
}

/// `line[0].dispenser[1].address` as a JSON pointer.
fn pointer(key: &str) -> String {
    let parts = key.split(['.', '[', ']']).filter(|part| !part.is_empty());
    parts.fold(ROOT.to_owned(), |pointer, part| format!("{pointer}/{part}"))
}

fn merge(own: &Table, document: &Value, problems: &mut Vec<ConfigProblem>) -> Table {
    let mut paths = BTreeSet::new();
    own.values().for_each(|value| collect_paths(value, &mut paths));
    let read = to_toml(document, ROOT, &paths, problems);
    let Some(Toml::Table(mut merged)) = read else { return Table::new() };
    for table in OWN_TABLES {
        keep_own(&mut merged, own.get(table), table, ROOT, problems);
    }
    for (table, key) in OWN_KEYS {
        let ours = own.get(table).and_then(|table| table.get(key));
        let entry = merged.entry(table).or_insert_with(|| Toml::Table(Table::new()));
        if let Toml::Table(theirs) = entry {
            keep_own(theirs, ours, key, &format!("{ROOT}/{table}"), problems);
        }
    }
    if let Some(Toml::Array(lines)) = merged.get_mut("line") {
        for (index, line) in lines.iter_mut().enumerate() {
            if let Toml::Table(line) = line {
                keep_port(line, own, &format!("{ROOT}/line/{index}"), problems);
            }
        }
    }
    merged
}

/// A key that is the station's own: absent in the document, or the same there.
fn keep_own(theirs: &mut Table, ours: Option<&Toml>, key: &str, at: &str, problems: &mut Vec<ConfigProblem>) {
    if let Some(said) = theirs.get(key)
        && Some(said) != ours
    {
        let expected = "to be left out, or as it is in the station's own file";
        problems.push(problem(&format!("{at}/{key}"), "is set at the station only".into(), expected));
    }
    match ours {
        Some(ours) => theirs.insert(key.into(), ours.clone()),
        None => theirs.remove(key),
    };
}

/// A line is known by its name; where it is plugged in, the station's own file says.
fn keep_port(line: &mut Table, own: &Table, at: &str, problems: &mut Vec<ConfigProblem>) {
    let name = line.get("name").cloned();
    let lines = own.get("line").and_then(Toml::as_array).into_iter().flatten();
    let ours = lines.filter_map(Toml::as_table).find(|ours| ours.get("name") == name.as_ref());
    match ours.and_then(|ours| ours.get("port")) {
        Some(port) => keep_own(line, Some(port), "port", at, problems),
        None => {
            let what = "no line of this name is plugged in at the station";
            problems.push(problem(&format!("{at}/name"), what.into(), "a line of the station's own file"));
            line.insert("port".into(), Toml::String("/dev/null".into()));
        }
    }
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
}

fn collect_paths(value: &Toml, paths: &mut BTreeSet<String>) {
    match value {
        Toml::String(text) if is_path(text) => {
            paths.insert(text.clone());
        }
        Toml::Array(list) => list.iter().for_each(|value| collect_paths(value, paths)),
        Toml::Table(table) => table.values().for_each(|value| collect_paths(value, paths)),
        _ => {}
    }
}

/// The same value as TOML has it. `None` for what it has not, which is a problem.
fn to_toml(value: &Value, at: &str, paths: &BTreeSet<String>, problems: &mut Vec<ConfigProblem>) -> Option<Toml> {
    let mut refuse = |what: &str, expected: &str| {
        problems.push(problem(at, what.into(), expected));
        None
    };
    match value {
        Value::Bool(truth) => Some(Toml::Boolean(*truth)),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Some(Toml::Integer(number)),
            None => refuse("is no integer", "an integer"),
        },
        Value::String(text) if is_path(text) && !paths.contains(text) => {
            refuse("names a file, which is set at the station only", "a path of the station's own file")
        }
        Value::String(text) => Some(Toml::String(text.clone())),
        Value::Null => refuse("is null", "to be left out"),
        Value::Array(list) => {
            let items = list.iter().enumerate();
            let items = items.filter_map(|(index, item)| to_toml(item, &format!("{at}/{index}"), paths, problems));
            Some(Toml::Array(items.collect()))
        }
        Value::Object(members) => {
            let mut table = Table::new();
            for (name, member) in members {
                let step = name.replace('~', "~0").replace('/', "~1");
                if let Some(member) = to_toml(member, &format!("{at}/{step}"), paths, problems) {
                    table.insert(name.clone(), member);
                }
            }
            Some(Toml::Table(table))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NoFiles;
    use serde_json::json;

    const OWN: &str = include_str!("../../tests/data/station.toml");

    fn document() -> Value {
        json!({"station":{"currency":"CNY","price-set":"PS-1"},
            "limits":{"amount-minor":300_000},
            "grade":[{"code":"92","unit-price-micros":7_450_000}],
            "line":[{"name":"island-1","protocol":"dart","dispenser":[{"fuelling-point":1,"address":80,
                "decimals":{"volume":2,"price":2,"amount":2,"totals":2},
                "nozzle":[{"number":3,"logical":1,"grade":"92"}]}]}]})
    }

    fn problems(document: &Value) -> Vec<String> {
        let found = compose(OWN, document, &NoFiles).expect_err("problems");
        found.into_iter().map(|found| found.at).collect()
    }

    #[test]
    fn a_document_is_taken_with_what_is_the_stations_own() {
        let (config, _) = compose(OWN, &document(), &NoFiles).expect("fits");
        assert_eq!(config.limits.amount.get(), 300_000);
        assert_eq!(config.station.id.as_str(), "st-1");
        assert_eq!(config.observe.socket.to_str(), Some("/var/lib/x/observe.sock"));
        assert_eq!(config.lines[0].port, config::Port::Serial("/dev/serial/by-id/usb-x".into()));
        // A platform that gives back what it was told is right too.
        let mut whole = document();
        whole["station"]["id"] = "st-1".into();
        whole["line"][0]["port"] = "/dev/serial/by-id/usb-x".into();
        assert_eq!(compose(OWN, &whole, &NoFiles).expect("fits").0, config);
    }

    #[test]
    fn others_who_get_records_are_not_the_platforms_to_leave_out() {
        let own =
            format!("{OWN}[[consumers]]\nname = \"tax\"\nkind = \"json-lines\"\ndirectory = \"/var/lib/x/tax\"\n");
        let (config, _) = compose(&own, &document(), &NoFiles).expect("fits");
        assert_eq!(config.consumers.len(), 1);
    }

    #[test]
    fn every_problem_is_listed_with_its_place() {
        let mut bad = document();
        bad["station"]["id"] = "st-2".into();
        bad["station"]["name"] = Value::Null;
        bad["cloud"] = json!({"brokers":["mqtts://elsewhere.example"]});
        bad["limits"]["queue"] = json!(99);
        bad["line"][0]["port"] = "tcp://10.0.0.9:1".into();
        bad["line"][0]["dispenser"][0]["nozzle"][0]["grade"] = "95".into();
        bad["spee/d"] = json!(1);
        let mut found = problems(&bad);
        found.sort();
        let expected = [
            "/data/document/cloud",
            "/data/document/limits/queue",
            "/data/document/line/0/dispenser/0/nozzle/0/grade",
            "/data/document/line/0/port",
            "/data/document/spee/d",
            "/data/document/station/id",
            "/data/document/station/name",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn no_file_is_named_from_afar() {
        for (place, value) in [
            ("/voucher", json!({"key-file":"/etc/shadow"})),
            ("/observe", json!({"socket":"/tmp/x"})),
            ("/consumers", json!([{"name":"spy","kind":"https-push","url":"https://elsewhere.example/"}])),
            ("/trace", json!({"directory":"/tmp"})),
        ] {
            let mut bad = document();
            bad[&place[1..]] = value;
            assert!(problems(&bad).iter().all(|at| at.starts_with(&format!("{ROOT}{place}"))), "{place}");
        }
        let mut bad = document();
        bad["line"][0]["dispenser"][0]["profile"] = "/etc/passwd".into();
        assert!(problems(&bad).contains(&"/data/document/line/0/dispenser/0/profile".to_owned()));
        let mut bad = document();
        bad["line"][0]["name"] = "island-9".into();
        assert_eq!(problems(&bad), ["/data/document/line/0/name"]);
    }
}
