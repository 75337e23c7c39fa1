//! What a bookmark (XEP-0402) says of notifications for its chat (XEP-0492).

use xmpp_parsers::jid::BareJid;

use crate::stanza::{Attr, Element};

/// The node in PEP that bookmarks are kept in, and their namespace.
const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";

/// The namespaces of settings, the one that counts more last. Version 0.1 of XEP-0492 has the first one.
const SETTINGS: [&str; 2] = [
    "urn:xmpp:notification-settings:0",
    "urn:xmpp:notification-settings:1",
];

/// The longest nickname, as that of any resource (RFC 7622 section 3.4).
const MAX_NICK: usize = 1023;

/// When the user wants to be notified. Of two that contradict each other, the later one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Never.
    Never,
    /// If a message mentions the user.
    OnMention,
    /// Of each message.
    Always,
}

/// A bookmark that says something of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// The bare JID of the room, or of a person, normalised.
    pub chat: String,
    /// What is wanted on phones, see [`read`].
    pub setting: Setting,
    /// The user's nickname in the room.
    pub nick: Option<String>,
}

/// Reads an item of the node; nothing if that has no setting for phones. As what apps are by service discovery cannot
/// be known while they are away, each is taken for the phone (`client/phone`) that nearly all of them are.
pub fn read<E: Element>(item: &E) -> Option<Bookmark> {
    let chat = BareJid::new(item.attr(Attr::Id)?).ok()?;
    item.find_map(|conference| {
        if !conference.is("conference", BOOKMARKS) {
            return None;
        }
        let (mut setting, mut nick) = (None, None);
        conference.find_map(|child| {
            if child.is("extensions", BOOKMARKS) {
                setting = setting.max(read_extensions(child));
            } else if child.is("nick", BOOKMARKS) {
                let text = Some(child.text().into_owned());
                nick = text.filter(|text| !text.is_empty() && text.len() <= MAX_NICK);
            }
            None::<()>
        });
        Some(Bookmark {
            chat: chat.to_string(),
            setting: setting?.1,
            nick,
        })
    })
}

/// The setting that is for phones most of all, with how much it is.
fn read_extensions<E: Element>(extensions: &E) -> Option<((usize, u8), Setting)> {
    let mut best = None;
    extensions.find_named(&["notify"], |notify| {
        let ns = notify.ns();
        let version = SETTINGS.iter().position(|known| *known == ns)?;
        notify.find_map(|element| {
            let setting = match element.name() {
                "always" => Setting::Always,
                "on-mention" => Setting::OnMention,
                "never" => Setting::Never,
                _ => return None,
            };
            if element.ns() == ns
                && let Some(specificity) = specificity(element)
            {
                best = best.max(Some(((version, specificity), setting)));
            }
            None::<()>
        })
    });
    best
}

