//! What a change of one namespace costs, beside many credentials and many namespaces.

mod bare_watch;
mod meter;

pub use self::{
    bare_watch::BareWatch,
    meter::{Cost, Meter, Repeats},
};

use kube::Client;
use serde_json::{Value, json};

use crate::{
    numbers::Number,
    operator::Measured,
    options::Options,
    stats::{counted, thousands},
    support::Result,
    world::{
        LABEL, TARGET, World, create_credential, create_namespace, credential, label, names, wait_copies,
        wait_ready,
    },
};

/// A value of the label by which only the first credential selects.
const ONLY_FIRST: &str = "only-first";
/// A namespace that comes and goes as a target, and one that never is one.
const CHANGING: &str = "changing";
const OTHER: &str = "other";

/// What was measured with so many credentials and namespaces.
struct Cell {
    credentials: usize,
    namespaces: usize,
    /// A label that nothing selects by, of a target.
    of_target: Cost,
    /// The same, of a namespace that is none.
    of_other: Cost,
    /// One namespace becomes a target of the first credential alone, or ceases to be one.
    concerns_one: Option<Cost>,
    /// The same, of all credentials.
    concerns_all: Option<Cost>,
}

impl Cell {
    fn name(&self) -> String {
        format!("{}, {} namespaces", counted(self.credentials, "credential"), thousands(self.namespaces))
    }
}

/// Measures and prints; progress goes to stderr.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let sizes = options.namespaces.clone().unwrap_or_else(|| vec![300, 1_000]);
    let most = options.credentials.unwrap_or(50);
    let counts: Vec<usize> = [1, 10, most].into_iter().filter(|count| *count <= most).collect();
    let mut bench = Bench::new(options).await?;
    let mut cells = Vec::new();
    for (index, namespaces) in sizes.iter().copied().enumerate() {
        bench.grow(namespaces).await?;
        // Up, then down, and so on: nothing is made twice.
        let mut counts = counts.clone();
        if index % 2 == 1 {
            counts.reverse();
        }
        counts.dedup();
        for credentials in counts {
            bench.have(credentials).await?;
            let (first, last) = (cells.is_empty(), credentials == most);
            cells.push(bench.cell(first || last).await?);
        }
    }
    println!("\n## Changes of one namespace\n\n{}", render(&cells));
    Ok(numbers(&cells))
}

/// One operator, with credentials and namespaces that grow.
struct Bench {
    // Before the control plane: fields drop in this order.
    bare: BareWatch,
    operator: Measured,
    world: World,
    client: Client,
    credentials: usize,
    repeats: Repeats,
}

impl Bench {
    async fn new(options: &Options) -> Result<Self> {
        let world = World::new(0).await?;
        let client = world.client().await?;
        // Consent is not what changes.
        world.allow(&client, json!({"namespaces": {"selector": {"matchLabels": null}}})).await?;
        create_namespace(&client, CHANGING, json!({})).await?;
        create_namespace(&client, OTHER, json!({})).await?;
        let operator = world.operator().await?;
        let bare = BareWatch::start(world.control_plane.config().await?).await?;
        let windows = options.rounds.unwrap_or_else(|| options.pick(3, 7));
        let repeats = Repeats::new(windows, options.pick(40, 100));
        Ok(Self { world, client, operator, bare, credentials: 0, repeats })
    }

    async fn grow(&mut self, namespaces: usize) -> Result<()> {
        self.world.grow(&self.client, namespaces).await
    }

    /// Has so many credentials, all in place.
    async fn have(&mut self, credentials: usize) -> Result<()> {
        let all = names(self.credentials.max(credentials));
        for (number, name) in all.iter().enumerate().skip(self.credentials) {
            create_credential(&self.client, selecting(name, number == 0)).await?;
        }
        self.world.delete_credentials(&self.client, &all[credentials..]).await?;
        self.credentials = credentials;
        wait_ready(&self.client, &self.operator, &all[..credentials], 1, self.world.targets.len()).await
    }

    async fn cell(&self, concerns: bool) -> Result<Cell> {
        let (credentials, namespaces) = (self.credentials, self.world.targets.len());
        eprintln!("{}, {namespaces} namespaces", counted(credentials, "credential"));
        let meter = Meter::start(&self.operator, &self.bare).await?;
        let target = self.world.targets.first().map_or("", String::as_str);
        let of_target = self.unrelated(&meter, "a label of a target", target).await?;
        let of_other = self.unrelated(&meter, "a label of another namespace", OTHER).await?;
        let mut cell =
            Cell { credentials, namespaces, of_target, of_other, concerns_one: None, concerns_all: None };
        if concerns {
            cell.concerns_one = Some(self.related(&meter, ONLY_FIRST, 1).await?);
            cell.concerns_all = Some(self.related(&meter, TARGET, credentials).await?);
        }
        Ok(cell)
    }

