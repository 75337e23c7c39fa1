//! What a registration of Push 2.0 (`urn:xmpp:push2:0`) wants to be pushed for, without I/O.

mod addressed;
mod matching;
mod profiles;

pub use addressed::{Addressed, filters_for};
pub use matching::{Event, Filter, Wish, silence_of};
pub use profiles::{FEATURES, Profile, SendProfile};
