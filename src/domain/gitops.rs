//! Who else keeps an object: tools that would write it again, or remove it, from what stands in Git or in a chart.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A tool that keeps objects as they stand somewhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GitOps {
    ArgoCd,
    Flux,
    Helm,
}

/// Marks of the tools: a key of a label or annotation, whole or up to its slash, and managers of fields.
const MARKS: [(GitOps, &[&str], &[&str]); 3] = [
    (
        GitOps::ArgoCd,
        &["argocd.argoproj.io/tracking-id", "argocd.argoproj.io/instance"],
        &["argocd-controller", "argocd-application-controller"],
    ),
    (
        GitOps::Flux,
        &["kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"],
        &["kustomize-controller", "helm-controller"],
    ),
    (GitOps::Helm, &["meta.helm.sh/release-name"], &["helm"]),
];

impl GitOps {
    /// As its users call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArgoCd => "Argo CD",
            Self::Flux => "Flux",
            Self::Helm => "Helm",
        }
    }
}

/// The tool that keeps an object. Labels say it only where nobody copies them from elsewhere.
pub(crate) fn keeper(meta: &ObjectMeta, trust_labels: bool) -> Option<GitOps> {
    let labels = meta.labels.iter().filter(|_| trust_labels).flatten();
    let keys: Vec<&str> =
        labels.chain(meta.annotations.iter().flatten()).map(|(key, _)| key.as_str()).collect();
    let managers: Vec<&str> =
        meta.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref()).collect();
    let is_marked =
        |mark: &str| keys.iter().any(|key| *key == mark || mark.ends_with('/') && key.starts_with(mark));
    let found = MARKS.iter().find(|(_, marks, names)| {
        marks.iter().any(|mark| is_marked(mark)) || names.iter().any(|name| managers.contains(name))
    });
    found.map(|(tool, ..)| *tool)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tools_are_known_by_their_marks() {
        for (meta, trusted, plain) in [
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}),
                Some(GitOps::ArgoCd),
                Some(GitOps::ArgoCd),
            ),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}), Some(GitOps::Flux), None),
            (
                json!({"annotations": {"meta.helm.sh/release-name": "x"}}),
                Some(GitOps::Helm),
                Some(GitOps::Helm),
            ),
            (
                json!({"managedFields": [{"manager": "argocd-controller"}]}),
                Some(GitOps::ArgoCd),
                Some(GitOps::ArgoCd),
            ),
            (
                json!({"managedFields": [{"manager": "kubectl"}], "labels": {"app.kubernetes.io/instance": "x"}}),
                None,
                None,
            ),
        ] {
            let read: ObjectMeta = serde_json::from_value(meta.clone()).unwrap();
            assert_eq!((keeper(&read, true), keeper(&read, false)), (trusted, plain), "{meta}");
        }
    }
}
