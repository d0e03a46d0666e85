//! Text of others that is shown to people: in a status, an Event or a log line.

/// A text of somebody else on one line, of at most `longest` characters, and without what a terminal or a reader takes
/// for something else: control characters, and those that hide text or turn its direction.
pub(crate) fn foreign_text(text: &str, longest: usize) -> String {
    let (mut clean, mut left, mut gap) = (String::new(), longest, "");
    for character in text.chars() {
        if is_deceptive(character) || character.is_whitespace() {
            gap = if clean.is_empty() { "" } else { " " };
            continue;
        }
        if left <= gap.len() {
            clean.push('…');
            break;
        }
        left -= 1 + gap.len();
        clean.push_str(gap);
        clean.push(character);
        gap = "";
    }
    clean
}

/// Control characters, and characters of Unicode's "format" kind: zero width, joiners, direction, tags.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plain_sentence_stays_as_it_is() {
        for text in ["", "secrets \"quay\" is forbidden: no", "größer als 5 – 日本語"] {
            assert_eq!(foreign_text(text, 100), text);
        }
    }

    #[test]
    fn what_would_deceive_is_taken_out() {
        assert_eq!(
            foreign_text("a\u{1b}[2Jb\r\nREADY\tnow\u{202e}txt\u{200b}x", 100),
            "a [2Jb READY now txt x"
        );
        assert_eq!(foreign_text("\n\n  all well \n", 100), "all well");
        assert_eq!(foreign_text("abcdef", 3), "abc…");
        assert_eq!(foreign_text("abc\n\n", 3), "abc");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_one_short_clean_line(text in "\\PC*|(?s).*", longest in 0_usize..80) {
            let clean = foreign_text(&text, longest);
            prop_assert!(clean.chars().count() <= longest + 1);
            prop_assert!(!clean.chars().any(is_deceptive), "{:?}", clean);
            prop_assert!(!clean.contains("  ") && clean.trim() == clean);
            prop_assert_eq!(foreign_text(&clean, longest + 1), clean.as_str());
        }
    }
}
