//! `tigase:push:filter:groupchat:0`: of rooms, only those that the client names, or only what mentions the user there.

use minidom::Element;

use super::chats;
use super::interface::Extension;
use super::others::Community;
use super::record::{Asked, Chosen, Field, Kept, Room, Rooms};
use crate::engine::Silence;
use crate::stanza::{Content, Sort, is_mentioned};
use crate::wire::ns;
use crate::wire::request::{MAX_NICK, RequestError};

const ALWAYS: &str = "always";
const MENTIONED: &str = "mentioned";
const NEVER: &str = "never";

/// See the module.
pub struct Groupchat;

impl Extension for Groupchat {
    fn features(&self) -> &'static [&'static str] {
        &[ns::FILTER_GROUPCHAT]
    }

    fn community(&self) -> Option<Community> {
        Some(Community::Filters)
    }

    fn is_asked(&self, record: &dyn Asked) -> bool {
        record.is_set(Field::GroupchatRules)
    }

    /// An empty list is one, too: of no room.
    fn enable(&self, enable: &Element) -> Result<Vec<(Field, Kept)>, RequestError> {
        let rooms = chats::entries(enable, "groupchat", ns::FILTER_GROUPCHAT, "room")?;
        let Some(rooms) = rooms else {
            return Ok(Vec::new());
        };
        let rooms = rooms
            .into_iter()
            .map(|(room, entry)| Ok((room, read_room(entry)?)));
        let rooms = rooms.collect::<Result<_, _>>()?;
        Ok(vec![(Field::GroupchatRules, Kept::Rooms(rooms))])
    }

    fn is_filter(&self) -> bool {
        true
    }

    fn silence(&self, chosen: &Chosen, content: &Content) -> Option<Silence> {
        if content.sort != Sort::Groupchat {
            return None;
        }
        let room = match &chosen.room {
            Rooms::Any => return None,
            Rooms::Others => return Some(Silence::RoomNotListed),
            Rooms::Named(room) => room,
        };
        match &*room.when {
            ALWAYS => None,
            MENTIONED => {
                let is_mentioned = is_mentioned(content, &chosen.account, room.nick.as_deref());
                (!is_mentioned).then_some(Silence::NotMentioned)
            }
            _ => Some(Silence::RoomNotListed),
        }
    }
}

fn read_room(entry: &Element) -> Result<Room, RequestError> {
    let nick = entry.attr("nick");
    if nick.is_some_and(|nick| nick.len() > MAX_NICK) {
        return Err(RequestError::NickTooLong);
    }
    let when = match entry.attr("allow") {
        Some(when @ (ALWAYS | MENTIONED)) => when,
        _ => NEVER,
    };
    Ok(Room {
        when: when.to_owned(),
        nick: nick.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enable(rooms: &str) -> Result<Vec<(Field, Kept)>, RequestError> {
        let list = format!("<groupchat xmlns='tigase:push:filter:groupchat:0'>{rooms}</groupchat>");
        Groupchat.enable(
            &format!("<enable xmlns='urn:xmpp:push:0'>{list}</enable>")
                .parse()
                .unwrap(),
        )
    }

    fn room(when: &str, nick: Option<&str>) -> Room {
        Room {
            when: when.to_owned(),
            nick: nick.map(str::to_owned),
        }
    }

    fn silence(room: Rooms, content: &Content) -> Option<Silence> {
        let account = "anna@home.test".to_owned();
        let chosen = Chosen {
            account,
            room,
            ..Chosen::default()
        };
        Groupchat.silence(&chosen, content)
    }

    #[test]
    fn rooms_are_kept_with_what_is_wanted_of_them() {
        let kept = enable(
            "<room jid='Team@ROOMS.test' allow='always'/>\
             <room jid='fun@rooms.test' allow='mentioned' nick='Anna'/>\
             <room jid='a@rooms.test'/><room jid='b@rooms.test' allow='sometimes'/>",
        );
        let rooms = [
            ("team@rooms.test", room("always", None)),
            ("fun@rooms.test", room("mentioned", Some("Anna"))),
            ("a@rooms.test", room("never", None)),
            ("b@rooms.test", room("never", None)),
        ];
        let rooms = rooms.map(|(jid, room)| (jid.to_owned(), room)).to_vec();
        assert_eq!(kept, Ok(vec![(Field::GroupchatRules, Kept::Rooms(rooms))]));
        let none = Ok(vec![(Field::GroupchatRules, Kept::Rooms(Vec::new()))]);
        assert_eq!(enable(""), none);
        let no_list = "<enable xmlns='urn:xmpp:push:0'/>".parse().unwrap();
        assert_eq!(Groupchat.enable(&no_list), Ok(Vec::new()));
    }

    #[test]
    fn what_is_wrong_with_a_room_is_said() {
        assert_eq!(
            enable("<room allow='always'/>"),
            Err(RequestError::MalformedChat)
        );
        let nick = |length| format!("<room jid='a@rooms.test' nick='{}'/>", "n".repeat(length));
        assert!(enable(&nick(MAX_NICK)).is_ok());
        assert_eq!(enable(&nick(MAX_NICK + 1)), Err(RequestError::NickTooLong));
    }

    #[test]
    fn only_rooms_that_are_named_are_listened_to() {
        let body = Some("Hi Anna".to_owned());
        let message = Content {
            body,
            ..Content::new(Sort::Groupchat, "team@rooms.test/Rosa")
        };
        let named = |when, nick| Rooms::Named(room(when, nick));
        for (rooms, expected) in [
            (Rooms::Any, None),
            (Rooms::Others, Some(Silence::RoomNotListed)),
            (named("always", None), None),
            (named("never", None), Some(Silence::RoomNotListed)),
            (named("", None), Some(Silence::RoomNotListed)),
            (named("mentioned", Some("anna")), None),
            (
                named("mentioned", Some("bert")),
                Some(Silence::NotMentioned),
            ),
            (named("mentioned", None), Some(Silence::NotMentioned)),
        ] {
            assert_eq!(silence(rooms.clone(), &message), expected, "{rooms:?}");
        }
        let private = Content {
            sort: Sort::Chat,
            ..message
        };
        assert_eq!(silence(Rooms::Others, &private), None);
    }
}
