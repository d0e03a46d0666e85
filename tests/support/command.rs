//! Programs that read from a pipe, as people use them at a terminal.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use super::error::Result;

/// Runs a program to its end, with a text as its input.
pub async fn run_with_input(mut command: Command, input: &str) -> Result<Output> {
    let input = input.to_owned();
    let done = tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take();
        std::thread::scope(|scope| {
            // Who does not read it to its end is no fault.
            scope.spawn(move || stdin.as_mut().map(|pipe| pipe.write_all(input.as_bytes())));
            child.wait_with_output()
        })
    });
    Ok(done.await??)
}
