//! The users' settings for their chats: read when they are needed, forgotten when they may have changed.

use mlua::{Function, Lua, Result, Table};

use super::host::Host;
use super::reader::{self, Stanza};
use crate::chat_settings::MAX_BOOKMARKS;
use crate::engine::Silence;
use crate::stanza::Content;
use crate::wire::bookmarks;

/// `learn_chat_settings(user, items)`: the items of the user's bookmarks. How many of them are left out, being too many.
pub fn learn(lua: &Lua, host: &Host, (user, items): (String, Table)) -> Result<usize> {
    let (bookmarks, left_out) = reader::read(lua, &host.keys, items, |frame| {
        let items = frame.table(0)?;
        let count = items.len();
        let read = |place| items.with_entry(place, |item| Stanza::with(item, bookmarks::read));
        let found: Vec<_> = (1..=count.min(MAX_BOOKMARKS))
            .filter_map(|place| read(place)?)
            .collect();
        Some((found, count.saturating_sub(MAX_BOOKMARKS)))
    })?
    .unwrap_or_default();
    host.state()?.chat_settings.learn(&user, bookmarks);
    Ok(left_out)
}

/// `forget_chat_settings(user)`: those of the user; of all, if it is nil.
pub fn forget(_: &Lua, host: &Host, user: Option<String>) -> Result<()> {
    let settings = &mut host.state()?.chat_settings;
    match user {
        Some(user) => settings.forget(&user),
        None => settings.forget_all(),
    }
    Ok(())
}

/// Why the user's settings leave a stanza out, if they do. `load(user)` is called if they are not known, and has them
/// learnt.
pub fn silence(
    host: &Host,
    user: &str,
    account: &str,
    content: &Content,
    load: &Function,
) -> Result<Option<Silence>> {
    let is_known = host.state()?.chat_settings.is_known(user);
    if !is_known {
        load.call::<()>(user)?;
    }
    let settings = &mut host.state()?.chat_settings;
    Ok(settings.silence(user, account, content))
}
