//! What is known on behalf of the hosts. It outlives a reload of the Lua module.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mlua::RegistryKey;
use once_cell::sync::Lazy;
use parking_lot::{Mutex, MutexGuard};

use super::reader::Reply;
use super::settlement::{Pending, Settlement};
use crate::chat_settings::ChatSettings;
use crate::engine::Engine;
use crate::notification::Disclosure;
use crate::web_push::Tokens;

/// The engines of all hosts.
static HOSTS: Lazy<Mutex<HashMap<String, Shared>>> = Lazy::new(Mutex::default);

/// What is known on behalf of a host.
#[derive(Default)]
pub struct State {
    pub engine: Engine<RegistryKey>,
    pub disclosure: Arc<Disclosure>,
    pub chat_settings: ChatSettings,
    /// Whom Web Push services are to write to (RFC 8292 section 2.1): `contact_uri`.
    pub contact: String,
    /// The tokens for them.
    pub tokens: Tokens,
    /// The deadline that the shim knows of.
    pub armed: Option<Duration>,
    /// What the shim has to settle.
    pub settlement: Settlement,
    /// The notifications that the shim has to fetch, those of the last settlement first: a listener may cause
    /// others that have to be fetched before the rest.
    pub pending: VecDeque<Pending>,
}

impl State {
    /// Seconds to the next deadline, if it is earlier than the one that the shim knows of.
    pub fn next_delay(&mut self, now: Duration) -> Option<f64> {
        let next = self.engine.deadline()?;
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        Some(next.saturating_sub(now).as_secs_f64())
    }

    /// Leaves what is to be done for the shim, if anything is.
    pub fn leave(&mut self, settlement: Settlement) -> Reply {
        match &*settlement.silent {
            [] if settlement.is_idle() => Reply::Nothing,
            [(_, reason)] if settlement.is_idle() => Reply::Text(reason.phrase()),
            _ => {
                self.settlement = settlement;
                Reply::Work
            }
        }
    }
}

/// The state of a host, shared by all that Lua has of it.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// The state of a host, as it was if there has been one.
    pub fn of(host: &str) -> Self {
        HOSTS.lock().entry(host.to_owned()).or_default().clone()
    }

    /// The state of a host, if there is one.
    pub fn find(host: &str) -> Option<Self> {
        HOSTS.lock().get(host).cloned()
    }

    /// Forgets all about a host.
    pub fn forget(host: &str) {
        HOSTS.lock().remove(host);
    }

    /// The state, unless somebody is at it: a finaliser that Lua runs at a bad moment shall
    /// get an error, and not stop the server.
    pub fn borrow(&self) -> mlua::Result<MutexGuard<'_, State>> {
        self.0
            .try_lock()
            .ok_or_else(|| mlua::Error::runtime("the engine is in use"))
    }
}

/// Has a reader look at the state of its host.
pub fn with_state(host: &str, read: impl FnOnce(&mut State) -> Reply) -> Reply {
    let Some(shared) = Shared::find(host) else {
        return Reply::Nothing; // It has been closed
    };
    match shared.borrow() {
        Ok(mut state) => read(&mut state),
        Err(_) => Reply::Text("engine is in use"),
    }
}
