//! A reader at a terminal, who follows a page.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use super::page::{Block, Page};
use crate::{
    chart::helm::{chart, helm},
    release::install::Cluster,
    support::{Error, Result, error::Context, operator_binary},
};

/// Words that stand for what the reader has.
pub type Words = BTreeMap<&'static str, String>;

/// Replaces words that stand alone.
pub fn replaced(text: &str, words: &Words) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        replaced.push_str(before);
        // `$NAME` and `${NAME` are the shell's.
        let is_variable = before.ends_with('$') || before.ends_with("${");
        replaced.push_str(words.get(word).filter(|_| !is_variable).map_or(word, String::as_str));
        rest = after;
    }
    replaced.push_str(rest);
    replaced
}

/// Checks that a shell can read a script.
pub fn check_syntax(script: &str) -> Result<()> {
    let output = Command::new("bash").args(["-n", "-c", script]).output().context("bash")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new(format!("{script}: {}", String::from_utf8_lossy(&output.stderr))))
}

pub struct Terminal<'a> {
    cluster: &'a Cluster,
    words: Words,
    /// Where `claviger` and `kubectl-claviger` are.
    programs: PathBuf,
}

impl<'a> Terminal<'a> {
    pub async fn new(cluster: &'a Cluster, words: Words) -> Result<Self> {
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        let programs = cluster.home().join("bin");
        fs::create_dir_all(&programs)?;
        for name in ["claviger", "kubectl-claviger"] {
            let link = programs.join(name);
            if !link.exists() {
                std::os::unix::fs::symlink(&binary, link)?;
            }
        }
        Ok(Self { cluster, words, programs })
    }

    /// Does what a page says.
    pub async fn follows(&self, page: &Page) -> Result<()> {
        for (n, block) in page.blocks.iter().enumerate() {
            let done = self.does(block).await;
            done.map_err(|error| error.context(format!("docs/{}, block {}", page.path, n + 1)))?;
        }
        Ok(())
    }

    async fn does(&self, block: &Block) -> Result<()> {
        match block {
            Block::Setup(commands) | Block::Shell { commands, not_run: None } => {
                self.types(commands).await.map(drop)
            }
            Block::Shell { not_run: Some(_), .. } => Ok(()),
            Block::Manifest(text) => {
                let manifest = replaced(text, &self.words);
                self.types(&format!("kubectl apply -f - <<'END-OF-MANIFEST'\n{manifest}END-OF-MANIFEST\n"))
                    .await
                    .map(drop)
            }
            Block::Part { title, text } => self.takes(title, text).await,
            Block::Session(commands) => {
                for (command, printed) in commands {
                    let told = self.types(command).await?;
                    compare(&told, printed)?;
                }
                Ok(())
            }
        }
    }

    /// Runs commands, and returns what they print.
    async fn types(&self, commands: &str) -> Result<String> {
        let commands = replaced(commands, &self.words);
        let script = format!("export PATH={}:$PATH\n{commands}", self.programs.display());
        self.cluster.types(&script).await
    }

    /// Looks at YAML that is no manifest.
    async fn takes(&self, title: &str, text: &str) -> Result<()> {
        let text = replaced(text, &self.words);
        serde_saphyr::from_str::<serde_json::Value>(&text)?;
        if title.contains("values") && title != "argocd-values.yaml" {
            let folder = tempfile::tempdir()?;
            let file = folder.path().join("values.yaml");
            fs::write(&file, text)?;
            let args = [
                "template",
                "claviger",
                &chart().display().to_string(),
                "--values",
                &file.display().to_string(),
            ];
            helm(None, &args).await?;
        }
        Ok(())
    }
}

/// Compares what was printed with what a page shows, in which `...` stands for any text, and spaces do not count.
fn compare(told: &str, shown: &[String]) -> Result<()> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let told: Vec<String> = told.lines().map(words).collect();
    for line in shown.iter().map(|line| words(line)).filter(|line| !line.is_empty() && line != "...") {
        if !told.iter().any(|told| is_like(told, &line)) {
            return Err(Error::new(format!("{line:?} is not printed:\n{}", told.join("\n"))));
        }
    }
    Ok(())
}

/// Whether a line is as another one shows, in which `...` stands for any text.
fn is_like(line: &str, shown: &str) -> bool {
    let mut parts = shown.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut last = first;
    let mut is_open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        (last, is_open) = (part, true);
    }
    rest.is_empty() || (is_open && last.is_empty())
}

#[test]
fn words_and_lines_are_compared_as_a_reader_does() {
    let words = Words::from([("NAME", "quay".to_owned()), ("POD", "api".to_owned())]);
    let text = "get NAME -n NAMESPACED $NAME ${NAME} x/POD-2 NAME.POD";
    assert_eq!(replaced(text, &words), "get quay -n NAMESPACED $NAME ${NAME} x/api-2 quay.api");
    for (line, shown, wanted) in [
        ("a b", "a b", true),
        ("a b c", "a b", false),
        ("a b c", "a ...", true),
        ("a b c", "a ... c", true),
        ("a b c", "... d", false),
        ("a", "...", true),
    ] {
        assert_eq!(is_like(line, shown), wanted, "{line} {shown}");
    }
}