/// How much a setting is for phones (XEP-0492 section 3), if it is for them at all.
fn specificity<E: Element>(element: &E) -> Option<u8> {
    let attrs = [Attr::IdentityCategory, Attr::IdentityType, Attr::ClientType];
    match element.attrs(attrs) {
        [None, None, None] => Some(0),
        [Some("client"), None, None] => Some(1),
        [Some("client"), Some("phone"), None] | [None, None, Some("mobile" | "phone")] => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_item(id: &str, conference: &str) -> Option<Bookmark> {
        let xml = format!(
            "<item xmlns='http://jabber.org/protocol/pubsub' id='{id}'>{conference}</item>"
        );
        read(&xml.parse::<minidom::Element>().unwrap())
    }

    fn bookmark(inside: &str) -> Option<Bookmark> {
        let xml = format!("<conference xmlns='{BOOKMARKS}' autojoin='true'>{inside}</conference>");
        read_item("team@rooms.test", &xml)
    }

    fn setting_in(notify: &str) -> Option<Setting> {
        let bookmark = bookmark(&format!("<extensions>{notify}</extensions>"));
        bookmark.map(|bookmark| bookmark.setting)
    }

    fn setting(inside: &str) -> Option<Setting> {
        setting_in(&format!(
            "<notify xmlns='{}'>{inside}</notify>",
            SETTINGS[1]
        ))
    }

    #[test]
    fn the_examples_of_the_xep_are_read() {
        assert_eq!(setting("<never />"), Some(Setting::Never));
        let examples = [
            "<never identity-category='client' identity-type='pc' />\
             <on-mention identity-category='client' identity-type='phone' />\
             <on-mention identity-category='gateway' />\
             <always />",
            "<never identity-category='client' identity-type='pc'>\
               <advanced><my xmlns='custom:ns-1'><when day-of-week='monday'>night</when></my></advanced>\
             </never>\
             <on-mention identity-category='client' identity-type='phone' />\
             <always><advanced><better xmlns='custom:ns-3'><when day-of-week='sunday' /></better></advanced></always>",
        ];
        for example in examples {
            assert_eq!(setting(example), Some(Setting::OnMention), "{example}");
        }
    }

    #[test]
    fn the_most_specific_setting_counts() {
        let phone = "<always identity-category='client' identity-type='phone'/>";
        let client = "<on-mention identity-category='client'/>";
        let fallback = "<never/>";
        for (elements, expected) in [
            ([phone, client, fallback], Setting::Always),
            ([fallback, client, phone], Setting::Always),
            ([fallback, client, ""], Setting::OnMention),
            ([client, "", fallback], Setting::OnMention),
            ([fallback, "", ""], Setting::Never),
        ] {
            assert_eq!(setting(&elements.concat()), Some(expected), "{elements:?}");
        }
    }

    #[test]
    fn what_is_for_others_is_no_setting() {
        for inside in [
            "",
            "<never identity-category='client' identity-type='pc'/>",
            "<never identity-category='gateway'/>",
            "<never identity-category=''/>",
            "<never identity-type='phone'/>",
            "<never client-type='pc'/>",
            "<never xmlns='urn:example'/>",
            "<sometimes/>",
            "<advanced><never/></advanced>",
            "never",
        ] {
            assert_eq!(setting(inside), None, "{inside}");
        }
    }

    #[test]
    fn of_settings_that_contradict_each_other_the_one_that_notifies_counts() {
        assert_eq!(setting("<never/><always/>"), Some(Setting::Always));
        assert_eq!(setting("<always/><never/>"), Some(Setting::Always));
        assert_eq!(setting("<on-mention/><never/>"), Some(Setting::OnMention));
        let [_, ns] = SETTINGS;
        let twice = format!("<notify xmlns='{ns}'><never/></notify>").repeat(2);
        assert_eq!(setting_in(&twice), Some(Setting::Never));
        let another = format!("<notify xmlns='{ns}'><on-mention/></notify>{twice}");
        assert_eq!(setting_in(&another), Some(Setting::OnMention));
    }

    #[test]
    fn settings_of_the_first_version_count_where_there_are_none_of_the_second() {
        let [first, second] = SETTINGS;
        let old =
            format!("<notify xmlns='{first}'><on-mention/><never client-type='mobile'/></notify>");
        assert_eq!(setting_in(&old), Some(Setting::Never));
        let both = format!("{old}<notify xmlns='{second}'><always/></notify>");
        assert_eq!(setting_in(&both), Some(Setting::Always));
        assert_eq!(
            setting_in(&format!("{old}<notify xmlns='{second}'/>")),
            Some(Setting::Never)
        );
        assert_eq!(
            setting_in("<notify xmlns='urn:example'><never/></notify>"),
            None
        );
    }

    #[test]
    fn a_bookmark_names_its_chat_and_the_nickname() {
        let notify = format!(
            "<extensions><notify xmlns='{}'><on-mention/></notify></extensions>",
            SETTINGS[1]
        );
        let conference = |inside: &str| {
            format!("<conference xmlns='{BOOKMARKS}' name='Team'>{inside}{notify}</conference>")
        };
        let named = read_item("Team@ROOMS.test", &conference("<nick>Anna B.</nick>")).unwrap();
        assert_eq!(named.chat, "team@rooms.test");
        assert_eq!(named.nick.as_deref(), Some("Anna B."));
        let long = "x".repeat(MAX_NICK + 1);
        for nick in [
            String::new(),
            "<nick/>".to_owned(),
            "<nick xmlns='urn:example'>Anna</nick>".to_owned(),
            format!("<nick>{long}</nick>"),
        ] {
            let unnamed = read_item("rosa@home.test", &conference(&nick)).unwrap();
            assert_eq!((&*unnamed.chat, unnamed.nick), ("rosa@home.test", None));
        }
        for id in [
            "",
            "team@rooms.test/Anna",
            "@rooms.test",
            "a@b@c",
            "te am@rooms.test",
        ] {
            assert_eq!(read_item(id, &conference("")), None, "{id}");
        }
    }

    #[test]
    fn what_is_no_bookmark_says_nothing() {
        let notify = format!("<notify xmlns='{}'><never/></notify>", SETTINGS[1]);
        let deep = format!("{}{notify}{}", "<a>".repeat(90), "</a>".repeat(90));
        for conference in [
            String::new(),
            "text".to_owned(),
            format!(
                "<conference xmlns='urn:example'><extensions>{notify}</extensions></conference>"
            ),
            format!("<conference xmlns='{BOOKMARKS}'>{notify}</conference>"),
            format!("<conference xmlns='{BOOKMARKS}'><extensions/></conference>"),
            format!("<conference xmlns='{BOOKMARKS}'><extensions>{deep}</extensions></conference>"),
            format!(
                "<conference xmlns='{BOOKMARKS}'><extensions xmlns='urn:example'>{notify}</extensions></conference>"
            ),
        ] {
            assert_eq!(
                read_item("team@rooms.test", &conference),
                None,
                "{conference}"
            );
        }
        let no_id = "<item xmlns='http://jabber.org/protocol/pubsub'/>";
        assert_eq!(read(&no_id.parse::<minidom::Element>().unwrap()), None);
    }

    #[test]
    fn many_elements_are_gone_through() {
        let others = "<never identity-category='client' identity-type='web'/>".repeat(5000);
        assert_eq!(
            setting(&format!("{others}<on-mention/>")),
            Some(Setting::OnMention)
        );
    }
}
