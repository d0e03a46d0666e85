//! The image of the operator: assembled without any builder, in a real registry, and run with no file but its own; and the
//! one that the Dockerfile makes, which is the same.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{dockerfile::Dockerfile, hack::hack};
use crate::{
    chart::{
        helm::{chart, helm},
        release::{DEPLOYED, NAMESPACE, Release},
    },
    checks::good_source,
    scenario::Scenario,
    support::{
        ControlPlane, Error, Operator, Result,
        error::Context,
        random_name,
        registry::{Auth, Crane, Registry},
        skips::skipped,
        static_binary::static_binary,
        unpacked::{Unpacked, files},
        wait::DEADLINE,
    },
};

/// One image, and what it takes to look at it.
struct Image {
    /// With registry and tag.
    name: String,
    crane: Crane,
    dir: TempDir,
}

impl Image {
    /// Pushes what `hack/build-image` has left in `from`.
    async fn push(registry: &Registry, from: &Path) -> Result<Self> {
        let crane = Crane::new("{}", None)?;
        let name = format!("{}/claviger/claviger:{}", registry.address(), env!("CARGO_PKG_VERSION"));
        crane.run(&["push", &from.display().to_string(), &name]).await?;
        Ok(Self { name, crane, dir: tempfile::tempdir()? })
    }

    async fn config(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.crane.run(&["config", &self.name]).await?)?)
    }

    /// An archive of all of its files.
    async fn export(&self) -> Result<PathBuf> {
        let archive = self.dir.path().join("files.tar");
        self.crane.run(&["export", &self.name, &archive.display().to_string()]).await?;
        Ok(archive)
    }

    /// Against what the Dockerfile says.
    async fn assert_as_the_dockerfile_says(&self) -> Result<()> {
        let wanted = Dockerfile::read()?;
        let config = self.config().await?;
        for (field, value) in wanted.config.as_object().into_iter().flatten() {
            assert_eq!(config["config"][field], *value, "{field} of {config:#}");
        }
        for (label, value) in &wanted.labels {
            assert_eq!(config["config"]["Labels"][label], *value, "{config:#}");
        }
        assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        assert_eq!((&config["os"], &config["architecture"]), (&"linux".into(), &architecture.into()));
        Ok(())
    }
}

/// The files of an image, as the Dockerfile says.
fn assert_files(unpacked: &Path) -> Result<()> {
    let found: Vec<String> = files(unpacked)?.iter().map(|file| format!("/{}", file.display())).collect();
    assert_eq!(found, Dockerfile::read()?.files);
    let certificates = fs::read_to_string(unpacked.join("etc/ssl/certs/ca-certificates.crt"))?;
    assert!(certificates.matches("BEGIN CERTIFICATE").count() > 10, "no authorities are trusted");
    Ok(())
}

