//! A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

use std::{
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, Client, Config};
use tokio::sync::OnceCell;

use super::{
    audit::{self, AuditEvent},
    binaries::ControlPlaneBinaries,
    builder::Builder,
    client::{client_from, config_from},
    error::{Context, Error, Result},
    http,
    kubeconfig::{Identity, kubeconfig},
    pki::Authority,
    ports,
    process::Process,
    servers::Layout,
    wait::wait_for,
    workdir::Workdir,
};

/// Starting takes about 4 s on two cores; tests start several at once.
const START_DEADLINE: Duration = Duration::from_secs(90);

pub(super) const ADMIN: &str = "admin";
pub(super) const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
pub(super) const MASTERS: &str = "system:masters";

/// Stops its servers and removes its directory when dropped; when the thread panics, or with
/// `CLAVIGER_KEEP=1`, the directory with data and logs stays and its path is printed.
pub struct ControlPlane {
    // Before `workdir`: fields drop in this order, and the servers write into it.
    servers: Mutex<Servers>,
    options: Builder,
    binaries: ControlPlaneBinaries,
    etcd_port: u16,
    api_port: u16,
    authority: Authority,
    files: AtomicU32,
    workdir: Workdir,
}

#[derive(Default)]
struct Servers {
    controller_manager: Option<Process>,
    api_server: Option<Process>,
    etcd: Option<Process>,
}

impl Servers {
    fn all(&mut self) -> impl Iterator<Item = &mut Process> {
        [&mut self.controller_manager, &mut self.api_server, &mut self.etcd]
            .into_iter()
            .filter_map(Option::as_mut)
    }
}

