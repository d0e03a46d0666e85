//! A fresh cluster, a person at a terminal, and the operator that the Deployment there asks for.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use tempfile::TempDir;

use super::{documented, hack::repository};
use crate::{
    deployed::Deployed,
    support::{ControlPlane, Error, Operator, Result, binaries::go_tool, error::Context, helm},
};

/// What manifest and base make.
pub const DEPLOYED: Deployed<'static> = Deployed { namespace: "claviger-system", name: "claviger" };

pub struct Cluster {
    pub control_plane: ControlPlane,
    /// Where kubectl and helm are that the tests pin.
    programs: Vec<PathBuf>,
    home: TempDir,
}

impl Cluster {
    pub async fn new() -> Result<Self> {
        let programs = tokio::task::spawn_blocking(|| -> Result<Vec<PathBuf>> {
            let found = [go_tool("kubectl", "kubectl")?, helm()?];
            Ok(found.iter().filter_map(|program| program.parent()).map(Path::to_path_buf).collect())
        });
        let programs = programs.await??;
        let control_plane = ControlPlane::builder().start().await?;
        Ok(Self { control_plane, programs, home: tempfile::tempdir()? })
    }

    /// The home of the person.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Types commands as an administrator, in the repository, and returns what they print.
    pub async fn types(&self, commands: &str) -> Result<String> {
        self.types_in(repository(), commands).await
    }

    /// The same in another folder.
    pub async fn types_in(&self, folder: &Path, commands: &str) -> Result<String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(self.programs.iter().cloned().chain(std::env::split_paths(&path)))?;
        let mut shell = Command::new("sh");
        shell
            .args(["-eu", "-c", commands])
            .current_dir(folder)
            .env("PATH", path)
            .env("HOME", self.home.path());
        shell.env("KUBECONFIG", self.control_plane.kubeconfig());
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if ["HELM_", "XDG_"].iter().any(|prefix| name.starts_with(prefix)) {
                shell.env_remove(&key);
            }
        }
        let output = tokio::task::spawn_blocking(move || shell.output()).await?.context("sh")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(Error::new(format!("{commands}: {}{}", text(&output.stdout), text(&output.stderr))))
    }

    /// What is said of commands that are refused.
    pub async fn refusal(&self, commands: &str) -> String {
        self.types(commands).await.err().map(|error| error.to_string()).unwrap_or_default()
    }

    /// The operator as the Deployment has it.
    pub async fn operator(&self, pod: &str) -> Result<Operator> {
        DEPLOYED.operator(&self.control_plane, pod).await?.start().await
    }

    /// Makes the first credential as it is documented, and returns its Secret.
    pub async fn first_credential(&self) -> Result<Secret> {
        self.types(&documented::block("A first credential", "sh")?).await?;
        self.first_secret().await
    }

    /// The Secret of the first credential.
    pub async fn first_secret(&self) -> Result<Secret> {
        let secrets: Api<Secret> = Api::namespaced(self.control_plane.client().await?, "default");
        let secret = secrets.get("quay").await?;
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
        Ok(secret)
    }
}
