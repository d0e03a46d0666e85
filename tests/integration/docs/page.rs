//! What a page has its reader do, in the order of the page.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::{Error, Result, error::Context};

/// Why a block cannot be run by a test.
const REASONS: [&str; 5] = ["kind", "cloud", "other tool", "published", "person"];

/// Languages of blocks that nothing is done with.
const SHOWN: [&str; 6] = ["text", "json", "promql", "cel", "go", "dockerfile"];

#[derive(Debug, PartialEq, Eq)]
pub enum Block {
    /// Commands that a reader has run before, or need not know of.
    Setup(String),
    /// Commands, and why a test cannot run them.
    Shell { commands: String, not_run: Option<String> },
    /// Manifests.
    Manifest(String),
    /// YAML that is no manifest, and what it is.
    Part { title: String, text: String },
    /// Commands, each with the lines that it prints.
    Session(Vec<(String, Vec<String>)>),
}

pub struct Page {
    /// Below `docs/`.
    pub path: String,
    pub blocks: Vec<Block>,
}

/// `docs/`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// All pages, by their paths.
pub fn pages() -> Result<Vec<Page>> {
    let mut found = Vec::new();
    collect(&folder(), "", &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(folder: &Path, below: &str, into: &mut Vec<Page>) -> Result<()> {
    for entry in fs::read_dir(folder).context(folder.display())? {
        let entry = entry?;
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), into)?;
        } else if path.ends_with(".md") {
            let text = fs::read_to_string(entry.path())?;
            let blocks = blocks(&text).map_err(|error| error.context(&path))?;
            into.push(Page { path, blocks });
        }
    }
    Ok(())
}

/// The blocks of a page.
fn blocks(text: &str) -> Result<Vec<Block>> {
    let (mut blocks, mut lines, mut not_run) = (Vec::new(), text.lines(), None::<String>);
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        if bare == "<!-- setup" {
            let setup: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "-->").collect();
            blocks.push(Block::Setup(setup.join("\n") + "\n"));
        } else if let Some(reason) =
            bare.strip_prefix("<!-- not run: ").and_then(|rest| rest.strip_suffix(" -->"))
        {
            if !REASONS.contains(&reason) {
                return Err(Error::new(format!("'{reason}' is no reason not to run commands")));
            }
            not_run = Some(reason.to_owned());
        } else if let Some(info) = bare.strip_prefix("```") {
            let indent = line.len() - bare.len();
            let inside: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
            let inside: String =
                inside.iter().map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
            blocks.extend(block(info.trim(), inside, not_run.take())?);
        } else if !bare.is_empty() && not_run.is_some() {
            return Err(Error::new("something stands between `not run` and its block"));
        }
    }
    Ok(blocks)
}

fn block(info: &str, text: String, not_run: Option<String>) -> Result<Option<Block>> {
    let (language, title) = info.split_once(' ').unwrap_or((info, ""));
    let title = title.strip_prefix("title=\"").and_then(|title| title.strip_suffix('"'));
    Ok(Some(match (language, title) {
        ("sh", None) => Block::Shell { commands: text, not_run },
        ("yaml", None) if not_run.is_none() => Block::Manifest(text),
        ("yaml", Some(title)) => Block::Part { title: title.to_owned(), text },
        ("console", None) => match not_run {
            None => Block::Session(session(&text)?),
            Some(_) => return Ok(None),
        },
        (language, None) if SHOWN.contains(&language) || not_run.is_some() => return Ok(None),
        _ => return Err(Error::new(format!("nobody knows what to do with a block '{info}'"))),
    }))
}

/// Commands after `$ `, each with what is printed.
fn session(text: &str) -> Result<Vec<(String, Vec<String>)>> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), Vec::new())),
            (None, Some((_, printed))) => printed.push(line.to_owned()),
            (None, None) => {
                return Err(Error::new(format!("a session begins with a command, not with {line:?}")));
            }
        }
    }
    Ok(commands)
}

impl Page {
    /// All that a shell is to run, whether a test runs it or not.
    pub fn scripts(&self) -> Vec<String> {
        let script = |block: &Block| match block {
            Block::Setup(commands) | Block::Shell { commands, .. } => Some(commands.clone()),
            Block::Session(commands) => {
                Some(commands.iter().map(|(command, _)| format!("{command}\n")).collect())
            }
            Block::Manifest(_) | Block::Part { .. } => None,
        };
        self.blocks.iter().filter_map(script).collect()
    }
}

#[test]
fn blocks_are_found_with_what_is_said_of_them() {
    let text = "# A\n\n<!-- setup\na\n-->\n\n```sh\nb\n```\n\n<!-- not run: cloud -->\n\n```sh\nc\n```\n\n- d\n\n  ```yaml title=\"values.yaml\"\n  e:\n    f: 1\n  ```\n\
                ```console\n$ g\nh\n```\n```text\ni\n```\n";
    let shell = |commands: &str, not_run: Option<&str>| Block::Shell {
        commands: commands.to_owned(),
        not_run: not_run.map(str::to_owned),
    };
    let wanted = vec![
        Block::Setup("a\n".into()),
        shell("b\n", None),
        shell("c\n", Some("cloud")),
        Block::Part { title: "values.yaml".into(), text: "e:\n  f: 1\n".into() },
        Block::Session(vec![("g".into(), vec!["h".into()])]),
    ];
    assert_eq!(blocks(text).unwrap(), wanted);
    assert!(blocks("<!-- not run: tired -->\n```sh\na\n```\n").is_err());
    assert!(blocks("```bash\na\n```\n").is_err());
}
