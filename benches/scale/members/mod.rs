//! Many clusters: how soon they have a credential, what each of them costs, and what one in trouble costs the others.

pub mod copies;
mod disguise;
pub mod events;
mod hub;
mod isolation;
pub mod references;
mod report;
mod sockets;
mod virtual_members;

pub use self::hub::Hub;

use std::time::{Duration, Instant};

use self::{
    isolation::{Sample, namespaces},
    virtual_members::VirtualMembers,
};
use crate::{numbers::Number, operator::Measured, options::Options, support::Result};

/// Whatever takes longer is broken.
const DEADLINE: Duration = Duration::from_secs(120);
/// Long enough for every watch to be renewed once.
const IDLE: Duration = Duration::from_secs(60);
/// What was measured with a number of members.
struct Column {
    members: usize,
    /// From an operator's start until all are ready.
    joined: Duration,
    fan_out: Vec<f64>,
    rotation: Vec<f64>,
    /// From the last copy until the credential said so, of both.
    told: Vec<f64>,
    stay: Stay,
}

/// A fresh operator that has nothing to do.
struct Stay {
    rss_bytes: u64,
    /// Of a core.
    idle: f64,
    /// Connections, per member.
    sockets: Vec<f64>,
    /// Requests per minute, per member.
    requests: Vec<f64>,
}

/// Measures and prints; progress goes to stderr.
pub async fn run(options: &Options) -> Result<Vec<Number>> {
    let count = options.members.unwrap_or(50);
    let rounds = options.rounds.unwrap_or_else(|| options.pick(2, 5));
    eprintln!("{count} members: starting");
    let members = VirtualMembers::start(&vec![1; count.max(2)]).await?;
    let mut hub = Hub::new().await?;
    let alone = {
        let operator = hub.world.operator().await?;
        let stay = stay(&operator, &members, 0).await?;
        operator.terminate(DEADLINE).await?;
        stay
    };
    let mut columns = Vec::new();
    let mut declared = 0;
    for size in [1, members.members.len()] {
        hub.declare(members.members.get(declared..size).unwrap_or_default()).await?;
        declared = size;
        columns.push(column(&mut hub, &members, size, rounds).await?);
    }
    let samples = isolation(&mut hub, &members, rounds).await?;
    println!("\n## Many members\n\n{}", report::render(&alone, &columns, &samples));
    Ok(report::numbers(&samples, count))
}

async fn column(hub: &mut Hub, all: &VirtualMembers, size: usize, rounds: usize) -> Result<Column> {
    let members = all.members.get(..size).unwrap_or_default();
    let namespaces = namespaces(members);
    let began = Instant::now();
    let operator = hub.world.operator().await?;
    hub.joined(members).await?;
    let joined = began.elapsed();
    eprintln!("{size} members: ready after {:.1} s", joined.as_secs_f64());
    operator.settle().await?;
    let (mut fan_out, mut rotation, mut told) = (Vec::new(), Vec::new(), Vec::new());
    // The first one warms the server up.
    for number in 0..=rounds {
        let first = hub.fan_out(all, namespaces.clone()).await?;
        let (first, first_told) = (first.written, first.wait().await?);
        let second = hub.rotation(all, namespaces.clone()).await?;
        let (second, second_told) = (second.written, second.wait().await?);
        eprintln!("{size} members: fan-out {:.0} ms, rotation {:.0} ms", first * 1e3, second * 1e3);
        if number > 0 {
            fan_out.push(first);
            rotation.push(second);
            told.extend([first_told, second_told]);
        }
        if number < rounds {
            hub.clear().await?;
            operator.settle().await?;
        }
    }
    operator.terminate(DEADLINE).await?;
    // With the copies in place.
    let operator = hub.world.operator().await?;
    hub.joined(members).await?;
    hub.wait_ready().await?;
    let stay = stay(&operator, all, size).await?;
    if size < all.members.len() {
        hub.clear().await?;
    }
    operator.terminate(DEADLINE).await?;
    Ok(Column { members: size, joined, fan_out, rotation, told, stay })
}

/// Looks at an operator at rest.
async fn stay(operator: &Measured, all: &VirtualMembers, size: usize) -> Result<Stay> {
    operator.settle().await?;
    let members = all.members.get(..size).unwrap_or_default();
    let count = || members.iter().map(|member| member.requests() as f64).collect::<Vec<_>>();
    let (before, usage) = (count(), operator.usage().await?);
    let idle = operator.idle(IDLE).await?;
    let minutes = IDLE.as_secs_f64() / 60.0;
    let requests = count().iter().zip(&before).map(|(after, before)| (after - before) / minutes).collect();
    let sockets = sockets::to_ports(operator, members.iter().map(|member| member.port))?;
    let stay = Stay { rss_bytes: operator.rss_bytes()?, idle, sockets, requests };
    let asked = operator.usage().await?.since(&usage);
    eprintln!("{size} members: at rest, idle CPU {:.3} %; requests: {}", idle * 100.0, asked.list());
    Ok(stay)
}

async fn isolation(hub: &mut Hub, members: &VirtualMembers, rounds: usize) -> Result<Vec<Sample>> {
    let operator = hub.world.operator().await?;
    hub.joined(&members.members).await?;
    hub.wait_ready().await?;
    operator.settle().await?;
    let mut samples = Vec::new();
    for number in 1..=rounds {
        eprintln!("faults, round {number} of {rounds}");
        samples.extend(isolation::round(hub, members).await?);
    }
    operator.terminate(DEADLINE).await?;
    Ok(samples)
}
