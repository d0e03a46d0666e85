//! Templates of Pods: they use Secrets also while there is no Pod of them, as of a Deployment at zero or a CronJob.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Deserialize;

use super::{bounded, pod_secrets::PodSecrets, reference_kind::ReferenceKind, schedule::MAX_PARTS};

/// The spec of an object that makes Pods.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct WorkloadSpec {
    template: Template,
    job_template: JobTemplate,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Template {
    spec: PodSecrets,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: JobSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    template: Template,
}

/// How a Job stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WorkloadStatus {
    #[serde(deserialize_with = "bounded::list::<_, _, MAX_PARTS>")]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

impl WorkloadSpec {
    /// Every Secret that its Pods name, with the field within the template.
    pub fn visit<'a>(&'a self, kind: ReferenceKind, visit: impl FnMut(&'a str, &'static str)) {
        let template = match kind {
            ReferenceKind::CronJob => &self.job_template.spec.template,
            _ => &self.template,
        };
        template.spec.visit(visit);
    }
}

impl WorkloadStatus {
    /// Whether it has come to its end and makes no Pods any more.
    pub fn is_finished(&self, kind: ReferenceKind) -> bool {
        let ended = |condition: &Condition| {
            matches!(&*condition.type_, "Complete" | "Failed") && condition.status == "True"
        };
        kind == ReferenceKind::Job && self.conditions.iter().any(ended)
    }
}

/// Whether another object stands for one of this kind, as its controller does: a Deployment for its ReplicaSets, also those of
/// earlier revisions, which would hold a Secret for as long as they are kept.
pub(crate) fn is_made_by_another(kind: ReferenceKind, owners: &[OwnerReference]) -> bool {
    let Some(maker) = kind.maker().map(ReferenceKind::api) else { return false };
    let group = |owner: &OwnerReference| {
        owner.api_version.split_once('/').is_some_and(|(group, _)| group == maker.group)
    };
    owners.iter().any(|owner| owner.controller == Some(true) && owner.kind == maker.kind && group(owner))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secrets(kind: ReferenceKind, spec: Value) -> Vec<(String, &'static str)> {
        let mut found = Vec::new();
        let spec: WorkloadSpec = serde_json::from_value(spec).unwrap();
        spec.visit(kind, |name, field| found.push((name.to_owned(), field)));
        found
    }

    #[test]
    fn a_template_names_what_its_pods_would() {
        let template = json!({"spec": {"imagePullSecrets": [{"name": "quay"}]}});
        let found = [("quay".to_owned(), "spec.imagePullSecrets")];
        for kind in ReferenceKind::ALL.into_iter().filter(|kind| kind.template().is_some()) {
            let is_cron = kind == ReferenceKind::CronJob;
            let (of_jobs, plain) =
                (json!({"jobTemplate": {"spec": {"template": template}}}), json!({"template": template}));
            let (right, other) = if is_cron { (of_jobs, plain) } else { (plain, of_jobs) };
            assert_eq!(secrets(kind, right), found, "{kind:?}");
            assert!(secrets(kind, other).is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn a_job_that_has_ended_makes_no_pods_any_more() {
        let status = |type_: &str, status: &str| {
            let status = json!({"conditions": [{"type": "Suspended", "status": "True"}, {"type": type_, "status": status}]});
            serde_json::from_value::<WorkloadStatus>(status).unwrap()
        };
        for (type_, value, finished) in
            [("Complete", "True", true), ("Failed", "True", true), ("Failed", "False", false)]
        {
            assert_eq!(status(type_, value).is_finished(ReferenceKind::Job), finished);
        }
        assert!(!status("Failed", "True").is_finished(ReferenceKind::Deployment));
    }

    #[test]
    fn a_deployment_stands_for_its_replica_sets() {
        let owner = |version: &str, kind: &str, controller| OwnerReference {
            api_version: version.into(),
            kind: kind.into(),
            controller,
            ..OwnerReference::default()
        };
        let set = ReferenceKind::ReplicaSet;
        assert!(is_made_by_another(set, &[owner("apps/v1", "Deployment", Some(true))]));
        assert!(is_made_by_another(ReferenceKind::Job, &[owner("batch/v1", "CronJob", Some(true))]));
        // Nobody looks at these.
        for other in [
            owner("argoproj.io/v1alpha1", "Rollout", Some(true)),
            owner("example.com/v1", "Deployment", Some(true)),
            owner("apps/v1", "Deployment", None),
        ] {
            assert!(!is_made_by_another(set, &[other]));
        }
        assert!(!is_made_by_another(
            ReferenceKind::StatefulSet,
            &[owner("apps/v1", "Deployment", Some(true))]
        ));
    }
}
