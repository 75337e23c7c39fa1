use super::*;
use crate::stanza::{Queued, may_concern_call, queued};
use minidom::Element as Dom;
use proptest::prelude::*;

const ACCOUNT: &str = "anna@home.test";

fn facts(xml: &str) -> Facts {
    read(xml, &Key::random())
}

fn read(xml: &str, key: &Key) -> Facts {
    let xml = xml.replacen(' ', " xmlns='jabber:client' ", 1);
    Facts::read(&xml.parse::<Dom>().unwrap(), ACCOUNT, key)
}

fn importance_of(children: &str) -> Importance {
    facts(&format!(
        "<message from='rosa@away.test/x' type='chat'>{children}</message>"
    ))
    .importance
}

fn carbon(direction: &str, from: &str, children: &str) -> String {
    format!(
        "<message from='{from}' to='{ACCOUNT}/phone'><{direction} xmlns='urn:xmpp:carbons:2'>\
         <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' \
         from='rosa@away.test/x' to='{ACCOUNT}/desk' id='m1' type='chat'>{children}</message>\
         </forwarded></{direction}></message>"
    )
}

#[test]
fn a_body_is_important_an_empty_one_is_not() {
    assert_eq!(importance_of("<body>hi</body>"), Importance::Important);
    assert_eq!(importance_of("<body/>"), Importance::Unimportant);
    assert_eq!(
        importance_of("<body xmlns='urn:x'>hi</body>"),
        Importance::Unimportant
    );
    assert_eq!(importance_of(""), Importance::Unimportant);
}

#[test]
fn encrypted_content_is_important_without_a_body() {
    for child in [
        "<x xmlns='jabber:x:encrypted'/>",
        "<openpgp xmlns='urn:xmpp:openpgp:0'/>",
        "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:otr:0'/>",
    ] {
        assert_eq!(importance_of(child), Importance::Important, "{child}");
    }
    for ns in OMEMO {
        let child = format!("<encrypted xmlns='{ns}'><header/><payload/></encrypted>");
        assert_eq!(importance_of(&child), Importance::Important, "{child}");
    }
    assert_eq!(
        importance_of("<encrypted xmlns='urn:x'><payload/></encrypted>"),
        Importance::Unimportant
    );
}

#[test]
fn omemo_keys_without_a_payload_show_nothing_whatever_stands_beside_them() {
    let eme = "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:omemo:2'/>";
    let fallback = "<body>Your client does not support OMEMO</body>";
    let hint = "<store xmlns='urn:xmpp:hints'/>";
    for ns in OMEMO {
        let keys = format!(
            "<encrypted xmlns='{ns}'><header><x xmlns='urn:x'><payload/></x></header></encrypted>"
        );
        for beside in ["", eme, fallback, hint, &format!("{eme}{fallback}{hint}")] {
            for children in [format!("{keys}{beside}"), format!("{beside}{keys}")] {
                assert_eq!(importance_of(&children), Importance::Unimportant);
                assert_eq!(
                    facts(&carbon("received", ACCOUNT, &children)).importance,
                    Importance::Unimportant
                );
            }
        }
        for (content, importance) in [
            (
                "<openpgp xmlns='urn:xmpp:openpgp:0'/>",
                Importance::Important,
            ),
            (
                "<encrypted xmlns='urn:xmpp:omemo:2'><payload/></encrypted>",
                Importance::Important,
            ),
            (
                "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>",
                Importance::Urgent,
            ),
        ] {
            assert_eq!(importance_of(&format!("{keys}{content}")), importance);
            assert_eq!(importance_of(&format!("{content}{keys}")), importance);
        }
    }
}

#[test]
fn files_links_and_stickers_are_important_without_a_body() {
    for child in [
        "<x xmlns='jabber:x:oob'><url>https://home.test/f</url></x>",
        "<file-sharing xmlns='urn:xmpp:sfs:0' disposition='inline'/>",
        "<sticker xmlns='urn:xmpp:stickers:0' pack='p'/>",
    ] {
        assert_eq!(importance_of(child), Importance::Important, "{child}");
        assert_eq!(
            facts(&carbon("received", ACCOUNT, child)).importance,
            Importance::Important
        );
        assert_eq!(
            facts(&carbon("sent", ACCOUNT, child)).importance,
            Importance::Unimportant
        );
    }
    for child in [
        "<x xmlns='jabber:x:oob'><desc>d</desc></x>",
        "<file-sharing xmlns='urn:x'/>",
        "<sticker xmlns='urn:x'/>",
    ] {
        assert_eq!(importance_of(child), Importance::Unimportant, "{child}");
    }
}

