//! The harness itself: where the servers of a control plane come from, and builds that were cut short. Nothing
//! is built with Go here.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use crate::{
    control_plane::HOLDER,
    support::{
        Error, Result,
        binaries::{control_plane, control_plane_from, go_tool_in},
        build_cache::BuildCache,
        error::Context,
        python::python_with,
        wait::{DEADLINE, wait_for},
    },
};

/// Says to the builder below which cache it builds into, and that it was started by a test.
const CACHE: &str = "CLAVIGER_TEST_BUILD_CACHE";
const KEY: &str = "programs-1";
const WHAT: &str = "a program";

const SERVERS: [&str; 3] = ["etcd", "kube-apiserver", "kube-controller-manager"];

/// A process of ours that is killed when it is dropped.
struct Held(Child);

impl Held {
    /// Runs one ignored test of this binary, with these variables.
    fn start(test: &str, variables: &[(&str, &Path)]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", test, "--ignored", "--nocapture"]).env_remove("CLAVIGER_KEEP");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// Waits for a line that holds `word`, and returns what stands behind it.
    async fn wait_line(&mut self, word: &'static str) -> Result<String> {
        let output = self.0.stdout.take().ok_or_else(|| Error::new("its output was read before"))?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.find_map(|line| line.split_once(word).map(|(_, rest)| rest.trim().to_owned()))
        });
        let line = tokio::time::timeout(Duration::from_secs(120), reading).await.context(word)??;
        line.ok_or_else(|| Error::new(format!("it ended and never said '{word}'")))
    }

    fn kill(mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that is in the middle of a build.
async fn building(cache: &BuildCache) -> Result<Held> {
    let mut builder = Held::start("binaries::builder", &[(CACHE, cache.dir())])?;
    builder.wait_line("building").await?;
    assert!(cache.unfinished(KEY).join("half").is_file(), "it is not in the middle of a build");
    Ok(builder)
}

#[test]
#[ignore = "the process that other tests of this file kill in the middle of a build"]
fn builder() -> Result<()> {
    let Some(dir) = std::env::var_os(CACHE) else { return Ok(()) };
    BuildCache::at(dir).folder(KEY, WHAT, |out| {
        fs::write(out.join("half"), "")?;
        println!("\nbuilding");
        // Until it is told to go on, or killed; should the test have died, its end of stdin is closed.
        std::io::stdin().read_line(&mut String::new())?;
        fs::write(out.join("program"), "made by the other process")?;
        Ok(())
    })?;
    Ok(())
}

/// A build that takes a moment, in a thread of its own: it waits for the lock as any test does.
fn build_beside(cache: &BuildCache) -> mpsc::Receiver<Result<PathBuf>> {
    let (sender, receiver) = mpsc::channel();
    let cache = BuildCache::at(cache.dir());
    std::thread::spawn(move || sender.send(build(&cache)));
    receiver
}

/// Refuses a folder that is not empty, as `go build` would add to it.
fn build(cache: &BuildCache) -> Result<PathBuf> {
    cache.folder(KEY, WHAT, |out| {
        if let Some(left) = fs::read_dir(out)?.next() {
            return Err(Error::new(format!("{:?} was left in the folder", left?.file_name())));
        }
        fs::write(out.join("program"), "made here")?;
        Ok(())
    })
}

/// Waits until this process has opened the lock, which it then only asks for.
async fn wait_at_lock(cache: &BuildCache) -> Result<()> {
    let lock = cache.lock_file(KEY).canonicalize()?;
    wait_for(DEADLINE, "this process to be at the lock", async || {
        let open = fs::read_dir("/proc/self/fd").ok()?;
        open.flatten().find(|fd| fs::read_link(fd.path()).is_ok_and(|path| path == lock)).map(drop)
    })
    .await
}

async fn result(receiver: mpsc::Receiver<Result<PathBuf>>) -> Result<String> {
    let folder = tokio::task::spawn_blocking(move || receiver.recv_timeout(DEADLINE)).await???;
    Ok(fs::read_to_string(folder.join("program"))?)
}

#[tokio::test]
async fn an_interrupted_build_is_made_again_from_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cache = BuildCache::at(dir.path());
    building(&cache).await?.kill()?;
    assert!(cache.unfinished(KEY).join("half").is_file(), "nothing was left: the test shows nothing");
    assert!(!dir.path().join(KEY).exists());
    let folder = build(&cache)?;
    assert_eq!(folder, dir.path().join(KEY));
    assert_eq!(fs::read_to_string(folder.join("program"))?, "made here");
    assert!(!folder.join("half").exists() && !cache.unfinished(KEY).exists());
    // From now on it is there.
    assert_eq!(cache.folder(KEY, WHAT, |_| Err(Error::new("it is built again")))?, folder);
    Ok(())
}

