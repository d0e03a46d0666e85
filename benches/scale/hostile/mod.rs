//! What tenants, members and scrapers that mean harm cost the operator.

mod member;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpSocket, task::JoinSet};

use self::member::HostileMember;
use crate::{
    fan_out,
    members::Hub,
    numbers::Number,
    operator::Measured,
    options::Options,
    stats::{mebi, percentile},
    support::{
        Result,
        kubeconfig::{Identity, kubeconfig},
        pki::Authority,
    },
    world::{SECRET, create_credential, create_namespace, credential, wait_ready},
};

const TENANT: &str = "tenant";
const NAMESPACES: usize = 300;
/// What a tenant puts into each Secret: close to what the API server takes for annotations.
const ANNOTATION_BYTES: usize = 200_000;
const DATA_BYTES: usize = 200_000;
/// Secrets in flight: they are large.
const TENANT_CONCURRENCY: usize = 4;
const SCRAPERS: usize = 64;
/// A scraper that is cut off comes back.
const SCRAPER_PAUSE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(30);

/// Measures and prints; progress goes to stderr.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let mut hub = Hub::new().await?;
    let client = hub.client.clone();
    hub.world.grow(&client, options.namespaces(NAMESPACES, 1_000)).await?;
    create_namespace(&client, TENANT, json!({})).await?;
    let operator = hub.world.operator_with(&["--allow-insecure-members"]).await?;
    create_credential(&client, credential(SECRET)).await?;
    wait_ready(&client, &operator, &[SECRET.to_owned()], 1, hub.world.targets.len()).await?;
    operator.settle().await?;
    let calm = operator.memory()?;

    let count = options.pick(400, 800);
    eprintln!("a tenant makes {count} Secrets with forged marks");
    let first = hub.world.targets.first().map_or("", String::as_str);
    let copy = Api::<Secret>::namespaced(client.clone(), first).get(SECRET).await?;
    forge(&client, &copy.metadata, count).await?;
    let forged = operator.memory()?;
    eprintln!(
        "members that answer without end or with a Pod of 9 MiB, and {SCRAPERS} slow readers of /metrics"
    );
    let authority = Authority::new("hostile members")?;
    let mut members = Vec::new();
    for number in 0..3 {
        let member = HostileMember::start(number).await?;
        let file = kubeconfig(&member.url(), authority.pem(), &Identity::Token("of-no-interest"));
        hub.declare_one(&format!("hostile-{number}"), &file).await?;
        members.push(member);
    }
    let _scrapers = scrapers(&operator);
    let latency = fan_out::latency(&hub.world, &client).await?;
    let (peak, p99) = (mebi(operator.peak_rss_bytes()?), percentile(&latency.claviger, 0.99) * 1e3);
    let bare = percentile(&latency.bare, 0.99) * 1e3;
    let sent: u64 = members.iter().map(HostileMember::sent).sum();
    println!("\n## Hostile input\n\n| what | measured |\n| --- | --- |");
    println!("| resident memory (peak) before, MiB | {calm} |");
    println!("| with {count} forged Secrets of {} KB | {forged} |", (ANNOTATION_BYTES + DATA_BYTES) / 1_000);
    println!("| with three hostile members and {SCRAPERS} slow readers, too | {} |", operator.memory()?);
    println!("| sent by the members, MiB | {:.0} |", mebi(sent));
    operator.terminate(DEADLINE).await?;
    Ok(vec![
        Number::below(
            "hostile input: peak of resident memory",
            (128.0, "MiB"),
            peak,
            format!("{peak:.1} MiB"),
        ),
        Number::below(
            "hostile input: new namespace to Secret, p99",
            (50.0, "ms"),
            p99,
            format!("{p99:.1}; {bare:.1} ms bare"),
        ),
    ])
}

/// Secrets with the marks of a copy, as anybody who may write Secrets somewhere can make them.
async fn forge(client: &Client, marks: &ObjectMeta, count: usize) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(client.clone(), TENANT);
    stream::iter(0..count)
        .map(|number| {
            let mut annotations = marks.annotations.clone().unwrap_or_default();
            annotations.insert("note".to_owned(), "x".repeat(ANNOTATION_BYTES));
            // One in four has no marks at all.
            let is_marked = number % 4 > 0;
            let secret = json!({
                "metadata": {
                    "name": format!("forged-{number}"),
                    "labels": if is_marked { marks.labels.clone() } else { None },
                    "annotations": annotations,
                },
                "stringData": {"x": "x".repeat(DATA_BYTES)},
            });
            let api = api.clone();
            async move {
                api.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
                Ok(())
            }
        })
        .buffer_unordered(TENANT_CONCURRENCY)
        .try_collect()
        .await
}

/// Ask for metrics, time and again, and do not read them.
fn scrapers(operator: &Measured) -> JoinSet<()> {
    let mut scrapers = JoinSet::new();
    for _ in 0..SCRAPERS {
        let address = operator.address().to_owned();
        scrapers.spawn(async move {
            loop {
                // Whatever goes wrong is tried again.
                let _ = scrape(&address).await;
            }
        });
    }
    scrapers
}

async fn scrape(address: &str) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(2_048)?;
    let mut stream = socket.connect(address.parse()?).await;
    if let Ok(stream) = &mut stream {
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: claviger\r\n\r\n").await?;
    }
    tokio::time::sleep(SCRAPER_PAUSE).await;
    Ok(())
}
