//! How a command ended, and what it says besides its answer.

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Good,
    Bad,
}

impl News {
    pub const fn good(is_good: bool) -> Self {
        if is_good { Self::Good } else { Self::Bad }
    }
}

/// Says something besides the answer.
#[allow(clippy::print_stderr, reason = "a command of a person, not the operator")]
pub(super) fn tell(text: &str) {
    eprintln!("{text}");
}
