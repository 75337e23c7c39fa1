//! What the targets have in common: Lua values that stand in a fuzzer's input, and a Lua state with
//! the native module in it.
#![warn(missing_docs, clippy::pedantic)]

mod lua;
mod value;

pub use lua::with_values;
