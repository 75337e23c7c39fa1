//! Lists of chats in `<enable/>`.

use minidom::Element;
use xmpp_parsers::jid::Jid;

use crate::wire::request::RequestError;

/// The entries of the list `name` in `ns`, each with the bare JID of its chat, normalised (RFC 7622); nothing if there is
/// no such list.
///
/// # Errors
/// If one is no JID.
pub fn entries<'e>(
    enable: &'e Element,
    name: &str,
    ns: &str,
    entry: &str,
) -> Result<Option<Vec<(String, &'e Element)>>, RequestError> {
    let Some(list) = enable.get_child(name, ns) else {
        return Ok(None);
    };
    let entries = list.children().filter(|child| child.is(entry, ns));
    let entries = entries.map(|child| {
        let jid = child.attr("jid").and_then(|jid| Jid::new(jid).ok());
        let chat = jid.ok_or(RequestError::MalformedChat)?.into_bare();
        Ok((chat.into_inner(), child))
    });
    entries.collect::<Result<_, _>>().map(Some)
}
