//! moto: users, roles and signatures of AWS.

use std::{process::Command, time::Duration};

use super::super::{
    error::{Error, Result},
    http::{self, Response},
    ports,
    process::Process,
    python::python,
    wait::wait_for,
    workdir::Workdir,
};

/// Python starts slowly where two cores are busy with other tests.
const START_DEADLINE: Duration = Duration::from_secs(90);

/// How many requests are let through without a look at their signature: none, or all.
const NONE: &str = "0";
const ALL: &str = "inf";

/// Gone with all that it knows when it is dropped. Its log is kept under the same rules as a control plane's.
pub struct Moto {
    // Before the directory that it writes into.
    process: Process,
    address: String,
    workdir: Workdir,
}

impl Moto {
    /// It checks nothing yet, so that users can be made.
    pub async fn start() -> Result<Self> {
        let python = tokio::task::spawn_blocking(|| python("moto")).await??;
        ports::until_free(async || {
            let workdir = Workdir::new("claviger-moto-")?;
            let port = ports::free_port()?;
            let mut command = Command::new(&python);
            command.args(["-I", "-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
            command.current_dir(workdir.path());
            for (key, _) in std::env::vars_os() {
                // Each of these changes what it does, or whom it takes for its own.
                let name = key.to_string_lossy();
                let ours =
                    ["AWS_", "MOTO_", "INITIAL_", "PYTHON"].iter().any(|prefix| name.starts_with(prefix));
                if ours || name.to_ascii_lowercase().ends_with("_proxy") {
                    command.env_remove(key);
                }
            }
            let process = Process::spawn("moto", &command, &workdir.join("moto.log"))?;
            let mut moto = Self { process, address: format!("127.0.0.1:{port}"), workdir };
            let answered =
                wait_for(START_DEADLINE, "an answer of moto", async || match moto.process.check_running() {
                    Err(ended) => Ok(Err(ended)),
                    Ok(()) => http::get(&moto.address, "/moto-api/data.json").await.map(|_| Ok(())),
                });
            answered.await??;
            moto.warm_up().await?;
            Ok(moto)
        })
        .await
    }

    /// What it does for a service it reads with the first request of it, which takes longer than any later one may.
    async fn warm_up(&self) -> Result<()> {
        for (service, action) in
            [("iam", "ListUsers"), ("sts", "GetCallerIdentity"), ("ecr", "DescribeRepositories")]
        {
            let headers = format!(
                "Content-Type: application/x-www-form-urlencoded\r\nX-Amz-Target: x.{action}\r\nAuthorization: \
                 AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x\r\n"
            );
            let (host, body) = (format!("{service}.amazonaws.com"), format!("Action={action}"));
            let what = format!("an answer of moto for {service}");
            wait_for(START_DEADLINE, &what, async || self.ask(&host, &headers, &body).await.map(drop))
                .await?;
        }
        Ok(())
    }

    /// From now on every request needs a signature, and rights.
    pub async fn check_signatures(&self) -> Result<()> {
        self.set_checks(NONE).await
    }

    /// Those that AWS takes without one it does not know: nobody else may ask meanwhile.
    pub async fn ask_unsigned(&self, host: &str, headers: &str, body: &str) -> Result<Response> {
        self.set_checks(ALL).await?;
        let answer = self.ask(host, headers, body).await;
        self.set_checks(NONE).await?;
        answer
    }

    /// A POST to `/`, with these lines in its head.
    pub async fn ask(&self, host: &str, headers: &str, body: &str) -> Result<Response> {
        http::post_as(&self.address, host, "/", headers, body).await
    }

    /// An action of IAM, as nobody: before signatures are checked.
    pub async fn manage(&self, fields: &[(&str, &str)]) -> Result<String> {
        let fields = fields.iter().chain(&[("Version", "2010-05-08")]);
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = "Content-Type: application/x-www-form-urlencoded\r\nAuthorization: AWS4-HMAC-SHA256 \
                       Credential=x/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=x\r\n";
        let answer = self.ask("iam.amazonaws.com", headers, &body).await?;
        if answer.status == 200 { Ok(answer.body) } else { Err(Error::new(answer.body)) }
    }

    async fn set_checks(&self, after: &str) -> Result<()> {
        let path = "/moto-api/reset-auth";
        let answer =
            http::post_as(&self.address, "127.0.0.1", path, "Content-Type: text/plain\r\n", after).await?;
        if answer.status == 200 { Ok(()) } else { Err(Error::new(answer.body)) }
    }
}
