//! What the shim may ask of a host's engine.

use std::sync::Arc;
use std::time::Duration;

use mlua::{
    FromLuaMulti, Function, IntoLuaMulti, Lua, Result, Table, UserData, UserDataMethods, Value,
};

use super::clock::now;
use super::host::Host;
use super::reader;
use super::state::Shared;
use super::{
    chat_settings, judging, metrics, overview, pings, pushes, readers, reading, reports, requests,
    restart, trail,
};
use crate::engine::{Counting, NotifyOn, Options};
use crate::extension::NotifyRead;
use crate::notification::Disclosure;
use crate::stanza::StanzaId;

/// `open(host, stanza metatable, st.deserialize)`: the engine of this host, with all that it
/// knows from before if there has been one.
pub fn open(lua: &Lua, (name, metatable, deserialize): (String, Table, Function)) -> Result<Host> {
    Host::open(lua, name, metatable, deserialize)
}

/// `close(host)`: forgets the host's engine.
pub fn close(_: &Lua, name: String) -> Result<()> {
    Shared::forget(&name);
    Ok(())
}

impl UserData for Host {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("readers", all_readers);
        add(methods, "configure", configure);
        methods.add_method("leave_to", leave_to);
        methods.add_method("learn_chat_settings", chat_settings::learn);
        methods.add_method("forget_chat_settings", chat_settings::forget);
        methods.add_method("judge", judging::judge);
        methods.add_method("judge_queue", judging::judge_queue);
        add(methods, "settle", pushes::settle);
        add(methods, "next_push", pushes::next_push);
        add(methods, "release", pushes::release);
        add(methods, "ping", pings::ping);
        add(methods, "displayed", reading::displayed);
        methods.add_method("is_back", reading::is_back);
        add(methods, "discreet", pushes::discreet);
        add(methods, "vetoed", pushes::vetoed);
        add(methods, "answered", reports::answered);
        add(methods, "expire", reports::expire);
        add(methods, "heard", reports::heard);
        add(methods, "connected", reports::connected);
        add(methods, "disconnected", reports::disconnected);
        add(methods, "postpone", reports::postpone);
        add(methods, "suspend", reports::suspend);
        add(methods, "plan_wake", reports::plan_wake);
        add(methods, "owed", restart::owed);
        add(methods, "restore", restart::restore);
        methods.add_method("trail", trail::trail);
        methods.add_method("outlook", trail::outlook);
        methods.add_method("device", overview::device);
        methods.add_method("services", overview::services);
        methods.add_method("counts", metrics::counts);
        methods.add_method("gauges", metrics::gauges);
        methods.add_method("latencies", metrics::latencies);
        methods.add_method("back", |_, host, (user, identifier): (String, String)| {
            host.state()?.engine.back(now(), &user, &identifier);
            Ok(())
        });
        methods.add_method(
            "enabled",
            |_, host, (user, identifier): (String, String)| {
                host.state()?.engine.enabled(now(), &user, &identifier);
                Ok(())
            },
        );
        methods.add_method("forget", |_, host, (user, identifier): (String, String)| {
            host.state()?.engine.forget(now(), &user, &identifier);
            Ok(())
        });
        methods.add_method(
            "asked_anew",
            |_, host, (user, identifier, from): (String, String, String)| {
                let engine = &mut host.state()?.engine;
                engine.asked_anew(&user, &identifier, &from);
                Ok(())
            },
        );
        methods.add_method("blind", |_, host, user: String| {
            host.state()?.engine.blind(now(), &user);
            Ok(())
        });
        methods.add_method("said", said);
        methods.add_method("forget_user", |_, host, user: String| {
            host.state()?.engine.forget_user(now(), &user);
            Ok(())
        });
        methods.add_method("in_flight", |_, host, ()| {
            Ok(host.state()?.engine.in_flight())
        });
        methods.add_method("out", |_, host, ()| Ok(host.state()?.engine.services_out()));
        methods.add_method("watched", |_, host, ()| {
            Ok(host.state()?.engine.services_watched())
        });
        methods.add_method("waiting", |_, host, ()| Ok(host.state()?.engine.waiting()));
    }
}

/// Adds a method that may tell a deadline.
fn add<M, A, R>(methods: &mut M, name: &str, ask: fn(&Lua, &Host, A) -> Result<R>)
where
    M: UserDataMethods<Host>,
    A: FromLuaMulti + 'static,
    R: IntoLuaMulti + 'static,
{
    methods.add_method(name, move |lua, host, arguments| {
        host.telling(ask(lua, host, arguments))
    });
}

