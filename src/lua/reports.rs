//! What push services say, what has become of pushes, and deadlines: reports for the shim.

use std::time::Duration;

use mlua::{Lua, Result, Table};

use super::host::Host;
use crate::engine::{Answer, DeviceName, Outcome, Report, ServiceChange, ServiceState};

/// What has become of a push, seconds to the next deadline; and where there is more to say, user, identifier,
/// errors in a row, the condition, what has become of the service, and the push's id.
type Answered = (
    Option<&'static str>,
    Option<f64>,
    Option<Box<str>>,
    Option<Box<str>>,
    Option<u32>,
    Option<&'static str>,
    Option<Table>,
    Option<String>,
);

/// What [`answered`] takes.
type Answering = (
    Option<String>,
    Option<String>,
    bool,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// `answered(id, from, is error, type, condition, client)`: nil and seconds to the next deadline if it is no answer to
/// a push; else [`Answered`]. Services of push2 may leave the id out; then the client says whose push it was.
pub fn answered(
    lua: &Lua,
    host: &Host,
    (id, from, is_error, kind, condition, client): Answering,
) -> Result<Answered> {
    let answer = if is_error {
        Answer::Error {
            kind: kind.as_deref(),
            condition: condition.as_deref(),
        }
    } else {
        Answer::Result
    };
    let Some(from) = from else {
        return Ok(Answered::default());
    };
    let (report, delay) = host.act(|state, now| match (id, client) {
        (Some(id), _) => state.engine.answered(now, &id, &from, answer),
        (None, Some(client)) => state
            .engine
            .answered_without_id(now, &from, &client, answer),
        (None, None) => None,
    })?;
    // Whatever the push was kept for can be collected: there may be no deadline for long.
    lua.expire_registry_values();
    let Some(report) = report else {
        return Ok((None, delay, None, None, None, None, None, None));
    };
    let outcome = report.outcome.name();
    if report.outcome == Outcome::Delivered && report.errors_before == 0 && report.service.is_none()
    {
        return Ok((Some(outcome), delay, None, None, None, None, None, None));
    }
    let (user, identifier) = report
        .device
        .map(|device| (device.user, device.identifier))
        .unzip();
    let condition = answer.condition();
    let change = report.service.map(|change| change_table(lua, &change));
    let (errors, change) = (Some(report.errors), change.transpose()?);
    Ok((
        Some(outcome),
        delay,
        user,
        identifier,
        errors,
        condition,
        change,
        Some(report.push.to_string()),
    ))
}

/// `expire()`: seconds to the next deadline; devices with something due (`{ user, identifier }`);
/// reports of pushes that were not answered in time; devices whose push service is given up; devices with a
/// hibernated session that is about to end.
#[expect(clippy::type_complexity, reason = "what a Lua function returns")]
pub fn expire(
    lua: &Lua,
    host: &Host,
    (): (),
) -> Result<(Option<f64>, Vec<Table>, Vec<Table>, Vec<Table>, Vec<Table>)> {
    let (expired, delay) = host.act(|state, now| {
        state.armed = None;
        state.engine.expire(now)
    })?;
    lua.expire_registry_values();
    let devices = |devices: &[DeviceName]| -> Result<Vec<Table>> {
        let tables = devices.iter().map(|device| device_table(lua, device));
        tables.collect()
    };
    let reports = expired.unanswered.iter();
    let reports: Result<_> = reports.map(|report| report_table(lua, report)).collect();
    Ok((
        delay,
        devices(&expired.due)?,
        reports?,
        devices(&expired.given_up)?,
        devices(&expired.ending)?,
    ))
}

/// `heard(from)`: a push service has sent something. Seconds to the next deadline if it is an earlier
/// one, and what has become of the service.
pub fn heard(lua: &Lua, host: &Host, from: String) -> Result<(Option<f64>, Option<Table>)> {
    let (change, delay) = host.act(|state, now| state.engine.heard(now, &from))?;
    let change = change.map(|change| change_table(lua, &change));
    Ok((delay, change.transpose()?))
}

/// `connected(host)`: there is a connection with it now. Seconds to the next deadline if it is an earlier
/// one, and what has become of the push services there.
pub fn connected(lua: &Lua, host: &Host, peer: String) -> Result<(Option<f64>, Vec<Table>)> {
    let (changes, delay) = host.act(|state, now| state.engine.connected(now, &peer))?;
    let changes = changes.iter().map(|change| change_table(lua, change));
    Ok((delay, changes.collect::<Result<_>>()?))
}

/// `disconnected(host)`: the connection of a component has ended. Seconds to the next deadline if it is
/// an earlier one, and reports of the pushes that were on their way there.
pub fn disconnected(lua: &Lua, host: &Host, peer: String) -> Result<(Option<f64>, Vec<Table>)> {
    let (reports, delay) = host.act(|state, now| state.engine.disconnected(now, &peer))?;
    let reports = reports.iter().map(|report| report_table(lua, report));
    Ok((delay, reports.collect::<Result<_>>()?))
}

/// `postpone(user, identifier)`: its record cannot be read. Seconds to the next deadline.
pub fn postpone(_: &Lua, host: &Host, (user, identifier): (String, String)) -> Result<Option<f64>> {
    let act = host.act(|state, now| state.engine.postpone(now, &user, &identifier));
    act.map(|((), delay)| delay)
}

/// `suspend(user, identifier, seconds)`: seconds to the next deadline.
pub fn suspend(
    _: &Lua,
    host: &Host,
    (user, identifier, wait): (String, String, u64),
) -> Result<Option<f64>> {
    let wait = Duration::from_secs(wait);
    let act = host.act(|state, now| state.engine.suspend(now, &user, &identifier, wait));
    act.map(|((), delay)| delay)
}

/// `plan_wake(user, identifier, seconds)`: its session hibernates, and ends after these seconds. Seconds to the next
/// deadline if it is an earlier one.
pub fn plan_wake(
    _: &Lua,
    host: &Host,
    (user, identifier, remaining): (String, String, f64),
) -> Result<Option<f64>> {
    let remaining = Duration::try_from_secs_f64(remaining.max(0.0)).unwrap_or_default();
    let act = host.act(|state, now| state.engine.plan_wake(now, &user, &identifier, remaining));
    act.map(|((), delay)| delay)
}

/// `{ user, identifier }`.
pub fn device_table(lua: &Lua, device: &DeviceName) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("user", &*device.user)?;
    table.raw_set("identifier", &*device.identifier)?;
    Ok(table)
}

/// `{ id, user, identifier, outcome, errors, service }`, without user and identifier if the
/// registration has ended meanwhile.
fn report_table(lua: &Lua, report: &Report) -> Result<Table> {
    let table = match &report.device {
        Some(device) => device_table(lua, device)?,
        None => lua.create_table()?,
    };
    table.raw_set("id", report.push.to_string())?;
    table.raw_set("outcome", report.outcome.name())?;
    table.raw_set("errors", report.errors)?;
    if let Some(change) = &report.service {
        table.raw_set("service", change_table(lua, change)?)?;
    }
    Ok(table)
}

/// `{ jid, state, failures, owed }`.
fn change_table(lua: &Lua, change: &ServiceChange) -> Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("jid", &*change.jid)?;
    table.raw_set(
        "state",
        match change.state {
            ServiceState::Failing => "failing",
            ServiceState::Out => "out",
            ServiceState::Back => "back",
            ServiceState::Well => "well",
        },
    )?;
    table.raw_set("failures", change.failures)?;
    table.raw_set("owed", change.owed)?;
    Ok(table)
}
