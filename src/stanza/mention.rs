//! Whether a message mentions somebody.

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;
use xmpp_parsers::jid::Jid;

use super::content::Content;

/// Whether it mentions the user, or replies to one of the user's messages. `account` is the user's bare JID, `nick` the
/// nickname in the room.
pub fn is_mentioned(content: &Content, account: &str, nick: Option<&str>) -> bool {
    is_named(content, account, nick) || is_reply(content, account, nick)
}

/// Whether it names the user: by nickname in its text, or by a reference (XEP-0372).
pub fn is_named(content: &Content, account: &str, nick: Option<&str>) -> bool {
    let is_in_text = |nick| {
        let body = content.body.as_deref();
        body.is_some_and(|body| has_nickname(body, nick))
    };
    let uris = content.mentions.iter().filter_map(|uri| jid_of(uri));
    nick.is_some_and(is_in_text) || has_user(uris, content, account, nick)
}

/// Whether it replies to one of the user's messages (XEP-0461).
pub fn is_reply(content: &Content, account: &str, nick: Option<&str>) -> bool {
    let to = content.reply_to.as_deref();
    let to = to.and_then(|jid| Jid::new(jid).ok());
    has_user(to.into_iter(), content, account, nick)
}

/// Whether one of them is the account, or its occupant of the room.
fn has_user(
    mut jids: impl Iterator<Item = Jid>,
    content: &Content,
    account: &str,
    nick: Option<&str>,
) -> bool {
    let Some(first) = jids.next() else {
        return false;
    };
    let account = Jid::new(account).ok();
    let occupant = nick.and_then(|nick| Jid::new(&format!("{}/{nick}", content.chat())).ok());
    let is_user = |jid: Jid| {
        account == Some(jid.to_bare().into()) || occupant.is_some() && occupant == Some(jid)
    };
    is_user(first) || jids.any(is_user)
}

/// Whom a URI (RFC 5122) names, whatever it says besides.
fn jid_of(uri: &str) -> Option<Jid> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("xmpp") {
        return None;
    }
    let path = rest.split(['?', '#']).next()?;
    let path = match path.strip_prefix("//") {
        Some(authority) => authority.split_once('/')?.1,
        None => path,
    };
    Jid::new(&percent_decode_str(path).decode_utf8().ok()?).ok()
}

/// Whether a text has a nickname in it, and not only as a part of another word.
fn has_nickname(text: &str, nick: &str) -> bool {
    let nick = fold(nick);
    let nick = nick.trim();
    let text = fold(text);
    // Most texts have it nowhere, and that is known soon
    if nick.is_empty() || !text.contains(nick) {
        return false;
    }
    let graphemes: Vec<_> = text
        .grapheme_indices(true)
        .map(|(start, _)| start)
        .collect();
    graphemes.iter().any(|&start| {
        let end = start + nick.len();
        text[start..].starts_with(nick)
            && (end == text.len() || graphemes.binary_search(&end).is_ok())
            && is_border(&text, start)
            && is_border(&text, end)
    })
}

/// What is the same nickname is the same text (RFC 8266 section 2.1). That of an emoji may be shown in several ways.
fn fold(text: &str) -> String {
    let text = text
        .nfkc()
        .filter(|char| !matches!(char, '\u{fe0e}' | '\u{fe0f}'));
    let text = text.flat_map(char::to_uppercase);
    text.flat_map(char::to_lowercase).nfkc().collect()
}

/// Whether a word may begin or end between two graphemes.
fn is_border(text: &str, place: usize) -> bool {
    let (before, after) = text.split_at(place);
    let before = before.chars().rfind(|char| !is_combining_mark(*char));
    let is_in_word = |char: Option<char>| char.is_some_and(is_of_word);
    !is_in_word(before) || !is_in_word(after.chars().next())
}

fn is_of_word(char: char) -> bool {
    (char.is_alphanumeric() || char == '_') && !is_without_spaces(char)
}

/// Whether it is of a script that writes words, or what is appended to a name, without spaces between them.
fn is_without_spaces(char: char) -> bool {
    matches!(char,
        // Thai, Lao, Tibetan, Burmese
        '\u{0e00}'..='\u{109f}'
        // Korean
        | '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}'
        // Khmer
        | '\u{1780}'..='\u{17ff}'
        // Chinese, Japanese
        | '\u{2e80}'..='\u{a4cf}' | '\u{f900}'..='\u{faff}' | '\u{16fe0}'..='\u{1b2ff}' | '\u{20000}'..='\u{3ffff}'
    )
}

#[cfg(test)]
mod tests {
    use super::super::content::Sort;
    use super::*;

    const ACCOUNT: &str = "anna@home.test";