#[test]
fn names_are_in_order() {
    assert!(NAMES.is_sorted());
    assert!(IMPORTANT_NAMES.is_sorted());
}

const NOTIFICATION: &str =
    "<item><notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data'/></notification></item>";

#[test]
fn a_push_is_recognised_whoever_sent_it() {
    let iq = |kind: &str, ns: &str, publish: &str| {
        facts(&format!(
            "<iq from='away.test' type='{kind}' id='1'><pubsub xmlns='{ns}'>{publish}</pubsub></iq>"
        ))
        .push
    };
    let publish = format!("<publish node='n'>{NOTIFICATION}</publish><publish-options/>");
    assert!(iq("set", push::PUBSUB, &publish));
    assert!(iq("error", push::PUBSUB, &publish), "as it comes back");
    assert!(!iq("set", "urn:x", &publish));
    assert!(!iq("set", push::PUBSUB, NOTIFICATION));
    let other = publish.replace("urn:xmpp:push:0", "urn:x");
    assert!(!iq("set", push::PUBSUB, &other));

    let event = format!("<event xmlns='{}'><items node='n'>", ns::PUBSUB_EVENT);
    for (children, push) in [
        (format!("{event}{NOTIFICATION}</items></event>"), true),
        (
            format!("{event}{NOTIFICATION}</items></event><body>b</body>"),
            true,
        ),
        (format!("{event}<item/></items></event>"), false),
        ("<notification xmlns='urn:xmpp:push2:0'/>".into(), true),
        ("<notification xmlns='urn:x'/>".into(), false),
        ("<body>hi</body>".into(), false),
    ] {
        let message = format!("<message from='away.test'>{children}</message>");
        assert_eq!(facts(&message).push, push, "{children}");
        let carbon = carbon("received", ACCOUNT, &children);
        assert_eq!(facts(&carbon).push, push, "{children}");
    }
}

/// Children that make a message what it is, and some that look like them.
const CHILDREN: [&str; 33] = [
    "<body>hi</body>",
    "<body/>",
    "<body xmlns='urn:x'>hi</body>",
    "<subject>s</subject>",
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>",
    "<encrypted xmlns='eu.siacs.conversations.axolotl'><header/></encrypted>",
    "<encrypted xmlns='urn:xmpp:omemo:2'><payload/></encrypted>",
    "<encrypted xmlns='urn:xmpp:omemo:2'/>",
    "<encrypted xmlns='urn:x'/>",
    "<encryption xmlns='urn:xmpp:eme:0'/>",
    "<x xmlns='jabber:x:encrypted'/>",
    "<openpgp xmlns='urn:xmpp:openpgp:0'/>",
    "<x xmlns='jabber:x:oob'><url>u</url></x>",
    "<x xmlns='jabber:x:oob'/>",
    "<file-sharing xmlns='urn:xmpp:sfs:0'/>",
    "<sticker xmlns='urn:xmpp:stickers:0'/>",
    "<x xmlns='jabber:x:conference'/>",
    "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>",
    "<x xmlns='http://jabber.org/protocol/muc#user'/>",
    "<propose xmlns='urn:xmpp:jingle-message:0'/>",
    "<invite xmlns='urn:xmpp:call-invites:0'/>",
    "<retract xmlns='urn:xmpp:jingle-message:0' id='c'/>",
    "<finish xmlns='urn:xmpp:jingle-message:0' id='c'/>",
    "<proceed xmlns='urn:xmpp:jingle-message:0' id='c'/>",
    "<left xmlns='urn:xmpp:call-invites:0' id='c'/>",
    "<accept xmlns='urn:xmpp:call-invites:0' id='c'/>",
    "<reject xmlns='urn:xmpp:call-invites:0' id='c'/>",
    "<received xmlns='urn:xmpp:receipts'/>",
    "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
    "<event xmlns='http://jabber.org/protocol/pubsub#event'/>",
    "<notification xmlns='urn:xmpp:push2:0'/>",
    "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
     <message xmlns='jabber:client'><body>hi</body></message></forwarded></received>",
    "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
     <message xmlns='jabber:client'><body>hi</body></message></forwarded></sent>",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_quickly_is_what_is_read_in_full(
        wrapped in prop::option::of(prop::sample::select(vec!["received", "sent"])),
        name in prop::sample::select(vec!["message", "message", "message", "iq", "presence"]),
        kind in prop::sample::select(vec!["chat", "normal", "groupchat", "headline", "error", "subscribe"]),
        from in prop::sample::select(vec![ACCOUNT, "rosa@away.test/x"]),
        children in prop::collection::vec(prop::sample::select(CHILDREN.to_vec()), 0..5),
    ) {
        let children = children.concat();
        let xml = match wrapped {
            Some(direction) => carbon(direction, from, &children),
            None => format!("<{name} from='{from}' type='{kind}'>{children}</{name}>"),
        };
        let stanza: Dom = xml.replacen(' ', " xmlns='jabber:client' ", 1).parse().unwrap();
        let facts = Facts::read(&stanza, ACCOUNT, &Key::random());
        prop_assert_eq!(importance(&stanza, ACCOUNT), facts.importance);
        prop_assert!(may_be_call(&stanza) || facts.importance < Importance::Urgent);
        prop_assert!(may_concern_call(&stanza, ACCOUNT) || facts.call.is_none());
    }
}

