//! The operator that is measured: what it has used and asked for.

use std::{collections::BTreeMap, ops::Deref, time::Duration};

use crate::{
    cpu::CpuClock,
    support::{Operator, Result},
};

/// An operator with a clock of its processor time.
pub struct Measured {
    operator: Operator,
    clock: CpuClock,
}

impl Deref for Measured {
    type Target = Operator;

    fn deref(&self) -> &Operator {
        &self.operator
    }
}

impl Measured {
    pub fn new(operator: Operator) -> Self {
        Self { clock: CpuClock::of(operator.pid()), operator }
    }

    /// Processor time so far, in nanoseconds' resolution.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.clock.seconds()
    }

    pub async fn usage(&self) -> Result<Usage> {
        Ok(Usage { cpu_seconds: self.cpu_seconds()?, requests: requests(&self.operator.metrics().await?) })
    }

    /// Waits until the operator has done close to nothing for a second.
    pub async fn settle(&self) -> Result<()> {
        let mut before = self.cpu_seconds()?;
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = self.cpu_seconds()?;
            if now - before < 0.01 {
                return Ok(());
            }
            before = now;
        }
    }

    /// The share of a core that it uses while nothing happens.
    pub async fn idle(&self, length: Duration) -> Result<f64> {
        let before = self.cpu_seconds()?;
        tokio::time::sleep(length).await;
        Ok((self.cpu_seconds()? - before) / length.as_secs_f64())
    }

    /// Resident memory and its peak, in MiB.
    pub fn memory(&self) -> Result<String> {
        let mebi = |bytes: u64| bytes as f64 / 1_048_576.0;
        Ok(format!("{:.1} ({:.1})", mebi(self.rss_bytes()?), mebi(self.peak_rss_bytes()?)))
    }
}

/// Counts since the operator's start.
#[derive(Clone, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    /// By verb and resource, without the leases by which replicas agree on a leader.
    pub requests: BTreeMap<(String, String), u64>,
}

impl Usage {
    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let requests = self
            .requests
            .iter()
            .map(|(key, count)| (key.clone(), count.saturating_sub(*before.requests.get(key).unwrap_or(&0))))
            .filter(|(_, count)| *count > 0)
            .collect();
        Self { cpu_seconds: self.cpu_seconds - before.cpu_seconds, requests }
    }

    pub fn writes(&self) -> u64 {
        self.count(|verb, _| matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection"))
    }

    pub fn secret_writes(&self) -> u64 {
        self.count(|verb, resource| resource == "secrets" && matches!(verb, "create" | "update" | "patch"))
    }

    pub fn secret_reads(&self) -> u64 {
        self.count(|verb, resource| resource == "secrets" && matches!(verb, "get" | "list"))
    }

    /// Such as `create secrets 1000, patch registrycredentials 3`.
    pub fn list(&self) -> String {
        let one = |((verb, resource), count): (&(String, String), &u64)| format!("{verb} {resource} {count}");
        self.requests.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn count(&self, counts: impl Fn(&str, &str) -> bool) -> u64 {
        self.requests
            .iter()
            .filter(|((verb, resource), _)| counts(verb, resource))
            .map(|(_, count)| count)
            .sum()
    }
}

fn requests(metrics: &str) -> BTreeMap<(String, String), u64> {
    let mut requests = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("claviger_api_requests_total{")) {
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        let count = line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0_u64);
        if let (Some(verb), Some(resource)) = (label("verb"), label("resource"))
            && resource != "leases"
        {
            *requests.entry((verb, resource)).or_default() += count;
        }
    }
    requests
}
