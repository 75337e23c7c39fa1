//! Registering by Push 2.0: what clients ask for. Rare, so through handles.

use mlua::{Lua, Result, Table};

use super::reader::Keys;
use super::requests::{Answer, answer, read_request};
use crate::push2::{FEATURES, Filter};
use crate::wire::push2::{self, ES256, Enabled, Jwt, Match, Send, WebPush};

/// `enable2(<enable/>, own full JID)`: `{ service, jid, client, node, matches }`, as the record has them.
pub fn enable2(lua: &Lua, keys: &Keys, (element, own): (Table, String)) -> Result<Answer> {
    let asked = read_request(lua, keys, element, |element| push2::enable(element, &own))?;
    answer(
        asked,
        |Enabled {
             service,
             client,
             matches,
         }| {
            let table = lua.create_table()?;
            table.set("service", service.as_str())?;
            table.set("jid", service.as_str())?;
            table.set("client", &*client)?;
            table.set("node", client)?;
            let matches = matches.into_iter().map(|one| stored_match(lua, one));
            table.set("matches", matches.collect::<Result<Vec<_>>>()?)?;
            Ok(table)
        },
    )
}

/// `features2()`: those of the account's disco#info.
pub fn features2(_: &Lua, (): ()) -> Result<[&'static str; FEATURES.len()]> {
    Ok(FEATURES)
}

fn stored_match(lua: &Lua, wanted: Match) -> Result<Table> {
    let table = lua.create_table()?;
    table.set("match", wanted.profile.uri())?;
    table.set("grace", wanted.grace)?;
    let chats = wanted.filters.into_iter().map(|(chat, filter)| {
        let Filter { mention, reply } = filter;
        let table = lua.create_table()?;
        table.set("mention", mention.then_some(true))?;
        table.set("reply", reply.then_some(true))?;
        Ok((chat, table))
    });
    let chats = chats.collect::<Result<Vec<_>>>()?;
    if !chats.is_empty() {
        table.set("chats", lua.create_table_from(chats)?)?;
    }
    table.set("send", wanted.send.profile().uri())?;
    if let Send::WebPush(keys) = wanted.send {
        let WebPush {
            ua_public,
            auth_secret,
            jwt,
        } = *keys;
        table.set("ua_public", ua_public)?;
        table.set("auth_secret", auth_secret)?;
        if let Some(Jwt { key, claims }) = jwt {
            table.set("jwt_alg", ES256)?;
            table.set("jwt_key", key)?;
            table.set("jwt_claims", lua.create_table_from(claims)?)?;
        }
    }
    Ok(table)
}
