//! Object storage on loopback that is not ours, and clients of it that share no code with us.

mod aws_cli;
mod rclone;
mod versitygw;

use std::{path::Path, process::Command, time::Duration};

pub use aws_cli::AwsCli;
pub use rclone::{Rclone, Remote};
pub use versitygw::{Asked, REGION, Versitygw};

use super::{
    error::{Error, Result},
    namespace::random_name,
    process::Process,
};

/// Python starts slowly where two cores are busy with other tests.
const DEADLINE: Duration = Duration::from_secs(90);

/// An access key of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: String,
    pub secret: String,
}

impl Key {
    /// As those of AWS look: the secret has characters of base64 that are no letters, too.
    pub fn random() -> Self {
        Self { id: format!("AKIA{:016X}", rand::random::<u64>()), secret: secret() }
    }

    /// Of the same user, with another secret.
    pub fn rotated(&self) -> Self {
        Self { id: self.id.clone(), secret: secret() }
    }
}

fn secret() -> String {
    format!("{:016x}/+{:016x}", rand::random::<u64>(), rand::random::<u64>())
}

/// Runs a program to its end, in its folder, with these variables and with nothing else of this machine. What it prints
/// is returned, and is the error when it fails.
async fn run(program: &Path, home: &Path, variables: &[(String, String)], args: &[&str]) -> Result<String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut command = Command::new("env");
    command.current_dir(home).arg("-i");
    // By it `env` finds a program that has no folder.
    if let Some(path) = std::env::var_os("PATH") {
        let mut assigned = std::ffi::OsString::from("PATH=");
        assigned.push(path);
        command.arg(assigned);
    }
    command.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
    command.arg(program).args(args);
    let mut process = Process::spawn(&name, &command, &home.join(random_name("run")))?;
    match process.wait_exit(DEADLINE).await? {
        0 => Ok(process.log()),
        status => Err(Error::new(format!("{name} ended with status {status}: {}", process.log()))),
    }
}