    /// Changes a label that nothing selects by.
    async fn unrelated(&self, meter: &Meter<'_>, what: &str, namespace: &str) -> Result<Cost> {
        let change = async |number: usize| {
            label(&self.client, namespace, json!({"note": format!("{what}-{number}").replace(' ', "-")}))
                .await
        };
        meter.cost(what, self.repeats, change).await
    }

    /// Makes a namespace a target, and back, by turns.
    async fn related(&self, meter: &Meter<'_>, value: &str, copies: usize) -> Result<Cost> {
        let change = async |number: usize| {
            let comes = number.is_multiple_of(2);
            let labels = if comes { json!({LABEL: value}) } else { json!({LABEL: null}) };
            label(&self.client, CHANGING, labels).await?;
            wait_copies(&self.client, CHANGING, if comes { copies } else { 0 }).await
        };
        let what =
            format!("a namespace comes to {copies} of {}, or goes", counted(self.credentials, "credential"));
        let cost = meter
            .cost(&what, Repeats { events: self.repeats.events / 2, ..self.repeats.told() }, change)
            .await?;
        Ok(cost)
    }
}

/// A credential for all targets; the first has one value of the label to itself.
fn selecting(name: &str, is_first: bool) -> Value {
    let mut made = credential(name);
    if is_first {
        made["spec"]["target"]["namespaces"]["selector"] =
            json!({"matchExpressions": [{"key": LABEL, "operator": "In", "values": [TARGET, ONLY_FIRST]}]});
    }
    made
}

fn render(cells: &[Cell]) -> String {
    let mut text = String::from(
        "Milliseconds of the operator's CPU for one event, and those of a bare watch that saw the same.\n\n\
        | credentials | namespaces | a label of a target | to the bare watch | a label of another namespace \
        | comes to one credential, or goes | comes to all, or goes: for each |\n\
        | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for cell in cells {
        let shown = |cost: &Option<Cost>, parts| {
            cost.as_ref().map_or_else(String::new, |cost| cost.divided(parts).show())
        };
        text.push_str(&format!(
            "| {} | {} | {} | {:.1} | {} | {} | {} |\n",
            cell.credentials,
            thousands(cell.namespaces),
            cell.of_target.show(),
            cell.of_target.to_bare(),
            cell.of_other.show(),
            shown(&cell.concerns_one, 1),
            shown(&cell.concerns_all, cell.credentials),
        ));
    }
    text
}

fn numbers(cells: &[Cell]) -> Vec<Number> {
    let mut numbers = Vec::new();
    let label = "CPU of a label of a namespace that concerns nobody";
    for (what, cost) in [
        (format!("{label}, of a target"), (|cell| &cell.of_target) as fn(&Cell) -> &Cost),
        (format!("{label}, of another one"), |cell| &cell.of_other),
    ] {
        let by_cost = |a: &&Cell, b: &&Cell| cost(a).seconds().total_cmp(&cost(b).seconds());
        let Some(worst) = cells.iter().max_by(by_cost) else { continue };
        let shown = format!("worst of {}: {} ms with {}", cells.len(), cost(worst).show(), worst.name());
        numbers.push(Number::below(what, (0.2, "ms"), cost(worst).seconds() * 1e3, shown));
    }
    let Some(least) = cells.iter().find_map(|cell| cell.concerns_one.as_ref()) else { return numbers };
    let budget = (1.2, "of 1 credential and the fewest namespaces");
    let namespace = "CPU of a namespace that comes to";
    let ones = cells.iter().filter_map(|cell| Some((cell, cell.concerns_one.as_ref()?)));
    let ones =
        ones.filter(|(_, cost)| !std::ptr::eq(*cost, least)).map(|(cell, cost)| (cell, cost.divided(1)));
    let all = cells.iter().filter(|cell| cell.credentials > 1);
    let all = all.filter_map(|cell| Some((cell, cell.concerns_all.as_ref()?.divided(cell.credentials))));
    for (what, costs) in [
        (format!("{namespace} one credential, or goes"), ones.collect::<Vec<_>>()),
        (format!("{namespace} all credentials, or goes: for each"), all.collect()),
    ] {
        let by_cost = |a: &&(&Cell, Cost), b: &&(&Cell, Cost)| a.1.seconds().total_cmp(&b.1.seconds());
        let Some((cell, cost)) = costs.iter().max_by(by_cost) else { continue };
        let ratio = cost.to(least).0;
        let shown = format!("worst of {}: {ratio:.2}; {} ms with {}", costs.len(), cost.show(), cell.name());
        numbers.push(Number::at_most(what, budget, ratio, shown));
    }
    numbers
}
