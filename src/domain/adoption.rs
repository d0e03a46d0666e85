//! Clusters that other tools know, taken over as members.

use std::collections::BTreeMap;

use super::{
    identity::digest,
    labels::is_dns_label,
    selection::{LOCAL, canonical},
};
use crate::api::{
    ANNOTATION_ADOPTED_FROM, AdoptedFrom, ClusterTool, LABEL_MANAGED_BY, MANAGER, MemberCluster,
};

/// The longest DNS label.
const MAX_NAME: usize = 63;

/// Whose clusters become members by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopt {
    /// The namespace of Argo CD.
    pub argocd: Option<String>,
    /// Where the clusters of Cluster API are.
    pub cluster_api: Option<Scope>,
}

/// Which namespaces are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// This one.
    Namespace(String),
}

impl Scope {
    /// Reads a flag: a name, or `*`; nothing when it is empty.
    pub fn of(flag: &str) -> Option<Self> {
        match flag {
            "" => None,
            "*" => Some(Self::All),
            name => Some(Self::Namespace(name.to_owned())),
        }
    }

    /// Whether a namespace is looked at.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(name) => name == namespace,
        }
    }
}

/// Annotation by which Argo CD is told to leave a cluster alone.
pub const ARGOCD_SKIP: &str = "argocd.argoproj.io/skip-reconcile";

/// Domains of labels that mean something to the tools that put them there: copied, they would take the
/// MemberCluster for one of theirs, and change or prune it.
const TOOLS: [&str; 9] = [
    "claviger.dev",
    "argoproj.io",
    "fluxcd.io",
    "helm.sh",
    "cattle.io",
    "k14s.io",
    "cert-manager.io",
    "k8s.io",
    "x-k8s.io",
];

/// The same of Kubernetes itself; other labels of its domains say where a cluster is and what it is.
const KUBERNETES: [&str; 6] = [
    "kubernetes.io",
    "applyset.kubernetes.io",
    "batch.kubernetes.io",
    "config.kubernetes.io",
    "kubectl.kubernetes.io",
    "node.kubernetes.io",
];

impl Adopt {
    /// Whether clusters of a tool are adopted from a namespace.
    pub fn covers(&self, tool: ClusterTool, namespace: &str) -> bool {
        match tool {
            ClusterTool::ArgoCD => self.argocd.as_deref() == Some(namespace),
            ClusterTool::ClusterAPI => self.cluster_api.as_ref().is_some_and(|scope| scope.covers(namespace)),
        }
    }

    /// The name of the MemberCluster for a cluster that a tool calls by this name: the same, where it can be. Where
    /// tenants can name clusters, it begins with their namespace, so that nobody takes the name of another's.
    pub fn member_name(&self, from: &AdoptedFrom, name: &str) -> String {
        let label = if canonical(name) == LOCAL { digested(name) } else { dns_label(name) };
        if self.is_open(from.tool) { format!("{}.{label}", from.namespace) } else { label }
    }

    /// The labels of the MemberCluster for a Secret with these. None where tenants can name clusters: the labels of the
    /// MemberCluster are the administrators' then, as policies select by them.
    pub fn member_labels(
        &self,
        tool: ClusterTool,
        secret: &BTreeMap<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        (!self.is_open(tool)).then(|| {
            let mut labels = secret.clone();
            labels.retain(|key, _| !is_internal(key));
            labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGER.to_owned());
            labels
        })
    }

    /// Whether Secrets of all namespaces are looked at, also of tenants.
    fn is_open(&self, tool: ClusterTool) -> bool {
        tool == ClusterTool::ClusterAPI && self.cluster_api == Some(Scope::All)
    }
}

/// The Secret of another tool that a member was made of, by its annotation.
pub fn adopted_from(member: &MemberCluster) -> Option<AdoptedFrom> {
    let annotations = member.metadata.annotations.as_ref()?;
    let mut parts = annotations.get(ANNOTATION_ADOPTED_FROM)?.splitn(3, '/');
    let tool = match parts.next()? {
        "ArgoCD" => ClusterTool::ArgoCD,
        "ClusterAPI" => ClusterTool::ClusterAPI,
        _ => return None,
    };
    let (namespace, name) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    Some(AdoptedFrom { tool, namespace, name })
}

/// The value of that annotation.
pub fn adoption_mark(from: &AdoptedFrom) -> String {
    // A variant is called as in the status.
    format!("{:?}/{}/{}", from.tool, from.namespace, from.name)
}

