//! Many clusters: how soon they have a credential, what each of them costs, and what one in trouble costs the others.

mod crowd;
mod faults;
mod hub;
mod report;
mod sockets;

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use self::{crowd::Crowd, faults::Sample, hub::Hub};
use crate::{
    operator::{Usage, cpu_seconds, settle},
    support::{Operator, Result},
};

/// Whatever takes longer is broken.
const DEADLINE: Duration = Duration::from_secs(120);
/// Long enough for every watch to be renewed once.
const IDLE: Duration = Duration::from_secs(60);
/// Rounds unless something else is asked for.
const ROUNDS: usize = 5;

/// What was measured with a number of members.
struct Column {
    members: usize,
    /// From an operator's start until all are ready.
    joined: Duration,
    fan_out: Vec<f64>,
    rotation: Vec<f64>,
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
pub async fn run(count: usize, rounds: Option<usize>) -> Result<()> {
    let rounds = rounds.unwrap_or(ROUNDS);
    eprintln!("{count} members: starting");
    let crowd = Crowd::start(count.max(2)).await?;
    let mut hub = Hub::new().await?;
    let alone = {
        let operator = hub.world.operator().await?;
        let stay = stay(&operator, &crowd, 0).await?;
        operator.terminate(DEADLINE).await?;
        stay
    };
    let mut columns = Vec::new();
    let mut declared = 0;
    for size in [1, crowd.members.len()] {
        hub.declare(&crowd.members[declared..size]).await?;
        declared = size;
        columns.push(column(&mut hub, &crowd, size, rounds).await?);
    }
    let samples = isolation(&mut hub, &crowd, rounds).await?;
    print!("{}", report::render(&alone, &columns, &samples));
    Ok(())
}

async fn column(hub: &mut Hub, crowd: &Crowd, size: usize, rounds: usize) -> Result<Column> {
    let members = &crowd.members[..size];
    let namespaces: HashSet<String> = members.iter().map(|member| member.namespace.clone()).collect();
    let began = Instant::now();
    let operator = hub.world.operator().await?;
    hub.joined(members).await?;
    let joined = began.elapsed();
    eprintln!("{size} members: ready after {:.1} s", joined.as_secs_f64());
    settle(&operator).await?;
    let (mut fan_out, mut rotation) = (Vec::new(), Vec::new());
    // The first one warms the server up.
    for number in 0..=rounds {
        let first = hub.fan_out(crowd, namespaces.clone()).await?.as_secs_f64();
        let second = hub.rotation(crowd, namespaces.clone()).await?.as_secs_f64();
        hub.wait_ready().await?;
        eprintln!("{size} members: fan-out {:.0} ms, rotation {:.0} ms", first * 1e3, second * 1e3);
        if number > 0 {
            fan_out.push(first);
            rotation.push(second);
        }
        if number < rounds {
            hub.clear().await?;
            settle(&operator).await?;
        }
    }
    operator.terminate(DEADLINE).await?;
    // With the copies in place.
    let operator = hub.world.operator().await?;
    hub.joined(members).await?;
    hub.wait_ready().await?;
    let stay = stay(&operator, crowd, size).await?;
    if size < crowd.members.len() {
        hub.clear().await?;
    }
    operator.terminate(DEADLINE).await?;
    Ok(Column { members: size, joined, fan_out, rotation, stay })
}

/// Looks at an operator at rest.
async fn stay(operator: &Operator, crowd: &Crowd, size: usize) -> Result<Stay> {
    settle(operator).await?;
    let members = &crowd.members[..size];
    let count = || members.iter().map(|member| member.requests() as f64).collect::<Vec<_>>();
    let (cpu, before, usage) = (cpu_seconds(operator)?, count(), Usage::of(operator).await?);
    tokio::time::sleep(IDLE).await;
    let minutes = IDLE.as_secs_f64() / 60.0;
    let requests = count().iter().zip(&before).map(|(after, before)| (after - before) / minutes).collect();
    let stay = Stay {
        rss_bytes: operator.rss_bytes()?,
        idle: (cpu_seconds(operator)? - cpu) / IDLE.as_secs_f64(),
        sockets: sockets::to_ports(operator, members.iter().map(|member| member.port))?,
        requests,
    };
    let all = Usage::of(operator).await?.since(&usage);
    eprintln!("{size} members: at rest, idle CPU {:.3} %; requests: {}", stay.idle * 100.0, all.list());
    Ok(stay)
}

async fn isolation(hub: &mut Hub, crowd: &Crowd, rounds: usize) -> Result<Vec<Sample>> {
    let operator = hub.world.operator().await?;
    hub.joined(&crowd.members).await?;
    hub.wait_ready().await?;
    settle(&operator).await?;
    let mut samples = Vec::new();
    for number in 1..=rounds {
        eprintln!("faults, round {number} of {rounds}");
        samples.extend(faults::round(hub, crowd).await?);
    }
    operator.terminate(DEADLINE).await?;
    Ok(samples)
}
