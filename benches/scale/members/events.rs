//! What a change in one member costs, when that member is the only one and when there are many.

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client, api::DeleteParams};
use serde_json::json;

use super::{
    DEADLINE,
    hub::{Hub, everywhere, of_one},
    virtual_members::{Member, VirtualMembers},
};
use crate::{
    events::{BareWatch, Cost, Meter, Repeats},
    numbers::Number,
    operator::Measured,
    options::Options,
    stats::counted,
    support::{Error, Result, wait_for},
    world::{
        LABEL, TARGET, create_credential, create_namespace, create_pod, label, names, source, wait_copies,
        wait_ready,
    },
};

/// What the operator does on a clock would hide an event of a tenth of a millisecond: probes and renewed watches of
/// fifty members are seldom here.
const FLAGS: [&str; 2] = ["--member-probe-interval=10m", "--watch-timeout=290s"];
/// A credential for the first member alone, and its source.
const SINGLE: &str = "single";
const SINGLE_SOURCE: &str = "single-source";
/// A namespace of the first member that comes and goes as a target.
const CHANGING: &str = "changing";
const REVISION: &str = "claviger.dev/revision";

/// What each event cost with so many members.
struct Column {
    members: usize,
    unrelated: Cost,
    related: Cost,
    pod: Cost,
    rotation: Cost,
    first_pod: Option<Cost>,
}

/// Measures and prints; progress goes to stderr.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let most = options.members.unwrap_or(50).max(2);
    let mut bench = Bench::new(options, most).await?;
    let mut columns = Vec::new();
    for size in [1, most] {
        bench.join(size).await?;
        columns.push(bench.column(size, options.long).await?);
    }
    let [one, many] = columns.as_slice() else { return Ok(Vec::new()) };
    println!("\n## Changes in one member\n\n{}", render(bench.credentials, &columns));
    Ok(numbers(bench.credentials, one, many))
}

struct Bench {
    // Before the control planes: fields drop in this order.
    bare: BareWatch,
    operator: Measured,
    hub: Hub,
    all: VirtualMembers,
    /// A client that sees all members.
    client: Client,
    joined: usize,
    credentials: usize,
    namespaces: usize,
    repeats: Repeats,
}

impl Bench {
    async fn new(options: &Options, members: usize) -> Result<Self> {
        let namespaces = options.namespaces(2, 10);
        let credentials = options.credentials.unwrap_or(20);
        let all = VirtualMembers::start(&vec![namespaces; members]).await?;
        let client = all.client().await?;
        let hub = Hub::new().await?;
        hub.world.allow(&hub.client, json!({"namespaces": {"selector": {"matchLabels": null}}})).await?;
        let operator = hub.world.operator_with(&FLAGS).await?;
        let bare = BareWatch::start(all.control_plane.config().await?).await?;
        let windows = options.rounds.unwrap_or_else(|| options.pick(3, 7));
        let repeats = Repeats::new(windows, options.pick(40, 100));
        let bench = Self { hub, all, client, operator, bare, joined: 0, credentials, namespaces, repeats };
        let first = bench.first()?;
        create_namespace(&bench.client, CHANGING, first.label()).await?;
        // It uses a copy all the time: a further Pod does not change whether the credential is in use.
        create_pod(&bench.client, bench.target()?, "standing", &bench.used(), first.label()).await?;
        source(&bench.hub.client, SINGLE_SOURCE, "first").await?;
        for name in names(credentials) {
            create_credential(&bench.hub.client, everywhere(&name, &["local"])).await?;
        }
        create_credential(&bench.hub.client, of_one(SINGLE, first, SINGLE_SOURCE)).await?;
        Ok(bench)
    }

    fn first(&self) -> Result<&Member> {
        self.all.members.first().ok_or_else(|| Error::new("no members"))
    }

    /// The namespace in which things happen.
    fn target(&self) -> Result<&str> {
        let first = self.first()?.namespaces.first();
        first.map(String::as_str).ok_or_else(|| Error::new("no namespaces"))
    }

    /// The Secret that Pods use.
    fn used(&self) -> String {
        names(1).remove(0)
    }

    /// Has so many members, with everything in place.
    async fn join(&mut self, size: usize) -> Result<()> {
        let more = self.all.members.get(self.joined..size).unwrap_or_default();
        self.hub.declare(more).await?;
        self.hub.joined(more).await?;
        self.joined = size;
        wait_ready(&self.hub.client, &self.operator, &names(self.credentials), 1, size * self.namespaces)
            .await
    }

    async fn column(&self, members: usize, long: bool) -> Result<Column> {
        let [members_text, credentials] =
            [(members, "member"), (self.credentials, "credential")].map(|(n, what)| counted(n, what));
        eprintln!("{members_text}, {credentials}, {} namespaces each", self.namespaces);
        let meter = Meter::start(&self.operator, &self.bare).await?;
        let first_pod = if long { Some(self.first_pod(&meter).await?) } else { None };
        Ok(Column {
            members,
            unrelated: self.unrelated(&meter, members).await?,
            related: self.related(&meter).await?,
            pod: self.pod(&meter).await?,
            rotation: self.rotation(&meter, members).await?,
            first_pod,
        })
    }

