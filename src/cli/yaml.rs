//! Manifests on stdout.

use std::io::{self, Write};

/// As `kubectl` reads it, which still is YAML 1.1: `Off` and `y` come in quotes.
pub(super) fn to_yaml(value: &impl serde::Serialize) -> Result<String, serde_saphyr::SerializeError> {
    let yaml = serde_saphyr::to_string(value)?;
    // The serializer indents empty lines of a text. Editors strip that, and `git diff --check` reports it.
    let mut tidy = String::with_capacity(yaml.len());
    for line in yaml.lines() {
        tidy.push_str(if line.trim().is_empty() { "" } else { line });
        tidy.push('\n');
    }
    let read = |yaml: &str| serde_saphyr::from_str::<serde_json::Value>(yaml).ok();
    Ok(if read(&yaml) == read(&tidy) { tidy } else { yaml })
}

/// Writes. A reader that closes the pipe early, as `head` does, is not an error.
pub(super) fn print<W: Write>(out: &mut W, write: impl FnOnce(&mut W) -> io::Result<()>) -> io::Result<()> {
    match write(out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_that_old_yaml_takes_for_booleans_are_quoted() {
        let yaml = to_yaml(&json!(["Off", "on", "yes", "y", "012", "1:30", "1_000"])).unwrap();
        for line in yaml.lines() {
            assert!(line.contains(['"', '\'']), "{line}");
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        let print_to = |kind: io::ErrorKind| print(&mut Vec::new(), |_| Err(kind.into()));
        assert!(print_to(io::ErrorKind::BrokenPipe).is_ok());
        assert!(print_to(io::ErrorKind::StorageFull).is_err());
    }
}
