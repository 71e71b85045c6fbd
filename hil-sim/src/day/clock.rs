//! The controller's wall clock, invented. The store asks for it by a plain function, so it is kept for the thread.

use core::cell::Cell;
use forecourt::time::UtcTime;

thread_local! {
    static WALL_MS: Cell<i64> = const { Cell::new(0) };
}

/// Sets the wall clock of everything that runs on this thread.
pub fn set_wall(at: UtcTime) {
    WALL_MS.set(at.unix_ms());
}

/// What the wall clock shows.
#[must_use]
pub fn wall() -> UtcTime {
    UtcTime::from_unix_ms(WALL_MS.get())
}
