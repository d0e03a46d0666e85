//! One credential to many namespaces: fan-out, rotation, and the operator at rest with everything in place.

mod attached;
mod bare;
mod latency;
mod report;
mod round;

pub use self::latency::{Latency, measure as latency};

use std::time::{Duration, Instant};

use claviger::api::{BasicAuthCredential, LABEL_MANAGED_BY, MANAGER};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::json;

use self::{bare::Times, round::Round};
use crate::{
    numbers::Number,
    operator::{Measured, Usage},
    options::Options,
    support::{Error, Result, wait_for},
    world::{HOME, SECRET, SOURCE, World},
};

const IDLE: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_secs(30);
/// Objects in one answer, as client-go and kube have it.
const PAGE: usize = 500;

/// What was measured at one number of namespaces.
struct Column {
    namespaces: usize,
    /// One more than rounds: before, between and after them.
    bare: Vec<Times>,
    rounds: Vec<Round>,
    latency: Latency,
    /// To an attached ServiceAccount.
    attached: Latency,
    /// Share of one core.
    idle: f64,
    rss_bytes: u64,
    peak_bytes: u64,
    restart: Restart,
}

struct Restart {
    ready: Duration,
    usage: Usage,
    /// List requests beyond one list of each kind, in pages.
    relists: u64,
    rss_bytes: u64,
    peak_bytes: u64,
}

/// Measures and prints; progress goes to stderr.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let sizes = options.namespaces.clone().unwrap_or_else(|| options.pick(vec![1_000], vec![1_000, 10_000]));
    let mut columns = Vec::new();
    for namespaces in sizes {
        let rounds = match (options.rounds, options.long, namespaces) {
            (Some(rounds), ..) => rounds,
            (None, true, ..=2_000) => 11,
            _ => 3,
        };
        columns.push(column(namespaces, rounds).await?);
    }
    println!("\n## One credential to many namespaces\n\n{}", report::render(&columns));
    let mut numbers: Vec<Number> = columns.iter().flat_map(report::numbers).collect();
    if options.is_whole() && !options.long {
        numbers.push(Number::skipped("all of these at 10,000 namespaces", "as at 1,000; memory < 40 MiB"));
    }
    Ok(numbers)
}

async fn column(namespaces: usize, rounds: usize) -> Result<Column> {
    eprintln!("{namespaces} namespaces: starting");
    let world = World::new(namespaces).await?;
    // The first run of all warms the server up, and shows what the bare loop has to write.
    let templates = round::run(&world).await?.templates;
    let mut bare = vec![bare::run(&world, &templates).await?];
    let mut done = Vec::new();
    for number in 1..=rounds {
        let round = round::run(&world).await?;
        bare.push(bare::run(&world, &templates).await?);
        let [.., before, after] = bare.as_slice() else { continue };
        eprintln!(
            "round {number} of {rounds}: fan-out {:.2} s (bare {:.2} and {:.2}), rotation {:.2} s (bare {:.2} and {:.2})",
            round.fan_out.written.as_secs_f64(),
            before.create.as_secs_f64(),
            after.create.as_secs_f64(),
            round.rotation.written.as_secs_f64(),
            before.update.as_secs_f64(),
            after.update.as_secs_f64(),
        );
        done.push(round);
    }
    stay(world, bare, done).await
}

/// What is measured with everything in place.
async fn stay(world: World, bare: Vec<Times>, rounds: Vec<Round>) -> Result<Column> {
    let client = world.client().await?;
    let operator = world.operator().await?;
    round::fan_out(&world, &client, &operator).await?;
    operator.settle().await?;
    let (rss_bytes, peak_bytes) = (operator.rss_bytes()?, operator.peak_rss_bytes()?);
    let idle = operator.idle(IDLE).await?;
    let latency = latency(&world, &client).await?;
    let attached = attached::measure(&world, &client, &operator).await?;
    operator.settle().await?;
    salted(&client).await?;
    operator.settle().await?;
    operator.terminate(DEADLINE).await?;
    let restart = restart(&world, &client).await?;
    Ok(Column {
        namespaces: world.targets.len(),
        bare,
        rounds,
        latency,
        attached,
        idle,
        rss_bytes,
        peak_bytes,
        restart,
    })
}

/// A credential whose content would be another one if it were made anew: a restart must read it back.
async fn salted(client: &Client) -> Result<()> {
    let name = format!("{SECRET}-salted");
    let api: Api<BasicAuthCredential> = Api::namespaced(client.clone(), HOME);
    let credential = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": "BasicAuthCredential", "metadata": {"name": name},
        "spec": {"format": "Htpasswd", "secretRef": {"name": SOURCE}},
    });
    api.create(&PostParams::default(), &serde_json::from_value(credential)?).await?;
    wait_for(DEADLINE, "the htpasswd credential to be ready", async || {
        let status = api.get(&name).await?.status.ok_or_else(|| Error::new("no status"))?;
        let is_ready = status.common.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        if is_ready { Ok(()) } else { Err(Error::new(serde_json::to_string(&status)?)) }
    })
    .await
}

async fn restart(world: &World, client: &Client) -> Result<Restart> {
    let began = Instant::now();
    let operator: Measured = world.operator().await?;
    let ready = began.elapsed();
    operator.settle().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let usage = operator.usage().await?;
    Ok(Restart {
        ready,
        relists: relists(client, &usage).await?,
        usage,
        rss_bytes: operator.rss_bytes()?,
        peak_bytes: operator.peak_rss_bytes()?,
    })
}

/// How many list requests were more than it takes to list every kind once.
async fn relists(client: &Client, usage: &Usage) -> Result<u64> {
    let count = async |selector: &str| {
        let params = ListParams::default().labels(selector);
        Ok::<_, Error>(Api::<Secret>::all(client.clone()).list_metadata(&params).await?.items.len())
    };
    let namespaces = Api::<Namespace>::all(client.clone()).list_metadata(&ListParams::default()).await?;
    let pages = |objects: usize| objects.div_ceil(PAGE).max(1) as u64;
    let ours = format!("{LABEL_MANAGED_BY}={MANAGER}");
    let foreign = format!("{LABEL_MANAGED_BY}!={MANAGER}");
    // Copies and all other Secrets are two lists.
    let secrets = pages(count(&ours).await?) + pages(count(&foreign).await?);
    let watches =
        usage.requests.iter().filter(|((verb, resource), _)| verb == "watch" && resource == "other");
    // The kinds that may use Secrets, each listed before it is watched, and the list of API groups.
    let others = watches.map(|(_, asked)| asked).sum::<u64>() + 1;
    let allowed = |resource: &str| match resource {
        "namespaces" => pages(namespaces.items.len()),
        "secrets" => secrets,
        "other" => others,
        _ => 1,
    };
    let lists = usage.requests.iter().filter(|((verb, _), _)| verb == "list");
    Ok(lists.map(|((_, resource), asked)| asked.saturating_sub(allowed(resource))).sum())
}
