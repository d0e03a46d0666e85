//! What design.md allows a file to use, as small tables.

use std::collections::BTreeSet;

use super::modules::Use;

/// The folders that only compute.
const PURE: [&str; 2] = ["domain", "api"];

/// Folders that a folder uses nothing of.
const APART: [(&str, &[&str]); 4] = [
    ("domain", &["cluster", "controller", "provider", "operator", "leader", "telemetry", "cli"]),
    ("api", &["cluster", "controller", "provider", "operator", "leader", "telemetry", "cli"]),
    ("cluster", &["controller"]),
    // The work queue is of any kind of key: it knows neither Kubernetes nor us.
    (
        "queue",
        &["api", "cluster", "controller", "operator", "leader", "telemetry", "cli", "kube", "k8s_openapi"],
    ),
];

/// Parts of paths by which a file would touch the world: clients, clocks, IO, chance, logging.
const WORLD: [&[&str]; 27] = [
    &["kube", "Client"],
    &["kube", "client"],
    &["kube", "Api"],
    &["kube", "api", "Api"],
    &["kube", "runtime"],
    &["kube_runtime"],
    &["hyper"],
    &["hyper_util"],
    &["tower"],
    &["tokio"],
    &["futures"],
    &["tracing"],
    &["tracing_subscriber"],
    &["rand"],
    &["std", "fs"],
    &["std", "env"],
    // Addresses are values; sockets are not.
    &["std", "net", "TcpListener"],
    &["std", "net", "TcpStream"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "net", "UdpSocket"],
    &["std", "process"],
    &["std", "thread"],
    &["SystemTime"],
    &["Instant", "now"],
    &["Timestamp", "now"],
    &["Zoned", "now"],
    // Of an `Instant`, which asks the clock.
    &[".elapsed()"],
];

/// A file that computes reads no clock, does no IO and logs nothing.
pub fn touches_the_world(uses: &BTreeSet<Use>) -> Vec<String> {
    let touches = |used: &&Use| {
        // A trait: chance that is handed in.
        if used.path == "ring::rand::SecureRandom" {
            return false;
        }
        let path: Vec<&str> = used.path.split("::").collect();
        WORLD.iter().any(|part| path.windows(part.len()).any(|window| window == *part))
    };
    told(uses.iter().filter(|used| PURE.contains(&top(&used.file))).filter(touches))
}

/// A layer uses nothing of those that it stands below.
pub fn crosses_layers(uses: &BTreeSet<Use>) -> Vec<String> {
    told(uses.iter().filter(|used| {
        let apart = APART.iter().find(|(folder, _)| *folder == top(&used.file)).map_or(&[][..], |(_, of)| of);
        let path = used.path.strip_prefix("crate::").unwrap_or(&used.path).split("::").next();
        let target = used.target.as_deref().map(top);
        path.into_iter().chain(target).any(|used| apart.contains(&used))
    }))
}

/// The flow in `controller/`: the router fills the queues, from which the loops take. By the beginning of a file's
/// name: which others it may not use.
const FLOW: [(&str, &[&str]); 7] = [
    ("router", &[]),
    ("credential", &["router"]),
    ("sync", &["router"]),
    ("status", &["router"]),
    ("member", &["router"]),
    ("sweep", &["router"]),
    ("policy", &["router"]),
];

/// No file uses one that stands above it in the flow.
pub fn goes_against_the_flow(uses: &BTreeSet<Use>) -> Vec<String> {
    told(uses.iter().filter(|used| {
        let Some((prefix, above)) = step(&used.file) else { return false };
        let target = used.target.as_deref().and_then(|file| file.strip_prefix("controller/"));
        target.is_some_and(|name| {
            !name.starts_with(prefix) && above.iter().any(|above| name.starts_with(above))
        })
    }))
}

fn step(file: &str) -> Option<(&'static str, &'static [&'static str])> {
    let name = file.strip_prefix("controller/")?;
    FLOW.iter().find(|(prefix, _)| name.starts_with(prefix)).copied()
}

/// Steps of the flow that no file is named after: then the rule above says nothing.
pub fn missing_steps<'a>(files: impl Iterator<Item = &'a String>) -> Vec<&'static str> {
    let there: BTreeSet<_> = files.filter_map(|file| step(file)).map(|(prefix, _)| prefix).collect();
    FLOW.iter().map(|(prefix, _)| *prefix).filter(|prefix| !there.contains(prefix)).collect()
}

/// The folder right below the root, or the file that stands for it.
pub fn top(file: &str) -> &str {
    file.split_once('/').map_or(file.trim_end_matches(".rs"), |(folder, _)| folder)
}

fn told<'a>(uses: impl Iterator<Item = &'a Use>) -> Vec<String> {
    uses.map(|used| format!("{}:{} uses {}", used.file, used.line, used.path)).collect()
}
