//! The command lines of the servers that make up a control plane.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use super::binaries::ControlPlaneBinaries;

/// Those that shape what we look at. Nothing here has nodes, so what watches over nodes and the Pods on them
/// would only remove Pods that a test has put on a node of its imagination. Named one by one, as the server
/// refuses to start on a name that its version does not know, also on one to leave out.
const CONTROLLERS: &str = "clusterrole-aggregation-controller,cronjob-controller,daemonset-controller,\
    deployment-controller,garbage-collector-controller,job-controller,namespace-controller,\
    replicaset-controller,replicationcontroller-controller,resourcequota-controller,\
    root-ca-certificate-publisher-controller,serviceaccount-controller,serviceaccount-token-controller,\
    statefulset-controller,ttl-after-finished-controller,validatingadmissionpolicy-status-controller";

/// Where etcd keeps its data.
pub const ETCD_DATA: &str = "etcd";

/// What the servers share.
pub struct Layout<'a> {
    pub dir: &'a Path,
    pub binaries: &'a ControlPlaneBinaries,
    pub etcd_port: u16,
    pub api_port: u16,
    pub audit: bool,
    pub api_server_args: &'a [String],
    pub controller_manager_args: &'a [String],
    pub etcd_args: &'a [String],
}

impl Layout<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn flag(&self, flag: &str, file: &str) -> String {
        format!("{flag}={}", self.path(file).display())
    }

    pub fn etcd(&self) -> Command {
        let url = format!("http://127.0.0.1:{}", self.etcd_port);
        let mut command = Command::new(&self.binaries.etcd);
        command
            .arg(self.flag("--data-dir", ETCD_DATA))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            // Nobody will ever peer with it: any port does.
            .arg("--listen-peer-urls=http://127.0.0.1:0")
            // The data need not survive a power cut, and a disk is slow.
            .arg("--unsafe-no-fsync")
            .arg("--quota-backend-bytes=8589934592")
            .arg("--log-level=warn")
            .args(self.etcd_args);
        command
    }

    pub fn api_server(&self) -> Command {
        let mut command = Command::new(&self.binaries.kube_apiserver);
        command
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.api_port))
            .arg(self.flag("--cert-dir", "certs"))
            .arg(self.flag("--tls-cert-file", "server.crt"))
            .arg(self.flag("--tls-private-key-file", "server.key"))
            .arg(self.flag("--client-ca-file", "ca.crt"))
            .arg(self.flag("--token-auth-file", "tokens.csv"))
            .arg("--authorization-mode=RBAC")
            .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
            .arg(self.flag("--service-account-signing-key-file", "sa.key"))
            .arg(self.flag("--service-account-key-file", "sa.pub"))
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            // A loopback address may not stand in the Endpoints of the `kubernetes` Service.
            .arg("--endpoint-reconciler-type=none")
            .arg("--allow-privileged=true")
            // The limits of a large cluster: the server is not what benchmarks should measure.
            .arg("--max-requests-inflight=3000")
            .arg("--max-mutating-requests-inflight=1000");
        if self.audit {
            command
                .arg(self.flag("--audit-log-path", "audit.log"))
                .arg(self.flag("--audit-policy-file", "audit-policy.yaml"))
                // In one piece, for the reader.
                .arg("--audit-log-maxsize=4096");
        }
        command.args(self.api_server_args);
        command
    }

    pub fn controller_manager(&self) -> Command {
        let mut command = Command::new(&self.binaries.kube_controller_manager);
        command
            .arg(self.flag("--kubeconfig", "controller-manager.kubeconfig"))
            .arg(format!("--controllers={CONTROLLERS}"))
            .arg("--leader-elect=false")
            .arg("--secure-port=0")
            .arg(self.flag("--root-ca-file", "ca.crt"))
            .arg(self.flag("--service-account-private-key-file", "sa.key"))
            // Its own limits would make the teardown of thousands of namespaces take minutes.
            .arg("--kube-api-qps=2000")
            .arg("--kube-api-burst=4000")
            .arg("--concurrent-namespace-syncs=20")
            .args(self.controller_manager_args);
        command
    }
}
