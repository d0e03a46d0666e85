//! Resident memory with very many copies, and what each further copy adds.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::json;

use crate::{
    numbers::Number,
    operator::Measured,
    options::Options,
    stats::{counted, mebi, thousands},
    support::Result,
    world::{CONCURRENCY, World, create_credential, create_pod, credential, names, wait_ready},
};

const DEADLINE: Duration = Duration::from_secs(60);

/// How large it is to be.
struct Size {
    namespaces: usize,
    credentials: usize,
    pods_per_namespace: usize,
}

impl Size {
    fn copies(&self) -> usize {
        self.namespaces * self.credentials
    }

    fn pods(&self) -> usize {
        self.namespaces * self.pods_per_namespace
    }
}

/// Measures and prints; takes long at full size. First half of the namespaces, then all of them, then half as many credentials
/// more; after each a restart.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let size = Size {
        namespaces: options.namespaces(2_000, 10_000).next_multiple_of(2),
        credentials: options.credentials.unwrap_or(10).next_multiple_of(2),
        pods_per_namespace: options.pick(1, 5),
    };
    let half = size.copies() / 2;
    let all_names = names(size.credentials / 2 * 3);
    let (names, more_names) = all_names.split_at(size.credentials);
    let mut bench = Bench { world: World::new(0).await?, done: 0, lines: Vec::new() };
    let client = bench.world.client().await?;

    bench.grow(&client, &size, size.namespaces / 2).await?;
    let operator = bench.world.operator().await?;
    bench.create(&client, names).await?;
    let half_grown = bench.in_place(&client, &operator, names, "fan-out to half of the namespaces").await?;
    operator.terminate(DEADLINE).await?;

    let (operator, half_fresh) = bench.start(&format!("{} copies", thousands(half))).await?;
    bench.grow(&client, &size, size.namespaces).await?;
    let all_grown = bench.in_place(&client, &operator, names, "all namespaces").await?;
    operator.terminate(DEADLINE).await?;

    let (operator, all_fresh) = bench.start(&format!("{} copies", thousands(size.copies()))).await?;
    bench.create(&client, more_names).await?;
    bench.in_place(&client, &operator, &all_names, "half as many credentials more").await?;
    operator.terminate(DEADLINE).await?;
    let (operator, more_fresh) = bench.start(&format!("{} copies", thousands(size.copies() + half))).await?;
    operator.terminate(DEADLINE).await?;

    println!(
        "\n## Memory\n\n| what | resident memory (peak), MiB |\n| --- | --- |\n{}",
        bench.lines.join("\n")
    );
    let each = |more: u64, less: u64| (more as f64 - less as f64) / half as f64;
    let (grown, fresh) =
        (each(all_grown.rss_bytes, half_grown.rss_bytes), each(all_fresh.rss_bytes, half_fresh.rss_bytes));
    let further = each(more_fresh.rss_bytes, all_fresh.rss_bytes);
    let mut numbers = vec![Number::at_most(
        format!(
            "memory per further copy, its namespace and Pods included, {} to {} copies",
            thousands(half),
            thousands(size.copies())
        ),
        (500.0, "bytes"),
        grown.max(fresh),
        format!(
            "{grown:.0} in a running operator, {fresh:.0} after a restart; in namespaces that are there already {further:.0}"
        ),
    )];
    let resident = mebi(all_grown.rss_bytes.max(all_fresh.rss_bytes));
    let peak = mebi(all_grown.peak_bytes.max(all_fresh.peak_bytes));
    let what = format!(
        "resident memory with {} copies and {}",
        thousands(size.copies()),
        counted(size.pods(), "Pod")
    );
    let shown = format!("{resident:.1} MiB, its peak {peak:.1}");
    let is_full_size = (size.copies(), size.pods()) == (100_000, 50_000);
    numbers.push(if is_full_size {
        Number::below(what, (150.0, "MiB"), resident, shown)
    } else {
        Number::shown(what, shown)
    });
    let what = format!("restart with {} copies: writes", thousands(size.copies()));
    let shown = format!("{}; ready after {:.1} s", all_fresh.writes, all_fresh.took);
    numbers.push(Number::must(what, "0", all_fresh.writes == 0, shown));
    if options.is_whole() && !is_full_size {
        numbers.push(Number::skipped("resident memory with 100,000 copies and 50,000 Pods", "< 150 MiB"));
    }
    Ok(numbers)
}

struct Bench {
    world: World,
    /// Namespaces that have their Pods.
    done: usize,
    /// Of the table.
    lines: Vec<String>,
}

/// An operator at rest.
struct Rest {
    rss_bytes: u64,
    peak_bytes: u64,
    writes: u64,
    /// Seconds until it was there.
    took: f64,
}

impl Bench {
    /// Makes namespaces with their Pods.
    async fn grow(&mut self, client: &Client, size: &Size, namespaces: usize) -> Result<()> {
        eprintln!("{namespaces} namespaces, {} Pods in each: being made", size.pods_per_namespace);
        self.world.grow(client, namespaces).await?;
        let names = names(size.credentials);
        let new = self.world.targets.iter().enumerate().skip(self.done);
        stream::iter(new.flat_map(|new| (0..size.pods_per_namespace).map(move |number| (new, number))))
            .map(|((index, namespace), number)| {
                let secret = names[(index + number) % names.len()].clone();
                async move {
                    let name = format!("app-{number}-5d8f7c9b6-x{number}k2p");
                    create_pod(client, namespace, &name, &secret, json!({"app": "web"})).await
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        self.done = namespaces;
        Ok(())
    }

    async fn create(&self, client: &Client, names: &[String]) -> Result<()> {
        for name in names {
            create_credential(client, credential(name)).await?;
        }
        Ok(())
    }

    /// Waits until all copies are there and the operator is at rest.
    async fn in_place(
        &mut self,
        client: &Client,
        operator: &Measured,
        names: &[String],
        what: &str,
    ) -> Result<Rest> {
        let began = Instant::now();
        wait_ready(client, operator, names, 1, self.world.targets.len()).await?;
        let took = began.elapsed().as_secs_f64();
        self.rest(operator, &format!("{what}, after {took:.1} s"), took).await
    }

    /// A new operator that finds everything in place.
    async fn start(&mut self, what: &str) -> Result<(Measured, Rest)> {
        let began = Instant::now();
        let operator = self.world.operator().await?;
        let took = began.elapsed().as_secs_f64();
        let rest =
            self.rest(&operator, &format!("restart with {what}, ready after {took:.1} s"), took).await?;
        Ok((operator, rest))
    }

    async fn rest(&mut self, operator: &Measured, what: &str, took: f64) -> Result<Rest> {
        operator.settle().await?;
        let line = format!("| {what} | {} |", operator.memory()?);
        eprintln!("{line}");
        self.lines.push(line);
        let writes = operator.usage().await?.writes();
        Ok(Rest { rss_bytes: operator.rss_bytes()?, peak_bytes: operator.peak_rss_bytes()?, writes, took })
    }
}
