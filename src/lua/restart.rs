//! What is owed, as plain data for a store.

use std::time::Duration;

use mlua::{Lua, Result, Table, Value};

use super::clock::now;
use super::host::Host;
use super::reports::device_table;
use super::requests::text;
use crate::engine::{DeviceName, FailingService, Owed};
use crate::stanza::Importance;

/// How many devices are taken over from a store.
const MAX_RESTORED: usize = 131_072;

/// The longest time that a store may name.
const MAX_TIME: Duration = Duration::from_hours(1000 * 24);

/// `owed()`: what is owed and which push services fail, as plain data for the store; nil if
/// there is nothing. Times are in seconds.
pub fn owed(lua: &Lua, host: &Host, (): ()) -> Result<Option<Table>> {
    let (owed, failing) = host.state()?.engine.owed(now());
    if owed.is_empty() && failing.is_empty() {
        return Ok(None);
    }
    let devices = owed.iter().map(|owed| {
        let table = device_table(lua, &owed.device)?;
        let important = owed.importance >= Importance::Important;
        table.raw_set("service", owed.service.as_deref())?;
        table.raw_set("important", important)?;
        table.raw_set("age", owed.age.as_secs())?;
        table.raw_set("due_in", owed.due_in.as_secs())?;
        table.raw_set("failures", owed.failures)?;
        table.raw_set("failing_for", owed.failing_for.as_secs())?;
        table.raw_set("suspended", owed.suspended)?;
        Ok(table)
    });
    let services = failing.iter().map(|failing| {
        let table = lua.create_table()?;
        table.raw_set("jid", &*failing.jid)?;
        table.raw_set("failures", failing.failures)?;
        table.raw_set("age", failing.age.as_secs())?;
        Ok(table)
    });
    let all = lua.create_table()?;
    all.raw_set("devices", devices.collect::<Result<Vec<_>>>()?)?;
    all.raw_set("services", services.collect::<Result<Vec<_>>>()?)?;
    Ok(Some(all))
}

/// `restore(owed, elapsed)`: what `owed` said so many seconds ago. Whatever of it cannot be read is
/// passed over. How many devices are owed something, and seconds to the next deadline.
pub fn restore(_: &Lua, host: &Host, (all, elapsed): (Table, u64)) -> Result<(usize, Option<f64>)> {
    let elapsed = Duration::from_secs(elapsed);
    let services: Vec<_> = list(&all, "services")
        .filter_map(|table| read_service(&table, elapsed))
        .collect();
    let devices: Vec<_> = list(&all, "devices")
        .map(|table| read_device(&table, elapsed))
        .collect();
    host.act(|state, now| {
        for failing in &services {
            state.engine.restore_service(now, failing);
        }
        for (place, owed) in devices.iter().enumerate() {
            if let Some(owed) = owed {
                state.engine.restore(now, owed, place);
            }
        }
        state.engine.waiting()
    })
}

fn read_service(table: &Table, elapsed: Duration) -> Option<FailingService> {
    Some(FailingService {
        jid: text(table, "jid")?.into(),
        failures: table.raw_get("failures").unwrap_or(1),
        age: seconds(table, "age") + elapsed,
    })
}

fn read_device(table: &Table, elapsed: Duration) -> Option<Owed> {
    let is_set = |name| matches!(table.raw_get(name), Ok(Value::Boolean(true)));
    Some(Owed {
        device: DeviceName {
            user: text(table, "user")?.into(),
            identifier: text(table, "identifier")?.into(),
        },
        service: text(table, "service").map(Into::into),
        importance: if is_set("important") {
            Importance::Important
        } else {
            Importance::Unimportant
        },
        age: seconds(table, "age") + elapsed,
        due_in: seconds(table, "due_in").saturating_sub(elapsed),
        failures: table.raw_get("failures").unwrap_or(0),
        failing_for: seconds(table, "failing_for") + elapsed,
        suspended: is_set("suspended"),
    })
}

/// The tables in a list, as far as there are any.
fn list(all: &Table, name: &str) -> impl Iterator<Item = Table> {
    let list: Option<Table> = all.raw_get(name).ok();
    let entries = list.into_iter().flat_map(|list| {
        let entries = list.sequence_values::<Table>();
        entries.filter_map(Result::ok).collect::<Vec<_>>()
    });
    entries.take(MAX_RESTORED)
}

fn seconds(table: &Table, name: &str) -> Duration {
    let seconds = match table.raw_get(name) {
        Ok(Value::Integer(seconds)) => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        Ok(Value::Number(seconds)) => Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        _ => Duration::ZERO,
    };
    seconds.min(MAX_TIME)
}