#[test]
fn errors_and_headlines_never_are() {
    for kind in ["error", "headline"] {
        let message = format!(
            "<message from='rosa@away.test' type='{kind}'><body>hi</body>\
             <propose xmlns='urn:xmpp:jingle-message:0' id='c'/></message>"
        );
        assert_eq!(facts(&message).importance, Importance::Unimportant);
    }
}

#[test]
fn calls_are_urgent() {
    for call in [
        "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>",
        "<invite xmlns='urn:xmpp:call-invites:0'/>",
    ] {
        assert_eq!(importance_of(call), Importance::Urgent);
    }
    for other in [
        "<retract xmlns='urn:xmpp:jingle-message:0' id='c'/>",
        "<accept xmlns='urn:xmpp:call-invites:0'/>",
    ] {
        assert_eq!(importance_of(other), Importance::Unimportant);
    }
}

#[test]
fn invitations_are_important() {
    assert_eq!(
        importance_of("<x xmlns='jabber:x:conference' jid='r@rooms.test'/>"),
        Importance::Important
    );
    assert_eq!(
        importance_of("<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>"),
        Importance::Important
    );
    assert_eq!(
        importance_of("<x xmlns='http://jabber.org/protocol/muc#user'/>"),
        Importance::Unimportant
    );
}

#[test]
fn a_subject_change_is_unimportant_in_a_room_only() {
    let subject = |kind, more: &str| {
        facts(&format!(
            "<message from='r@rooms.test/x' type='{kind}'><subject>s</subject>{more}</message>"
        ))
        .importance
    };
    assert_eq!(subject("groupchat", ""), Importance::Unimportant);
    assert_eq!(
        subject("groupchat", "<encryption xmlns='urn:xmpp:eme:0'/>"),
        Importance::Unimportant
    );
    assert_eq!(
        subject("groupchat", "<body>b</body>"),
        Importance::Important
    );
    assert_eq!(subject("normal", "<body>b</body>"), Importance::Important);
}

#[test]
fn a_sent_carbon_is_unimportant_a_received_one_counts_as_its_message() {
    let body = "<body>hi</body>";
    let call = "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>";
    assert_eq!(
        facts(&carbon("sent", ACCOUNT, body)).importance,
        Importance::Unimportant
    );
    assert_eq!(
        facts(&carbon("received", ACCOUNT, body)).importance,
        Importance::Important
    );
    assert_eq!(
        facts(&carbon("received", ACCOUNT, call)).importance,
        Importance::Urgent
    );
    assert_eq!(
        facts(&carbon("received", ACCOUNT, "")).importance,
        Importance::Unimportant
    );
}