#[tokio::test]
async fn who_waits_for_a_build_uses_what_it_made() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cache = BuildCache::at(dir.path());
    let mut other = building(&cache).await?;
    let ours = build_beside(&cache);
    wait_at_lock(&cache).await?;
    assert!(cache.unfinished(KEY).join("half").is_file(), "the folder of a running build was removed");
    other.0.stdin.take().ok_or_else(|| Error::new("no stdin"))?.write_all(b"go on\n")?;
    assert_eq!(result(ours).await?, "made by the other process");
    Ok(())
}

#[tokio::test]
async fn who_waits_for_a_build_that_dies_builds_it() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cache = BuildCache::at(dir.path());
    let other = building(&cache).await?;
    let ours = build_beside(&cache);
    wait_at_lock(&cache).await?;
    other.kill()?;
    assert_eq!(result(ours).await?, "made here");
    Ok(())
}

#[test]
fn a_failed_build_is_not_taken_for_a_finished_one() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let cache = BuildCache::at(dir.path());
    let failed = cache.folder(KEY, WHAT, |out| {
        fs::write(out.join("program"), "half of it")?;
        Err(Error::new("the compiler stopped"))
    });
    assert_eq!(failed.map_err(|error| error.to_string()), Err("the compiler stopped".to_owned()));
    assert_eq!(fs::read_to_string(build(&cache)?.join("program"))?, "made here");
    Ok(())
}

#[test]
fn the_cache_is_where_the_environment_says() -> Result<()> {
    let cache = |xdg: &str, home: &str| {
        let (xdg, home) = (xdg.to_owned(), home.to_owned());
        let variable = move |name: &str| match name {
            "XDG_CACHE_HOME" => Some(xdg.clone().into()),
            "HOME" => Some(home.clone().into()),
            _ => None,
        };
        BuildCache::from_environment(variable).map(|cache| cache.dir().to_owned())
    };
    assert_eq!(cache("/xdg", "/home/me")?, Path::new("/xdg/claviger"));
    // The specification says that a relative path is to be ignored.
    for ignored in ["", "relative"] {
        assert_eq!(cache(ignored, "/home/me")?, Path::new("/home/me/.cache/claviger"));
    }
    let error = cache("", "").expect_err("no place").to_string();
    assert!(error.contains("XDG_CACHE_HOME") && error.contains("HOME"), "{error}");
    let unknown = go_tool_in(&BuildCache::at("/nowhere"), "control-plane", "kubelet");
    let error = unknown.expect_err("not a tool of that module").to_string();
    assert!(error.contains("names no tool kubelet"), "{error}");
    Ok(())
}

/// A folder with links to the built servers, as a user of envtest has one.
fn linked() -> Result<tempfile::TempDir> {
    let dir = tempfile::tempdir()?;
    let built = control_plane()?;
    for (server, path) in
        SERVERS.iter().zip([built.etcd, built.kube_apiserver, built.kube_controller_manager])
    {
        symlink(path, dir.path().join(server))?;
    }
    Ok(dir)
}

