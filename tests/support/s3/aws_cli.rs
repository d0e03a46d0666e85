//! The AWS CLI.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{
    super::{error::Result, python::python},
    run,
};

/// Runs with the variables that it is given, and with nothing else of this machine: it is a container with one Secret.
pub struct AwsCli {
    python: PathBuf,
    home: TempDir,
    variables: Vec<(String, String)>,
}

impl AwsCli {
    /// Trusts the servers of one authority, and nobody else's.
    pub async fn new(ca_pem: &str) -> Result<Self> {
        let python = tokio::task::spawn_blocking(|| python("aws-cli")).await??;
        let client = Self { python, home: tempfile::tempdir()?, variables: Vec::new() };
        let (home, bundle) = (client.home.path().display().to_string(), client.file("ca.crt", ca_pem)?);
        // It would ask the metadata server of a machine at AWS, and what fails it would try again.
        let fixed = [("HOME", &*home), ("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_MAX_ATTEMPTS", "1")];
        Ok(client.variables(fixed).variables([("AWS_CA_BUNDLE", &*bundle)]))
    }

    /// With these variables, too.
    pub fn variables<'a>(mut self, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.variables.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// Writes a file; its path.
    pub fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.home.path().join(name);
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    }

    pub async fn put(&self, bucket: &str, key: &str, content: &str) -> Result<()> {
        let file = self.file("body", content)?;
        self.s3(&["put-object", "--bucket", bucket, "--key", key, "--body", &file]).await.map(drop)
    }

    /// The keys of the objects, among whatever else it prints.
    pub async fn list(&self, bucket: &str) -> Result<Vec<String>> {
        let query = ["--query", "Contents[].Key", "--output", "text"];
        let printed = self.s3(&[&["list-objects-v2", "--bucket", bucket][..], &query].concat()).await?;
        Ok(printed.split_whitespace().map(str::to_owned).collect())
    }

    async fn s3(&self, args: &[&str]) -> Result<String> {
        let args = [&["-I", "-m", "awscli", "s3api"][..], args].concat();
        run(&self.python, self.home.path(), &self.variables, &args).await
    }
}