#[test]
fn a_forged_carbon_is_an_ordinary_message() {
    let forged = carbon("received", "rosa@away.test", "<body>hi</body>");
    assert_eq!(facts(&forged).importance, Importance::Unimportant);
    let forged = carbon("sent", "rosa@away.test", "<body>hi</body>")
        .replace("</sent>", "</sent><body>hi</body>");
    assert_eq!(facts(&forged).importance, Importance::Important);
}

#[test]
fn presence_and_iq_are_unimportant_and_no_messages() {
    for xml in [
        "<presence from='a@b'/>",
        "<iq from='a@b' type='set' id='1'/>",
    ] {
        let facts = facts(xml);
        assert_eq!(facts.importance, Importance::Unimportant);
        assert!(!facts.message);
        assert_eq!(facts.id, None);
    }
}

#[test]
fn a_subscription_request_is_important_and_the_same_whenever_it_comes() {
    let key = Key::known(1);
    let read = |xml: &str| -> Facts {
        let stanza: Dom = xml.parse().unwrap();
        let facts = Facts::read(&stanza, ACCOUNT, &key);
        assert_eq!(importance(&stanza, ACCOUNT), facts.importance, "{xml}");
        facts
    };
    let request = read("<presence xmlns='jabber:client' from='rosa@away.test' type='subscribe'/>");
    assert_eq!(request.importance, Importance::Important);
    assert!(!request.message);
    assert_eq!(request.id, Some(StanzaId::request("rosa@away.test", &key)));
    let again = read(
        "<presence xmlns='jabber:client' from='rosa@away.test/x' type='subscribe' id='2'>\
         <x xmlns='vcard-temp:x:update'/></presence>",
    );
    assert_eq!(
        (again.id, again.importance),
        (request.id, request.importance)
    );
    let other = read("<presence xmlns='jabber:client' from='bert@away.test' type='subscribe'/>");
    assert_ne!(other.id, request.id);
    for xml in [
        "<presence xmlns='jabber:client' from='rosa@away.test' type='subscribed'/>",
        "<iq xmlns='jabber:client' from='rosa@away.test' type='subscribe'/>",
    ] {
        let other = read(xml);
        assert_eq!(
            (other.id, other.importance),
            (None, Importance::Unimportant)
        );
    }
}

#[test]
fn the_archive_id_is_the_identity_in_every_clone() {
    let key = Key::random();
    let stanza_id = "<stanza-id xmlns='urn:xmpp:sid:0' by='anna@home.test' id='a1'/>";
    let archived = StanzaId::archived("a1", &key);
    let offline = read(
        &format!("<message from='rosa@away.test' id='m1'><body>hi</body>{stanza_id}</message>"),
        &key,
    );
    let copied = read(&carbon("received", ACCOUNT, stanza_id), &key);
    assert_eq!(offline.id, Some(archived));
    assert_eq!(copied.id, Some(archived));
}

#[test]
fn the_archive_has_what_it_has_given_an_id() {
    let is_archived = |xml: &str| {
        let xml = xml.replacen('>', " xmlns='jabber:client'>", 1);
        super::is_archived(&xml.parse::<Dom>().unwrap(), ACCOUNT)
    };
    let stanza_id = |by: &str| format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='a1'/>");
    let message = |content: &str| format!("<message><body>hi</body>{content}</message>");
    assert!(is_archived(&message(&stanza_id(ACCOUNT))));
    assert!(is_archived(&carbon(
        "received",
        ACCOUNT,
        &stanza_id(ACCOUNT)
    )));
    assert!(!is_archived(&message(&stanza_id("rooms.test"))));
    assert!(!is_archived(&message("")));
    // An answer of the archive is none of its messages.
    let result = format!(
        "<result xmlns='urn:xmpp:mam:2'>{}</result>",
        stanza_id(ACCOUNT)
    );
    assert!(!is_archived(&message(&result)));
}

#[test]
fn a_foreign_stanza_id_is_no_identity() {
    let key = Key::random();
    let message = |id: &str| {
        read(
            &format!(
                "<message from='r@rooms.test/x' id='{id}'><body>hi</body>\
                 <stanza-id xmlns='urn:xmpp:sid:0' by='r@rooms.test' id='a1'/></message>"
            ),
            &key,
        )
    };
    assert_ne!(message("m1").id, Some(StanzaId::archived("a1", &key)));
    assert_ne!(message("m1").id, message("m2").id);
}

