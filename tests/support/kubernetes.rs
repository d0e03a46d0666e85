//! Control planes of other versions than the one that `tests/control-plane` pins: `KUBERNETES=1.33.13 cargo test`.
//!
//! The `go.mod` that Kubernetes itself is built with says everything: the version of Go, of etcd and of all modules.
//! Published, its staging modules have versions of their own: those of v1.33.13 are v0.33.13.

use std::{fmt, fs, path::Path, path::PathBuf, process::Command, str::FromStr};

use super::{
    binaries::CONTROL_PLANE,
    build_cache::BuildCache,
    error::{Context, Error, Result},
    go_module::{GoModule, Tool, build, key, ldflags, names, parse_tools},
};

/// Which version is asked for.
const VARIABLE: &str = "KUBERNETES";

const TOOLS: &str = "tool (\n\tgo.etcd.io/etcd/server/v3\n\tk8s.io/kubernetes/cmd/kube-apiserver\n\
                     \tk8s.io/kubernetes/cmd/kube-controller-manager\n)\n";

/// A released version: three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<u32> =
            text.trim_start_matches('v').split('.').filter_map(|part| part.parse().ok()).collect();
        match numbers.as_slice() {
            &[major, minor, patch] if text.matches('.').count() == 2 => Ok(Self { major, minor, patch }),
            _ => Err(Error::new(format!("'{text}' is not a version of Kubernetes, such as 1.33.13"))),
        }
    }
}

/// The version that `KUBERNETES` says.
pub fn asked() -> Result<Option<Version>> {
    let Some(text) = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    text.parse::<Version>().context(VARIABLE).map(Some)
}

/// The same, when it is not the one that is pinned.
pub fn wanted() -> Result<Option<Version>> {
    Ok(asked()?.filter(|version| pinned().ok() != Some(*version)))
}

/// The version of `tests/control-plane`.
pub fn pinned() -> Result<Version> {
    GoModule::read(CONTROL_PLANE)?.version("kube-apiserver")?.parse()
}

/// The path of a program of that version, built when it is not there yet.
pub fn program(cache: &BuildCache, version: &Version, program: &str) -> Result<PathBuf> {
    // Of its sources the version says all, and of the rest what is written into `go.mod`.
    let known = tools(&format!("require k8s.io/kubernetes v{version}\n"));
    let key = key(CONTROL_PLANE, &known, &[derive("", version), TOOLS.to_owned(), ldflags(&known)]);
    let what = format!("the control plane of Kubernetes {version}");
    let folder = cache.folder(&key, &what, |out| {
        let dir = out.join("module");
        let go_mod = write_module(&dir, version)?;
        let tools = tools(&go_mod);
        // What is not in `go.sum` yet is written there, after the checksum database of Go was asked.
        build(&dir, &tools, &["-mod=mod"], out).context(names(&tools))
    })?;
    Ok(folder.join(program))
}

fn tools(go_mod: &str) -> Vec<Tool> {
    parse_tools(&format!("{go_mod}{TOOLS}"))
}

/// Writes the `go.mod` of a version, and returns it.
pub fn write_module(dir: &Path, version: &Version) -> Result<String> {
    fs::create_dir(dir).context(dir.display())?;
    let path = dir.join("go.mod");
    fs::write(&path, "module claviger.dev/control-plane\n")?;
    let mut command = Command::new("go");
    command.current_dir(dir).args(["list", "-mod=mod", "-m", "-f", "{{.GoMod}}"]);
    let listed = command.arg(format!("k8s.io/kubernetes@v{version}")).output();
    let listed = listed.context("there is no Go on PATH, with which Kubernetes is built")?;
    if !listed.status.success() {
        let said = String::from_utf8_lossy(&listed.stderr).into_owned();
        return Err(Error::new(format!("Kubernetes {version}: {said}")));
    }
    let theirs = String::from_utf8_lossy(&listed.stdout).trim().to_owned();
    let derived = derive(&fs::read_to_string(&theirs).context(&theirs)?, version);
    fs::write(&path, &derived)?;
    Ok(derived)
}

/// A module that requires Kubernetes, of the module that Kubernetes is.
fn derive(theirs: &str, version: &Version) -> String {
    let mut ours = String::from("module claviger.dev/control-plane\n");
    for line in theirs.lines().filter(|line| !line.starts_with("module ") && !line.starts_with("//")) {
        match line.split_once(" => ./staging/src/") {
            Some((module, path)) => {
                let staging = format!("v0.{}.{}", version.minor, version.patch);
                ours.push_str(&format!("{module} => {path} {staging}\n"));
            }
            None => ours.push_str(&format!("{line}\n")),
        }
    }
    ours.push_str(&format!("\nrequire k8s.io/kubernetes v{version}\n"));
    ours
}

#[cfg(test)]
mod tests {
    use super::{Version, derive, tools};

    const V1_33_13: Version = Version { major: 1, minor: 33, patch: 13 };

    #[test]
    fn a_version_is_three_numbers() {
        for good in ["1.33.13", "v1.33.13"] {
            assert_eq!(good.parse::<Version>().ok(), Some(V1_33_13), "{good}");
        }
        for bad in ["", "1.33", "1.33.x", "1.33.13-rc.1", "1.33.13.1", "latest"] {
            let error = bad.parse::<Version>().unwrap_err().to_string();
            assert!(error.contains("is not a version of Kubernetes"), "{error}");
        }
        assert_eq!(V1_33_13.to_string(), "1.33.13");
    }

    #[test]
    fn a_module_requires_what_kubernetes_is_built_with() {
        let theirs = "// Generated.\n\nmodule k8s.io/kubernetes\n\ngo 1.24.0\n\ngodebug default=go1.24\n\n\
                      require (\n\tgo.etcd.io/etcd/server/v3 v3.5.21 // indirect\n\tk8s.io/api v0.0.0\n)\n\n\
                      replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n";
        let ours = derive(theirs, &V1_33_13);
        let expected = "module claviger.dev/control-plane\n\n\ngo 1.24.0\n\ngodebug default=go1.24\n\n\
                        require (\n\tgo.etcd.io/etcd/server/v3 v3.5.21 // indirect\n\tk8s.io/api v0.0.0\n)\n\n\
                        replace (\n\tk8s.io/api => k8s.io/api v0.33.13\n)\n\nrequire k8s.io/kubernetes v1.33.13\n";
        assert_eq!(ours, expected);
        let versions: Vec<String> =
            tools(&ours).iter().map(|tool| format!("{} {}", tool.program, tool.version)).collect();
        assert_eq!(versions, ["etcd 3.5.21", "kube-apiserver 1.33.13", "kube-controller-manager 1.33.13"]);
    }
}
