//! Time.

use std::time::{Duration, Instant, SystemTime};

use once_cell::sync::Lazy;

/// Time that never goes back, whatever happens to the clock.
static START: Lazy<Instant> = Lazy::new(Instant::now);

/// What was before the start can be said, too.
const BEFORE_START: Duration = Duration::from_hours(365 * 24);

/// The time now, for the engine.
pub fn now() -> Duration {
    BEFORE_START + START.elapsed()
}

/// Seconds since 1970, as the clock has it.
pub fn clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