#[test]
fn without_an_archive_sender_and_id_are_the_identity() {
    let key = Key::random();
    let message = |from: &str, attrs: &str, body: &str| {
        read(
            &format!("<message from='{from}' {attrs}><body>{body}</body></message>"),
            &key,
        )
    };
    let first = message("rosa@away.test/x", "id='m1'", "hi");
    assert!(first.id.is_some());
    assert_eq!(first.id, message("rosa@away.test/x", "id='m1'", "hi").id);
    assert_ne!(first.id, message("rosa@away.test/y", "id='m1'", "hi").id);
    assert_ne!(first.id, message("rosa@away.test/x", "id='m2'", "hi").id);
    assert_ne!(first.id, message("rosa@away.test/x", "id='m1'", "ho").id);
    let anonymous = message("rosa@away.test/x", "", "hi");
    assert_eq!(anonymous.id, None);
    assert!(anonymous.content.is_some());
}

#[test]
fn a_delay_by_the_own_host_tells_of_redelivery() {
    let delayed = |from: &str| {
        facts(&format!(
            "<message from='rosa@away.test'><body>hi</body>\
             <delay xmlns='urn:xmpp:delay' from='{from}'/></message>"
        ))
        .redelivered
    };
    assert!(delayed("home.test"));
    assert!(!delayed("anna@home.test"), "mod_smacks stamps its queue so");
    assert!(!delayed("away.test"));
}

#[test]
fn a_note_to_self_has_the_account_at_both_ends() {
    assert!(facts("<message from='anna@home.test/desk'><body>hi</body></message>").note_to_self);
    assert!(facts("<message from='anna@home.test/desk' to='anna@home.test/phone'/>").note_to_self);
    assert!(!facts("<message from='anna@home.test/desk' to='anna@away.test'/>").note_to_self);
    assert!(!facts("<message from='rosa@away.test' to='anna@home.test'/>").note_to_self);
}

#[test]
fn body_and_sender_are_those_of_the_message_in_a_carbon() {
    let xml = carbon("received", ACCOUNT, "<body>h<b/>i</body>").replacen(
        ' ',
        " xmlns='jabber:client' ",
        1,
    );
    let dom: Dom = xml.parse().unwrap();
    let content = crate::stanza::Content::read(&dom, ACCOUNT);
    assert_eq!(content.body.as_deref(), Some("hi"));
    assert_eq!(content.from, "rosa@away.test/x");
}

#[test]
fn the_body_of_an_encrypted_message_is_not_its_text() {
    let body = |children: &str| {
        let xml = format!("<message xmlns='jabber:client'><body>b</body>{children}</message>");
        crate::stanza::Content::read(&xml.parse::<Dom>().unwrap(), ACCOUNT).body
    };
    for encrypted in [
        "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>",
        "<encrypted xmlns='urn:xmpp:omemo:0'><payload/></encrypted>",
        "<encrypted xmlns='urn:xmpp:omemo:1'><payload/></encrypted>",
        "<encrypted xmlns='urn:xmpp:omemo:2'/>",
        "<encryption xmlns='urn:xmpp:eme:0' namespace='urn:xmpp:otr:0'/>",
        "<openpgp xmlns='urn:xmpp:openpgp:0'/>",
        "<x xmlns='jabber:x:encrypted'/>",
    ] {
        assert_eq!(body(encrypted), None, "{encrypted}");
        let copied = carbon("received", ACCOUNT, &format!("<body>b</body>{encrypted}")).replacen(
            ' ',
            " xmlns='jabber:client' ",
            1,
        );
        let copied: Dom = copied.parse().unwrap();
        assert_eq!(
            crate::stanza::Content::read(&copied, ACCOUNT).body,
            None,
            "{encrypted}"
        );
    }
    for plain in [
        "",
        "<encrypted xmlns='urn:x'/>",
        "<x xmlns='jabber:x:oob'><url>b</url></x>",
        "<x xmlns='jabber:x:signed'/>",
    ] {
        assert_eq!(body(plain).as_deref(), Some("b"), "{plain}");
    }
}

