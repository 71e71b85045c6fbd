//! Stations and their nozzles: what they say of themselves, and what a QR code leads to. Shows: price and state come from the pump's own
//! confirmation, never from a table here; a nozzle without product or contact is refused before anything is paid.

use super::{Act, Member, Trouble};
use crate::distance::Position;
use crate::refusal::{Refusal, nozzle_busy, text};
use rusqlite::params;
use serde_json::{Value, json};

/// A station as it is entered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewStation {
    /// MQTT client id and topic level.
    pub station_id: String,
    /// Chinese and English.
    pub name: [String; 2],
    /// Where it stands.
    pub position: Position,
    /// ISO 4217.
    pub currency: String,
}

/// Smallest and largest limits that are sold: minor units, millilitres.
pub(super) const AMOUNTS: [i64; 2] = [100, 100_000];
pub(super) const VOLUMES: [i64; 2] = [1_000, 100_000];

/// Orders of the platform that may stand at a nozzle. The station may take fewer, and refuses with `nozzle_busy`; then the money goes back.
const QUEUE: i64 = 4;

/// Holds that concern everyone on the forecourt, also those who have fuelled or are fuelling.
const ALARMS: [&str; 2] = ["emergency", "gas_alarm"];

/// Holds with a sentence of their own, the gravest first.
const HOLDS: [&str; 8] =
    ["emergency", "gas_alarm", "tank_low", "unloading", "comm_lost", "price_mismatch", "store_full", "review"];

/// One nozzle with the station it stands at.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Nozzle {
    pub station_id: String,
    pub nozzle: i64,
    pub qr_token: String,
    pub state: Value,
    pub online: bool,
    pub station_holds: Vec<String>,
}

impl Nozzle {
    pub fn grade(&self) -> &str {
        self.state["grade"].as_str().unwrap_or("")
    }

    pub fn price_micros(&self) -> Option<i64> {
        self.state["unit_price_micros"].as_i64().filter(|price| *price > 0)
    }

