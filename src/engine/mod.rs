//! The business rules, without I/O.
//!
//! The engine knows nothing of Lua, sockets, clocks or storage. Its caller
//!
//! 1. hands it what happens ([`Engine::unacked`], [`Engine::archived`], [`Engine::undelivered`],
//!    [`Engine::offline`], [`Engine::room`], [`Engine::sent`], [`Engine::away`], [`Engine::subscription`],
//!    [`Engine::ping`], [`Engine::displayed`], [`Engine::answered`]) with the current time and with what the account
//!    looks like at that moment ([`Account`]);
//! 2. carries out the [`Verdict`] on each registration: publishes for a [`Verdict::Push`], and hands
//!    the stanza over with [`Engine::keep`], in case it has to be pushed again; for a
//!    [`Verdict::Hold`] it hands it over with [`Engine::hold`];
//! 3. says when a listener has vetoed a push ([`Engine::vetoed`]), when a device is back
//!    ([`Engine::back`], [`Engine::enabled`]), when a registration is suspended ([`Engine::suspend`]) or has ended
//!    ([`Engine::forget`]); when a push service gives a sign of life ([`Engine::heard`],
//!    [`Engine::connected`]) and when its connection has ended ([`Engine::disconnected`]);
//! 4. calls [`Engine::expire`] at the time that [`Engine::deadline`] names, and carries out what it
//!    returns: [`Engine::release`] for each device whose turn it is ([`Engine::postpone`] if its
//!    registration cannot be read), and what each [`Report`] says;
//! 5. says what users send to rooms ([`Engine::said`]);
//! 6. takes what is owed ([`Engine::owed`]) before it ends, and gives it to the next engine
//!    ([`Engine::restore`], [`Engine::restore_service`]);
//! 7. may ask why ([`Engine::trail`], [`Engine::outlook`]) and how much ([`Engine::take_counts`],
//!    [`Engine::take_latencies`], [`Engine::gauges`]).
//!
//! Time is a [`Duration`](std::time::Duration) since any fixed moment, at least a hundred days ago, and never goes back. `S`
//! is whatever the caller needs to get hold of a stanza again that has to wait.
//!
//! ```
//! use std::time::Duration;
//! use cloud_notify::engine::{Account, Engine, Options, Registration, Verdict};
//! use cloud_notify::stanza::{Facts, StanzaId};
//!
//! let mut engine = Engine::<()>::new(Options::default());
//! let message: minidom::Element =
//!     "<message xmlns='jabber:client' from='rosa@home.test'><body>hi</body></message>".parse()?;
//! let facts = Facts::read(&message, "anna@home.test", engine.key());
//! let account = Account {
//!     user: "anna",
//!     registrations: &[Registration { identifier: "push.test<n1", jid: "push.test", content: false, calls: false, left_out: None, suspended: None, client: None }],
//!     sessions: &[],
//! };
//! let now = Duration::from_hours(100 * 24);
//! let id = StanzaId::archived("archive-id-1", engine.key());
//! let decisions = engine.archived(now, &account, &facts, id);
//! assert!(matches!(decisions[0].verdict, Verdict::Push(_)));
//! // The same message, now met by offline storage: never pushed twice.
//! let decisions = engine.offline(now, &account, &facts, id);
//! assert!(matches!(decisions[0].verdict, Verdict::Silent(_)));
//! # Ok::<(), minidom::Error>(())
//! ```

mod about;
mod account;
mod answer;
mod circuit;
mod copies;
mod counts;
mod deadlines;
mod decision;
mod delivery;
mod device;
mod devices;
mod ending;
mod face;
mod failing;
mod health;
mod identity;
mod in_flight;
mod kept;
mod latencies;
mod lifecycle;
mod meeting;
mod metrics;
mod options;
mod overview;
mod pings;
mod presence;
mod pushed;
mod queue;
mod rate;
mod reading;
mod reason;
pub mod registering;
mod registration;
mod release;
mod restart;
mod ringing;
pub mod rules;
mod said;
mod schedule;
mod sending;
mod service;
mod service_state;
mod services;
mod silent;
pub mod suspension;
mod taken;
mod timers;
mod told;
mod trail;
mod unread;
mod waiting;
mod wakes;
mod witness;

pub use account::{Account, Connection, Registration, Session};
pub use answer::{Answer, Outcome};
pub use counts::Count;
pub use deadlines::Expired;
pub use decision::{Decision, Ticket, Verdict};
pub use delivery::Report;
pub use face::Engine;
pub use identity::{DeviceName, PushId, normalised};
pub use latencies::{BOUNDS as LATENCY_BOUNDS, Latency};
pub use options::{NotifyOn, Options};
pub use overview::DeviceStatus;
pub use presence::Presence;
pub use reason::{Cause, Occasion, Reason, Rule, Silence};
pub use release::Released;
pub use restart::Owed;
pub use service_state::{CircuitState, FailingService, ServiceChange, ServiceState, ServiceStatus};
pub use told::Counting;
pub use trail::{Entry, Event};

#[cfg(test)]
mod tests;
