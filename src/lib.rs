//! Push notifications (XEP-0357) for Prosody: a rule engine, and its Lua module.
//!
//! - [`engine`]: the business rules, without I/O;
//! - [`stanza`]: what the rules may ask of a stanza;
//! - [`extension`]: what a registration may ask for besides;
//! - [`chat_settings`]: what users want of their chats;
//! - [`notification`]: what a push tells its push service;
//! - [`push2`]: what a registration of Push 2.0 wants to be pushed for;
//! - [`web_push`]: encryption to devices, and tokens for their push services;
//! - [`wire`]: XEP-0357's requests and publishes as typed values;
//! - `lua`: the binding, built with one of the features `lua52`, `lua53`, `lua54`.
#![deny(unsafe_code)]
#![warn(missing_docs, clippy::pedantic)]
#![allow(clippy::must_use_candidate, clippy::module_name_repetitions)]

pub mod chat_settings;
pub mod engine;
pub mod extension;
pub mod notification;
pub mod push2;
pub mod stanza;
pub mod web_push;
pub mod wire;

#[cfg(any(feature = "lua52", feature = "lua53", feature = "lua54"))]
mod lua;
