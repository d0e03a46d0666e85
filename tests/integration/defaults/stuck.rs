//! Pods that were created before a default was attached: listed, told, and evicted where that was asked for.

use std::time::Duration;

use claviger::cli::member_rbac::{MemberRbacArgs, manifests};
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{Accounts, default_status, policy, spec};
use crate::{
    checks::{count_events, delete_pod, good_source, wait_events},
    fleet::world::{Member, World},
    scenario::Scenario,
    support::{Error, Result, apply_yaml, stays, wait_for},
};

/// More than Pods have to be stuck before the first is evicted.
const PATIENT: Duration = Duration::from_secs(60);

const IMAGE: &str = "r.example.com/acme/app:1";

/// A namespace with Pods of before, and consent for a default.
struct Stage {
    test: Scenario,
    namespace: String,
}

impl Stage {
    async fn new() -> Result<Self> {
        let test = Scenario::shared().await?;
        policy(&test, true).await?;
        good_source(&test, "src", "the-password").await?;
        let namespace = test.targets(1).await?.remove(0);
        Accounts::of(&test).exists(&namespace).await?;
        Ok(Self { test, namespace })
    }

    fn pods(&self) -> Api<Pod> {
        self.test.pods(&self.namespace)
    }

    /// A Pod by itself, which may name pull Secrets.
    async fn pod(&self, name: &str, image: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let mut pod = json!({
            "metadata": {"name": name}, "spec": {"containers": [{"name": "app", "image": image}]},
        });
        change(&mut pod);
        self.pods().create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        self.fails(name, image, "ErrImagePull").await
    }

    /// What kubelet says of a Pod that cannot pull.
    async fn fails(&self, name: &str, image: &str, reason: &str) -> Result<()> {
        says(&self.pods(), name, "Pending", image, reason).await
    }

    /// The names of the Pods that a controller made and that are not going, when there are so many; none of those of `before`.
    async fn made(&self, controller: &str, count: usize, before: &[Pod]) -> Result<Vec<Pod>> {
        let pods = self.pods();
        let named = ListParams::default().labels(&format!("app={controller}"));
        wait_for(PATIENT, &format!("{count} new Pods of {controller}"), async || {
            let mut all = pods.list(&named).await.map_err(|error| error.to_string())?.items;
            all.retain(|pod| pod.metadata.deletion_timestamp.is_none());
            let is_old = |pod: &Pod| before.iter().any(|old| old.uid() == pod.uid());
            if all.len() == count && !all.iter().any(is_old) { Ok(all) } else { Err(format!("{all:?}")) }
        })
        .await
    }

    /// A controller, and its Pods, which cannot pull.
    async fn replicas(&self, name: &str, count: usize, secrets: &[&str]) -> Result<Vec<Pod>> {
        let secrets: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "replicas": count, "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "app", "image": IMAGE}], "imagePullSecrets": secrets},
                },
            },
        }))?;
        let sets: Api<ReplicaSet> = Api::namespaced(self.test.client.clone(), &self.namespace);
        sets.create(&PostParams::default(), &set).await?;
        let made = self.made(name, count, &[]).await?;
        for pod in &made {
            self.fails(&pod.name_any(), IMAGE, "ImagePullBackOff").await?;
        }
        Ok(made)
    }

    async fn default(&self, restart: bool) -> Result<()> {
        let mut spec = spec(&self.test, 0);
        spec["default"]["restartStuckPods"] = json!(restart);
        self.test.credential("reg", spec).await.map(drop)
    }

    /// Waits until so many Pods are told to be stuck; returns those that are listed.
    async fn wait_stuck(&self, total: i64) -> Result<Vec<String>> {
        wait_for(PATIENT, &format!("{total} stuck Pods"), async || {
            let status = default_status(&self.test, "reg").await.map_err(|error| error.to_string())?;
            let told = format!("{status:?}");
            let stuck = status.stuck.unwrap_or_default();
            let names = stuck.items.into_iter().map(|pod| pod.name).collect();
            if stuck.total == total { Ok(names) } else { Err(told) }
        })
        .await
    }

    /// The pull Secrets of a Pod.
    async fn named(&self, pod: &Pod) -> Result<Vec<String>> {
        let pod = self.pods().get(&pod.name_any()).await?;
        let secrets = pod.spec.and_then(|spec| spec.image_pull_secrets).unwrap_or_default();
        Ok(secrets.into_iter().map(|secret| secret.name).collect())
    }
}