#[test]
fn clones_in_several_queues_have_content_and_stamp_in_common() {
    let key = Key::random();
    let clone = |body: &str, from: &str, stamp: &str| {
        let xml = format!(
            "<message xmlns='jabber:client' from='rosa@away.test'><body>{body}</body>\
             <delay xmlns='urn:xmpp:delay' from='{from}' stamp='{stamp}'/></message>"
        );
        queued(&xml.parse::<Dom>().unwrap(), ACCOUNT, &key)
    };
    let at = "2026-01-01T00:00:00Z";
    let first = clone("hi", ACCOUNT, at).unwrap();
    assert_eq!(clone("hi", ACCOUNT, at), Some(first));
    assert_ne!(clone("ho", ACCOUNT, at).unwrap().content, first.content);
    for (stamp, second) in [
        ("2026-01-01T00:00:01Z", first.second + 1),
        ("2026-01-01T00:00:00.999999Z", first.second),
    ] {
        let content = first.content;
        assert_eq!(
            clone("hi", ACCOUNT, stamp),
            Some(Queued { content, second })
        );
    }
    for (from, stamp) in [("away.test", at), (ACCOUNT, "noon")] {
        assert_eq!(clone("hi", from, stamp), None, "not stamped by mod_smacks");
    }
}

#[test]
fn carbon_copies_for_several_sessions_are_clones_but_not_what_went_to_several_addresses() {
    let key = Key::random();
    let clone = |from: &str, to: &str| {
        let xml = format!(
            "<message xmlns='jabber:client' from='{from}' to='{to}'><body>hi</body>\
             <delay xmlns='urn:xmpp:delay' from='{ACCOUNT}' stamp='2026-01-01T00:00:00Z'/></message>"
        );
        queued(&xml.parse::<Dom>().unwrap(), ACCOUNT, &key).unwrap()
    };
    let (pc, phone) = (format!("{ACCOUNT}/pc"), format!("{ACCOUNT}/phone"));
    assert_eq!(clone(ACCOUNT, &pc), clone(ACCOUNT, &phone));
    assert_ne!(
        clone("rosa@away.test", &pc),
        clone("rosa@away.test", &phone)
    );
}

#[test]
fn what_cannot_be_a_call_is_known_quickly() {
    let may_be = |child: &str| {
        let xml = format!("<message xmlns='jabber:client'><body/>{child}</message>");
        may_be_call(&xml.parse::<Dom>().unwrap())
    };
    assert!(may_be(
        "<propose xmlns='urn:xmpp:jingle-message:0' id='c'/>"
    ));
    assert!(may_be("<invite xmlns='urn:xmpp:call-invites:0'/>"));
    assert!(may_be("<received xmlns='urn:xmpp:carbons:2'/>"));
    assert!(!may_be("<received xmlns='urn:xmpp:receipts' id='m'/>"));
    assert!(!may_be(""));
}

#[test]
fn what_cannot_end_a_call_is_known_quickly() {
    let may_concern = |xml: &str| {
        let xml = xml.replacen(' ', " xmlns='jabber:client' ", 1);
        may_concern_call(&xml.parse::<Dom>().unwrap(), ACCOUNT)
    };
    let text = "<body>hi</body><received xmlns='urn:xmpp:receipts' id='m'/>";
    assert!(!may_concern(&format!(
        "<message from='rosa@away.test'>{text}</message>"
    )));
    let end = "<body>hi</body><reject xmlns='urn:xmpp:jingle-message:0' id='c'/>";
    assert!(may_concern(&format!(
        "<message from='rosa@away.test'>{end}</message>"
    )));
    for direction in ["received", "sent"] {
        assert!(!may_concern(&carbon(direction, ACCOUNT, "<body>hi</body>")));
        assert!(may_concern(&carbon(direction, ACCOUNT, end)));
    }
    assert!(!may_concern(&format!(
        "<presence from='rosa@away.test'>{end}</presence>"
    )));
}

