use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::{
    api::CredentialKind,
    domain::{
        default::DefaultWish,
        identity::CredentialId,
        namespace::Namespace,
        pod_status::PullFailure,
        selection::LOCAL,
        stuck::StuckPod,
        targets::{ClusterTargets, Verdict},
    },
};

/// A credential that is a default of its own namespace, which is `home`.
fn desired(restart_stuck_pods: bool) -> DesiredState {
    let id = |name: &str| CredentialId {
        kind: CredentialKind::RegistryCredential,
        namespace: "home".into(),
        name: name.into(),
    };
    let wish = DefaultWish {
        accounts: ["default".into()].into(),
        priority: 0,
        keys: ["quay.io".into()].into(),
        restart_stuck_pods,
    };
    DesiredState { default: Some(Arc::new(wish)), ..DesiredState::blank(id("quay")) }
}

fn targets() -> ClusterTargets {
    ClusterTargets::new(&"home".into(), None, [], LOCAL, false, &std::collections::BTreeMap::new())
}

/// A snapshot of a namespace with one stuck Pod, whose ServiceAccount has these entries.
fn snapshot(namespace: &str, entries: &[&str], change: impl FnOnce(&mut StuckPod)) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let account = ExistingAccount {
        uid: "sa".into(),
        resource_version: "1".into(),
        entries: entries.iter().map(|entry| Arc::from(*entry)).collect(),
        is_full: false,
        marks: Arc::default(),
        annotated: false,
        terminating: false,
    };
    snapshot.accounts.insert(NamespacedName::new(namespace, "default"), account);
    let mut pod = StuckPod {
        uid: "p".into(),
        resource_version: "1".into(),
        service_account: "default".into(),
        images: Box::new(["quay.io/acme/app".into()]),
        pull_secrets: Box::default(),
        controller: Some("rs".into()),
        since: Timestamp::UNIX_EPOCH,
        reason: PullFailure::ErrImagePull,
    };
    change(&mut pod);
    snapshot.stuck.set(&NamespacedName::new(namespace, "app"), Some(pod));
    snapshot
}

fn plan(snapshot: &Snapshot, desired: &DesiredState, namespace: &str, is_synced: bool) -> (usize, usize) {
    let (name, seen, targets): (Arc<str>, _, _) = (namespace.into(), Namespace::default(), targets());
    let place = Place {
        name: &name,
        seen: &seen,
        verdict: Verdict::Permitted,
        targets: Some(&targets),
        withdraw: false,
    };
    let planned = plan_stuck(snapshot, desired, Some(&[]), place, is_synced);
    (planned.stuck.total, planned.candidates.len())
}

#[test]
fn a_pod_is_evicted_only_when_another_one_would_have_the_secret() {
    let (attached, not_yet) = (snapshot("home", &["quay"], |_| {}), snapshot("home", &[], |_| {}));
    assert_eq!(plan(&attached, &desired(true), "home", true), (1, 1));
    assert_eq!(plan(&attached, &desired(false), "home", true), (1, 0), "nobody asked for it");
    assert_eq!(plan(&attached, &desired(true), "home", false), (1, 0), "there is no copy yet");
    assert_eq!(plan(&not_yet, &desired(true), "home", true), (1, 0), "it is not attached yet");
    let alone = snapshot("home", &["quay"], |pod| pod.controller = None);
    assert_eq!(plan(&alone, &desired(true), "home", true), (1, 0), "nothing would make another one");
}

#[test]
fn what_the_default_would_not_help_is_not_its_business() {
    let elsewhere = snapshot("web", &["quay"], |_| {});
    assert_eq!(plan(&elsewhere, &desired(true), "web", true), (0, 0), "no consent");
    let other = snapshot("home", &["quay"], |pod| pod.service_account = "builder".into());
    assert_eq!(plan(&other, &desired(true), "home", true), (0, 0));
    let has = snapshot("home", &["quay"], |pod| pod.pull_secrets = Box::new(["quay".into()]));
    assert_eq!(plan(&has, &desired(true), "home", true), (0, 0), "it fails for another reason");
    let own = snapshot("home", &["quay"], |pod| pod.pull_secrets = Box::new(["own".into()]));
    assert_eq!(plan(&own, &desired(true), "home", true), (0, 0), "its own list");
    let image = snapshot("home", &["quay"], |pod| pod.images = Box::new(["ghcr.io/acme/app".into()]));
    assert_eq!(plan(&image, &desired(true), "home", true), (0, 0));
    let none = DesiredState { default: None, ..desired(true) };
    assert_eq!(plan(&snapshot("home", &["quay"], |_| {}), &none, "home", true), (0, 0));
}

#[test]
fn five_thousand_pods_are_counted() {
    let mut snapshot = snapshot("home", &["quay"], |_| {});
    let pod = snapshot.stuck.within("home").next().map(|(_, pod)| pod.clone()).unwrap();
    for n in 1..5_000 {
        let name = NamespacedName::new("home", format!("app-{n}").as_str());
        snapshot.stuck.set(&name, Some(StuckPod { uid: format!("{n}").as_str().into(), ..pod.clone() }));
    }
    assert_eq!(plan(&snapshot, &desired(true), "home", true), (5_000, 5_000));
}
