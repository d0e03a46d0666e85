//! Folders with a `go.mod` that pins programs, and how these are built.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use super::{
    build_cache::BuildCache,
    error::{Context, Error, Result},
    process::Process,
    progress::{Heartbeat, say},
};

/// The version of a program whose source is in the folder.
const OWN: &str = "own";

/// A folder `tests/<name>`.
pub struct GoModule {
    dir: PathBuf,
    tools: Vec<Tool>,
    key: String,
}

pub struct Tool {
    package: String,
    /// What we call it.
    pub program: String,
    /// What `go build` calls it.
    built_as: String,
    pub version: String,
}

impl GoModule {
    pub fn read(name: &str) -> Result<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
        let go_mod = fs::read_to_string(dir.join("go.mod")).context(dir.join("go.mod").display())?;
        let go_sum = fs::read_to_string(dir.join("go.sum")).context(dir.join("go.sum").display())?;
        let tools = parse_tools(&go_mod);
        let mut parts = vec![go_mod, go_sum, ldflags(&tools), tags(&tools).to_owned()];
        for source in go_files(&dir)? {
            parts.push(fs::read_to_string(&source).context(source.display())?);
        }
        let key = key(name, &tools, &parts);
        Ok(Self { dir, tools, key })
    }

    /// The version of a tool of it.
    pub fn version(&self, program: &str) -> Result<&str> {
        let found = self.tools.iter().find(|tool| tool.program == program);
        found.map(|tool| tool.version.as_str()).ok_or_else(|| {
            Error::new(format!("{} names no tool {program}", self.dir.join("go.mod").display()))
        })
    }

    /// The folder of its built tools.
    pub fn ensure_built(&self, cache: &BuildCache) -> Result<PathBuf> {
        cache.folder(&self.key, &names(&self.tools), |out| build(&self.dir, &self.tools, &[], out))
    }
}

/// What the folder of built programs is called, by all that can make them differ.
pub fn key(name: &str, tools: &[Tool], parts: &[String]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let hash: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let version = tools.last().map_or("none", |tool| tool.version.as_str());
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{name}-{version}-{os}-{arch}-{hash}")
}

/// Builds the tools of the module in `dir` into `out`, with further flags.
pub fn build(dir: &Path, tools: &[Tool], flags: &[&str], out: &Path) -> Result<()> {
    let names = names(tools);
    if Command::new("go").arg("version").output().is_err() {
        return Err(Error::new(format!(
            "{names} must be built once, and there is no Go on PATH: install Go {} or newer, or point \
             KUBEBUILDER_ASSETS at a folder that holds etcd and kube-apiserver",
            go_version(dir)
        )));
    }
    let mut command = Command::new("go");
    command
        .current_dir(dir)
        .args(["build", "-v", "-trimpath", "-ldflags", &ldflags(tools), "-tags", tags(tools)])
        .args(flags)
        .arg("-o")
        .arg(out)
        .args(tools.iter().map(|tool| &tool.package));
    let log = out.join("build.log");
    say(&format!("to be built: {names}"))?;
    let mut progress =
        Heartbeat::new("building with Go, some minutes on two cores, once per machine".to_owned());
    progress.say()?;
    let mut go = Process::spawn_builder("go build", &command, &log)?;
    let status = loop {
        if let Some(status) = go.exit_status()? {
            break status;
        }
        // With -v every package that is compiled is a line.
        if progress.is_due() {
            progress.done = format!(", {} packages", go.log().lines().count());
        }
        progress.beat()?;
    };
    if status != 0 {
        return Err(Error::new(format!("building {names} failed:\n{}", go.log_tail())));
    }
    for tool in tools {
        if tool.built_as != tool.program {
            fs::rename(out.join(&tool.built_as), out.join(&tool.program))?;
        }
    }
    say(&format!("built in {} s", progress.seconds()))
}

/// The folder of the one module that `tests/<module>/go.mod` requires, for files in it that nothing is built from.
/// Blocks, as it is downloaded when it is not there yet; Go compares it with `go.sum`.
pub fn downloaded(module: &str) -> Result<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(module);
    let go_mod = fs::read_to_string(dir.join("go.mod")).context(dir.join("go.mod").display())?;
    let required = go_mod.lines().find_map(|line| line.strip_prefix("require ")?.split(' ').next());
    let required = required.ok_or_else(|| Error::new(format!("{module} requires no module")))?;
    let output = Command::new("go").current_dir(&dir).args(["mod", "download", "-json", required]).output();
    let output = output.context("go mod download")?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match told["Dir"].as_str().filter(|_| output.status.success()) {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => Err(Error::new(format!("{required}: {told} {}", String::from_utf8_lossy(&output.stderr)))),
    }
}