impl ControlPlane {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The one that tests share when they do not need their own. Clients are bound to the runtime that they
    /// were made in, and every test has its own: ask for a client in each.
    pub async fn shared() -> Result<&'static ControlPlane> {
        static SHARED: OnceCell<Result<ControlPlane, String>> = OnceCell::const_new();
        let start = async || {
            let started = Self::builder().start().await.map_err(|error| error.to_string());
            // It is never dropped, so it cannot see the panic of a failed test by itself.
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if let Some(Ok(control_plane)) = SHARED.get() {
                    control_plane.workdir.keep();
                }
                previous(info);
            }));
            started
        };
        SHARED.get_or_init(start).await.as_ref().map_err(Error::new)
    }

    pub(super) async fn launch(options: Builder, binaries: ControlPlaneBinaries) -> Result<Self> {
        let control_plane = Self {
            servers: Mutex::default(),
            options,
            binaries,
            etcd_port: ports::free_port()?,
            api_port: ports::free_port()?,
            authority: Authority::new("test control plane")?,
            files: AtomicU32::new(0),
            workdir: Workdir::new("claviger-control-plane-")?,
        };
        control_plane.write_files()?;
        let etcd = Process::spawn("etcd", &control_plane.layout().etcd(), &control_plane.log("etcd"))?;
        control_plane.lock().etcd = Some(etcd);
        let address = format!("127.0.0.1:{}", control_plane.etcd_port);
        control_plane
            .wait_while_running("etcd to be healthy", async || {
                let health = http::get(&address, "/health").await?;
                if health.status == 200 { Ok(()) } else { Err(Error::new(health.body)) }
            })
            .await?;
        control_plane.start_apiserver().await?;
        Ok(control_plane)
    }

    fn write_files(&self) -> Result<()> {
        let server = self.authority.server(&[
            "127.0.0.1",
            "::1",
            "localhost",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ])?;
        let service_accounts = rcgen::KeyPair::generate()?;
        let tokens: String = self
            .options
            .users
            .iter()
            .map(|user| format!("{},{},{},\"{}\"\n", user.token, user.name, user.name, user.groups.join(",")))
            .collect();
        let dir = &self.workdir;
        dir.write("ca.crt", self.authority.pem())?;
        dir.write("server.crt", server.certificate)?;
        dir.write("server.key", server.key)?;
        dir.write("sa.key", service_accounts.serialize_pem())?;
        dir.write("sa.pub", service_accounts.public_key_pem())?;
        dir.write("tokens.csv", tokens)?;
        dir.write("audit-policy.yaml", audit::POLICY)?;
        for (name, user) in [("admin", ADMIN), ("controller-manager", CONTROLLER_MANAGER)] {
            dir.write(
                &format!("{name}.kubeconfig"),
                self.kubeconfig_text(self.server_url(), self.token(user)?),
            )?;
        }
        Ok(())
    }

    /// Brings back what [`stop_apiserver`](Self::stop_apiserver) took away, on the same port and data.
    pub async fn start_apiserver(&self) -> Result<()> {
        let layout = self.layout();
        let api_server = Process::spawn("kube-apiserver", &layout.api_server(), &self.log("kube-apiserver"))?;
        self.lock().api_server = Some(api_server);
        let client = self.client().await?;
        self.wait_while_running("kube-apiserver to be ready", async || {
            client.request_text(http_request("/readyz")?).await.map_err(Error::from)
        })
        .await?;
        // Only now: it ends by itself when the server is not healthy within ten seconds.
        if !self.options.without_controllers {
            let name = "kube-controller-manager";
            let controller_manager = Process::spawn(name, &layout.controller_manager(), &self.log(name))?;
            self.lock().controller_manager = Some(controller_manager);
        }
        let namespaces = Api::<Namespace>::all(client.clone());
        self.wait_while_running("the default namespace", async || {
            namespaces.get("default").await.map_err(Error::from)
        })
        .await?;
        if !self.options.without_controllers {
            let accounts = Api::<ServiceAccount>::namespaced(client, "default");
            self.wait_while_running("the default ServiceAccount", async || {
                accounts.get("default").await.map_err(Error::from)
            })
            .await?;
        }
        Ok(())
    }

    /// Kills the API server, with the controllers, which are nothing without it. Connections break at once.
    pub fn stop_apiserver(&self) -> Result<()> {
        let mut servers = self.lock();
        servers.controller_manager = None;
        servers.api_server.take().map_or(Ok(()), |mut process| process.kill())
    }

    pub fn stop(self) -> Result<()> {
        self.lock().all().try_for_each(Process::kill)
    }

    pub fn dir(&self) -> &Path {
        self.workdir.path()
    }

    /// Leaves the directory with data and logs in place, and prints its path.
    pub fn keep_dir(&self) {
        self.workdir.keep();
    }

    pub fn pids(&self) -> Vec<u32> {
        self.lock().all().map(|process| process.pid()).collect()
    }

    pub fn server_url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Host and port, as a proxy wants it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.api_port)
    }

    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    pub fn token(&self, user: &str) -> Result<&str> {
        self.options.users.iter().find(|known| known.name == user).map(|user| user.token.as_str()).ok_or_else(
            || Error::new(format!("no user {user}: name it with ControlPlane::builder().user(..)")),
        )
    }

    pub fn admin_token(&self) -> Result<&str> {
        self.token(ADMIN)
    }

    /// The path of the admin's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.workdir.join("admin.kubeconfig")
    }

    pub fn kubeconfig_for(&self, user: &str) -> Result<PathBuf> {
        self.kubeconfig_with(self.server_url(), self.token(user)?)
    }

    /// A kubeconfig for any address, such as a fault proxy's, and any token, such as a ServiceAccount's.
    pub fn kubeconfig_with(&self, server_url: impl AsRef<str>, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig(self.kubeconfig_text(server_url, token))
    }

    /// A kubeconfig for anybody, by client certificate; the user need not be known at the start.
    pub fn kubeconfig_by_certificate(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let client = self.authority.client(user, groups)?;
        let identity = Identity::Certificate { certificate: &client.certificate, key: &client.key };
        self.write_kubeconfig(kubeconfig(&self.server_url(), self.ca_pem(), &identity))
    }

    pub fn kubeconfig_text(&self, server_url: impl AsRef<str>, token: &str) -> String {
        kubeconfig(server_url.as_ref(), self.ca_pem(), &Identity::Token(token))
    }

    pub async fn config(&self) -> Result<Config> {
        config_from(&self.kubeconfig()).await
    }

    pub async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    pub async fn client_for(&self, user: &str) -> Result<Client> {
        client_from(&self.kubeconfig_for(user)?).await
    }

    /// Every request so far. The server writes a line when the answer is complete, which can be a moment after
    /// the client has read it.
    pub fn audit_events(&self) -> Result<Vec<AuditEvent>> {
        if !self.options.audit {
            return Err(Error::new("no audit log: ask for it with ControlPlane::builder().audit(true)"));
        }
        audit::read(&self.workdir.join("audit.log"))
    }

    fn write_kubeconfig(&self, text: String) -> Result<PathBuf> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.workdir.write(&format!("{number}.kubeconfig"), text)
    }

    fn layout(&self) -> Layout<'_> {
        Layout {
            dir: self.workdir.path(),
            binaries: &self.binaries,
            etcd_port: self.etcd_port,
            api_port: self.api_port,
            audit: self.options.audit,
            api_server_args: &self.options.api_server_args,
            controller_manager_args: &self.options.controller_manager_args,
            etcd_args: &self.options.etcd_args,
        }
    }

    fn log(&self, server: &str) -> PathBuf {
        self.workdir.join(&format!("{server}.log"))
    }

    fn lock(&self) -> MutexGuard<'_, Servers> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for an answer, and at once gives up when a server has ended.
    async fn wait_while_running<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
        let found = wait_for(START_DEADLINE, what, async || {
            let running = self.lock().all().try_for_each(Process::check_running);
            match running {
                Err(ended) => Ok(Err(ended)),
                // One look must not take the whole deadline: an answer may never come.
                Ok(()) => match tokio::time::timeout(Duration::from_secs(2), look()).await {
                    Ok(seen) => seen.map(Ok),
                    Err(_) => Err(Error::new("no answer within 2 s")),
                },
            }
        });
        found.await.and_then(|found| found).context(format!("control plane in {}", self.dir().display()))
    }
}

fn http_request(path: &str) -> Result<::http::Request<Vec<u8>>> {
    Ok(::http::Request::get(path).body(Vec::new())?)
}
