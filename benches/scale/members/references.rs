//! What it costs to know who uses the copies: Pods and workloads in three clusters, beside the same with Pods alone.

use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::CronJob};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{DEADLINE, hub::Hub, hub::everywhere, virtual_members::VirtualMembers};
use crate::{
    numbers::Number,
    operator::Measured,
    options::Options,
    stats::{mebi, thousands},
    support::{Error, Result, wait_for},
    world::{CONCURRENCY, create_credential, create_pod, credentials, names, wait_ready},
};

/// The hub is one of them.
const CLUSTERS: usize = 3;

/// Pods alone, as before there was anything else.
const PODS_ALONE: [&str; 2] = ["--references=pods", "--block-on=pods"];

/// A namespace of one cluster, and the label by which a virtual member is shown what is its own.
struct Place<'a> {
    client: &'a Client,
    namespace: &'a str,
    label: Value,
}

/// An operator at rest.
struct Rest {
    rss_bytes: u64,
    peak_bytes: u64,
    cpu: f64,
    took: f64,
    writes: u64,
}

/// Measures and prints; progress goes to stderr.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let credentials = options.credentials.unwrap_or(10);
    // In each of the clusters.
    let namespaces = options.namespaces(20, 334);
    let (pods, workloads) = options.pick((5, 2), (50, 5));
    let places = CLUSTERS * namespaces;

    let members = VirtualMembers::start(&[namespaces; CLUSTERS - 1]).await?;
    let mut hub = Hub::new().await?;
    hub.world.grow(&hub.client, namespaces).await?;
    let there = members.client().await?;
    let names = names(credentials);
    let local =
        hub.world.targets.iter().map(|namespace| Place { client: &hub.client, namespace, label: json!({}) });
    let remote = members.members.iter().flat_map(|member| {
        let there = &there;
        member.namespaces.iter().map(move |namespace| Place {
            client: there,
            namespace,
            label: member.label(),
        })
    });
    eprintln!(
        "{} Pods and {} workloads in {CLUSTERS} clusters: being made",
        places * pods,
        places * workloads
    );
    stream::iter(local.chain(remote))
        .map(|place| fill(place, &names, pods, workloads))
        .buffer_unordered(CONCURRENCY / 4)
        .try_collect::<()>()
        .await?;

    let first = hub.world.operator().await?;
    hub.declare(&members.members).await?;
    hub.joined(&members.members).await?;
    for name in &names {
        create_credential(&hub.client, everywhere(name, &[])).await?;
    }
    wait_ready(&hub.client, &first, &names, 1, places).await?;
    wait_users(&hub, places * (pods + workloads)).await?;
    first.terminate(DEADLINE).await?;

    let all = start(&hub, &members, &[]).await?;
    let alone = start(&hub, &members, &PODS_ALONE).await?;
    println!(
        "\n## Who uses the copies\n\nAfter a start with everything in place: {} Pods and {} workloads that name {} copies in {CLUSTERS} \
        clusters.\n\n| what is looked at | resident memory (peak), MiB | CPU until at rest, s | ready after, s |\n| --- | --- | --- | --- |",
        thousands(places * pods),
        thousands(places * workloads),
        thousands(places * credentials)
    );
    for (what, rest) in [("everything", &all), ("Pods alone", &alone)] {
        println!(
            "| {what} | {:.1} ({:.1}) | {:.2} | {:.1} |",
            mebi(rest.rss_bytes),
            mebi(rest.peak_bytes),
            rest.cpu,
            rest.took
        );
    }
    let what = format!(
        "{} Pods and {} workloads in {CLUSTERS} clusters",
        thousands(places * pods),
        thousands(places * workloads)
    );
    let more = (all.rss_bytes as f64 - alone.rss_bytes as f64) / (places * workloads) as f64;
    let shown = format!(
        "{:.1} MiB, its peak {:.1}; {:.1} with Pods alone, so {more:.0} bytes for each workload, watches included",
        mebi(all.rss_bytes),
        mebi(all.peak_bytes),
        mebi(alone.rss_bytes)
    );
    let resident = format!("resident memory with {what}");
    let mut numbers = vec![if options.long {
        Number::below(resident, (150.0, "MiB"), mebi(all.rss_bytes), shown)
    } else {
        Number::shown(resident, shown)
    }];
    let shown =
        format!("{:.2} s ({:.2} with Pods alone), at rest after {:.1} s", all.cpu, alone.cpu, all.took);
    numbers.push(Number::shown(format!("CPU of a start with {what}"), shown));
    let shown = all.writes.to_string();
    numbers.push(Number::must(format!("restart with {what}: writes"), "0", all.writes == 0, shown));
    Ok(numbers)
}

/// Puts Pods and workloads into a namespace, which use the copies by turns.
async fn fill(place: Place<'_>, names: &[String], pods: usize, workloads: usize) -> Result<()> {
    let Place { client, namespace, label } = place;
    let secret = |number: usize| names[number % names.len()].as_str();
    for number in 0..pods {
        let name = format!("app-{number}-5d8f7c9b6-x{number}k2p");
        create_pod(client, namespace, &name, secret(number), label.clone()).await?;
    }
    let params = PostParams::default();
    for number in 0..workloads {
        let template = json!({
            "metadata": {"labels": {"app": "x"}},
            "spec": {
                "containers": [{"name": "app", "image": "registry.example.com/team/app:1.2.3"}],
                "imagePullSecrets": [{"name": secret(number)}], "restartPolicy": "Always",
            },
        });
        let metadata = json!({"name": format!("app-{number}"), "labels": label});
        if number % 2 == 0 {
            let spec =
                json!({"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": template});
            let object: Deployment = serde_json::from_value(json!({"metadata": metadata, "spec": spec}))?;
            Api::<Deployment>::namespaced(client.clone(), namespace).create(&params, &object).await?;
        } else {
            let mut job = template;
            job["spec"]["restartPolicy"] = json!("Never");
            let spec = json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": job}}});
            let object: CronJob = serde_json::from_value(json!({"metadata": metadata, "spec": spec}))?;
            Api::<CronJob>::namespaced(client.clone(), namespace).create(&params, &object).await?;
        }
    }
    Ok(())
}

/// Waits until the statuses tell of all users.
async fn wait_users(hub: &Hub, expected: usize) -> Result<()> {
    let api = credentials(&hub.client);
    wait_for(DEADLINE, &format!("{expected} users in the statuses"), async || {
        let all = api.list(&ListParams::default()).await?;
        let users = all.items.iter().filter_map(|one| one.status.as_ref()?.common.references.as_ref());
        let total: i64 = users.map(|references| references.total).sum();
        if total == expected as i64 { Ok(()) } else { Err(Error::new(total.to_string())) }
    })
    .await
}

/// A new operator that finds everything in place.
async fn start(hub: &Hub, members: &VirtualMembers, flags: &[&str]) -> Result<Rest> {
    let began = Instant::now();
    let operator: Measured = hub.world.operator_with(flags).await?;
    hub.joined(&members.members).await?;
    operator.settle().await?;
    let took = began.elapsed().as_secs_f64();
    let usage = operator.usage().await?;
    let rest = Rest {
        rss_bytes: operator.rss_bytes()?,
        peak_bytes: operator.peak_rss_bytes()?,
        cpu: usage.cpu_seconds,
        took,
        // What is looked at decides what a status tells.
        writes: usage.writes(),
    };
    operator.terminate(DEADLINE).await?;
    Ok(rest)
}
