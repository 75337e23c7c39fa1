//! Reads Prosody's tables directly on the Lua stack: stanzas, sessions, records.
//!
//! Through handles the same reading takes several times as long, and it happens for every
//! stanza that the rules meet. Only functions that can neither raise an error nor
//! allocate are used while something is read, so that no collector runs and nothing is skipped
//! over: raw access with keys that exist already, type checks before every conversion. Metatables
//! are not asked; whatever is of another type than expected is as if it were not there.

#[allow(unsafe_code)]
mod finalisers;
#[allow(unsafe_code)]
mod frame;
#[allow(unsafe_code)]
mod function;
mod keys;
mod size;
mod stanza;
#[allow(unsafe_code)]
mod table;
#[allow(unsafe_code)]
mod value;

pub use finalisers::outlast_finalisers;
pub use frame::{Frame, read};
pub use function::{Reader, Reply, function};
pub use keys::{Key, Keys};
pub use stanza::Stanza;
pub use table::{Child, TableRef};
