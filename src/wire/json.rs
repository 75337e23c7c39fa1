//! What encrypted notifications say (`tigase:push:encrypt:0`): a JSON object whose keys and types clients rely on.

use std::borrow::Cow;

use serde::Serialize;

use super::text::{ELLIPSIS, head, tail};
use crate::stanza::{Content, Importance, Media, Sort};

/// For what only the device itself can read.
const ENCRYPTED: &str = "You have received an encrypted message";
const INVITATION: &str = "You are invited to this room";
const SUBSCRIPTION: &str = "Asks to see when you are online";
const INCOMING_CALL: &str = "Incoming call";
const MISSED_CALL: &str = "Missed call";
const END_OF_CALL: &str = "The call is over";

/// What a call takes besides its id, a dozen bytes of a sender among it.
const CALL: usize = 98;

/// The fields, as clients decode them. None stop at a missing `message`; some do at any other `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Json<'a> {
    unread: u32,
    sender: Cow<'a, str>,
    r#type: Type,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nickname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    /// A call without any is over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    media: Vec<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    Chat,
    Groupchat,
    Call,
}

impl<'a> Json<'a> {
    /// What there is to be told of a stanza. A call is one while it rings, and if there is `room` for its id.
    pub fn new(content: &'a Content, importance: Importance, count: u32, room: usize) -> Self {
        let is_room = content.sort == Sort::Groupchat;
        let mut json = Self {
            unread: count,
            sender: content.chat().into(),
            r#type: if is_room { Type::Groupchat } else { Type::Chat },
            message: message(content),
            nickname: content
                .nickname()
                .filter(|nickname| is_room && !nickname.is_empty()),
            sid: None,
            media: Vec::new(),
        };
        if let Some(call) = &content.call {
            let rings = importance == Importance::Urgent;
            let sid = call.id.as_deref().filter(|sid| CALL + written(sid) <= room);
            if sid.is_some() && (rings || !call.begins()) {
                json.r#type = Type::Call;
                json.sender = (&*content.from).into();
                json.message = None;
                json.nickname = None;
                json.sid = sid;
                json.media = call.media.iter().map(|media| media.name()).collect();
                if call.begins() && json.media.is_empty() {
                    json.media.push(Media::Audio.name());
                }
            } else {
                json.message = Some(match (call.begins(), rings) {
                    (true, true) => INCOMING_CALL,
                    (true, false) => MISSED_CALL,
                    (false, _) => END_OF_CALL,
                });
            }
        }
        json
    }

    /// Whether it has to ring, or to stop.
    pub fn is_call(&self) -> bool {
        self.r#type == Type::Call
    }

    /// Writes it in no more than `room` bytes, if need be with less of the message, of the nickname, or in the last
    /// place of the sender.
    pub fn write(mut self, room: usize) -> Option<Vec<u8>> {
        loop {
            let json = serde_json::to_vec(&self).ok()?;
            if json.len() <= room {
                return Some(json);
            }
            self.shorten(json.len() - room)?;
        }
    }

    /// Takes `excess` bytes from the next text that can be shortened, or all of it if it has not so many.
    fn shorten(&mut self, excess: usize) -> Option<()> {
        let text = [&mut self.message, &mut self.nickname].into_iter();
        if let Some(text) = text.into_iter().find(|text| text.is_some()) {
            *text = text
                .map(|text| head(text, written(text).saturating_sub(excess), written_byte))
                .filter(|text| !text.is_empty());
        } else if let Some((bare, _)) = self.sender.split_once('/') {
            self.sender = bare.to_owned().into();
        } else {
            // What is left of `friend@home.test.evil.test` must not be a friend: the end says whom to trust.
            let room = written(&self.sender).checked_sub(excess + ELLIPSIS.len())?;
            self.sender = format!("{ELLIPSIS}{}", tail(&self.sender, room, written_byte)).into();
        }
        Some(())
    }
}

/// A file or a sticker needs none: clients have a text of their own.
fn message(content: &Content) -> Option<&str> {
    if content.sort == Sort::Subscription {
        return Some(SUBSCRIPTION);
    }
    let invitation = content.invited_by.is_some().then_some(INVITATION);
    let encrypted = content.is_encrypted.then_some(ENCRYPTED);
    encrypted.or(content.body.as_deref()).or(invitation)
}

/// How many bytes a text takes in JSON.
fn written(text: &str) -> usize {
    text.bytes().map(written_byte).sum()
}

/// RFC 8259 section 7.
fn written_byte(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_what_a_text_takes() {
        let text = "a\"e\u{301}\u{1}\n\t👩‍👩‍👧z";
        assert_eq!(
            written(text),
            serde_json::to_string(text).unwrap().len() - 2
        );
    }
}