    fn message() -> Content {
        Content::new(Sort::Groupchat, "team@rooms.test/Rosa")
    }

    fn says(body: &str, nick: &str) -> bool {
        let body = Some(body.to_owned());
        is_mentioned(&Content { body, ..message() }, ACCOUNT, Some(nick))
    }

    fn refers(uri: &str) -> bool {
        let mentions = vec!["xmpp:x@y.test".to_owned(), uri.to_owned()];
        is_mentioned(
            &Content {
                mentions,
                ..message()
            },
            ACCOUNT,
            Some("Anna B"),
        )
    }

    fn replies(to: &str) -> bool {
        let reply_to = Some(to.to_owned());
        is_mentioned(
            &Content {
                reply_to,
                ..message()
            },
            ACCOUNT,
            Some("Anna B"),
        )
    }

    #[test]
    fn a_nickname_is_a_word() {
        for text in [
            "Anna",
            "anna: hi",
            "hi @ANNA!",
            "(anna)",
            "Anna's tea",
            "a annä anna",
            "Annanna, anna",
        ] {
            assert!(says(text, "Anna"), "{text}");
        }
        for text in [
            "",
            "Hanna",
            "Annabel",
            "anna2",
            "anna_",
            "Ännanna",
            "annа",
            "anna\u{301}",
            "\u{e4}anna",
        ] {
            assert!(!says(text, "Anna"), "{text}");
        }
        assert!(!is_mentioned(&message(), ACCOUNT, Some("Anna")));
        assert!(!says("Anna", ""));
        assert!(!says("a  b", " "));
    }

    #[test]
    fn a_nickname_is_in_any_script() {
        for (text, nick) in [
            ("привет, АННА", "Анна"),
            ("ΚΑΛΗΜΈΡΑ ΝΊΚΟΣ!", "Νίκος"),
            ("GROSSE Strasse", "Straße"),
            ("今天安娜来吗", "安娜"),
            ("アンナさん、こんにちは", "アンナ"),
            ("안나야 안녕", "안나"),
            ("สวัสดีแอนนาครับ", "แอนนา"),
            ("हाय अन्ना!", "अन्ना"),
            ("مرحبا آنا، كيف", "آنا"),
            ("Ｈｉ　Ａｎｎａ", "anna"),
            ("hi Zoe\u{301}", "Zo\u{e9}"),
            ("hi zo\u{e9}", "ZOE\u{301}"),
            ("hi🦊you", "🦊"),
            ("I ❤\u{fe0f} you", "❤"),
            ("hallo Anna B. (x)!", "anna b. (x)"),
            ("ask [bot]now", "[bot]"),
            ("b a a a", "a a"),
        ] {
            assert!(says(text, nick), "{nick} in {text}");
        }
        for (text, nick) in [
            ("Марианна", "Анна"),
            ("मन्ना", "ना"),
            ("👩\u{200d}🚀", "👩"),
            ("👍🏽", "👍"),
            ("🇦🇩🇪🇦", "🇩🇪"),
            ("Annab", "anna b"),
        ] {
            assert!(!says(text, nick), "{nick} in {text}");
        }
    }

    #[test]
    fn a_reference_names_the_account_or_the_occupant() {
        for uri in [
            "xmpp:anna@home.test",
            "XMPP:Anna@HOME.test",
            "xmpp:anna@home.test/phone",
            "xmpp:anna@home.test?message;body=x",
            "xmpp://guest@else.test/anna@home.test",
            "xmpp:team@rooms.test/Anna%20B",
            "xmpp:team@rooms.test/Anna B?join",
            "xmpp:%74eam@rooms.test/Anna%20B#x",
        ] {
            assert!(refers(uri), "{uri}");
        }
        for uri in [
            "",
            "xmpp:",
            "anna@home.test",
            "mailto:anna@home.test",
            "xmpp:annax@home.test",
            "xmpp:team@rooms.test",
            "xmpp:team@rooms.test/anna%20b",
            "xmpp:fun@rooms.test/Anna%20B",
            "xmpp:%ff@rooms.test",
            "xmpp://anna@home.test",
        ] {
            assert!(!refers(uri), "{uri}");
        }
    }

    #[test]
    fn a_reply_names_whose_message_it_replies_to() {
        for to in [
            "anna@home.test",
            "anna@home.test/x",
            "team@ROOMS.test/Anna B",
        ] {
            assert!(replies(to), "{to}");
        }
        for to in ["", "team@rooms.test", "team@rooms.test/Rosa", "x@home.test"] {
            assert!(!replies(to), "{to}");
        }
        let reply_to = Some("team@rooms.test/Anna B".to_owned());
        assert!(!is_mentioned(
            &Content {
                reply_to,
                ..message()
            },
            ACCOUNT,
            None
        ));
    }
}
