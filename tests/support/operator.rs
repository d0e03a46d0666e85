//! The real operator, as a process of its own.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    error::{Context, Error, Result},
    http, metrics,
    pod::ServiceAccountFolder,
    ports,
    process::Process,
    unpacked::Unpacked,
    wait::wait_for,
    workdir::Workdir,
};

const START_DEADLINE: Duration = Duration::from_secs(90);

/// Of `/proc/<pid>/stat`; 100 on every Linux that we run on.
const CLOCK_TICKS: f64 = 100.0;

pub struct Builder {
    binary: PathBuf,
    access: Access,
    args: Vec<String>,
    env: Vec<(String, String)>,
    ready: bool,
}

/// How the operator finds its cluster.
enum Access {
    Kubeconfig(PathBuf),
    /// As in a Pod: by the folder of its ServiceAccount, and the API server's host and port.
    InCluster(Arc<ServiceAccountFolder>, String),
    /// The same, in a container of an unpacked image.
    Container(Arc<Unpacked>, String),
    Nothing,
}

impl Access {
    fn command(&self, binary: &Path, home: &Path) -> Command {
        let mut command = match self {
            Self::InCluster(folder, _) => folder.command(binary),
            Self::Container(image, _) => image.command(binary),
            Self::Kubeconfig(_) | Self::Nothing => Command::new(binary),
        };
        if let Self::Kubeconfig(path) = self {
            command.env("KUBECONFIG", path);
            return command;
        }
        // Nothing of whoever runs the tests, who may have a cluster, or be in one.
        command.env_remove("KUBECONFIG").env("HOME", home);
        for (variable, of_address) in [("KUBERNETES_SERVICE_HOST", 0), ("KUBERNETES_SERVICE_PORT", 1)] {
            match self {
                Self::InCluster(_, address) | Self::Container(_, address) => {
                    command.env(variable, address.split(':').nth(of_address).unwrap_or_default())
                }
                _ => command.env_remove(variable),
            };
        }
        command
    }
}

impl Builder {
    /// The operator's own namespace.
    pub fn namespace(self, namespace: &str) -> Self {
        self.arg(format!("--namespace={namespace}"))
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args(self, args: &[&str]) -> Self {
        args.iter().fold(self, |builder, arg| builder.arg(*arg))
    }

    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// Does not wait to be ready: for an operator that cannot be, or not yet.
    pub fn without_waiting(mut self) -> Self {
        self.ready = false;
        self
    }

    /// Back when `/readyz` answers 200; with [`without_waiting`](Self::without_waiting), when it answers at all.
    pub async fn start(self) -> Result<Operator> {
        ports::until_free(async || self.launch().await).await
    }

    async fn launch(&self) -> Result<Operator> {
        let workdir = Workdir::new("claviger-operator-")?;
        let address = format!("127.0.0.1:{}", ports::free_port()?);
        let mut command = self.access.command(&self.binary, workdir.path());
        command.args(["run", "--listen-address", &address]).args(&self.args);
        // No test asks a registry out there. Those on loopback speak TLS as `localhost`, and none as 127.0.0.1.
        for usual in [
            "--log-format=json",
            "--allowed-registries=localhost,127.0.0.1",
            "--private-registries=localhost,127.0.0.1",
            "--plain-http-registries=127.0.0.1",
        ] {
            let flag = usual.split('=').next().unwrap_or_default();
            if !self.args.iter().any(|arg| arg.starts_with(flag)) {
                command.arg(usual);
            }
        }
        // What somebody has set for a run by hand must not change what tests see.
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if ["CLAVIGER_", "POD_", "RUST_LOG"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(key);
            }
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        let process = Process::spawn("claviger", &command, &workdir.join("claviger.log"))?;
        let image = match &self.access {
            Access::Container(image, _) => Some(image.clone()),
            _ => None,
        };
        let pid = process.pid();
        let operator = Operator { pid, process: Mutex::new(process), address, workdir, _image: image };
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let what = format!("the operator's {path}");
        let answered = wait_for(START_DEADLINE, &what, async || {
            if let Err(ended) = operator.lock().check_running() {
                return Ok(Err(ended));
            }
            let response = operator.get(path).await?;
            if response.status == 200 || !self.ready {
                return Ok(Ok(()));
            }
            Err(Error::new(format!("{} {}", response.status, response.body.trim())))
        });
        answered
            .await
            .and_then(|answered| answered)
            .map_err(|error| Error::new(format!("{error}\nits log ends:\n{}", operator.lock().log_tail())))?;
        Ok(operator)
    }
}

/// Dies with its owner. Its log is in a directory of its own, kept under the same rules as a control plane's.
pub struct Operator {
    pid: u32,
    process: Mutex<Process>,
    address: String,
    workdir: Workdir,
    /// What it reads while it runs goes after it.
    _image: Option<Arc<Unpacked>>,
}

impl Operator {
    pub fn builder(binary: impl Into<PathBuf>, kubeconfig: impl Into<PathBuf>) -> Builder {
        Self::with(binary, Access::Kubeconfig(kubeconfig.into()))
    }