    /// A label that nothing selects by, of a target.
    async fn unrelated(&self, meter: &Meter<'_>, members: usize) -> Result<Cost> {
        let change = async |number: usize| {
            label(&self.client, self.target()?, json!({"note": format!("with-{members}-{number}")})).await
        };
        meter.cost("a label of a target", self.repeats, change).await
    }

    /// A namespace becomes a target of all credentials, or ceases to be one.
    async fn related(&self, meter: &Meter<'_>) -> Result<Cost> {
        // Of all credentials and the one that is for this member alone.
        let copies = self.credentials + 1;
        let change = async |number: usize| {
            let comes = number.is_multiple_of(2);
            let labels = if comes { json!({LABEL: TARGET}) } else { json!({LABEL: null}) };
            label(&self.client, CHANGING, labels).await?;
            wait_copies(&self.client, CHANGING, if comes { copies } else { 0 }).await
        };
        let repeats = Repeats { events: self.repeats.events / 2, ..self.repeats.told() };
        meter.cost("a namespace comes to all credentials, or goes", repeats, change).await
    }

    /// A Pod that uses a copy, which others use too, comes or goes.
    async fn pod(&self, meter: &Meter<'_>) -> Result<Cost> {
        meter
            .cost("a Pod comes or goes", self.repeats.told(), async |number| {
                self.toggle_pod("passing", number).await
            })
            .await
    }

    /// The only Pod that uses a copy comes or goes: the credential is in use, or not any more, and its status says so.
    async fn first_pod(&self, meter: &Meter<'_>) -> Result<Cost> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.target()?);
        pods.delete("standing", &DeleteParams::default()).await?;
        let repeats = self.repeats.told_one_by_one(6);
        let change = async |number: usize| self.toggle_pod("only", number).await;
        let cost = meter.cost("the only Pod comes or goes", repeats, change).await?;
        create_pod(&self.client, self.target()?, "standing", &self.used(), self.first()?.label()).await?;
        Ok(cost)
    }

    async fn toggle_pod(&self, name: &str, number: usize) -> Result<()> {
        let name = format!("{name}-{}", number / 2);
        if number.is_multiple_of(2) {
            return create_pod(&self.client, self.target()?, &name, &self.used(), self.first()?.label())
                .await;
        }
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.target()?);
        pods.delete(&name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// A new value of the credential that is for this member alone, until its status says so.
    async fn rotation(&self, meter: &Meter<'_>, members: usize) -> Result<Cost> {
        let copies: Api<Secret> = Api::namespaced(self.client.clone(), self.target()?);
        let revision = async || {
            let annotations = copies.get(SINGLE).await?.metadata.annotations.unwrap_or_default();
            Ok::<_, Error>(
                annotations.get(REVISION).and_then(|text| text.parse::<i64>().ok()).unwrap_or_default(),
            )
        };
        wait_for(DEADLINE, "the first copy of the single credential", async || revision().await).await?;
        let rotate = async |number: usize| {
            let before = revision().await?;
            source(&self.hub.client, SINGLE_SOURCE, &format!("with-{members}-{number}-")).await?;
            wait_for(DEADLINE, "a rotation", async || {
                let now = revision().await?;
                if now > before { Ok(()) } else { Err(Error::new(format!("revision {now}"))) }
            })
            .await
        };
        let repeats = self.repeats.told_one_by_one(6);
        meter.cost("a rotation", repeats, rotate).await
    }
}

/// What is measured, and where it stands.
type Row = (&'static str, fn(&Column) -> Option<&Cost>);

const ROWS: [Row; 5] = [
    ("a label of a Namespace that concerns nobody", |column| Some(&column.unrelated)),
    ("a Namespace comes to all credentials, or goes", |column| Some(&column.related)),
    ("a Pod that uses a copy comes or goes", |column| Some(&column.pod)),
    ("a rotation of a credential of that member", |column| Some(&column.rotation)),
    ("the only Pod that uses a credential of all members comes or goes", |column| column.first_pod.as_ref()),
];

fn render(credentials: usize, columns: &[Column]) -> String {
    let mut text = format!(
        "Milliseconds of the operator's CPU for one event, with {credentials} credentials, and those of a bare watch that saw \
        the same.\n\n| event in one member |"
    );
    for column in columns {
        text.push_str(&format!(" of {} |", column.members));
    }
    text.push_str(&format!("\n| --- |{}\n", " --- |".repeat(columns.len())));
    for (what, cost) in ROWS {
        let shown = columns.iter().map(|column| cost(column).map_or_else(String::new, Cost::show));
        text.push_str(&format!("| {what} | {} |\n", shown.collect::<Vec<_>>().join(" | ")));
    }
    text
}

fn numbers(credentials: usize, one: &Column, many: &Column) -> Vec<Number> {
    ROWS.into_iter()
        .filter_map(|(what, cost)| {
            let (one_cost, many_cost) = (cost(one)?, cost(many)?);
            let what = format!(
                "CPU of an event in one of {} members, {credentials} credentials: {what}",
                many.members
            );
            let (ratio, machine) = many_cost.to(one_cost);
            let (many_cpu, one_cpu) = (many_cost.seconds() * 1e3, one_cost.seconds() * 1e3);
            let shown = format!("{ratio:.2} ({many_cpu:.3} to {one_cpu:.3} ms; the bare watch {machine:.2})");
            Some(Number::at_most(what, (1.2, "of 1 member"), ratio, shown))
        })
        .collect()
}
