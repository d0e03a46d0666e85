//! Running the scripts of `hack/`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Error, Result, binaries::go_tool, error::Context, helm};

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a script prints on stdout. What it prints when it fails is the error.
pub async fn hack(script: &str, args: &[&str]) -> Result<String> {
    run(&repository().join("hack").join(script), args).await
}

/// The same, of another copy of the repository.
pub async fn run(script: &Path, args: &[&str]) -> Result<String> {
    // Those that the tests have built already.
    let (helm, actionlint) = tokio::task::spawn_blocking(|| -> Result<(PathBuf, PathBuf)> {
        Ok((helm()?, go_tool("actionlint", "actionlint")?))
    })
    .await??;
    let mut command = Command::new(script);
    command.args(args).env("HELM", helm).env("ACTIONLINT", actionlint).env("SOURCE_DATE_EPOCH", "1767225600");
    let output = tokio::task::spawn_blocking(move || command.output()).await?.context(script.display())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let name = script.display();
    Err(Error::new(format!("{name} {}: {}{}", args.join(" "), text(&output.stdout), text(&output.stderr))))
}

/// Of a script that has to fail.
pub async fn refusal(script: &Path, args: &[&str]) -> String {
    run(script, args).await.err().map(|error| error.to_string()).unwrap_or_default()
}
