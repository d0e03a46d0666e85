//! What the demo plays on: a control plane, the operator, and a view of both.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use claviger::api::MemberCluster;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Discovery,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    kubectl,
    member::Member,
    programme::Programme,
    sight::Sight,
    support::{
        ControlPlane, Operator, Result, apply_yaml, binaries,
        environment::{OPERATOR_NAMESPACE, prepare},
        error::Context,
        operator_binary,
        registry::Registry,
    },
};

/// The kind that the story is about.
pub const KIND: &str = "RegistryCredential";
/// Where the credentials of `examples/platform-team.yaml` are.
pub const HOME: &str = "platform";
/// The label by which they choose namespaces.
pub const LABEL: &str = "acme.example.com/pull";
/// The examples that need what is not here: a second cluster, which exists, and an account of a cloud.
const OF_OTHERS: [&str; 2] = ["member-cluster.yaml", "minted-tokens.yaml"];
/// A member that is cut off is noticed sooner than with the defaults, which are 10 s each.
const QUICK: [&str; 2] = ["--request-timeout=2s", "--member-probe-interval=2s"];

pub struct Stage {
    pub client: Client,
    /// All kinds of credential.
    pub kinds: Vec<ApiResource>,
    pub binary: PathBuf,
    // In this order they are stopped.
    pub registry: Option<Registry>,
    pub member: Option<Member>,
    pub sight: Sight,
    pub operator: Arc<Operator>,
    pub control_plane: ControlPlane,
}

impl Stage {
    /// Builds what is missing and starts everything.
    pub async fn raise(programme: &mut Programme) -> Result<Self> {
        let screen = programme.screen.clone();
        programme.begin("Programs", "The operator, Kubernetes and a registry. They are built once.");
        screen.command("cargo build --bin claviger");
        let (binary, operator_took) = programme
            .wait("building the operator", async { tokio::task::spawn_blocking(operator_binary).await? })
            .await?;
        let shown = binary.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&binary);
        screen.done(&format!("the operator: {}", shown.display()), Some(operator_took));
        let (programs, kubernetes_took) = programme
            .wait("looking for Kubernetes", async {
                tokio::task::spawn_blocking(binaries::control_plane).await?
            })
            .await?;
        let folder = programs.kube_apiserver.parent().unwrap_or(Path::new(""));
        screen.done(
            &format!("etcd, kube-apiserver, kube-controller-manager: {}", folder.display()),
            Some(kubernetes_took),
        );
        let (registry, registry_took) = programme
            .wait("looking for a registry", async {
                tokio::task::spawn_blocking(|| binaries::go_tool("registry", "registry")).await?
            })
            .await?;
        screen.done(&format!("a registry: {}", registry.display()), Some(registry_took));
        let took = operator_took + kubernetes_took + registry_took;
        programme.end("operator, etcd, kube-apiserver, kube-controller-manager, registry", took).await;

        programme.begin(
            "A control plane",
            "etcd, kube-apiserver and kube-controller-manager on loopback, in a temporary directory. No nodes, no containers.",
        );
        let (control_plane, took) = programme
            .wait("starting etcd, kube-apiserver, kube-controller-manager", ControlPlane::builder().start())
            .await?;
        let client = control_plane.client().await?;
        let version = client.apiserver_version().await?.git_version;
        let result = format!("Kubernetes {version}");
        screen.done(&format!("{result} at {}", control_plane.server_url()), Some(took));
        programme.end(result, took).await;

        programme.begin("Claviger", "The custom resource definitions, and the operator as a process.");
        screen.command("kubectl apply -f crds/");
        let ((), crds_took) = programme.wait("installing the CRDs", prepare(&client)).await?;
        let kinds = credential_kinds(&client).await?;
        let names: Vec<_> = kinds.iter().map(|kind| kind.kind.as_str()).collect();
        screen.done(&format!("{}, DistributionPolicy, MemberCluster", names.join(", ")), Some(crds_took));
        screen.command(&format!("claviger run --namespace {OPERATOR_NAMESPACE} {}", QUICK.join(" ")));
        let operator = Operator::builder(&binary, control_plane.kubeconfig())
            .namespace(OPERATOR_NAMESPACE)
            .arg("--log-format=text");
        let operator = QUICK.iter().fold(operator, |operator, flag| operator.arg(*flag));
        let (operator, ready_took) = programme.wait("starting the operator", operator.start()).await?;
        screen.done("the operator leads, has read the cluster, and is ready", Some(ready_took));
        programme.end(names.join(", "), crds_took + ready_took).await;

