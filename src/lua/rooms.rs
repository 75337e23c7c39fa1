//! What users are called in rooms.

use mlua::{Result, Table, Value};

/// The user's nickname in a room, as far as sessions know it: they have sent presence to it, and
/// `mod_presence` remembers where.
pub fn nickname(sessions: Option<&Table>, room: &str) -> Result<Option<String>> {
    for pair in sessions.iter().flat_map(|all| all.pairs::<Value, Value>()) {
        let (_, Value::Table(session)) = pair? else {
            continue;
        };
        let Value::Table(directed) = session.raw_get("directed")? else {
            continue;
        };
        for pair in directed.pairs::<Value, Value>() {
            let (Value::String(occupant), _) = pair? else {
                continue;
            };
            let occupant = occupant.to_string_lossy();
            let nick = occupant.strip_prefix(room);
            if let Some(nick) = nick.and_then(|rest| rest.strip_prefix('/')) {
                return Ok(Some(nick.to_owned()));
            }
        }
    }
    Ok(None)
}
