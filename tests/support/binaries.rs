//! Real programs written in Go, built once per machine.
//!
//! Each folder `tests/<name>` with a `go.mod` pins programs with its `tool` lines; versions are read from
//! there and nowhere else. A program of ours stands beside it, in Go, and is built anew when it changes.

use std::path::{Path, PathBuf};

use super::{
    build_cache::BuildCache,
    error::{Error, Result},
    go_module::GoModule,
    kubernetes,
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
/// `tests/control-plane`.
pub fn control_plane() -> Result<ControlPlaneBinaries> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty()).map(PathBuf::from);
    let version = kubernetes::wanted()?;
    control_plane_from(assets.as_deref(), |program| match &version {
        Some(version) => kubernetes::program(&BuildCache::of_user()?, version, program),
        None => go_tool(CONTROL_PLANE, program),
    })
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