type Readers = (
    Function,
    Function,
    Function,
    Function,
    Function,
    Function,
    Function,
    Function,
    Function,
);

/// `readers()`: the functions `archived`, `offline`, `unacked`, `read`, `undelivered`, `sent`, `away`, `subscription` and
/// `active` (see [`readers`]). All but `unacked`, `read` and `active` return nothing, or the reason why nobody is pushed, or true
/// if there is something to settle, or false if the user's queues have to be read first, and filters asked.
fn all_readers(lua: &Lua, host: &Host, (): ()) -> Result<Readers> {
    let (keys, name) = (&host.keys, &host.name);
    Ok((
        reader::function::<readers::Archived>(lua, keys, name)?,
        reader::function::<readers::Offline>(lua, keys, name)?,
        reader::function::<readers::Unacked>(lua, keys, name)?,
        reader::function::<readers::Read>(lua, keys, name)?,
        reader::function::<readers::Undelivered>(lua, keys, name)?,
        reader::function::<readers::Sent>(lua, keys, name)?,
        reader::function::<readers::Away>(lua, keys, name)?,
        reader::function::<readers::Subscription>(lua, keys, name)?,
        reader::function::<readers::Active>(lua, keys, name)?,
    ))
}

/// `said(user, room, id)`: the user sends a message with this id to a room.
fn said(_: &Lua, host: &Host, (user, room, id): (String, String, String)) -> Result<()> {
    let state = &mut *host.state()?;
    let account = format!("{user}@{}", host.name);
    let id = StanzaId::said(&account, &room, &id, state.engine.key());
    state.engine.said(now(), id);
    Ok(())
}

/// `configure(options)`: seconds to the next deadline, if there is one.
fn configure(_: &Lua, host: &Host, options: Table) -> Result<Option<f64>> {
    let seconds = |name| -> Result<Duration> {
        let seconds: f64 = options.get(name)?;
        Duration::try_from_secs_f64(seconds).map_err(mlua::Error::external)
    };
    let notify_on: String = options.get("push_notify_on")?;
    let counting: String = options.get("push_notification_count")?;
    let notify_read: Value = options.get("push_notify_read")?;
    let engine_options = Options {
        max_errors: options.get("push_max_errors")?,
        coalesce_window: seconds("push_coalesce_window")?,
        answer_timeout: seconds("push_answer_timeout")?,
        max_per_minute: options.get("push_max_per_minute")?,
        notify_on: NotifyOn::from_name(&notify_on).unwrap_or_default(),
        retry_min: seconds("push_retry_min")?,
        retry_max: seconds("push_retry_max")?,
        retry_age: seconds("push_retry_age")?,
        max_failures: options.get("push_max_failures")?,
        max_in_flight: options.get("push_max_in_flight")?,
        recovery_rate: options.get("push_recovery_rate")?,
        wake_before_timeout: seconds("push_wake_before_timeout")?,
        counting: Counting::from_name(&counting).unwrap_or_default(),
        trace: options.get("push_trace")?,
    };
    let important_body: String = options.get("push_notification_important_body")?;
    let disclosure = Disclosure {
        body: options.get("push_notification_with_body")?,
        sender: options.get("push_notification_with_sender")?,
        read: NotifyRead::from_name(&notify_read.to_string()?).unwrap_or_default(),
        important_body: Some(important_body).filter(|body| !body.is_empty()),
        ..Disclosure::default()
    };
    let contact = options.get("contact_uri")?;
    host.publisher.forget_common();
    let state = &mut *host.state()?;
    state.contact = contact;
    state.engine.configure(engine_options);
    let others = state.disclosure.others;
    state.disclosure = Arc::new(Disclosure {
        others,
        ..disclosure
    });
    state.armed = None;
    Ok(state.next_delay(now()))
}

/// `leave_to(others)`: modules of the community, name -> true, to which what they do is left.
fn leave_to(_: &Lua, host: &Host, others: Table) -> Result<()> {
    let others = requests::read_others(Some(&others));
    let state = &mut *host.state()?;
    let disclosure = (*state.disclosure).clone();
    state.disclosure = Arc::new(Disclosure {
        others,
        ..disclosure
    });
    Ok(())
}