pub fn names(tools: &[Tool]) -> String {
    let names: Vec<String> = tools.iter().map(|tool| format!("{} {}", tool.program, tool.version)).collect();
    names.join(", ")
}

fn go_version(dir: &Path) -> String {
    fs::read_to_string(dir.join("go.mod"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("go ").map(str::to_owned))
        .unwrap_or_default()
}

/// The sources that stand in the folder itself, by name.
fn go_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).context(dir.display())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "go"));
    paths.sort();
    Ok(paths)
}

/// The tools that a `go.mod` names, with their versions.
pub fn parse_tools(go_mod: &str) -> Vec<Tool> {
    let mut packages = Vec::new();
    let mut versions = BTreeMap::new();
    let mut block = String::new();
    for line in go_mod.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let full = if block.is_empty() { line.to_owned() } else { format!("{block} {line}") };
        if let Some(opened) = line.strip_suffix('(') {
            block = opened.trim().to_owned();
        } else if line == ")" {
            block.clear();
        } else {
            match full.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["tool", package] => packages.push((*package).to_owned()),
                ["require", module, version] => {
                    versions.insert((*module).to_owned(), version.trim_start_matches('v').to_owned());
                }
                _ => {}
            }
        }
    }
    let tool = |package: String| {
        // The module of a package is the longest one that is a prefix of its path.
        let version = versions
            .iter()
            .filter(|(module, _)| package == **module || package.starts_with(&format!("{module}/")))
            .max_by_key(|(module, _)| module.len())
            .map_or_else(|| OWN.to_owned(), |(_, version)| version.clone());
        let is_major = |part: &&str| {
            part.strip_prefix('v')
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let last = package.rsplit('/').find(|part| !is_major(part)).unwrap_or(&package);
        Tool {
            program: if package.starts_with("go.etcd.io/etcd/server") { "etcd" } else { last }.to_owned(),
            built_as: last.to_owned(),
            version,
            package,
        }
    };
    packages.into_iter().map(tool).collect()
}

/// Kubernetes takes its version from the linker; without it the server calls itself v0.0.0.
pub fn ldflags(tools: &[Tool]) -> String {
    let kubernetes = tools
        .iter()
        .find(|tool| tool.package.starts_with("k8s.io/kubernetes/"))
        .map(|tool| format!(" -X k8s.io/component-base/version.gitVersion=v{}", tool.version));
    format!("-s -w{}", kubernetes.unwrap_or_default())
}

/// Prometheus finds what it scrapes in files, and needs the libraries of no cloud. Its web pages are left out: those are built by other
/// tools, and come only where a tag asks for them.
fn tags(tools: &[Tool]) -> &'static str {
    let is_prometheus = |tool: &Tool| tool.package.starts_with("github.com/prometheus/prometheus/");
    if tools.iter().any(is_prometheus) { "remove_all_sd" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::parse_tools;

    #[test]
    fn tools_take_their_version_from_the_longest_module() {
        let tools = parse_tools(
            "module x\n\ngo 1.26.0\n\ntool x\n\ntool (\n\tgo.etcd.io/etcd/server/v3\n\tk8s.io/kubernetes/cmd/kube-apiserver\n)\n\
             tool helm.sh/helm/v4/cmd/helm\n\nrequire (\n\tgo.etcd.io/etcd/server/v3 v3.6.8 // indirect\n\
             \tk8s.io/kubernetes v1.36.3\n\thelm.sh/helm/v4 v4.3.1\n)\n",
        );
        let seen: Vec<_> = tools
            .iter()
            .map(|tool| (tool.program.as_str(), tool.built_as.as_str(), tool.version.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("x", "x", "own"),
                ("etcd", "server", "3.6.8"),
                ("kube-apiserver", "kube-apiserver", "1.36.3"),
                ("helm", "helm", "4.3.1"),
            ]
        );
    }
}