#[test]
fn what_is_of_another_namespace_is_something_else() {
    let message = |kind: &str, child: &str| -> Dom {
        let xml = format!(
            "<message xmlns='jabber:client' from='rosa@away.test' type='{kind}'>{child}</message>"
        );
        xml.parse().unwrap()
    };
    let important = |kind, child: &str| {
        let message = message(kind, child);
        let read = Facts::read(&message, ACCOUNT, &Key::known(1)).importance;
        assert_eq!(read, importance(&message, ACCOUNT));
        read >= Importance::Important
    };
    let body = "<body xmlns='urn:example:x'>hi</body>";
    assert!(!important("chat", body));
    assert_eq!(
        crate::stanza::Content::read(&message("chat", body), ACCOUNT).body,
        None
    );
    let link = "<x xmlns='jabber:x:oob'><url>https://a.test/</url></x>";
    assert!(important(
        "groupchat",
        &format!("{link}<subject xmlns='urn:example:x'>hi</subject>")
    ));
    assert!(!important(
        "chat",
        "<encrypted xmlns='urn:example:x'><payload/></encrypted>"
    ));
    let stamped =
        format!("<delay xmlns='urn:example:x' from='{ACCOUNT}' stamp='2026-01-01T00:00:00Z'/>");
    let queued = queued(&message("chat", &stamped), ACCOUNT, &Key::known(1));
    assert_eq!(queued, None);
}

#[test]
fn a_reaction_is_not_important_whatever_stands_beside_it() {
    let reaction =
        "<reactions xmlns='urn:xmpp:reactions:0' id='m0'><reaction>x</reaction></reactions>";
    let eme = "<encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl'/>";
    let payload = "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>";
    let fallback = "<body>&gt; Hello\nx</body><fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reactions:0'/>";
    for beside in ["", fallback, eme, payload] {
        for children in [format!("{reaction}{beside}"), format!("{beside}{reaction}")] {
            assert_eq!(
                importance_of(&children),
                Importance::Unimportant,
                "{children}"
            );
            let room = format!(
                "<message from='team@rooms.test/Rosa' type='groupchat'>{children}</message>"
            );
            assert_eq!(facts(&room).importance, Importance::Unimportant);
        }
    }
    let other = "<reactions xmlns='urn:x'/><body>x</body>";
    assert_eq!(importance_of(other), Importance::Important);
}

#[test]
fn nothing_that_only_tells_of_a_message_is_important() {
    for child in [
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='m0'/>",
        "<received xmlns='urn:xmpp:receipts' id='m0'/>",
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<x xmlns='http://jabber.org/protocol/muc#user'><decline from='rosa@away.test'/></x>",
        "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='urn:xmpp:mds:displayed:0'/></event>",
    ] {
        assert_eq!(importance_of(child), Importance::Unimportant, "{child}");
    }
}

#[test]
fn what_a_room_says_to_one_person_is_a_message_to_that_person() {
    let muc = "<x xmlns='http://jabber.org/protocol/muc#user'/>";
    let private = format!(
        "<message xmlns='jabber:client' from='team@rooms.test/Rosa' type='chat' id='m1'><body>hi</body>{muc}</message>"
    );
    let private: Dom = private.parse().unwrap();
    let facts = Facts::read(&private, ACCOUNT, &Key::known(1));
    assert_eq!(
        (facts.importance, facts.said),
        (Importance::Important, None)
    );
    let content = crate::stanza::Content::read(&private, ACCOUNT);
    assert_eq!(content.sort, crate::stanza::Sort::Chat);
    assert_eq!(
        (content.chat(), content.nickname()),
        ("team@rooms.test", Some("Rosa"))
    );
    assert_eq!(content.invited_by, None);
}

#[test]
fn a_message_of_a_room_may_be_what_the_account_has_said_there() {
    let key = Key::known(1);
    let said = |from: &str, kind: &str, id: &str| {
        read(
            &format!("<message from='{from}' type='{kind}' {id}><body>hi</body></message>"),
            &key,
        )
        .said
    };
    let own = StanzaId::said(ACCOUNT, "team@rooms.test", "m1", &key);
    assert_eq!(
        said("team@rooms.test/Anna", "groupchat", "id='m1'"),
        Some(own)
    );
    assert_ne!(
        said("team@rooms.test/Anna", "groupchat", "id='m2'"),
        Some(own)
    );
    assert_ne!(
        said("fun@rooms.test/Anna", "groupchat", "id='m1'"),
        Some(own)
    );
    assert_ne!(
        StanzaId::said("rosa@home.test", "team@rooms.test", "m1", &key),
        own
    );
    assert_eq!(said("team@rooms.test/Anna", "chat", "id='m1'"), None);
    assert_eq!(said("team@rooms.test/Anna", "groupchat", ""), None);
}

