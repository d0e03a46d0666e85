//! What a control plane is asked to be.

use super::{
    binaries,
    client::install_crypto,
    control_plane::{ADMIN, CONTROLLER_MANAGER, ControlPlane, MASTERS},
    error::Result,
    namespace::random_name,
    ports,
};

/// How often a start is tried when another process takes a port first.
const ATTEMPTS: u32 = 3;

#[derive(Debug, Clone, Default)]
pub struct Builder {
    pub(super) audit: bool,
    pub(super) users: Vec<User>,
    pub(super) api_server_args: Vec<String>,
    pub(super) controller_manager_args: Vec<String>,
    pub(super) etcd_args: Vec<String>,
    pub(super) without_controllers: bool,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) groups: Vec<String>,
    pub(super) token: String,
}

impl Builder {
    /// Writes an audit log, for [`ControlPlane::audit_events`].
    pub fn audit(mut self, audit: bool) -> Self {
        self.audit = audit;
        self
    }

    /// One more user, who may do what RBAC gives to the name or the groups: at first, close to nothing.
    pub fn user(mut self, name: &str, groups: &[&str]) -> Self {
        self.users.push(User {
            name: name.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            token: random_name("token"),
        });
        self
    }

    /// A flag for kube-apiserver; it wins over ours.
    pub fn api_server_arg(mut self, arg: impl Into<String>) -> Self {
        self.api_server_args.push(arg.into());
        self
    }

    /// A flag for etcd; it wins over ours.
    pub fn etcd_arg(mut self, arg: impl Into<String>) -> Self {
        self.etcd_args.push(arg.into());
        self
    }

    /// A flag for kube-controller-manager; it wins over ours.
    pub fn controller_manager_arg(mut self, arg: impl Into<String>) -> Self {
        self.controller_manager_args.push(arg.into());
        self
    }

    /// No kube-controller-manager: no default ServiceAccounts, no namespace teardown, no garbage collection,
    /// and nobody but the client under test talks to the server.
    pub fn without_controllers(mut self) -> Self {
        self.without_controllers = true;
        self
    }

    pub async fn start(self) -> Result<ControlPlane> {
        install_crypto();
        // Before any deadline: the first build on a machine takes minutes.
        let binaries = tokio::task::spawn_blocking(binaries::control_plane).await??;
        let options = self.user(ADMIN, &[MASTERS]).user(CONTROLLER_MANAGER, &[MASTERS]);
        let mut attempt = 1;
        loop {
            match ControlPlane::launch(options.clone(), binaries.clone()).await {
                Err(error) if attempt < ATTEMPTS && ports::is_taken(&error.to_string()) => attempt += 1,
                other => return other,
            }
        }
    }
}
