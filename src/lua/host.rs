//! What the shim holds of a host's engine.
//!
//! The engine is borrowed for a moment only, and never while Prosody is called: a push service may
//! answer inside the very call that sends the push.

use std::time::Duration;

use mlua::{Function, Lua, Result, Table};
use parking_lot::MutexGuard;

use super::clock::now;
use super::publisher::Publisher;
use super::reader::Keys;
use super::state::{Shared, State};

/// What the shim holds of a host's engine.
pub struct Host {
    state: Shared,
    /// Its name.
    pub name: String,
    pub keys: Keys,
    pub publisher: Publisher,
}

impl Host {
    /// That of this host, with all that it knows from before if there has been one.
    pub fn open(lua: &Lua, name: String, metatable: Table, deserialize: Function) -> Result<Self> {
        Ok(Self {
            state: Shared::of(&name),
            keys: Keys::new(lua)?,
            publisher: Publisher::new(name.clone(), metatable, deserialize),
            name,
        })
    }

    /// The state, unless somebody is at it.
    pub fn state(&self) -> Result<MutexGuard<'_, State>> {
        self.state.borrow()
    }

    /// What `act` does now, and seconds to the next deadline if it is an earlier one than the shim knows of. The shim
    /// has to be told: it is not said again, unless [`Self::telling`] finds that what came after has failed.
    pub fn act<R>(&self, act: impl FnOnce(&mut State, Duration) -> R) -> Result<(R, Option<f64>)> {
        let now = now();
        let state = &mut *self.state()?;
        let result = act(state, now);
        Ok((result, state.next_delay(now)))
    }

    /// What has failed has told nothing: the next deadline is said again.
    pub fn telling<R>(&self, told: Result<R>) -> Result<R> {
        told.inspect_err(|_| {
            if let Ok(mut state) = self.state() {
                state.armed = None;
            }
        })
    }
}
