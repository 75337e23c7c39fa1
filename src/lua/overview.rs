//! What there is, as plain data for administrators. Rare, so through handles.

use mlua::{Lua, Result, Table};

use super::clock::now;
use super::host::Host;
use crate::engine::{CircuitState, ServiceStatus};

/// `device(user, identifier)`: `{ errors, failures, told, in_flight, waiting, cause }`, if anything is known of it.
/// Waiting is for how many seconds something waits for a push, cause is why.
pub fn device(
    lua: &Lua,
    host: &Host,
    (user, identifier): (String, String),
) -> Result<Option<Table>> {
    let Some(status) = host.state()?.engine.device(now(), &user, &identifier) else {
        return Ok(None);
    };
    let table = lua.create_table()?;
    table.raw_set("errors", status.errors)?;
    table.raw_set("failures", status.failures)?;
    table.raw_set("told", status.told)?;
    table.raw_set("in_flight", status.in_flight)?;
    if let Some((waiting, cause)) = status.waiting {
        table.raw_set("waiting", waiting.as_secs_f64())?;
        table.raw_set("cause", cause.phrase())?;
    }
    Ok(Some(table))
}

/// `services()`: `{ jid, circuit, failures, in_flight, owed, median, worst, condition, condition_age }` for each push
/// service that there is something to be known of, times in seconds.
pub fn services(lua: &Lua, host: &Host, (): ()) -> Result<Vec<Table>> {
    let statuses = host.state()?.engine.services(now());
    let tables = statuses.iter().map(|status| service_table(lua, status));
    tables.collect()
}

pub fn service_table(lua: &Lua, status: &ServiceStatus) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("jid", &*status.jid)?;
    table.raw_set(
        "circuit",
        match status.circuit {
            CircuitState::Closed => "closed",
            CircuitState::Open => "open",
            CircuitState::Recovering => "recovering",
        },
    )?;
    table.raw_set("failures", status.failures)?;
    table.raw_set("in_flight", status.in_flight)?;
    table.raw_set("owed", status.owed)?;
    if let Some((median, worst)) = status.latency {
        table.raw_set("median", median.as_secs_f64())?;
        table.raw_set("worst", worst.as_secs_f64())?;
    }
    if let Some((condition, age)) = status.complaint {
        table.raw_set("condition", condition)?;
        table.raw_set("condition_age", age.as_secs_f64())?;
    }
    Ok(table)
}
