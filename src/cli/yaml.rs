//! Manifests as YAML, and on stdout.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why manifests could not be printed, written or found equal.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The files in the directory are not those that this program makes.
    #[error(
        "{} differ from what this version makes: {}; fix with: claviger {command} --write {}",
        .directory.display(), .differences.join(", "), .directory.display()
    )]
    Differ {
        /// The subcommand that makes them.
        command: &'static str,
        /// The directory that was checked.
        directory: PathBuf,
        /// Each file with what is wrong with it.
        differences: Vec<String>,
    },
    /// A manifest has no YAML form.
    #[error("cannot write {name} as YAML: {source}")]
    Yaml {
        /// What it is called.
        name: String,
        /// What stands in the way.
        source: serde_saphyr::SerializeError,
    },
    /// A file or stdout cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl ManifestError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// As `kubectl` reads it, which still is YAML 1.1: `Off` and `y` come in quotes.
pub(super) fn to_yaml(name: &str, value: &impl serde::Serialize) -> Result<String, ManifestError> {
    let yaml = serde_saphyr::to_string(value)
        .map_err(|source| ManifestError::Yaml { name: name.to_owned(), source })?;
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
pub(super) fn print(out: &mut impl Write, text: &str) -> Result<(), ManifestError> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(ManifestError::io(Path::new("stdout"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_that_old_yaml_takes_for_booleans_are_quoted() {
        let yaml = to_yaml("words", &json!(["Off", "on", "yes", "y", "012", "1:30", "1_000"])).unwrap();
        for line in yaml.lines() {
            assert!(line.contains(['"', '\'']), "{line}");
        }
    }

    /// Takes nothing.
    struct Closed(io::ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_error() {
        assert!(print(&mut Closed(io::ErrorKind::BrokenPipe), "text").is_ok());
        assert!(print(&mut Closed(io::ErrorKind::StorageFull), "text").is_err());
    }
}
