//! What Argo CD, Flux and Helm make of objects, by their own code: `tests/gitops`.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Error, Result, error::Context, go_tool};

/// What is made of one object.
#[derive(Debug, Deserialize)]
pub struct Verdict {
    /// What Argo CD shows, where it knows a health of the kind.
    pub argocd: Option<Told>,
    /// The buttons of Argo CD, by name.
    pub actions: BTreeMap<String, Action>,
    /// What Helm waits for, and Flux without expressions.
    pub kstatus: Told,
    /// What Flux waits for, with the expressions of docs/flux.md.
    pub flux: Told,
}

#[derive(Debug, Deserialize)]
pub struct Told {
    pub status: String,
    #[serde(default)]
    pub message: String,
}

#[derive(Debug, Deserialize)]
pub struct Action {
    pub disabled: bool,
    /// The merge patch that Argo CD sends.
    pub patch: Value,
}

impl Verdict {
    pub fn argocd(&self) -> &str {
        self.argocd.as_ref().map_or("", |told| &told.status)
    }
}

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub fn read(name: &str) -> Result<String> {
    fs::read_to_string(path(name)).context(name)
}

/// The verdicts where Argo CD has the ConfigMap that we ship.
pub async fn judge<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Result<Vec<Verdict>> {
    let patch: Value = serde_saphyr::from_str(&read("docs/argocd/argocd-cm.yaml")?)?;
    judge_with(patch["data"].clone(), objects).await
}

/// The same with other data of `argocd-cm`.
pub async fn judge_with<'a>(
    argocd_cm: Value,
    objects: impl IntoIterator<Item = &'a Value>,
) -> Result<Vec<Verdict>> {
    let objects: Vec<&Value> = objects.into_iter().collect();
    let asked = json!({"argocdCm": argocd_cm, "healthCheckExprs": expressions()?, "objects": objects});
    let answer = tokio::task::spawn_blocking(move || ask(&asked.to_string())).await??;
    Ok(serde_json::from_slice(&answer)?)
}

/// `healthCheckExprs` as docs/flux.md has them.
fn expressions() -> Result<Value> {
    let text = read("docs/flux.md")?;
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    for block in blocks {
        let object: Value = serde_saphyr::from_multiple(block)?.into_iter().next().unwrap_or_default();
        if let Some(found) = object.pointer("/spec/healthCheckExprs") {
            return Ok(found.clone());
        }
    }
    Err(Error::new("docs/flux.md shows no healthCheckExprs"))
}

fn ask(question: &str) -> Result<Vec<u8>> {
    let mut command = Command::new(go_tool("gitops", "gitops")?);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // It reads all before it writes anything.
    child.stdin.take().ok_or_else(|| Error::new("no stdin"))?.write_all(question.as_bytes())?;
    let done = child.wait_with_output()?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    Err(Error::new(format!("gitops: {}", String::from_utf8_lossy(&done.stderr))))
}
