//! An unpacked image, and its program as a container runs it: as the image's user, with the files of the image and no others.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    error::{Context, Error, Result},
    pod::MOUNT_PATH,
    skips::skipped,
    workdir::Workdir,
};

/// Who the image's program is.
const USER: u32 = 65532;

pub struct Unpacked {
    workdir: Workdir,
    entering: Vec<String>,
}

impl Unpacked {
    /// From an archive of its files. None, and says so, where this user can give no process another root.
    pub fn new(archive: &Path) -> Result<Option<Self>> {
        let Some(entering) = entering() else {
            skipped("the program in its image", "this user can give no process another root directory")?;
            return Ok(None);
        };
        let workdir = Workdir::new("claviger-image-")?;
        let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(workdir.path()).status();
        if !status.context("tar")?.success() {
            return Err(Error::new(format!("tar could not unpack {}", archive.display())));
        }
        // The directory of a container is everybody's to enter; what is in it keeps its own modes.
        set_mode(workdir.path(), 0o755)?;
        Ok(Some(Self { workdir, entering }))
    }

    pub fn path(&self) -> &Path {
        self.workdir.path()
    }

    /// What kubelet mounts into each container of a Pod: the folder of the ServiceAccount.
    pub fn mount_service_account(&self, namespace: &str, ca_pem: &str, token: &str) -> Result<()> {
        let folder = self.path().join(MOUNT_PATH.trim_start_matches('/'));
        fs::create_dir_all(&folder)?;
        for (name, content) in [("namespace", namespace), ("ca.crt", ca_pem), ("token", token)] {
            fs::write(folder.join(name), content)?;
            set_mode(&folder.join(name), 0o444)?;
        }
        Ok(())
    }

    /// A command for a program of the image.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.entering[0]);
        command.args(&self.entering[1..]).arg(self.path()).arg(program);
        command
    }
}

/// The command that changes user and root, by which this user can do it.
fn entering() -> Option<Vec<String>> {
    let root = vec!["chroot".to_owned(), format!("--userspec={USER}:{USER}"), "--groups=".to_owned()];
    let user = vec![
        "unshare".to_owned(),
        format!("--map-user={USER}"),
        format!("--map-group={USER}"),
        "--root".to_owned(),
    ];
    [root, user].into_iter().find(|command| {
        let tried = Command::new(&command[0]).args(&command[1..]).args(["/", "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context(path.display())
}

/// The files of a directory, as paths from it.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).context(folder.display())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(dir)?.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}
