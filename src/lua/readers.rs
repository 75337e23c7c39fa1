//! What Lua calls for a stanza: functions that read on the stack and ask the engine.
//!
//! Most events lead to nothing, or to a line in the log; so these functions make no
//! value in Lua but a boolean or a string. What is to be done otherwise stays with the host until the shim
//! has it settled, and fetches each notification.

use super::reader::{Frame, Reader, Reply, Stanza};
use super::state::{State, with_state};
use super::stored::{archived, away, offline, sent, subscription, undelivered};
use super::unacked::{read, unacked};
use crate::stanza::shows_activity;

/// What Lua calls: a reader that is given the state of its host.
macro_rules! readers {
    ($($reader:ident = $read:ident),* $(,)?) => {
        $(
            #[doc = concat!("`", stringify!($read), "`, as a function for Lua.")]
            pub struct $reader;

            impl Reader for $reader {
                fn read(host: &str, frame: &Frame<'_>) -> Reply {
                    with_state(host, |state| $read(state, host, frame))
                }
            }
        )*
    };
}

readers! {
    Active = active,
    Archived = archived,
    Away = away,
    Offline = offline,
    Read = read,
    Sent = sent,
    Subscription = subscription,
    Unacked = unacked,
    Undelivered = undelivered,
}

/// `active(stanza)`: true if it says that whoever has sent it is active.
fn active(_: &mut State, _: &str, frame: &Frame<'_>) -> Reply {
    let stanza = frame.table(0);
    match stanza.map(|table| Stanza::with(&table, shows_activity)) {
        Some(true) => Reply::Work,
        _ => Reply::Nothing,
    }
}