async fn version_of(unpacked: &Unpacked) -> Result<String> {
    let mut command = unpacked.command(Path::new("/claviger"));
    command.arg("--version").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output =
        tokio::task::spawn_blocking(move || command.output()).await?.context("claviger --version")?;
    if !output.status.success() {
        return Err(Error::new(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[tokio::test]
async fn image_and_chart_are_installed_from_a_registry_and_the_binary_needs_nothing_else() -> Result<()> {
    let work = tempfile::tempdir()?;
    let (binary, log) = (work.path().join("claviger"), work.path().join("build.log"));
    let own = binary.clone();
    if !tokio::task::spawn_blocking(move || static_binary(&own, &log)).await?? {
        return Ok(());
    }

    // The same binary makes the same image.
    let mut layouts = Vec::new();
    for name in ["first", "second"] {
        let output = work.path().join(name);
        let (binary, folder) = (binary.display().to_string(), output.display().to_string());
        hack("build-image", &["--binary", &binary, "--output", &folder]).await?;
        layouts.push(fs::read_to_string(output.join("image/index.json"))?);
    }
    assert_eq!(layouts[0], layouts[1]);

    let registry = Registry::start(Auth::Open, None).await?;
    let image = Image::push(&registry, &work.path().join("first/image")).await?;
    image.assert_as_the_dockerfile_says().await?;
    // What kind and docker load is an image, too.
    let archive = work.path().join("first/image.tar").display().to_string();
    image.crane.run(&["validate", "--tarball", &archive]).await?;
    image.crane.run(&["validate", "--remote", &image.name]).await?;

    let release = install(&registry, work.path()).await?;
    let client = release.client().await?;
    let pod_spec = DEPLOYED.pod_spec(&client).await?;
    assert_eq!(pod_spec.containers[0].image.as_deref(), Some(image.name.as_str()));

    let Some(unpacked) = Unpacked::new(&image.export().await?)? else {
        return Ok(());
    };
    assert_files(unpacked.path())?;
    assert_eq!(version_of(&unpacked).await?, format!("claviger {}", env!("CARGO_PKG_VERSION")));

    // All that is added is what kubelet mounts.
    let control_plane = &release.control_plane;
    unpacked.mount_service_account(
        NAMESPACE,
        control_plane.ca_pem(),
        &DEPLOYED.token(&client, DEPLOYED.name).await?,
    )?;
    let container = Operator::in_container("/claviger", Arc::new(unpacked), control_plane.address());
    let operator = DEPLOYED.configure(&client, container, "keys-claviger-1").await?.start().await?;
    let status = fs::read_to_string(format!("/proc/{}/status", operator.pid()))?;
    let uid = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default();
    if is_root()? {
        assert_eq!(uid.split_whitespace().nth(1), Some("65532"), "{status}");
    }
    let test = Scenario::alone(control_plane).await?;
    good_source(&test, "src", "the-password").await?;
    let spec =
        serde_json::json!({"provider": "Custom", "server": "r.example.com", "secretRef": {"name": "src"}});
    test.credential("first", spec).await?;
    let ready = test.wait_ready("first", 1).await;
    ready.map_err(|error| Error::new(format!("{error}; the operator: {}", operator.logs())))?;
    assert_eq!(operator.terminate(DEADLINE).await?, 0);
    Ok(())
}

/// The chart from the registry, with the image from there.
async fn install(registry: &Registry, work: &Path) -> Result<Release> {
    let folder = work.display().to_string();
    helm(None, &["package", &chart().display().to_string(), "--destination", &folder]).await?;
    let package = work.join(format!("claviger-{}.tgz", env!("CARGO_PKG_VERSION"))).display().to_string();
    let charts = format!("oci://{}/charts", registry.address());
    helm(None, &["push", &package, &charts, "--plain-http"]).await?;
    let image = format!("image.repository={}/claviger/claviger", registry.address());
    let from = ["--plain-http", "--version", env!("CARGO_PKG_VERSION"), "--set", &image];
    let control_plane = ControlPlane::builder().start().await?;
    Release::install_from(control_plane, format!("{charts}/claviger"), &from).await
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("id")?;
    Ok(output.stdout == b"0\n")
}

/// A builder of images that works here, as `hack/build-image` has it: docker only with BuildKit.
fn builder() -> Option<&'static str> {
    let works = |command: &[&str]| {
        let output = Command::new(command[0]).args(&command[1..]).output();
        output.is_ok_and(|output| output.status.success())
    };
    ["docker", "podman", "buildah"]
        .into_iter()
        .find(|&name| works(&[name, "info"]) && (name != "docker" || works(&["docker", "buildx", "version"])))
}

/// An image in the store of a builder, which goes with the test.
struct Stored {
    builder: &'static str,
    name: String,
}

impl Drop for Stored {
    fn drop(&mut self) {
        // It may never have come to be.
        let _ = Command::new(self.builder).args(["rmi", "--force", &self.name]).output();
    }
}

/// Takes as long as a release build, where there is a builder.
#[tokio::test]
async fn the_dockerfile_makes_the_same_image() -> Result<()> {
    const WHAT: &str = "the image of the Dockerfile";
    let Some(builder) = builder() else {
        return skipped(WHAT, "neither docker, podman nor buildah works here");
    };
    let base = Dockerfile::read()?.base;
    let pull = Command::new(builder).args(["pull", &base]).output()?;
    if !pull.status.success() {
        let said = String::from_utf8_lossy(&pull.stderr).into_owned();
        return skipped(WHAT, &format!("{builder} cannot pull {base}: {}", said.trim()));
    }
    let work = tempfile::tempdir()?;
    // Not under the name that people use: it may be theirs.
    let name = format!("localhost/{}:{}", random_name("claviger-test"), env!("CARGO_PKG_VERSION"));
    let stored = Stored { builder, name };
    let folder = work.path().display().to_string();
    hack("build-image", &["--builder", builder, "--tag", &stored.name, "--output", &folder]).await?;
    let registry = Registry::start(Auth::Open, None).await?;
    let image = Image::push(&registry, &work.path().join("image.tar")).await?;
    image.assert_as_the_dockerfile_says().await?;
    let Some(unpacked) = Unpacked::new(&image.export().await?)? else {
        return Ok(());
    };
    assert_files(unpacked.path())?;
    assert_eq!(version_of(&unpacked).await?, format!("claviger {}", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// Whoever has no builder, and names a file that is no binary, is told.
#[tokio::test]
async fn an_image_of_something_else_is_refused() -> Result<()> {
    let work = tempfile::tempdir()?;
    let script = work.path().join("claviger");
    fs::write(&script, "#!/bin/sh\n")?;
    let (script, folder) = (script.display().to_string(), work.path().display().to_string());
    let tried = hack("build-image", &["--binary", &script, "--output", &folder]).await;
    let refused = tried.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("is no binary for amd64 or arm64"), "{refused}");
    Ok(())
}
