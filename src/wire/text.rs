//! Texts that are too long, cut where people see a border between characters (UAX #29).

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

/// What stands for the part of a text that is left out.
pub const ELLIPSIS: &str = "…";

/// As many whole characters of the beginning as take no more than `room`, where `written` says what a byte takes.
pub fn head(text: &str, room: usize, written: impl Fn(u8) -> usize) -> &str {
    let mut used = 0;
    let end = text.bytes().position(|byte| {
        used += written(byte);
        used > room
    });
    let Some(end) = end.map(|end| text.floor_char_boundary(end)) else {
        return text;
    };
    let mut cursor = GraphemeCursor::new(end, text.len(), true);
    if cursor.is_boundary(text, 0) == Ok(true) {
        return &text[..end];
    }
    let border = cursor.prev_boundary(text, 0).ok().flatten();
    &text[..border.unwrap_or_default()]
}

/// The same of the end.
pub fn tail(text: &str, room: usize, written: impl Fn(u8) -> usize) -> &str {
    let written = |text: &str| text.bytes().map(&written).sum::<usize>();
    let mut left = written(text);
    let start = text.grapheme_indices(true).find(|(_, character)| {
        let fits = left <= room;
        left -= written(character);
        fits
    });
    start.map_or("", |(start, _)| &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_left_as_there_is_room_for() {
        let written = |byte| if byte == b'"' { 2 } else { 1 };
        let text = "a\"e\u{301}👩‍👩‍👧z";
        for (room, first) in [
            (0, ""),
            (1, "a"),
            (2, "a"),
            (3, "a\""),
            (5, "a\""),
            (6, "a\"e\u{301}"),
            (23, "a\"e\u{301}"),
            (24, "a\"e\u{301}👩‍👩‍👧"),
            (100, text),
        ] {
            assert_eq!(head(text, room, written), first, "{room}");
        }
        for (room, last) in [
            (0, ""),
            (1, "z"),
            (18, "z"),
            (19, "👩‍👩‍👧z"),
            (21, "👩‍👩‍👧z"),
            (22, "e\u{301}👩‍👩‍👧z"),
            (100, text),
        ] {
            assert_eq!(tail(text, room, written), last, "{room}");
        }
    }
}
