//! crane, a client of registries that shares no code with us.

use std::{process::Command, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use tempfile::TempDir;

use super::super::{
    binaries::go_tool,
    error::{Error, Result},
    process::Process,
};

/// It tries some things three times, a second and more apart.
const DEADLINE: Duration = Duration::from_secs(60);

/// An archive without files, as `tar` ends each.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

/// Runs with the logins of one `config.json`, and with nothing else of this machine: it is a cluster's node with one
/// pull Secret.
pub struct Crane {
    home: TempDir,
}

impl Crane {
    /// Trusts the servers of one authority, or nobody's.
    pub fn new(config_json: impl AsRef<[u8]>, ca_pem: Option<&str>) -> Result<Self> {
        let home = tempfile::tempdir()?;
        std::fs::write(home.path().join("config.json"), config_json)?;
        std::fs::write(home.path().join("ca.crt"), ca_pem.unwrap_or_default())?;
        std::fs::write(home.path().join("layer.tar"), EMPTY_TAR)?;
        Ok(Self { home })
    }

    /// Makes a tiny image and pushes it. Its name by digest is returned.
    pub async fn push(&self, image: &str) -> Result<String> {
        let said = self.run(&["append", "--new_layer=layer.tar", "--new_tag", image]).await?;
        let name = said.lines().find(|line| line.contains("@sha256:") && !line.contains(' '));
        name.map(str::to_owned).ok_or_else(|| Error::new(format!("no digest in: {said}")))
    }

    /// Pulls the whole image. By digest, what comes is what was pushed: crane compares.
    pub async fn pull(&self, image: &str) -> Result<()> {
        self.run(&["pull", image, "image.tar"]).await?;
        Ok(std::fs::remove_file(self.home.path().join("image.tar"))?)
    }

    /// What it prints. What it prints when it fails is the error.
    pub async fn run(&self, args: &[&str]) -> Result<String> {
        let program = tokio::task::spawn_blocking(|| go_tool("crane", "crane")).await??;
        let home = self.home.path();
        let variable = |name: &str, file: &str| format!("{name}={}", home.join(file).display());
        let mut command = Command::new("env");
        command.current_dir(home).arg("-i");
        // Of the two that say whom to trust, the second is in place of the system's folder.
        for (name, file) in
            [("HOME", ""), ("DOCKER_CONFIG", ""), ("SSL_CERT_FILE", "ca.crt"), ("SSL_CERT_DIR", "none")]
        {
            command.arg(variable(name, file));
        }
        command.arg(program).args(args);
        let log = home.join("crane.log");
        std::fs::write(&log, "")?;
        let mut crane = Process::spawn("crane", &command, &log)?;
        match crane.wait_exit(DEADLINE).await? {
            0 => Ok(crane.log()),
            _ => Err(Error::new(format!("crane {}: {}", args.join(" "), crane.log()))),
        }
    }
}

/// A `config.json` with one login, as `docker login` writes it.
pub fn docker_config(server: &str, user: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    json!({"auths": {server: {"auth": auth}}}).to_string()
}