    /// As in a Pod of a cluster whose API server is at `address`, host and port.
    pub fn in_cluster(
        binary: impl Into<PathBuf>,
        folder: Arc<ServiceAccountFolder>,
        address: impl Into<String>,
    ) -> Builder {
        Self::with(binary, Access::InCluster(folder, address.into()))
    }

    /// A program of an unpacked image, in a container of it, which finds its API server as a Pod does.
    pub fn in_container(
        program: impl Into<PathBuf>,
        image: Arc<Unpacked>,
        address: impl Into<String>,
    ) -> Builder {
        Self::with(program, Access::Container(image, address.into()))
    }

    /// With nothing that would lead to a cluster.
    pub fn nowhere(binary: impl Into<PathBuf>) -> Builder {
        Self::with(binary, Access::Nothing)
    }

    fn with(binary: impl Into<PathBuf>, access: Access) -> Builder {
        Builder { binary: binary.into(), access, args: Vec::new(), env: Vec::new(), ready: true }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Host and port of health and metrics.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn dir(&self) -> &Path {
        self.workdir.path()
    }

    pub fn logs(&self) -> String {
        self.lock().log()
    }

    /// As a crash or an evicted Pod: no chance to say goodbye. Gone on return.
    pub fn kill9(&self) -> Result<()> {
        self.lock().kill()
    }

    /// As kubelet ends it: SIGTERM. The exit status, once it has ended.
    pub async fn terminate(&self, deadline: Duration) -> Result<i32> {
        self.signal("TERM")?;
        wait_for(deadline, "the operator to end after SIGTERM", async || {
            self.lock().exit_status().transpose()
        })
        .await?
    }

    pub fn signal(&self, signal: &str) -> Result<()> {
        self.lock().signal(signal)
    }

    /// The exit status once it has ended by itself; 128 and the signal's number when a signal ended it.
    pub fn exit_status(&self) -> Result<Option<i32>> {
        self.lock().exit_status()
    }

    /// An error with the end of the log when it has ended.
    pub fn check_running(&self) -> Result<()> {
        self.lock().check_running()
    }

    /// The status code of `/healthz`.
    pub async fn healthz(&self) -> Result<u16> {
        Ok(self.get("/healthz").await?.status)
    }

    /// The status code of `/readyz`.
    pub async fn readyz(&self) -> Result<u16> {
        Ok(self.get("/readyz").await?.status)
    }

    pub async fn get(&self, path: &str) -> Result<http::Response> {
        http::get(&self.address, path).await
    }

    pub async fn metrics(&self) -> Result<String> {
        let response = self.get("/metrics").await?;
        if response.status == 200 {
            return Ok(response.body);
        }
        Err(Error::new(format!("/metrics answered {}", response.status)))
    }

    /// `name` or `name{label="value"}`: the sum of what matches, `None` when nothing does.
    pub async fn metric(&self, selector: &str) -> Result<Option<f64>> {
        Ok(metrics::value(&self.metrics().await?, selector))
    }

    /// Resident memory now.
    pub fn rss_bytes(&self) -> Result<u64> {
        self.proc_status("VmRSS:")
    }

    /// The most resident memory so far.
    pub fn peak_rss_bytes(&self) -> Result<u64> {
        self.proc_status("VmHWM:")
    }

    /// Processor time so far, user and system.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.pid);
        let text = std::fs::read_to_string(&path).context(&path)?;
        // The second field is the program's name in parentheses, which may hold spaces.
        let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks: Vec<f64> =
            fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
        match ticks.as_slice() {
            [user, system] => Ok((user + system) / CLOCK_TICKS),
            _ => Err(Error::new(format!("{path}: no times"))),
        }
    }

    fn proc_status(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let text = std::fs::read_to_string(&path).context(&path)?;
        text.lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map(|kib| kib * 1024)
            .ok_or_else(|| Error::new(format!("{path}: no {field}")))
    }

    fn lock(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
