//! Real programs written in Go, built once per machine.
//!
//! Each folder `tests/<name>` with a `go.mod` pins programs with its `tool` lines; versions are read from
//! there and nowhere else. A program of ours stands beside it, in Go, and is built anew when it changes.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    build_cache::BuildCache,
    error::{Context, Error, Result},
    go_module::GoModule,
    kubernetes::{self, Version},
};

/// The module of the control plane that is run when nothing else is asked for.
pub const CONTROL_PLANE: &str = "control-plane";

#[derive(Debug, Clone)]
pub struct ControlPlaneBinaries {
    pub etcd: PathBuf,
    pub kube_apiserver: PathBuf,
    pub kube_controller_manager: PathBuf,
}

/// From `KUBEBUILDER_ASSETS` what is in there, the rest built: of the version that `KUBERNETES` says, or else from
/// `tests/control-plane`. An error when both are set, and do not agree.
pub fn control_plane() -> Result<ControlPlaneBinaries> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty()).map(PathBuf::from);
    let version = kubernetes::wanted()?;
    let found = control_plane_from(assets.as_deref(), |program| match &version {
        Some(version) => kubernetes::program(&BuildCache::of_user()?, version, program),
        None => go_tool(CONTROL_PLANE, program),
    })?;
    if let (Some(_), Some(asked)) = (assets, kubernetes::asked()?) {
        let server = found.kube_apiserver.display();
        let output = Command::new(&found.kube_apiserver).arg("--version").output().context(&server)?;
        must_be(asked, &String::from_utf8_lossy(&output.stdout)).context(&server)?;
    }
    Ok(found)
}

/// Compares what `kube-apiserver --version` prints with what is asked for.
fn must_be(asked: Version, printed: &str) -> Result<()> {
    let printed = printed.trim();
    if printed == format!("Kubernetes v{asked}") {
        return Ok(());
    }
    Err(Error::new(format!(
        "KUBERNETES asks for {asked}, and the program in KUBEBUILDER_ASSETS is '{printed}': set only one of the two"
    )))
}

/// The same for any folder, and any way to build.
pub fn control_plane_from(
    assets: Option<&Path>,
    build: impl Fn(&str) -> Result<PathBuf>,
) -> Result<ControlPlaneBinaries> {
    let Some(assets) = assets else {
        return Ok(ControlPlaneBinaries {
            etcd: build("etcd")?,
            kube_apiserver: build("kube-apiserver")?,
            kube_controller_manager: build("kube-controller-manager")?,
        });
    };
    let required = |name: &str| -> Result<PathBuf> {
        let path = assets.join(name);
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::new(format!("KUBEBUILDER_ASSETS is set, but {} does not exist", path.display())))
    };
    Ok(ControlPlaneBinaries {
        etcd: required("etcd")?,
        kube_apiserver: required("kube-apiserver")?,
        // The usual bundle does not hold this one.
        kube_controller_manager: match required("kube-controller-manager") {
            Ok(path) => path,
            Err(_) => build("kube-controller-manager")?,
        },
    })
}

pub fn helm() -> Result<PathBuf> {
    go_tool("helm", "helm")
}

/// The user's own, as most have one; else it is built from `tests/kubectl`.
pub fn kubectl() -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let own =
        std::env::split_paths(&folders).map(|folder| folder.join("kubectl")).find(|path| path.is_file());
    own.map_or_else(|| go_tool("kubectl", "kubectl"), Ok)
}

/// The path of a program that `tests/<module>/go.mod` names as a tool. Built when it is not there yet, which
/// blocks: call it through `spawn_blocking` where other work shares the thread.
pub fn go_tool(module: &str, program: &str) -> Result<PathBuf> {
    go_tool_in(&BuildCache::of_user()?, module, program)
}

/// The same in any cache.
pub fn go_tool_in(cache: &BuildCache, module: &str, program: &str) -> Result<PathBuf> {
    let module = GoModule::read(module)?;
    module.version(program)?;
    Ok(module.ensure_built(cache)?.join(program))
}

#[cfg(test)]
mod tests {
    use super::{Version, must_be};

    #[test]
    fn a_server_of_another_version_than_the_one_asked_for_is_told() {
        let asked = Version { major: 1, minor: 36, patch: 3 };
        assert!(must_be(asked, "Kubernetes v1.36.3\n").is_ok());
        for other in ["Kubernetes v1.36.30\n", "Kubernetes v1.33.13\n", ""] {
            let error = must_be(asked, other).unwrap_err().to_string();
            assert!(error.contains("asks for 1.36.3") && error.contains(other.trim()), "{error}");
        }
    }
}
