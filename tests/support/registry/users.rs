//! Users and passwords as registry and token-server read them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use base64::Engine;

use super::super::error::Result;

/// The least that there is: tests are in a hurry.
const COST: u32 = 4;

/// An htpasswd file. Its server looks at the time of its last change with each request.
pub struct Users(PathBuf);

impl Users {
    pub(super) fn new(path: PathBuf, users: &[(&str, &str)]) -> Result<Self> {
        let file = Self(path);
        file.set(users)?;
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Replaces all of them at once.
    pub(super) fn set(&self, users: &[(&str, &str)]) -> Result<()> {
        let lines: String =
            users.iter().map(|(user, password)| format!("{user}:{}\n", bcrypt(password))).collect();
        let new = self.0.with_extension("new");
        fs::write(&new, lines)?;
        // By itself the time moves in steps of some milliseconds, and a second change in one would not be seen.
        File::options().append(true).open(&new)?.set_modified(SystemTime::now())?;
        Ok(fs::rename(&new, &self.0)?)
    }
}

fn bcrypt(password: &str) -> String {
    let salt: [u8; 16] = rand::random();
    let digest = bcrypt::bcrypt(COST, salt, format!("{password}\0").as_bytes());
    let text = |bytes: &[u8]| bcrypt::BASE_64.encode(bytes);
    // The last byte is left out, as it always was.
    format!("$2b${COST:02}${}{}", text(&salt), text(&digest[..23]))
}

#[cfg(test)]
mod tests {
    use super::{Result, Users, fs};

    #[test]
    fn each_change_has_a_time_of_its_own() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let users = Users::new(dir.path().join("htpasswd"), &[("robot", "first")])?;
        let mut times = Vec::new();
        for password in ["second", "third", "fourth", "fifth"] {
            users.set(&[("robot", password)])?;
            times.push(fs::metadata(users.path())?.modified()?);
        }
        assert!(times.is_sorted_by(|earlier, later| earlier < later), "{times:?}");
        Ok(())
    }
}