async fn says(pods: &Api<Pod>, name: &str, phase: &str, image: &str, reason: &str) -> Result<()> {
    let waiting = json!({
        "name": "app", "image": image, "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": reason, "message": "no"}},
    });
    let status = json!({"status": {"phase": phase, "containerStatuses": [waiting]}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

/// A controller that makes no Pods.
async fn owned_by_account(accounts: &Accounts, namespace: &str) -> Result<Value> {
    let account = accounts.api(namespace).get("default").await?;
    Ok(
        json!([{"apiVersion": "v1", "kind": "ServiceAccount", "name": "default", "uid": account.uid(), "controller": true}]),
    )
}

#[tokio::test]
async fn pods_that_were_created_too_early_are_listed_with_the_remedy() -> Result<()> {
    let stage = Stage::new().await?;
    let test = &stage.test;
    stage.pod("early", IMAGE, |_| {}).await?;
    stage.pod("other-registry", "other.example.com/app", |_| {}).await?;
    stage.pod("own-list", IMAGE, |pod| pod["spec"]["imagePullSecrets"] = json!([{"name": "own"}])).await?;
    stage.pod("has-it", IMAGE, |pod| pod["spec"]["imagePullSecrets"] = json!([{"name": "reg"}])).await?;
    stage.pod("over", IMAGE, |_| {}).await?;
    test.phase(&stage.namespace, "over", "Failed").await?;
    stage.pod("starting", IMAGE, |_| {}).await?;
    stage.fails("starting", IMAGE, "ContainerCreating").await?;
    stage.default(false).await?;
    assert_eq!(stage.wait_stuck(1).await?, ["early"]);
    let told = default_status(test, "reg").await?.stuck.unwrap_or_default();
    assert_eq!((&*told.items[0].cluster, &*told.items[0].namespace), ("local", &*stage.namespace));
    assert_eq!(told.items[0].reason, "ErrImagePull");
    test.wait_told("reg", "Default", "True", "Attached", &["1 Pod was created before", "delete it"]).await?;
    wait_events(test, "reg", "PodsStuck", 1).await?;

    // What kubelet calls it goes back and forth, and is no news.
    test.wait_ready("reg", 1).await?;
    let version = async || Ok::<_, Error>(test.credentials().get("reg").await?.metadata.resource_version);
    let before = version().await?;
    for reason in ["ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"] {
        stage.fails("early", IMAGE, reason).await?;
    }
    stays(Duration::from_secs(2), "the status", async || version().await.is_ok_and(|now| now == before))
        .await?;

    stage.pod("second", IMAGE, |_| {}).await?;
    assert!(!stage.named(&stage.pods().get("second").await?).await?.is_empty(), "it is not too early");
    delete_pod(test, &stage.namespace, "early").await?;
    stage.wait_stuck(0).await?;
    test.wait_told("reg", "Default", "True", "Attached", &["is attached to"]).await?;
    assert_eq!(count_events(test, "reg", "PodsStuck").await?, 1);
    Ok(())
}

#[tokio::test]
async fn stuck_pods_of_a_controller_are_evicted_once_where_that_was_asked_for() -> Result<()> {
    let stage = Stage::new().await?;
    let test = &stage.test;
    let early = stage.replicas("app", 3, &[]).await?;
    stage.pod("alone", IMAGE, |_| {}).await?;
    // One that runs but for one container, and that a budget keeps: its controller is not there to count, so none may go.
    let kept = stage.replicas("kept", 1, &[]).await?.remove(0);
    says(&stage.pods(), &kept.name_any(), "Running", IMAGE, "ImagePullBackOff").await?;
    let budget: PodDisruptionBudget = serde_json::from_value(json!({
        "metadata": {"name": "kept"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}},
    }))?;
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(test.client.clone(), &stage.namespace);
    budgets.create(&PostParams::default(), &budget).await?;

    stage.default(false).await?;
    stage.wait_stuck(5).await?;
    // A person asks for it later.
    stage.default(true).await?;
    let new = stage.made("app", 3, &early).await?;
    for pod in &new {
        assert_eq!(stage.named(pod).await?, ["reg"]);
    }
    let mut left = stage.wait_stuck(2).await?;
    left.sort();
    assert_eq!(
        left,
        ["alone".to_owned(), kept.name_any()],
        "one would be gone for good, one is held by its budget"
    );
    test.wait_told("reg", "Default", "True", "Attached", &["an eviction waits", "disruption budget"]).await?;
    let is_there = stage.pods().get(&kept.name_any()).await?;
    assert_eq!((is_there.uid(), is_there.metadata.deletion_timestamp), (kept.uid(), None));
    test.wait_ready("reg", 1).await?;

    budgets.delete("kept", &DeleteParams::default()).await?;
    wait_for(Duration::from_secs(90), "the Pod without its budget to go", async || {
        let found = stage.pods().get_opt(&kept.name_any()).await.map_err(|error| error.to_string())?;
        if found.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()) {
            Ok(())
        } else {
            Err("there".to_owned())
        }
    })
    .await?;
    stage.pods().get("alone").await?;
    Ok(())
}

