//! Tests that cannot run on this machine, or not against this API server, say so.

use std::env;

use super::{
    error::{Error, Result},
    progress::say,
};

/// When it is set, a test that is skipped fails: for a machine that has all that any test needs.
const NO_SKIPS: &str = "CLAVIGER_NO_SKIPS";

/// What says by itself that it needs a later version of Kubernetes, which no machine can help.
const NEEDS_A_LATER_VERSION: [&str; 1] = ["explain-pull of image volumes"];

/// Says that a test, or a part of one, did not run, and why. An error where `CLAVIGER_NO_SKIPS` is set, unless all that is
/// missing is a later version of Kubernetes.
pub fn skipped(test: &str, why: &str) -> Result<()> {
    let strict = env::var_os(NO_SKIPS).is_some_and(|value| !value.is_empty());
    if may_be_skipped(test, strict) {
        told(test, why)
    } else {
        Err(Error::new(format!("{NO_SKIPS} is set, and this cannot run: {test}: {why}")))
    }
}

fn may_be_skipped(test: &str, strict: bool) -> bool {
    !strict || NEEDS_A_LATER_VERSION.contains(&test)
}

/// Says it, whatever is set.
pub fn told(test: &str, why: &str) -> Result<()> {
    say(&format!("skipped: {test}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::may_be_skipped;

    #[test]
    fn only_what_needs_a_later_version_is_skipped_where_nothing_may_be() {
        assert!(may_be_skipped("the program in its image", false));
        assert!(!may_be_skipped("the program in its image", true));
        assert!(may_be_skipped("explain-pull of image volumes", true));
    }
}