        let operator = Arc::new(operator);
        let watched: Vec<_> =
            kinds.iter().cloned().chain([ApiResource::erase::<MemberCluster>(&())]).collect();
        let sight = Sight::open(&client, &watched, operator.clone());
        Ok(Self { client, kinds, binary, registry: None, member: None, sight, operator, control_plane })
    }

    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        match self.kinds.iter().find(|known| known.kind == kind) {
            Some(resource) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => {
                let gvk = kube::core::GroupVersionKind::gvk("", "v1", kind);
                Api::namespaced_with(self.client.clone(), namespace, &ApiResource::from_gvk(&gvk))
            }
        }
    }

    pub async fn create_namespace(&self, name: &str, labels: Value) -> Result<()> {
        create_namespace(&self.client, name, labels).await
    }

    pub async fn label_namespace(&self, name: &str, labels: Value) -> Result<()> {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        Api::<Namespace>::all(self.client.clone()).patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    pub async fn patch(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> Result<DynamicObject> {
        let api = self.api(kind, namespace);
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.context(format!("patching {kind} {namespace}/{name}"))
    }

    /// At once: no kubelet is there to say that a Pod has ended.
    pub async fn delete(&self, kind: &str, namespace: &str, name: &str) -> Result<()> {
        let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        let deleted = self.api(kind, namespace).delete(name, &params).await;
        deleted.context(format!("deleting {kind} {namespace}/{name}"))?;
        Ok(())
    }

    /// Applies documents and says when the first was sent.
    pub async fn apply(&self, yaml: &str) -> Result<(Vec<DynamicObject>, Instant)> {
        let since = Instant::now();
        Ok((apply_yaml(&self.client, yaml).await?, since))
    }

    /// The rows that kubectl would show of one credential.
    pub async fn row(&self, namespace: &str, name: &str) -> Result<Vec<Vec<String>>> {
        let Some(resource) = self.kinds.iter().find(|kind| kind.kind == KIND) else { return Ok(Vec::new()) };
        kubectl::get(&self.client, resource, Some(namespace), &format!("metadata.name={name}")).await
    }
}

pub async fn create_namespace(client: &Client, name: &str, labels: Value) -> Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
    let api = Api::<Namespace>::all(client.clone());
    api.create(&PostParams::default(), &namespace).await.context(format!("namespace {name}"))?;
    Ok(())
}

/// What `kubectl get credentials` knows.
async fn credential_kinds(client: &Client) -> Result<Vec<ApiResource>> {
    let discovery = Discovery::new(client.clone()).filter(&["claviger.dev"]).run().await?;
    let mut kinds: Vec<ApiResource> = discovery
        .groups()
        .flat_map(|group| group.recommended_resources())
        .map(|(resource, _)| resource)
        .filter(|resource| resource.kind.ends_with("Credential"))
        .collect();
    kinds.sort_by_key(|resource| (resource.kind != KIND, resource.kind.clone()));
    Ok(kinds)
}

/// Name below the repository, and text, of every manifest in `examples/` for one cluster; that of the platform team last.
pub fn examples() -> Result<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries: Vec<PathBuf> = fs::read_dir(&folder)
        .context(folder.display())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    let mut found = Vec::new();
    for path in entries.iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if OF_OTHERS.contains(&&*name) {
            continue;
        }
        found.push((format!("examples/{name}"), fs::read_to_string(path).context(path.display())?));
    }
    found.sort_by_key(|(name, _)| (name.ends_with("platform-team.yaml"), name.clone()));
    Ok(found)
}