/// Pods that come back without the Secret, and Pods that say something of others.
#[tokio::test]
async fn no_pod_is_evicted_for_ever_or_for_another_one() -> Result<()> {
    let stage = Stage::new().await?;
    // Its Pods name what the ServiceAccount does, by themselves, so that they never get more.
    Accounts::of(&stage.test).set(&stage.namespace, &["mine"]).await?;
    let first = stage.replicas("stubborn", 2, &["mine"]).await?;
    let victim = stage.replicas("victim", 1, &["own"]).await?.remove(0);
    let owner = owned_by_account(&Accounts::of(&stage.test), &stage.namespace).await?;
    stage.pod("forged", IMAGE, |pod| pod["metadata"]["ownerReferences"] = owner).await?;
    stage.default(true).await?;
    let second = stage.made("stubborn", 2, &first).await?;
    for pod in &second {
        assert_eq!(stage.named(pod).await?, ["mine"]);
        stage.fails(&pod.name_any(), IMAGE, "ErrImagePull").await?;
    }
    let pods = stage.pods();
    stage.wait_stuck(3).await?;
    // Another controller is served after that, so it is no pause of all.
    let other = stage.replicas("other", 1, &["mine"]).await?;
    stage.made("other", 1, &other).await?;
    for pod in second.iter().chain([&victim]) {
        let found = pods.get(&pod.name_any()).await?;
        assert_eq!((found.uid(), found.metadata.deletion_timestamp), (pod.uid(), None));
    }
    // What it names as its owner makes no Pods.
    assert_eq!(pods.get("forged").await?.metadata.deletion_timestamp, None);
    Ok(())
}

#[tokio::test]
async fn in_a_member_they_are_told_too_and_evicted_once_the_right_is_there() -> Result<()> {
    let (world, east) = tokio::try_join!(World::new(&[]), Member::start("east"))?;
    let test = &world.test;
    policy(test, true).await?;
    east.namespaces(test, &["web"]).await?;
    world.join(&east, json!({})).await?;
    let accounts = Accounts(east.admin.clone());
    accounts.exists("web").await?;
    let pods: Api<Pod> = Api::namespaced(east.admin.clone(), "web");
    let image = "registry.example.com/acme/app";
    let set = json!({
        "metadata": {"name": "early"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "early"}}, "template": {
            "metadata": {"labels": {"app": "early"}}, "spec": {"containers": [{"name": "app", "image": image}]},
        }},
    });
    let sets: Api<ReplicaSet> = Api::namespaced(east.admin.clone(), "web");
    sets.create(&PostParams::default(), &serde_json::from_value(set)?).await?;
    let early = wait_for(PATIENT, "the Pod of the ReplicaSet", async || {
        let found = pods.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        found.items.first().map(ResourceExt::name_any).ok_or_else(|| "none".to_owned())
    });
    let early = early.await?;
    says(&pods, &early, "Pending", image, "ImagePullBackOff").await?;
    let mut spec = world.spec(json!({"names": ["east"]}));
    spec["default"] = json!({"enabled": true, "restartStuckPods": true});
    test.credential("reg", spec).await?;
    let told = wait_for(PATIENT, "the Pod of the member to be listed", async || {
        let status = default_status(test, "reg").await.map_err(|error| error.to_string())?;
        status.stuck.and_then(|stuck| stuck.items.into_iter().next()).ok_or_else(|| "no".to_owned())
    });
    let told = told.await?;
    assert_eq!((&*told.cluster, &*told.namespace, &*told.name), ("east", "web", &*early));
    wait_for(PATIENT, "the missing right to be told", async || {
        let status = test.status("reg").await.map_err(|error| error.to_string())?;
        let default = status.conditions.into_iter().find(|condition| condition.type_ == "Default");
        let message = default.map(|condition| condition.message).unwrap_or_default();
        let words = ["may not evict Pods in cluster 'east'", "--restart-stuck-pods"];
        if words.iter().all(|word| message.contains(word)) { Ok(()) } else { Err(message) }
    })
    .await?;
    pods.get(&early).await?;
    let args = MemberRbacArgs { restart_stuck_pods: true, ..MemberRbacArgs::default() };
    apply_yaml(&east.admin, &manifests(&args)?).await?;
    wait_for(Duration::from_secs(90), "the Pod of the member to go", async || {
        pods.get_opt(&early)
            .await
            .is_ok_and(|pod| pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()))
    })
    .await
}
