//! rclone.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{
    super::{debian::debian, error::Result, skips::skipped},
    Key, run,
};

/// Runs with what it is told of one server, and with nothing else of this machine.
pub struct Rclone {
    program: PathBuf,
    home: TempDir,
}

/// A server, and how to come in.
#[derive(Debug, Clone)]
pub struct Remote {
    /// A URL.
    pub endpoint: String,
    pub region: String,
    pub key: Key,
    pub path_style: bool,
    /// Trusted besides those of the system.
    pub ca_pem: String,
}

/// What we call the server, and how that is written in variables.
const REMOTE: &str = "storage";
const VARIABLES: &str = "RCLONE_CONFIG_STORAGE";

impl Rclone {
    /// `None`, and said so, where there is none to be had.
    pub async fn find() -> Result<Option<Self>> {
        match tokio::task::spawn_blocking(|| debian("rclone", "usr/bin/rclone", "version")).await? {
            Ok(program) => Ok(Some(Self { program, home: tempfile::tempdir()? })),
            Err(why) => {
                skipped("object storage with rclone", &why.to_string())?;
                Ok(None)
            }
        }
    }

    pub async fn put(&self, remote: &Remote, bucket: &str, key: &str, content: &str) -> Result<()> {
        let file = self.file("body", content)?;
        self.run(remote, &["copyto", &file, &format!("{REMOTE}:{bucket}/{key}")]).await.map(drop)
    }

    /// The names of the objects, among whatever else it prints.
    pub async fn list(&self, remote: &Remote, bucket: &str) -> Result<Vec<String>> {
        let printed = self.run(remote, &["lsf", &format!("{REMOTE}:{bucket}")]).await?;
        Ok(printed.lines().map(str::to_owned).collect())
    }

    async fn run(&self, remote: &Remote, args: &[&str]) -> Result<String> {
        let Remote { endpoint, region, key, path_style, ca_pem } = remote;
        let options: [(&str, &str); 8] = [
            ("TYPE", "s3"),
            ("PROVIDER", "Other"),
            ("ENDPOINT", endpoint),
            ("REGION", region),
            ("ACCESS_KEY_ID", &key.id),
            ("SECRET_ACCESS_KEY", &key.secret),
            ("FORCE_PATH_STYLE", if *path_style { "true" } else { "false" }),
            // It would make the bucket where it is missing.
            ("NO_CHECK_BUCKET", "true"),
        ];
        let mut variables = vec![("HOME".to_owned(), self.home.path().display().to_string())];
        variables.extend(options.map(|(option, value)| (format!("{VARIABLES}_{option}"), value.to_owned())));
        let trusted = self.file("ca.crt", ca_pem)?;
        let bounds = ["--retries=1", "--low-level-retries=1", "--contimeout=10s", "--timeout=20s"];
        let args = [&["--ca-cert", &*trusted][..], &bounds, args].concat();
        run(&self.program, self.home.path(), &variables, &args).await
    }

    fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.home.path().join(name);
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    }
}
