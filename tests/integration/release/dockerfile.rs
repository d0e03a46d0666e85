//! What the Dockerfile says of the image.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde_json::{Value, json};

use super::hack::repository;
use crate::support::{Error, Result, error::Context, operator_binary};

/// Its last stage, which is the image.
#[derive(Debug, Default)]
pub struct Dockerfile {
    /// Where the first stage begins.
    pub base: String,
    pub labels: BTreeMap<String, String>,
    /// Where files go.
    pub files: Vec<String>,
    /// As the configuration of an image has it.
    pub config: Value,
}

impl Dockerfile {
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(repository().join("Dockerfile"))?.replace("\\\n", " ");
        let mut found = Self::default();
        for line in text.lines() {
            let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words: Vec<&str> = rest.split_whitespace().collect();
            match instruction {
                "FROM" => {
                    let base = words.first().copied().unwrap_or_default();
                    let first = if found.base.is_empty() { base.to_owned() } else { found.base };
                    found = Self { base: first, config: json!({}), ..Self::default() };
                }
                "LABEL" => {
                    let parts: Vec<&str> = rest.split('"').collect();
                    for pair in parts.chunks_exact(2) {
                        let name = pair[0].trim().trim_end_matches('=');
                        found.labels.insert(name.to_owned(), pair[1].to_owned());
                    }
                }
                "COPY" => found.files.extend(words.last().map(|to| (*to).to_owned())),
                "USER" => found.config["User"] = json!(rest),
                "EXPOSE" => found.config["ExposedPorts"] = json!({ (format!("{rest}/tcp")): {} }),
                "ENTRYPOINT" => found.config["Entrypoint"] = serde_json::from_str(rest)?,
                "CMD" => found.config["Cmd"] = serde_json::from_str(rest)?,
                _ => {}
            }
        }
        if found.labels.len() < 4 || found.files.len() < 3 {
            return Err(Error::new(format!("not the Dockerfile that this test knows: {found:?}")));
        }
        found.files.sort();
        Ok(found)
    }
}

/// Whether a file of the repository is sent to the builder: the last line of `.dockerignore` that is about it decides.
fn is_in_context(rules: &str, file: &str) -> bool {
    let mut sent = true;
    for rule in rules.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let pattern = rule.trim_start_matches('!');
        let (begin, end) = pattern.split_once('*').unwrap_or((pattern, ""));
        let matches = if pattern.contains('*') {
            file.len() >= begin.len() + end.len() && file.starts_with(begin) && file.ends_with(end)
        } else {
            file == pattern || file.starts_with(&format!("{pattern}/"))
        };
        if matches {
            sent = rule.starts_with('!');
        }
    }
    sent
}

/// What the compiler has read for the library, of which the binary that the tests run is linked, is what the image is
/// built of. Cargo itself lists that beside a binary only when it is asked to build just that.
#[test]
fn all_that_the_binary_is_made_of_is_in_the_build_context() -> Result<()> {
    let rules = fs::read_to_string(repository().join(".dockerignore"))?;
    let binary = operator_binary()?;
    let folder = binary.with_file_name("deps");
    let mut read = BTreeSet::from(["src/main.rs".to_owned()]);
    for entry in fs::read_dir(&folder).context(folder.display())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !(name.starts_with("claviger-") && name.ends_with(".d")) {
            continue;
        }
        let listed = fs::read_to_string(&path).context(path.display())?;
        // Not that of a test, which reads more.
        if listed.contains(".rlib:") {
            let root = format!("{}/", repository().display());
            let files = listed.split_whitespace().map(|file| file.trim_end_matches(':'));
            let files = files.map(|file| file.strip_prefix(&root).unwrap_or(file));
            // One that was built before may have had others.
            let ours = files.filter(|file| !file.starts_with("target/") && repository().join(file).is_file());
            read.extend(ours.filter(|file| !file.starts_with('/')).map(str::to_owned));
        }
    }
    assert!(read.contains("src/lib.rs") && read.len() > 100, "{read:?}");
    for file in &read {
        assert!(is_in_context(&rules, file), ".dockerignore leaves out {file}");
    }
    for (file, sent) in [("src/lib.rs", true), ("charts/claviger/Chart.yaml", false), ("LICENSE", true)] {
        assert_eq!(is_in_context(&rules, file), sent, "{file}");
    }
    Ok(())
}
