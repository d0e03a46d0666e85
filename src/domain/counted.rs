//! Numbers of things and lists of names, in words.

use std::fmt::Display;

use super::schedule::MAX_NAMES;

/// A number and what is counted, which is given in the singular: `1 Secret`, `2 Secrets`, `3 entries`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if count == N::from(1_u8) => format!("{count} {noun}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {noun}s"),
    }
}

/// The first few of so many names, and the number of the others: `a, b, c and 2 more`.
pub(crate) fn listed(names: impl Iterator<Item = String>, total: usize) -> String {
    let shown: Vec<String> = names.take(MAX_NAMES).collect();
    match total.saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_in_the_singular() {
        assert_eq!(counted(0_usize, "Secret"), "0 Secrets");
        assert_eq!(counted(1_u32, "Secret"), "1 Secret");
        assert_eq!(counted(2_i64, "Secret"), "2 Secrets");
        assert_eq!(counted(1_usize, "entry"), "1 entry");
        assert_eq!(counted(5_usize, "entry"), "5 entries");
    }

    #[test]
    fn only_the_first_are_named() {
        let of = |names: &str| {
            listed(names.split_terminator(' ').map(str::to_owned), names.split_terminator(' ').count())
        };
        assert_eq!(of(""), "");
        assert_eq!(of("a b c"), "a, b, c");
        assert_eq!(of("a b c d e"), "a, b, c and 2 more");
        // Only some of them may be known.
        assert_eq!(listed(["a".to_owned()].into_iter(), 9), "a and 8 more");
    }
}
