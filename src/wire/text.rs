//! Texts that are too long, cut where people see a border between characters (UAX #29).

use unicode_segmentation::UnicodeSegmentation;

/// What stands for the part of a text that is left out.
pub const ELLIPSIS: &str = "…";

/// As many whole characters of the beginning as take no more than `room`, where `written` says what a text takes.
pub fn head(text: &str, room: usize, written: impl Fn(&str) -> usize) -> &str {
    let mut used = 0;
    let end = text.grapheme_indices(true).find(|(_, character)| {
        used += written(character);
        used > room
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// The same of the end.
pub fn tail(text: &str, room: usize, written: impl Fn(&str) -> usize) -> &str {
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
        let written = |text: &str| text.len() + text.matches('"').count();
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
