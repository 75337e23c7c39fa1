//! Base64 (RFC 4648), as clients write it: in either alphabet, with padding or without.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// Written with padding, and read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Of the standard and the URL-safe alphabet (sections 4 and 5), with whitespace anywhere. It may be a key: no copy of it stays.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let mut standard = Zeroizing::new(Vec::with_capacity(text.len()));
    standard.extend(bytes.map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }));
    BASE64.decode(&*standard).ok()
}

/// In the standard alphabet, with padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

/// In the URL-safe alphabet, without padding (RFC 7515 section 2).
pub fn encode_url_safe(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_read_however_it_is_written() {
        let bytes = Some(vec![0xfb, 0xff, 0xfe, 0x01]);
        for text in [
            "+//+AQ==",
            "+//+AQ",
            "-__-AQ",
            "-__-AQ==",
            "+/_-AQ=",
            " \n\t+//+\r\n  AQ== \n",
        ] {
            assert_eq!(decode(text), bytes, "{text}");
        }
        assert_eq!(decode(""), Some(Vec::new()));
    }

    #[test]
    fn what_is_none_is_nothing() {
        for text in ["A", "AQ==AQ==", "A=Q=", "AQ===", "A*==", "é", "AQ\u{a0}"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn is_written_padded_or_for_a_token() {
        assert_eq!(encode([0xfb, 0xff, 0xfe, 0x01]), "+//+AQ==");
        assert_eq!(encode_url_safe([0xfb, 0xff, 0xfe, 0x01]), "-__-AQ");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(decode(&encode_url_safe(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_may_be_read(text: String) {
            decode(&text);
        }
    }
}
