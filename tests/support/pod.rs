//! What a process in a Pod finds: the folder of its ServiceAccount at the place that client libraries have built in,
//! and the address of the API server in its environment.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{
    error::{Context, Error, Result},
    workdir::Workdir,
};

/// Built into client-go and kube.
pub const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Runs `"$@"` where `$1` is mounted at the path, and nobody else sees it. It ends with the process.
const MOUNTED: &str = r#"
set -e
place=/var/run/secrets/kubernetes.io/serviceaccount
mount -t tmpfs tmpfs /var/run
mkdir -p "$place"
mount --bind "$1" "$place"
shift
exec "$@"
"#;

/// Puts a link to `$1` at the path until our end of stdin is closed, which the kernel does for us however we die. Waits
/// for another one of these to take its link away; whatever else is there stays, and is an error.
const LINKED: &str = r#"
above=/var/run/secrets/kubernetes.io
made= tries=0
for dir in /var/run/secrets "$above"; do
  if mkdir "$dir" 2>/dev/null; then made="$dir $made"; fi
done
until ln -sn "$1" "$above/serviceaccount" 2>/dev/null; do
  # Left by a machine that was switched off.
  if [ -L "$above/serviceaccount" ] && [ ! -e "$above/serviceaccount" ]; then rm -f "$above/serviceaccount"; continue; fi
  tries=$((tries + 1))
  if [ ! -L "$above/serviceaccount" ] || [ "$tries" -gt 1000 ]; then echo "cannot make $above/serviceaccount"; exit 1; fi
  sleep 0.1
done
echo ready
read -r _
rm -f "$above/serviceaccount"
rmdir $made 2>/dev/null
exit 0
"#;

/// More than the script above waits for another one.
const LINK_DEADLINE: Duration = Duration::from_secs(150);

/// The folder as kubelet writes it: all of its files change in one step.
pub struct ServiceAccountFolder {
    dir: Workdir,
    versions: AtomicU32,
    place: Place,
}

enum Place {
    /// By a mount that only the started process sees, in namespaces that these arguments of `unshare` make.
    Mounted(&'static [&'static str]),
    /// By a link that all see. Only where nothing can be mounted, as root in a container.
    Linked(Link),
}

impl ServiceAccountFolder {
    /// Whether this user can put a folder at the path at all.
    pub fn is_possible() -> bool {
        mounting().is_some() || fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
    }

    /// With what a Pod of this namespace would find.
    pub async fn new(namespace: &str, ca_pem: &str, token: &str) -> Result<Self> {
        let dir = Workdir::new("claviger-pod-")?;
        let place = match mounting() {
            Some(arguments) => Place::Mounted(arguments),
            None => Place::Linked(Link::new(dir.path()).await?),
        };
        let folder = Self { dir, versions: AtomicU32::new(0), place };
        folder.write(&[("namespace", namespace), ("ca.crt", ca_pem), ("token", token)])?;
        for name in ["namespace", "ca.crt", "token"] {
            symlink(Path::new("..data").join(name), folder.dir.join(name))?;
        }
        Ok(folder)
    }

    /// As kubelet does: a new version of everything beside the old one, then one link is replaced.
    pub fn rotate_token(&self, token: &str) -> Result<()> {
        let [namespace, ca_pem] = ["namespace", "ca.crt"].map(|name| fs::read_to_string(self.dir.join(name)));
        self.write(&[("namespace", &namespace?), ("ca.crt", &ca_pem?), ("token", token)])
    }

    fn write(&self, files: &[(&str, &str)]) -> Result<()> {
        let version = format!("..version-{}", self.versions.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(self.dir.join(&version))?;
        for (name, content) in files {
            fs::write(self.dir.join(&version).join(name), content)?;
        }
        symlink(&version, self.dir.join("..data_tmp"))?;
        fs::rename(self.dir.join("..data_tmp"), self.dir.join("..data"))?;
        Ok(())
    }

    /// A command for `program`, which finds the folder where it expects it.
    pub fn command(&self, program: &Path) -> Command {
        match &self.place {
            Place::Linked(_) => Command::new(program),
            Place::Mounted(arguments) => {
                let mut command = Command::new("unshare");
                command.args(*arguments).args(["sh", "-c", MOUNTED, "pod"]).arg(self.dir.path()).arg(program);
                command
            }
        }
    }
}

/// How this user can mount something that nobody else sees.
fn mounting() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [&["--mount"], &["--mount", "--user", "--map-root-user"]];
    WAYS.into_iter().find(|arguments| {
        let mut command = Command::new("unshare");
        command.args(*arguments).args(["sh", "-c", "mount -t tmpfs tmpfs /var/run"]);
        let tried = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

struct Link(Child);

impl Link {
    async fn new(dir: &Path) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args([OsStr::new("-c"), OsStr::new(LINKED), OsStr::new("link"), dir.as_os_str()]);
        // Ctrl-C in a terminal ends us, and our end tells it to take the link away.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut link = Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let output = link.0.stdout.take().ok_or_else(|| Error::new("no stdout"))?;
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(output).read_line(&mut line).map(|_| line)
        });
        let line = tokio::time::timeout(LINK_DEADLINE, line).await.context(MOUNT_PATH)???;
        if line.trim() == "ready" {
            return Ok(link);
        }
        Err(Error::new(format!(
            "neither can anything be mounted here nor {MOUNT_PATH} be made: {}",
            line.trim()
        )))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends by itself: there is no use for its status.
        let _ = self.0.wait();
    }
}
