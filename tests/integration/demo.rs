//! The first of the two commands of README.md, and its record in `docs/demo.md`, which
//! `CLAVIGER_WRITE_TESTDATA=1 cargo test --test integration demo::` makes anew.

use std::{env, fs, path::PathBuf, process::Stdio};

use tokio::task::spawn_blocking;

use crate::support::{Result, cargo, error::Context};

const BEFORE: &str = "# The demo

What `cargo run --example demo` prints, recorded on a machine with two cores. It builds the operator, starts a real control plane on loopback, and
takes the steps below one after the other. Each time is measured, and a step that fails ends the demo.

With `cargo run --example demo -- --keep`, everything keeps running afterwards, and the demo prints how to reach it with kubectl.

```text
";
const AFTER: &str = "```\n";

/// A line that does not say whose machine it was. The time at its end stays where it is.
fn without(home: &str, line: &str) -> String {
    let short = if home.len() > 1 { line.replace(home, "~") } else { line.to_owned() };
    match short.rsplit_once("  ") {
        Some((path, time)) => format!("{path}{}  {time}", " ".repeat(line.len() - short.len())),
        None => short,
    }
}

fn page(told: &str) -> String {
    let home = env::var("HOME").unwrap_or_default();
    let lines: Vec<_> = told.trim().lines().map(|line| without(&home, line)).collect();
    format!("{BEFORE}{}\n{AFTER}", lines.join("\n"))
}

/// Titles of steps and what is typed, with no numbers in them: ports, times and versions are others each time.
fn script(page: &str) -> Vec<String> {
    let is_title = |line: &str| line.get(..2).is_some_and(|number| number.trim().parse::<u8>().is_ok());
    page.lines()
        .filter(|line| is_title(line) || line.starts_with("    $ "))
        .map(|line| line.trim_start().replace(|c: char| c.is_ascii_digit(), ""))
        .collect()
}

/// Each of its steps has a deadline of its own.
#[tokio::test]
async fn every_step_of_the_demo_is_taken() -> Result<()> {
    let mut command = cargo();
    command.args(["run", "--quiet", "--example", "demo"]).stdin(Stdio::null());
    let output = spawn_blocking(move || command.output()).await??;
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{}\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!told.contains("FAILED"), "{told}");

    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/demo.md");
    let page = page(&told);
    if crate::checks::writes_testdata() {
        fs::write(&path, &page)?;
    }
    let recorded = script(&fs::read_to_string(&path).context(path.display())?);
    assert!(recorded.len() > 40, "{recorded:#?}");
    assert_eq!(recorded, script(&page), "docs/demo.md is out of date: see the first lines of this file");
    Ok(())
}
