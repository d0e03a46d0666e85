//! Servers of others on loopback: where they are, with which certificate, and whether they run.

use std::{path::PathBuf, process::Command, time::Duration};

use super::{
    error::{Error, Result},
    http::{self, Response},
    pki::{Authority, Identity},
    ports,
    process::Process,
    wait::wait_for,
    workdir::Workdir,
};

const START_DEADLINE: Duration = Duration::from_secs(90);

/// What the certificate of each is good for.
const NAMES: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// Where a server is, and with which certificate; all that is known before it runs.
pub(super) struct Place {
    pub port: u16,
    pub address: String,
    pub tls: Option<Tls>,
    pub workdir: Workdir,
}

pub(super) struct Tls {
    pub ca_pem: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Place {
    pub fn new(prefix: &str, authority: Option<&Authority>) -> Result<Self> {
        Self::called(prefix, authority, &[])
    }

    /// With a certificate that is also good for these names.
    pub fn called(prefix: &str, authority: Option<&Authority>, names: &[&str]) -> Result<Self> {
        let workdir = Workdir::new(prefix)?;
        let tls = authority
            .map(|authority| {
                let Identity { certificate, key } = authority.server(&[&NAMES[..], names].concat())?;
                Ok::<_, Error>(Tls {
                    ca_pem: authority.pem().to_owned(),
                    certificate: workdir.write("server.crt", certificate)?,
                    key: workdir.write("server.key", key)?,
                })
            })
            .transpose()?;
        let port = ports::free_port()?;
        Ok(Self { port, address: format!("127.0.0.1:{port}"), tls, workdir })
    }

    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub async fn get(&self, path: &str, headers: &str) -> Result<Response> {
        match &self.tls {
            Some(tls) => http::get_tls(&self.address, &tls.ca_pem, path, headers).await,
            None => http::get_with(&self.address, path, headers).await,
        }
    }

    pub fn spawn(self, name: &str, command: &Command) -> Result<Server> {
        let process = Process::spawn(name, command, &self.workdir.join(&format!("{name}.log")))?;
        Ok(Server { process, place: self })
    }
}

/// A server that runs.
pub(super) struct Server {
    // Before the directory that it writes into.
    pub process: Process,
    pub place: Place,
}

impl Server {
    /// Waits for an answer, and at once gives up when it has ended.
    pub async fn wait_ready<T>(&mut self, look: impl AsyncFn(&Place) -> Result<T>) -> Result<T> {
        let what = format!("an answer of {}", self.process.name());
        let found = wait_for(START_DEADLINE, &what, async || match self.process.check_running() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => look(&self.place).await.map(Ok),
        });
        found
            .await
            .map_err(|error| Error::new(format!("{error}\nits log ends:\n{}", self.process.log_tail())))?
    }
}