/// What a message is referred to by, in a chat with rosa, or in a room.
fn named(chat: &str, id: &str, key: &Key) -> StanzaId {
    Chat::of(chat, key).message(id, key)
}

#[test]
fn others_refer_to_a_message_by_its_id_or_the_one_of_its_room() {
    let key = Key::random();
    let id_by = |by: &str| format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='s1'/>");
    let (room, rosa) = ("tea@rooms.test", "rosa@away.test");
    for (from, by, room_id) in [
        (room, room, Some(named(room, "s1", &key))),
        (room, "other@rooms.test", None),
        (rosa, ACCOUNT, None),
    ] {
        let names = read(
            &format!(
                "<message from='{from}/x' id='m1'><body>hi</body>{}</message>",
                id_by(by)
            ),
            &key,
        );
        let names = names.names.unwrap();
        assert_eq!(names.chat, Chat::of(from, &key));
        assert_eq!(names.ids, [Some(named(from, "m1", &key)), room_id]);
    }
    assert_ne!(named(room, "m1", &key), named(rosa, "m1", &key));
    assert_eq!(read("<message from='a@b' id='m1'/>", &key).names, None);
}

#[test]
fn what_corrects_or_takes_back_a_message_is_not_important() {
    let key = Key::random();
    for child in [
        "<replace xmlns='urn:xmpp:message-correct:0' id='m1'/>",
        "<retract xmlns='urn:xmpp:message-retract:1' id='m1'/>",
        "<retract xmlns='urn:xmpp:message-retract:1' id='m1'><moderated xmlns='urn:xmpp:message-moderate:1'/></retract>",
        "<apply-to xmlns='urn:xmpp:fasten:0' id='m1'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>",
        "<apply-to xmlns='urn:xmpp:fasten:0' id='m1'><moderated xmlns='urn:xmpp:message-moderate:0'>\
         <retract xmlns='urn:xmpp:message-retract:0'/></moderated></apply-to>",
    ] {
        let children = format!("<body>hi</body>{child}");
        let message = format!("<message from='rosa@away.test/x' id='m2'>{children}</message>");
        let facts = read(&message, &key);
        assert_eq!(facts.importance, Importance::Unimportant, "{child}");
        assert_eq!(importance_of(&children), Importance::Unimportant);
        let original = named("rosa@away.test", "m1", &key);
        assert_eq!(facts.amends, Some(original), "{child}");
        let xml = message.replacen(' ', " xmlns='jabber:client' ", 1);
        let alone = importance(&xml.parse::<Dom>().unwrap(), ACCOUNT);
        assert_eq!(alone, Importance::Unimportant, "{child}");
    }
}

#[test]
fn what_does_neither_is_as_important_as_ever() {
    for child in [
        "<replace xmlns='urn:xmpp:message-correct:0'/>",
        "<replace xmlns='urn:x' id='m1'/>",
        "<retract xmlns='urn:x' id='m1'/>",
        "<apply-to xmlns='urn:xmpp:fasten:0' id='m1'><external name='body'/></apply-to>",
        "<apply-to xmlns='urn:xmpp:fasten:0' id='m1'><retract xmlns='urn:x'/></apply-to>",
    ] {
        let found = facts(&format!(
            "<message id='m2'><body>hi</body>{child}</message>"
        ));
        assert_eq!(found.importance, Importance::Important, "{child}");
        assert_eq!(found.amends, None, "{child}");
    }
    let amends = "<replace xmlns='urn:xmpp:message-correct:0' id='m1'/>";
    let call = "<propose xmlns='urn:xmpp:jingle-message:0' id='c1'/>";
    assert_eq!(
        importance_of(&format!("{amends}{call}")),
        Importance::Urgent
    );
    let sent = facts(&carbon("sent", ACCOUNT, amends));
    assert_eq!(sent.amends, None);
}