    fn holds(&self) -> Vec<&str> {
        self.state["holds"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// An alarm at the nozzle or the whole station.
    pub fn alarm(&self) -> Option<&'static str> {
        let holds = self.holds();
        ALARMS.into_iter().find(|alarm| holds.contains(alarm) || self.station_holds.iter().any(|hold| hold == alarm))
    }

    /// Orders that wait behind the first.
    fn queue(&self) -> i64 {
        self.state["queue"].as_i64().unwrap_or(0)
    }

    /// Another driver is first. The station lets orders wait, and tells for how long.
    fn is_in_use(&self) -> bool {
        const USED: [&str; 5] = ["authorised", "started", "suspended_started", "fuelling", "suspended_fuelling"];
        !self.state["order_id"].is_null()
            || USED.iter().any(|state| self.state["state"] == *state)
            || self.state["wait_estimate_s"].as_i64().is_some_and(|seconds| seconds > 0)
    }

    /// Nobody is before one.
    pub fn is_free(&self) -> bool {
        self.state["available"] == true && self.refusal().is_none()
    }

    /// Why no order can be taken, if so.
    pub fn refusal(&self) -> Option<Refusal> {
        let holds = self.holds();
        let worst = |held: &dyn Fn(&str) -> bool| HOLDS.into_iter().find(|hold| held(hold));
        let at_station = |hold: &str| self.station_holds.iter().any(|known| known == hold);
        let word = if !self.online {
            "cloud_offline"
        } else if !self.station_holds.is_empty() {
            worst(&at_station).unwrap_or("station_held")
        } else if self.price_micros().is_some()
            && (self.state["available"] == true || (holds.is_empty() && self.is_in_use()))
        {
            if self.queue() + 1 < QUEUE {
                return None;
            }
            "nozzle_busy"
        } else {
            worst(&|hold| holds.contains(&hold)).unwrap_or("nozzle_unavailable")
        };
        let refusal = Refusal::new(word, format!("nozzle {} takes no orders", self.nozzle)).with("holds", json!(holds));
        Some(if word == "nozzle_busy" { refusal.with("text", nozzle_busy(self.nozzle)) } else { refusal })
    }
}

/// A grade's name for people.
#[must_use]
pub fn grade_name(grade: &str) -> Value {
    match grade {
        "diesel" => json!({"zh": "柴油", "en": "Diesel"}),
        diesel if is_diesel(diesel) => json!({"zh": format!("{diesel} 号柴油"), "en": format!("Diesel {diesel}")}),
        petrol => json!({"zh": format!("{petrol} 号汽油"), "en": format!("Petrol {petrol}")}),
    }
}

/// Chinese diesel grades are named by their cold filter plugging point: 0, -10, -20.
pub(super) fn is_diesel(grade: &str) -> bool {
    grade == "diesel" || grade.starts_with(['0', '-'])
}

impl Act<'_> {
    /// Enters a station, or changes its name and position.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn enter_station(&self, station: &NewStation) -> Result<(), Trouble> {
        let [zh, en] = &station.name;
        let Position { lat_udeg, lon_udeg } = station.position;
        self.run(
            "INSERT INTO station (station_id, name_zh, name_en, lat_udeg, lon_udeg, currency) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET name_zh = ?2, name_en = ?3, lat_udeg = ?4, lon_udeg = ?5",
            params![station.station_id, zh, en, lat_udeg, lon_udeg, station.currency],
        )?;
        Ok(())
    }

    pub(super) fn station_position(&self, station_id: &str) -> Result<Position, Trouble> {
        let sql = "SELECT lat_udeg, lon_udeg FROM station WHERE station_id = ?1";
        let position =
            self.row(sql, [station_id], |row| Ok(Position { lat_udeg: row.get(0)?, lon_udeg: row.get(1)? }))?;
        position.ok_or_else(|| Refusal::new("unknown_station", format!("no station {station_id}")).into())
    }

    pub(super) fn currency_of(&self, station_id: &str) -> Result<Option<String>, Trouble> {
        self.row("SELECT currency FROM station WHERE station_id = ?1", [station_id], |row| row.get(0))
    }

    /// Takes `state/station`. A station that is not entered is not heard.
    pub(super) fn take_station_state(&self, station_id: &str, data: &Value) -> Result<(), Trouble> {
        let sql = "UPDATE station SET online = ?2, state = ?3, heard_ms = ?4 WHERE station_id = ?1";
        self.run(sql, params![station_id, data["online"] == true, data.to_string(), self.now_ms()])?;
        Ok(())
    }

    /// Takes `state/nozzle/<n>`; a nozzle heard for the first time gets its QR code.
    pub(super) fn take_nozzle_state(&mut self, station_id: &str, data: &Value) -> Result<(), Trouble> {
        let Some(nozzle) = data["nozzle"].as_i64() else { return Ok(()) };
        if self.currency_of(station_id)?.is_none() {
            return Ok(());
        }
        let qr_token = self.name("q");
        self.run(
            "INSERT INTO nozzle VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET state = ?4, stamp_ms = ?5",
            params![station_id, nozzle, qr_token, data.to_string(), self.now_ms()],
        )?;
        Ok(())
    }

    fn nozzles_where(&self, condition: &str, values: impl rusqlite::Params) -> Result<Vec<Nozzle>, Trouble> {
        let sql = format!(
            "SELECT n.station_id, n.nozzle, n.qr_token, n.state, s.online, s.state FROM nozzle AS n
             JOIN station AS s ON s.station_id = n.station_id WHERE {condition} ORDER BY n.station_id, n.nozzle"
        );
        let rows = self.rows(&sql, values, |row| {
            let texts: [String; 3] = [row.get(0)?, row.get(2)?, row.get(3)?];
            Ok((texts, row.get(1)?, row.get(4)?, row.get::<_, Option<String>>(5)?))
        })?;
        let read =
            |([station_id, qr_token, state], nozzle, online, station): ([String; 3], i64, bool, Option<String>)| {
                let station: Value = station.map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?;
                let holds = station["holds"].as_array().into_iter().flatten();
                Ok(Nozzle {
                    state: serde_json::from_str(&state)?,
                    station_holds: holds.filter_map(Value::as_str).map(str::to_owned).collect(),
                    station_id,
                    nozzle,
                    qr_token,
                    online,
                })
            };
        rows.into_iter().map(read).collect()
    }

    pub(super) fn nozzle(&self, qr_token: &str) -> Result<Nozzle, Trouble> {
        let found = self.nozzles_where("n.qr_token = ?1", [qr_token])?.pop();
        found.ok_or_else(|| Refusal::new("unknown_nozzle", "this code belongs to no nozzle").into())
    }

    pub(super) fn nozzles(&self, station_id: &str) -> Result<Vec<Nozzle>, Trouble> {
        self.nozzles_where("n.station_id = ?1", [station_id])
    }

    /// An alarm that whoever stands at this nozzle must be told of; `null` for none.
    pub(super) fn alarm_at(&self, station_id: &str, nozzle: i64) -> Result<Value, Trouble> {
        let found = self.nozzles_where("n.station_id = ?1 AND n.nozzle = ?2", params![station_id, nozzle])?.pop();
        let alarm = found.and_then(|nozzle| nozzle.alarm());
        Ok(alarm.map_or(Value::Null, |word| json!({"error": word, "text": text(word)})))
    }

    /// Every nozzle's code: station, nozzle number, token.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn qr_tokens(&self) -> Result<Vec<(String, i64, String)>, Trouble> {
        self.rows("SELECT station_id, nozzle, qr_token FROM nozzle ORDER BY 1, 2", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
    }

    /// What the page shows of a nozzle.
    ///
    /// # Errors
    /// `unknown_nozzle`.
    pub fn nozzle_view(&self, qr_token: &str, member: Option<&Member>) -> Result<Value, Trouble> {
        let nozzle = self.nozzle(qr_token)?;
        let station = self.station_view(&nozzle.station_id)?;
        let mut others = self.nozzles(&nozzle.station_id)?;
        others.retain(|other| other.nozzle != nozzle.nozzle);
        others.sort_by_key(|other| (other.grade() != nozzle.grade(), other.nozzle));
        let others: Vec<Value> = others
            .iter()
            .map(|other| {
                json!({"qr_token": other.qr_token, "nozzle": other.nozzle, "grade": other.grade(), "grade_name": grade_name(other.grade()),
                    "available": other.refusal().is_none(), "wait_estimate_s": other.state["wait_estimate_s"]})
            })
            .collect();
        let mut pay_with = vec![json!("sandbox"), json!("sandbox_other")];
        let (mut coupons, mut day_left, mut view) = (Vec::new(), super::orders::DAILY_LIMIT.get(), Value::Null);
        if let Some(member) = member {
            view = self.member_view(member)?;
            coupons = self.coupons_of(&member.member_id)?;
            day_left = self.day_left(&member.member_id)?.get();
            pay_with.extend(view["cards"].as_array().into_iter().flatten().map(|card| card["card_id"].clone()));
        }
        let wait = nozzle.state["wait_estimate_s"].as_i64().unwrap_or(0);
        // Whoever is at the pump is before one, too.
        let before = nozzle.queue() + i64::from(!nozzle.state["order_id"].is_null());
        Ok(json!({
            "qr_token": qr_token, "station": station, "nozzle": nozzle.nozzle,
            "grade": nozzle.grade(), "grade_name": grade_name(nozzle.grade()),
            "currency": self.currency_of(&nozzle.station_id)?, "unit_price_micros": nozzle.price_micros(),
            "state": nozzle.state["state"], "holds": nozzle.state["holds"], "available": nozzle.is_free(),
            "refusal": nozzle.refusal().map(|refusal| json!({"error": refusal.word, "text": refusal.problem()["text"]})),
            "queue": before, "wait_estimate_s": wait,
            "presets": [{"amount_minor": 20_000}, {"amount_minor": 30_000}, {"amount_minor": 50_000},
                {"volume_ml": 30_000}, {"full_tank_minor": 60_000}],
            "limits": {"min_amount_minor": AMOUNTS[0], "max_amount_minor": AMOUNTS[1],
                "min_volume_ml": VOLUMES[0], "max_volume_ml": VOLUMES[1], "day_left_minor": day_left},
            "coupons": coupons, "pay_with": pay_with, "others": others, "member": view, "at": self.now.to_string(),
        }))
    }

    pub(super) fn station_view(&self, station_id: &str) -> Result<Value, Trouble> {
        let sql = "SELECT name_zh, name_en, online, lat_udeg, lon_udeg FROM station WHERE station_id = ?1";
        let view = self.row(sql, [station_id], |row| {
            let names: [String; 2] = [row.get(0)?, row.get(1)?];
            let (online, lat, lon): (bool, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
            Ok(json!({"station_id": station_id, "name": {"zh": names[0], "en": names[1]}, "online": online,
                "lat_udeg": lat, "lon_udeg": lon}))
        })?;
        view.ok_or_else(|| Refusal::new("unknown_station", format!("no station {station_id}")).into())
    }

    /// Stations with their nozzles, for the dashboard.
    ///
    /// # Errors
    /// [`Trouble::Books`].
    pub fn stations_view(&self) -> Result<Vec<Value>, Trouble> {
        let ids = self.rows("SELECT station_id, state FROM station ORDER BY station_id", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
        })?;
        let view = |(id, state): (String, Option<String>)| {
            let mut view = self.station_view(&id)?;
            let nozzle = |nozzle: &Nozzle| {
                let mut state = nozzle.state.clone();
                state["qr_token"] = nozzle.qr_token.as_str().into();
                state
            };
            view["nozzles"] = self.nozzles(&id)?.iter().map(nozzle).collect();
            view["state"] = state.map_or(Ok(Value::Null), |text| serde_json::from_str(&text))?;
            Ok(view)
        };
        ids.into_iter().map(view).collect()
    }
}
