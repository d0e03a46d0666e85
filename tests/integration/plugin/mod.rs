//! `kubectl claviger`, called as a user calls it: the real binary under its name, a kubeconfig, a real API server.

mod credentials;
mod explain_pull;
mod hostile;
mod import;
mod keyring;
mod offline;
mod references;
mod set_default;

use std::{os::unix::fs::symlink, path::PathBuf, process::Command};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::support::{
    ControlPlane, Error, Result, TestNamespace, operator_binary, random_name, run_with_input,
    workdir::Workdir,
};

/// The plugin, in a folder of its own.
struct Plugin {
    dir: Workdir,
    kubeconfig: Option<PathBuf>,
    namespace: Option<String>,
}

/// What it answered.
#[derive(Debug)]
struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Answer {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).map_err(|error| Error::new(format!("{error}: {self:?}")))
    }
}

impl Plugin {
    async fn new(kubeconfig: Option<PathBuf>, namespace: Option<&str>) -> Result<Self> {
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        let dir = Workdir::new("claviger-plugin-")?;
        for name in ["kubectl-claviger", "kubectl_complete-claviger"] {
            symlink(&binary, dir.join(name))?;
        }
        Ok(Self { dir, kubeconfig, namespace: namespace.map(str::to_owned) })
    }

    async fn call(&self, args: &[&str]) -> Result<Answer> {
        self.call_as("kubectl-claviger", args, "").await
    }

    async fn call_as(&self, program: &str, args: &[&str], input: &str) -> Result<Answer> {
        let mut command = Command::new(self.dir.join(program));
        command.env_clear().env("HOME", self.dir.path()).args(args);
        command.current_dir(self.dir.path());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        let output = run_with_input(command, input).await?;
        Ok(Answer {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }
}

/// A namespace of the shared control plane, and the plugin in it, called by its administrator.
struct Place {
    namespace: TestNamespace,
    plugin: Plugin,
}

impl Place {
    async fn new() -> Result<Self> {
        let control_plane = ControlPlane::shared().await?;
        let client = control_plane.client().await?;
        let namespace = TestNamespace::new(client, "plugin").await?;
        let plugin = Plugin::new(Some(control_plane.kubeconfig()), Some(&namespace.name)).await?;
        Ok(Self { namespace, plugin })
    }

    /// A pull Secret with an entry for each key.
    async fn pull_secret(&self, name: &str, keys: &[&str]) -> Result<()> {
        let login = json!({"username": "robot", "password": "canary-password"});
        let auths: serde_json::Map<_, _> =
            keys.iter().map(|key| ((*key).to_owned(), login.clone())).collect();
        let text = json!({ "auths": auths }).to_string();
        self.secret(name, "kubernetes.io/dockerconfigjson", ".dockerconfigjson", &text).await
    }

    async fn secret(&self, name: &str, type_: &str, key: &str, text: &str) -> Result<()> {
        let secret: Secret = serde_json::from_value(
            json!({"metadata": {"name": name}, "type": type_, "stringData": {key: text}}),
        )?;
        let secrets: Api<Secret> = self.namespace.api();
        secrets.create(&PostParams::default(), &secret).await?;
        Ok(())
    }

    /// A Pod with one container for each image, which names these Secrets.
    async fn pod(&self, images: &[&str], secrets: &[&str]) -> Result<String> {
        let name = random_name("pod");
        let containers: Vec<_> = images
            .iter()
            .enumerate()
            .map(|(n, image)| json!({"name": format!("c{n}"), "image": image}))
            .collect();
        let secrets: Vec<_> = secrets.iter().map(|name| json!({ "name": name })).collect();
        self.pod_with(&name, json!({"containers": containers, "imagePullSecrets": secrets})).await?;
        Ok(name)
    }

    async fn pod_with(&self, name: &str, spec: Value) -> Result<()> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = self.namespace.api();
        let pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
        let made = crate::support::wait_for(crate::checks::SOON, "the ServiceAccount", async || {
            match pods.create(&PostParams::default(), &pod).await {
                Err(kube::Error::Api(status)) if status.is_forbidden() => Err(status.message),
                other => Ok(other),
            }
        });
        made.await??;
        Ok(())
    }
}
