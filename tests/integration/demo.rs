//! The first of the two commands of README.md.

use std::process::Stdio;

use tokio::task::spawn_blocking;

use crate::support::{Result, cargo};

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
    Ok(())
}