/// A DNS label for any text: the text itself, where it is one.
pub fn dns_label(text: &str) -> String {
    if is_dns_label(text) { text.to_owned() } else { digested(text) }
}

/// A DNS label that is made of a text and its digest.
fn digested(text: &str) -> String {
    let suffix: String = digest::<3>(text).iter().map(|byte| format!("{byte:02x}")).collect();
    let mapped: String = text
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(MAX_NAME - suffix.len() - 1)
        .collect();
    match mapped.trim_matches('-') {
        "" => format!("cluster-{suffix}"),
        mapped => format!("{mapped}-{suffix}"),
    }
}

fn is_internal(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return false };
    key == "app.kubernetes.io/instance"
        || KUBERNETES.contains(&domain)
        || TOOLS
            .iter()
            .any(|tool| domain.strip_suffix(tool).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn adopting(scope: &str) -> Adopt {
        Adopt { argocd: Some("argocd".to_owned()), cluster_api: Scope::of(scope) }
    }

    fn from(tool: ClusterTool, namespace: &str) -> AdoptedFrom {
        AdoptedFrom { tool, namespace: namespace.to_owned(), name: "x".to_owned() }
    }

    fn member_name(name: &str) -> String {
        adopting("fleet").member_name(&from(ClusterTool::ClusterAPI, "fleet"), name)
    }

    #[test]
    fn names_stay_where_they_can() {
        assert_eq!(member_name("east-1"), "east-1");
        let changed = member_name("East_1.example.com");
        assert!(changed.starts_with("east-1-example-com-") && changed.len() == 25, "{changed}");
        assert_ne!(member_name("East"), member_name("EAST"));
        for name in ["local", "in-cluster"] {
            assert!(member_name(name).starts_with(&format!("{name}-")), "{name}");
        }
        assert!(member_name("\u{65e5}\u{672c}").starts_with("cluster-"));
    }

    #[test]
    fn tenants_neither_name_a_cluster_as_another_nor_label_it() {
        let all = adopting("*");
        let named =
            |namespace: &str, name: &str| all.member_name(&from(ClusterTool::ClusterAPI, namespace), name);
        assert_eq!(named("team", "blue"), "team.blue");
        assert_ne!(named("a-b", "c"), named("a", "b-c"));
        assert_ne!(named("a", "b.c"), named("a", "b-c"));
        let labels = [("env".to_owned(), "prod".to_owned())].into();
        assert_eq!(all.member_labels(ClusterTool::ClusterAPI, &labels), None);
        // Argo CD's namespace is for administrators.
        assert_eq!(all.member_name(&from(ClusterTool::ArgoCD, "argocd"), "blue"), "blue");
        assert!(all.member_labels(ClusterTool::ArgoCD, &labels).is_some());
    }

    #[test]
    fn labels_of_people_are_copied_and_those_of_tools_are_not() {
        let labels = [
            ("env", "prod"),
            ("topology.kubernetes.io/region", "eu"),
            ("argocd.argoproj.io/secret-type", "cluster"),
            ("cluster.x-k8s.io/cluster-name", "a"),
            ("app.kubernetes.io/instance", "app"),
            ("kustomize.toolkit.fluxcd.io/name", "x"),
            ("app.kubernetes.io/managed-by", "Helm"),
            ("applyset.kubernetes.io/part-of", "x"),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let copied = adopting("fleet").member_labels(ClusterTool::ClusterAPI, &labels).unwrap();
        let keys: Vec<&str> = copied.keys().map(String::as_str).collect();
        assert_eq!(keys, ["app.kubernetes.io/managed-by", "env", "topology.kubernetes.io/region"]);
        assert_eq!(copied[LABEL_MANAGED_BY], MANAGER);
    }

    proptest! {
        #[test]
        fn every_name_becomes_one_that_the_api_server_takes(name in ".{0,100}") {
            let made = member_name(&name);
            prop_assert!(is_dns_label(&made) && canonical(&made) != LOCAL, "{}", made);
        }

        #[test]
        fn no_two_namespaces_make_the_same_name(
            one in "[a-z][a-z-]{0,3}[a-z]", other in "[a-z][a-z-]{0,3}[a-z]", name in ".{0,8}", taken in ".{0,8}",
        ) {
            let named = |namespace: &str, name: &str| {
                adopting("*").member_name(&from(ClusterTool::ClusterAPI, namespace), name)
            };
            prop_assert!(one == other || named(&one, &name) != named(&other, &taken));
            // Names that people give have no dot.
            prop_assert!(!is_dns_label(&named(&one, &name)));
        }
    }
}
