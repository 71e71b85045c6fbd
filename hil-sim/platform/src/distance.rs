//! Distances on the ground, in integers.

/// A position in millionths of a degree (WGS 84), north and east positive. Never stored for a driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Latitude.
    pub lat_udeg: i64,
    /// Longitude.
    pub lon_udeg: i64,
}

/// Mean length of a millionth of a degree of a great circle, in micrometres (radius 6,371,008.8 m).
const UM_PER_UDEG: i128 = 111_195;

impl Position {
    /// Whether both members are on the globe.
    #[must_use]
    pub fn is_real(self) -> bool {
        self.lat_udeg.unsigned_abs() <= 90_000_000 && self.lon_udeg.unsigned_abs() <= 180_000_000
    }

    /// Whether another position is within so many metres.
    ///
    /// A flat map with Bhaskara's cosine, (180² − 4x²) / (180² + x²): over a few kilometres within 0.3 % of the great circle,
    /// 9 m in 3 km.
    #[must_use]
    pub fn is_within(self, other: Self, metres: u32) -> bool {
        let (north, east) = (i128::from(self.lat_udeg - other.lat_udeg), i128::from(self.lon_udeg - other.lon_udeg));
        // The short way round.
        let east = if east.abs() > 180_000_000 { 360_000_000 - east.abs() } else { east.abs() };
        let middle = (i128::from(self.lat_udeg) + i128::from(other.lat_udeg)) / 2;
        const HALF_TURN: i128 = 180_000_000 * 180_000_000;
        let square = middle * middle;
        let east = east * (HALF_TURN - 4 * square) / (HALF_TURN + square);
        let limit = i128::from(metres) * 1_000_000;
        let (north, east) = (north * UM_PER_UDEG, east * UM_PER_UDEG);
        north * north + east * east <= limit * limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHENZHEN: Position = Position { lat_udeg: 22_543_096, lon_udeg: 114_057_865 };

    /// Distances by the haversine formula in Python: 1 km north is 8,993 µdeg, 1 km east at this latitude 9,737 µdeg.
    #[test]
    fn two_thousand_nine_hundred_metres_are_within_three_kilometres_and_three_thousand_one_hundred_are_not() {
        for (lat, lon) in [(8_993, 0), (-8_993, 0), (0, 9_737), (0, -9_737), (6_359, 6_885)] {
            let at = |hundredths: i64| Position {
                lat_udeg: SHENZHEN.lat_udeg + lat * hundredths / 100,
                lon_udeg: SHENZHEN.lon_udeg + lon * hundredths / 100,
            };
            assert!(SHENZHEN.is_within(at(290), 3_000), "{lat} {lon}");
            assert!(!SHENZHEN.is_within(at(310), 3_000), "{lat} {lon}");
        }
    }

    #[test]
    fn the_date_line_is_no_distance() {
        let (west, east) =
            (Position { lat_udeg: 0, lon_udeg: -179_990_000 }, Position { lat_udeg: 0, lon_udeg: 179_990_000 });
        assert!(west.is_within(east, 3_000));
    }
}
