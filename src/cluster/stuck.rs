//! Pods that cannot pull an image, as the watch shows them.

use std::sync::Arc;

use kube::Resource;

use super::{cache::Cache, changes::Changes, interner::Interner, object::SlimPod, reflector::name_of};
use crate::domain::{
    identity::NamespacedName,
    labels::is_dns_subdomain,
    schedule::{MAX_IMAGE, MAX_IMAGES_OF_POD, MAX_PULL_SECRETS_OF_POD},
    stuck::StuckPod,
};

/// What makes the same Pod again when one goes. Others may take it for a failure: a Job counts it, and a run of a workflow is over.
const REMAKERS: [&str; 4] = ["ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"];

impl Cache {
    /// Puts in whether a Pod is stuck.
    pub(super) fn set_stuck(&mut self, pod: &SlimPod) -> Changes {
        let stuck = read(pod, &mut self.texts);
        let NamespacedName { namespace, name } = name_of(pod.meta());
        let namespace = self.texts.text(&namespace);
        self.change_stuck(&NamespacedName { namespace, name }, stuck)
    }

    pub(super) fn change_stuck(&mut self, name: &NamespacedName, pod: Option<StuckPod>) -> Changes {
        let is_news = self.snapshot.stuck.set(name, pod);
        Changes { stuck: is_news.then(|| name.namespace.clone()).into_iter().collect(), ..Changes::default() }
    }
}

/// What is kept of a Pod; `None` when it is not stuck, or nothing sound can be said of it.
fn read(pod: &SlimPod, texts: &mut Interner<str>) -> Option<StuckPod> {
    let (mut images, mut reason) = (Vec::<Arc<str>>::new(), None);
    for (image, failure) in pod.failing_images().filter(|(image, _)| image.len() <= MAX_IMAGE) {
        reason.get_or_insert(failure);
        if images.len() < MAX_IMAGES_OF_POD && !images.iter().any(|known| **known == *image) {
            images.push(texts.text(&image));
        }
    }
    let secrets = pod.pull_secrets();
    let mut names = secrets.clone().chain([pod.service_account()]);
    if secrets.clone().count() > MAX_PULL_SECRETS_OF_POD || !names.all(is_dns_subdomain) {
        return None;
    }
    let owners = pod.meta().owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    // A mirror of what a kubelet runs by itself: there is no ServiceAccount whose Secrets it would get.
    if controller.is_some_and(|owner| owner.kind == "Node") {
        return None;
    }
    let remaker = controller.filter(|owner| REMAKERS.contains(&&*owner.kind) && !pod.has_run());
    Some(StuckPod {
        uid: pod.meta().uid.as_deref()?.into(),
        resource_version: pod.meta().resource_version.as_deref()?.into(),
        service_account: texts.text(pod.service_account()),
        images: images.into(),
        pull_secrets: secrets.map(|name| texts.text(name)).collect(),
        controller: remaker.map(|owner| owner.uid.as_str().into()),
        since: pod.meta().creation_timestamp.as_ref()?.0,
        reason: reason?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(controller: &str, spec: Value, status: Value) -> SlimPod {
        let pod = json!({
            "metadata": {
                "namespace": "web", "name": "app-1", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z",
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "other"},
                    {"apiVersion": "apps/v1", "kind": controller, "name": "app", "uid": "rs", "controller": true},
                ],
            },
            "spec": spec, "status": status,
        });
        serde_json::from_value(pod).unwrap()
    }

    fn failing(images: &[&str]) -> Value {
        let state = json!({"waiting": {"reason": "ErrImagePull", "message": "…"}});
        let statuses: Vec<_> =
            images.iter().map(|image| json!({"name": "c", "image": image, "state": state})).collect();
        json!({"phase": "Pending", "containerStatuses": statuses})
    }

    fn read(spec: Value, status: Value) -> Option<StuckPod> {
        super::read(&pod("ReplicaSet", spec, status), &mut Interner::default())
    }

    #[test]
    fn what_is_needed_of_a_pod_is_kept() {
        let found =
            read(json!({"imagePullSecrets": [{"name": "a"}]}), failing(&["quay.io/a", "quay.io/a:2", "b"]));
        let found = found.unwrap();
        assert_eq!((&*found.service_account, found.pull_secrets.len()), ("default", 1));
        assert_eq!(
            found.images.iter().map(|image| &**image).collect::<Vec<_>>(),
            ["quay.io/a", "docker.io/library/b"]
        );
        assert_eq!(found.controller, Some("rs".into()));
        let named = read(json!({"serviceAccountName": "builder"}), failing(&["a"])).unwrap();
        assert_eq!(&*named.service_account, "builder");
        let mut half = failing(&["a", "b"]);
        half["containerStatuses"][1] = json!({"image": "b", "state": {"running": {}}});
        assert_eq!(read(json!({}), half).unwrap().controller, None, "it works, if only in part");
        let owned = |kind| super::read(&pod(kind, json!({}), failing(&["a"])), &mut Interner::default());
        assert_eq!(owned("Job").unwrap().controller, None);
        assert_eq!(owned("Node"), None);
    }

    #[test]
    fn what_is_over_or_works_or_cannot_be_judged_is_not() {
        let over = json!({"phase": "Failed", "containerStatuses": failing(&["a"])["containerStatuses"]});
        assert_eq!(read(json!({}), over), None);
        assert_eq!(read(json!({}), json!({"phase": "Running"})), None);
        let many: Vec<_> = (0..=MAX_PULL_SECRETS_OF_POD).map(|n| json!({"name": format!("s-{n}")})).collect();
        assert_eq!(read(json!({"imagePullSecrets": many}), failing(&["a"])), None);
        assert_eq!(read(json!({"serviceAccountName": "A\u{1b}"}), failing(&["a"])), None);
        let long = format!("{}/a", vec!["a"; 300].join("."));
        assert_eq!(read(json!({}), failing(&[&long])), None);
    }

    #[test]
    fn no_more_is_kept_of_a_pod_than_so_much() {
        let images: Vec<String> = (0..100).map(|n| format!("quay.io/app-{n}")).collect();
        let images: Vec<&str> = images.iter().map(String::as_str).collect();
        assert_eq!(read(json!({}), failing(&images)).unwrap().images.len(), MAX_IMAGES_OF_POD);
    }
}
