use super::*;

fn pod(uid: &str, since: i64) -> StuckPod {
    StuckPod {
        uid: uid.into(),
        resource_version: "1".into(),
        service_account: "default".into(),
        images: Box::new(["quay.io/acme/app".into()]),
        pull_secrets: Box::default(),
        controller: Some("rs".into()),
        since: Timestamp::from_second(since).unwrap(),
        reason: PullFailure::ErrImagePull,
    }
}

fn lacks(pod: &StuckPod, secret: &str, keys: &[&str]) -> bool {
    let keys: Vec<Key> = keys.iter().map(|key| Key::new(key)).collect();
    pod.lacks(secret, &["quay".into(), "another".into()], &keys)
}

#[test]
fn only_what_the_secret_would_have_helped_lacks_it() {
    let stuck = pod("a", 1);
    let named = StuckPod { pull_secrets: Box::new(["quay".into()]), ..stuck.clone() };
    let hub = StuckPod { images: Box::new(["docker.io/library/nginx".into()]), ..stuck.clone() };
    let both =
        StuckPod { images: Box::new(["ghcr.io/a/b".into(), "quay.io/acme/app".into()]), ..stuck.clone() };
    let own = StuckPod { pull_secrets: Box::new(["another".into(), "own".into()]), ..stuck.clone() };
    for (pod, keys, expected) in [
        (&stuck, &["quay.io"][..], true),
        (&stuck, &["ghcr.io", "quay.io/acme"], true),
        (&stuck, &["quay.io/other"], false),
        (&stuck, &["quay.io:443"], false),
        (&stuck, &[], false),
        // It has the Secret, and fails for another reason.
        (&named, &["quay.io"], false),
        // It names what its ServiceAccount does not: another one would not get the Secret either.
        (&own, &["quay.io"], false),
        (&hub, &["https://index.docker.io/v1/"], true),
        (&hub, &["https://index.docker.io/v1"], false),
        (&both, &["quay.io"], true),
    ] {
        assert_eq!(lacks(pod, "quay", keys), expected, "{pod:?} {keys:?}");
    }
    assert!(lacks(&named, "another", &["quay.io"]), "older than this entry of its ServiceAccount");
}

#[test]
fn what_kubelet_calls_it_is_no_news_and_another_pod_of_that_name_is() {
    let mut pods = StuckPods::default();
    let name = NamespacedName::new("web", "app");
    assert!(pods.set(&name, Some(pod("a", 1))));
    let later = StuckPod { reason: PullFailure::ImagePullBackOff, ..pod("a", 1) };
    assert!(!pods.set(&name, Some(later)));
    assert!(pods.set(&name, Some(pod("b", 2))));
    assert_eq!(pods.within("web").count(), 1);
    assert!(pods.set(&name, None) && !pods.set(&name, None));
    assert_eq!((pods.names().count(), pods.bytes()), (0, 0));
}

#[test]
fn one_namespace_does_not_take_the_room_of_all() {
    let mut pods = StuckPods::default();
    let mut put = |namespace: &str, n: usize| {
        pods.set(&NamespacedName::new(namespace, format!("app-{n}").as_str()), Some(pod("a", 1)))
    };
    assert!((0..MAX_STUCK_OF_NAMESPACE).all(|n| put("hostile", n)));
    assert!(!put("hostile", MAX_STUCK_OF_NAMESPACE));
    assert!(put("web", 0));
    assert!(!put("web", 0), "no news");
    for namespace in 0.. {
        let namespace = format!("hostile-{namespace}");
        if (0..MAX_STUCK_OF_NAMESPACE).any(|n| !put(&namespace, n)) {
            break;
        }
    }
    assert_eq!(pods.names().count(), MAX_STUCK);
    assert!(pods.bytes() < 16 << 20);
}

#[test]
fn the_total_is_exact_and_the_oldest_are_listed() {
    let all: Vec<(Arc<str>, StuckPod)> =
        (0..30).map(|n| (format!("app-{n}").as_str().into(), pod("a", 1000 - n))).collect();
    let of = |namespace: &str| Stuck::of(&namespace.into(), all.iter().map(|(name, pod)| (name, pod)));
    let web = of("web");
    assert_eq!((web.total, web.oldest.len()), (30, MAX_LISTED_STUCK));
    assert_eq!((&*web.oldest[0].name, web.oldest[0].since.as_second()), ("app-29", 971));
    let sum = Stuck::sum([&web, &of("db"), &Stuck::default()]);
    assert_eq!((sum.total, sum.oldest.len()), (60, MAX_LISTED_STUCK));
    let first: Vec<_> = sum.oldest.iter().take(2).map(|pod| &*pod.namespace).collect();
    assert_eq!(first, ["db", "web"]);
}

#[test]
fn a_new_version_alone_is_no_news_and_is_kept() {
    let mut pods = StuckPods::default();
    let name = NamespacedName::new("web", "app");
    assert!(pods.set(&name, Some(pod("a", 1))));
    assert!(!pods.set(&name, Some(StuckPod { resource_version: "2".into(), ..pod("a", 1) })));
    let (_, kept) = pods.within("web").next().unwrap();
    assert_eq!(kept.resource_version.to_string(), "2", "or it could never be evicted");
    assert!(pods.set(&name, Some(StuckPod { controller: None, ..pod("a", 1) })));
}