#[tokio::test]
async fn servers_are_started_from_the_folder_that_kubebuilder_assets_names() -> Result<()> {
    // Built first, should they not be there.
    tokio::task::spawn_blocking(control_plane).await??;
    let assets = linked()?;
    // Whatever it does not find there it cannot take from our cache.
    let nothing = tempfile::tempdir()?;
    let variables =
        [(HOLDER, Path::new("1")), ("KUBEBUILDER_ASSETS", assets.path()), ("XDG_CACHE_HOME", nothing.path())];
    let mut holder = Held::start("control_plane::holder", &variables)?;
    let line = holder.wait_line("holding ").await?;
    let pids = line.split(' ').next().unwrap_or_default().split(',');
    let mut started = Vec::new();
    for pid in pids {
        let command = fs::read(format!("/proc/{pid}/cmdline"))?;
        let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
        started.push(PathBuf::from(String::from_utf8_lossy(program).into_owned()));
    }
    started.sort();
    assert_eq!(started, SERVERS.map(|server| assets.path().join(server)));
    assert!(fs::read_dir(nothing.path())?.next().is_none(), "something was built");
    Ok(())
}

#[tokio::test]
async fn an_empty_folder_of_assets_is_told_by_name() -> Result<()> {
    let assets = tempfile::tempdir()?;
    let variables = [(HOLDER, Path::new("1")), ("KUBEBUILDER_ASSETS", assets.path())];
    let mut holder = Held::start("control_plane::holder", &variables)?;
    // Of what it says the first part is enough: nothing is started, so it ends by itself.
    let errors = holder.0.stderr.take().ok_or_else(|| Error::new("no stderr"))?;
    let output = holder.0.stdout.take().ok_or_else(|| Error::new("no stdout"))?;
    let ended = tokio::task::spawn_blocking(move || {
        let said = BufReader::new(output).lines().chain(BufReader::new(errors).lines());
        said.map_while(Result::ok).collect::<Vec<_>>().join("\n")
    });
    let said = tokio::time::timeout(DEADLINE, ended).await.context("an end")??;
    let path = assets.path().join("etcd");
    let sentence = format!("KUBEBUILDER_ASSETS is set, but {} does not exist", path.display());
    assert!(said.contains(&sentence), "{said}");
    assert!(!holder.0.wait()?.success());
    Ok(())
}

#[test]
fn what_the_usual_bundle_lacks_is_built() -> Result<()> {
    let bundle = tempfile::tempdir()?;
    for server in &SERVERS[..2] {
        fs::write(bundle.path().join(server), "")?;
    }
    let built = |program: &str| Ok(Path::new("/built").join(program));
    let found = control_plane_from(Some(bundle.path()), built)?;
    assert_eq!(found.etcd, bundle.path().join("etcd"));
    assert_eq!(found.kube_apiserver, bundle.path().join("kube-apiserver"));
    assert_eq!(found.kube_controller_manager, Path::new("/built/kube-controller-manager"));
    // Of the other two half a bundle is a mistake.
    fs::remove_file(bundle.path().join("kube-apiserver"))?;
    let error = control_plane_from(Some(bundle.path()), built).expect_err("no API server").to_string();
    assert!(error.ends_with("kube-apiserver does not exist"), "{error}");
    let all = control_plane_from(None, built)?;
    assert_eq!(all.etcd, Path::new("/built/etcd"));
    Ok(())
}

#[test]
fn what_is_written_in_python_needs_one_and_says_so() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cache = BuildCache::at(folder.path().join("cache"));
    let error = python_with("python-that-is-not-there", &cache, "moto").unwrap_err().to_string();
    assert!(
        error.contains("moto must be installed once") && error.contains("python-that-is-not-there"),
        "{error}"
    );
    assert!(!cache.dir().exists(), "nothing was begun");
    Ok(())
}
