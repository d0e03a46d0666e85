//! What the operator has used and asked for, at one moment.

use std::{collections::BTreeMap, fs, time::Duration};

use crate::support::{Operator, Result};

/// Counts since the operator's start.
#[derive(Clone, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    /// By verb and resource, without the leases by which replicas agree on a leader.
    pub requests: BTreeMap<(String, String), u64>,
}

impl Usage {
    pub async fn of(operator: &Operator) -> Result<Self> {
        Ok(Self { cpu_seconds: cpu_seconds(operator)?, requests: requests(&operator.metrics().await?) })
    }

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let requests = self
            .requests
            .iter()
            .map(|(key, count)| (key.clone(), count - before.requests.get(key).unwrap_or(&0)))
            .filter(|(_, count)| *count > 0)
            .collect();
        Self { cpu_seconds: self.cpu_seconds - before.cpu_seconds, requests }
    }

    pub fn writes(&self) -> u64 {
        self.count(|verb, _| matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection"))
    }

    pub fn secret_writes(&self) -> u64 {
        self.count(|verb, resource| resource == "secrets" && matches!(verb, "create" | "update"))
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

/// Waits until the operator has done close to nothing for a second.
pub async fn settle(operator: &Operator) -> Result<()> {
    let mut before = cpu_seconds(operator)?;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = cpu_seconds(operator)?;
        if now - before < 0.01 {
            return Ok(());
        }
        before = now;
    }
}

/// Processor time in nanoseconds' resolution; `/proc/<pid>/stat` counts in hundredths of a second, which is
/// too coarse for an idle process. The operator's threads live as long as it does.
pub fn cpu_seconds(operator: &Operator) -> Result<f64> {
    cpu_of(operator.pid())
}

/// Processor time of the benchmark itself.
pub fn own_cpu_seconds() -> Result<f64> {
    cpu_of(std::process::id())
}

fn cpu_of(process: u32) -> Result<f64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0_u64);
    }
    Ok(nanoseconds as f64 / 1e9)
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
