//! What a copy costs the operator among very many, in many members, and among a thousand in one.

use std::time::Instant;

use super::{
    DEADLINE,
    hub::{Hub, everywhere, of_one},
    virtual_members::VirtualMembers,
};
use crate::{
    numbers::Number,
    operator::Measured,
    options::Options,
    stats::{median, scaled, spread, thousands},
    support::Result,
    world::{SOURCE, create_credential, names, source, wait_ready},
};

/// Copies in one member, of one credential.
const FEW: usize = 1_000;
const BASE: &str = "base";

/// Measures and prints; progress goes to stderr.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let members = options.members.unwrap_or_else(|| options.pick(10, 50));
    let credentials = options.credentials.unwrap_or_else(|| options.pick(10, 20));
    let namespaces = options.namespaces(100, 100);
    let many = members * credentials * namespaces;
    let rounds = options.rounds.unwrap_or_else(|| options.pick(3, 5));

    // The first one is for the few.
    let sizes: Vec<usize> = std::iter::once(FEW).chain(std::iter::repeat_n(namespaces, members)).collect();
    let all = VirtualMembers::start(&sizes).await?;
    let hub = Hub::new().await?;
    let operator = hub.world.operator().await?;
    let (first, others) = all.members.split_at(1);
    hub.declare(first).await?;
    hub.joined(first).await?;
    let mut word = 0;
    let (mut few_made, mut few_rotated) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let name = [BASE.to_owned()];
        let credential = of_one(BASE, &first[0], SOURCE);
        let work = Work { hub: &hub, operator: &operator, names: &name, copies: FEW };
        let made = work.make(vec![credential]).await?;
        let rotated = work.rotate(&mut word).await?;
        // The first one warms up.
        if round > 0 {
            few_made.push(made);
            few_rotated.push(rotated);
        }
        hub.world.delete_credentials(&hub.client, &name).await?;
    }
    hub.declare(others).await?;
    hub.joined(others).await?;
    let all_names = names(credentials);
    let asked = all_names.iter().map(|name| everywhere(name, &["local", &first[0].name])).collect();
    let work = Work { hub: &hub, operator: &operator, names: &all_names, copies: many };
    let many_made = work.make(asked).await?;
    let many_rotated = work.rotate(&mut word).await?;
    operator.terminate(DEADLINE).await?;

    let what = format!(
        "CPU per copy, {} copies in {members} members and {credentials} credentials",
        thousands(many)
    );
    let budget = (1.2, "of 1,000 in one member");
    println!(
        "\n## CPU per copy\n\nMicroseconds of the operator.\n\n| | {} copies in one member | {} in {members} members |\n\
        | --- | --- | --- |",
        thousands(FEW),
        thousands(many)
    );
    let mut numbers = Vec::new();
    for (kind, few, many) in [("fan-out", few_made, many_made), ("rotation", few_rotated, many_rotated)] {
        println!("| {kind} | {} | {:.0} |", spread(&scaled(&few, 1e6), 0), many * 1e6);
        let ratio = many / median(&few);
        let shown = format!("{ratio:.2} ({:.0} to {:.0} µs)", many * 1e6, median(&few) * 1e6);
        numbers.push(Number::at_most(format!("{what}: {kind}"), budget, ratio, shown));
    }
    Ok(numbers)
}

/// Some credentials with so many copies in all.
struct Work<'a> {
    hub: &'a Hub,
    operator: &'a Measured,
    names: &'a [String],
    copies: usize,
}

impl Work<'_> {
    /// Creates the credentials.
    async fn make(&self, credentials: Vec<serde_json::Value>) -> Result<f64> {
        let create = async {
            for credential in credentials {
                create_credential(&self.hub.client, credential).await?;
            }
            Ok(())
        };
        self.measure(1, create).await
    }

    /// Changes the one source of all.
    async fn rotate(&self, word: &mut u32) -> Result<f64> {
        *word += 1;
        self.measure(2, source(&self.hub.client, SOURCE, &format!("word-{word}-"))).await
    }

    /// CPU seconds for each copy, from rest to rest.
    async fn measure(&self, revision: i64, trigger: impl Future<Output = Result<()>>) -> Result<f64> {
        self.operator.settle().await?;
        let before = self.operator.cpu_seconds()?;
        let began = Instant::now();
        trigger.await?;
        wait_ready(&self.hub.client, self.operator, self.names, revision, self.copies / self.names.len())
            .await?;
        let took = began.elapsed().as_secs_f64();
        self.operator.settle().await?;
        let each = (self.operator.cpu_seconds()? - before) / self.copies as f64;
        eprintln!("{} copies: {took:.1} s, {:.0} µs each", self.copies, each * 1e6);
        Ok(each)
    }
}
