//! What metrics are made of, as plain data. Once in a while, so through handles.

use std::time::Duration;

use mlua::{Lua, Result, Table};

use super::host::Host;
use crate::engine::{Count, LATENCY_BOUNDS};

/// The upper bounds of the buckets of [`latencies`], in seconds.
pub fn latency_bounds() -> [f64; LATENCY_BOUNDS.len()] {
    LATENCY_BOUNDS.map(|bound| Duration::as_secs_f64(&bound))
}

/// `counts(all)`: what has been counted since the last time, `{ name, value, label, … }` each. All: also what has
/// not happened.
pub fn counts(lua: &Lua, host: &Host, all: bool) -> Result<Vec<Table>> {
    let counts = host.state()?.engine.take_counts(all);
    counts.iter().map(|count| count_table(lua, count)).collect()
}

/// `gauges()`: how it is now, in the same form.
pub fn gauges(lua: &Lua, host: &Host, (): ()) -> Result<Vec<Table>> {
    let gauges = host.state()?.engine.gauges();
    gauges.iter().map(|gauge| count_table(lua, gauge)).collect()
}

/// `latencies(max)`: how long answers took since the last time, `{ seconds, how many }` each, of at most so many
/// answers; whether there are more.
pub fn latencies(lua: &Lua, host: &Host, max: u32) -> Result<(Vec<Table>, bool)> {
    let (latencies, is_more) = host.state()?.engine.take_latencies(max);
    let tables = latencies.iter().map(|latency| {
        let table = lua.create_table()?;
        table.raw_push(latency.mean)?;
        table.raw_push(latency.count)?;
        Ok(table)
    });
    Ok((tables.collect::<Result<_>>()?, is_more))
}

fn count_table(lua: &Lua, count: &Count) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_push(count.name)?;
    table.raw_push(count.value)?;
    for label in &count.labels {
        table.raw_push(*label)?;
    }
    Ok(table)
}
