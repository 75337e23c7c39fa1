//! What has happened to a user's devices and what would happen now, for administrators.

use std::time::{Duration, SystemTime};

use mlua::{Lua, LuaString, Result, Table};

use super::account::{read_registration, read_sessions};
use super::clock::now;
use super::host::Host;
use super::judging::{Activity, silence_now};
use super::overview::service_table;
use super::reader;
use crate::engine::{Account, Entry, Event, Reason, Registration};
use crate::stanza::Importance;

/// `trail(user)`: what has happened to the user's devices, newest last. Of each entry `identifier`, `since` and `at`
/// (seconds since 1970: when it happened first and last), `tick` (the same as `at`, by a clock that never goes back, in
/// microseconds), `count`, `event`, and
///
/// - of a `met` stanza `rule`, and if somebody has looked at it `kind`, `importance`, `id`, `from` (a domain);
/// - of a `met` one, of a `turn`, of a `ping` and of `read` `result` (`pushed`, `held`, `silent`), `reason` and `phrase`, and
///   `due` (seconds since 1970) if that is known;
/// - of a `turn` besides `importance` and `trial`; of a `ping` `occasion` (`ping`, `before-timeout`, `on-start`);
/// - of an `answer` `outcome`, `condition`, `after` (seconds; nil if no error has come, which means that the push is taken) and
///   `owed`;
/// - of a `vetoed` push `phrase`.
pub fn trail(lua: &Lua, host: &Host, user: String) -> Result<Vec<Table>> {
    let clock = Clock::now();
    let state = host.state()?;
    let entries = state.engine.trail(&user).into_iter();
    entries
        .map(|entry| entry_table(lua, &clock, &entry))
        .collect()
}

/// What [`outlook`] takes.
type Asked = (String, LuaString, Table, Option<Table>, Option<f64>, bool);

/// `outlook(user, identifier, record, sessions, now, archived)`: what would become of an important message now:
/// `result`, `reason`, `phrase` and `due`, as in [`trail`], and how its push service does, as in
/// [`services`](super::overview::services); nil if the record is of no use. Now is by the clock of
/// [`judge`](super::judging::judge); archived: messages are. What is said of its chat is left aside.
pub fn outlook(
    lua: &Lua,
    host: &Host,
    (user, name, record, sessions, active_now, is_archived): Asked,
) -> Result<Option<Table>> {
    let identifier = name.to_str()?.to_owned();
    let activity = Activity {
        sessions: sessions.clone(),
        now: active_now,
    };
    let left_out = silence_now(&name, &record, &activity, is_archived)?;
    let mut state = host.state()?;
    let state = &mut *state;
    let outlook = reader::read(lua, &host.keys, (&record, sessions), |frame| {
        let (sessions, _) = read_sessions(frame.table(1).as_ref(), None);
        let record = frame.table(0)?;
        let registration = Registration {
            left_out,
            ..read_registration(&identifier, &record, &state.disclosure)?
        };
        let account = Account {
            user: &user,
            registrations: &[registration],
            sessions: &sessions,
        };
        let outlook = state.engine.outlook(now(), &account, 0);
        Some((outlook, state.engine.service(now(), registration.jid)))
    })?;
    let Some((reason, service)) = outlook else {
        return Ok(None);
    };
    let table = lua.create_table()?;
    set_reason(&table, &Clock::now(), reason)?;
    let service = service.map(|service| service_table(lua, &service));
    table.raw_set("service", service.transpose()?)?;
    Ok(Some(table))
}

/// The time by both clocks.
struct Clock {
    engine: Duration,
    since_1970: Duration,
}

impl Clock {
    fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            engine: now(),
            since_1970: since_1970.unwrap_or_default(),
        }
    }

    /// Seconds since 1970.
    fn seconds(&self, at: Duration) -> f64 {
        (self.since_1970 + at)
            .saturating_sub(self.engine)
            .as_secs_f64()
    }
}

fn entry_table(lua: &Lua, clock: &Clock, entry: &Entry<'_>) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("identifier", entry.identifier)?;
    table.raw_set("since", clock.seconds(entry.since))?;
    table.raw_set("at", clock.seconds(entry.at))?;
    table.raw_set("tick", i64::try_from(entry.at.as_micros()).ok())?;
    table.raw_set("count", entry.count)?;
    let event = match entry.event {
        Event::Met {
            rule,
            stanza,
            reason,
        } => {
            table.raw_set("rule", rule.name())?;
            if let Some((importance, label)) = stanza {
                table.raw_set("kind", label.kind.name())?;
                table.raw_set("importance", importance.name())?;
                table.raw_set("id", &*label.id)?;
                table.raw_set("from", &*label.from)?;
            }
            set_reason(&table, clock, reason)?;
            "met"
        }
        Event::Turn {
            importance,
            trial,
            reason,
        } => {
            table.raw_set("importance", importance.map(Importance::name))?;
            table.raw_set("trial", trial)?;
            set_reason(&table, clock, reason)?;
            "turn"
        }
        Event::Ping(occasion, reason) => {
            table.raw_set("occasion", occasion.name())?;
            set_reason(&table, clock, reason)?;
            "ping"
        }
        Event::Read(reason) => {
            set_reason(&table, clock, reason)?;
            "read"
        }
        Event::Answered {
            outcome,
            condition,
            after,
            owed,
        } => {
            table.raw_set("outcome", outcome.name())?;
            table.raw_set("condition", condition)?;
            table.raw_set("after", after.map(|after| after.as_secs_f64()))?;
            table.raw_set("owed", owed)?;
            "answer"
        }
        Event::Vetoed(reason) => {
            table.raw_set("phrase", &*reason)?;
            "vetoed"
        }
        Event::Discreet => "discreet",
        Event::Restored => "restored",
        Event::Unreadable => "unreadable",
        Event::Blind => "blind",
    };
    table.raw_set("event", event)?;
    Ok(table)
}

fn set_reason(table: &Table, clock: &Clock, reason: Reason) -> Result<()> {
    let result = match reason {
        Reason::Pushed => "pushed",
        Reason::Held { until, .. } => {
            table.raw_set("due", until.map(|until| clock.seconds(until)))?;
            "held"
        }
        Reason::Silent(_) => "silent",
    };
    table.raw_set("result", result)?;
    table.raw_set("reason", reason.name())?;
    table.raw_set("phrase", reason.phrase())
}
