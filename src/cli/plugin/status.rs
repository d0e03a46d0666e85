//! `kubectl claviger status`: credentials, their clusters, the namespaces that fail, why, and since when.

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;

use super::{
    connect::Cluster,
    credentials::{Credential, CredentialArgs},
    error::PluginError,
    news::News,
    output::{OutputArgs, age},
};
use crate::{
    api::{ClusterState, ClusterStatus, CredentialStatus, StuckPods},
    domain::{
        condition::{self, ConditionStatus, ConditionType},
        counted::counted,
        foreign_text::foreign_text,
        schedule::{MAX_MESSAGE, MAX_WORD},
        selection::LOCAL,
    },
};

/// Whose status.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// KIND/NAME or NAME of one credential [default: all in the namespace]
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// All credentials of all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    all_namespaces: bool,
}

#[derive(Serialize)]
struct Answer {
    items: Vec<Told>,
}

/// What is told of a credential.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    kind: &'static str,
    namespace: String,
    name: String,
    ready: String,
    reason: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    /// Those besides `Ready` that are bad news.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<Abnormal>,
    clusters: Vec<ClusterStatus>,
    /// Pods that were created before it was a default, and cannot pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    stuck: Option<StuckPods>,
}

#[derive(Serialize)]
struct Abnormal {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
    since: Time,
}

/// Conditions that are bad news when they are true.
const ABNORMAL: [ConditionType; 3] =
    [ConditionType::Stalled, ConditionType::Reconciling, ConditionType::DeletionBlocked];

pub(super) async fn run(
    args: &StatusArgs,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let credentials = match &args.name {
        Some(name) => vec![Credential::find(cluster, &CredentialArgs::named(name)).await?],
        None => Credential::all(cluster, args.all_namespaces).await?,
    };
    let answer = Answer { items: credentials.iter().map(told).collect() };
    output.write(&answer, || {
        if answer.items.is_empty() {
            return "No credentials found.\n".to_owned();
        }
        let now = Timestamp::now();
        answer.items.iter().map(|item| tree(item, now)).collect::<Vec<_>>().join("\n")
    })?;
    Ok(News::Good)
}

fn told(credential: &Credential) -> Told {
    let CredentialStatus { conditions, clusters, revision, .. } = credential.status();
    let word = |text: &str| foreign_text(text, MAX_WORD);
    let sentence = |text: &str| foreign_text(text, MAX_MESSAGE);
    let ready = condition::find(&conditions, ConditionType::Ready);
    let is_abnormal = |condition: &&Condition| {
        let is_true_bad = ABNORMAL.iter().any(|type_| type_.as_str() == condition.type_);
        let bad = if is_true_bad { ConditionStatus::True } else { ConditionStatus::False };
        condition.type_ != ConditionType::Ready.as_str() && ConditionStatus::of(condition) == bad
    };
    let abnormal = conditions.iter().filter(is_abnormal).map(|condition| Abnormal {
        type_: word(&condition.type_),
        status: word(&condition.status),
        reason: word(&condition.reason),
        message: sentence(&condition.message),
        since: condition.last_transition_time.clone(),
    });
    let cleaned = |mut row: ClusterStatus| {
        row.name = foreign_text(&row.name, 253);
        row.reason = row.reason.as_deref().map(word);
        row.message = row.message.as_deref().map(sentence);
        for failure in &mut row.failures {
            failure.namespace = word(&failure.namespace);
            failure.reason = word(&failure.reason);
            failure.message = sentence(&failure.message);
        }
        row
    };
    Told {
        kind: credential.kind.name(),
        namespace: credential.namespace(),
        name: credential.name(),
        ready: ready.map_or_else(|| "Unknown".to_owned(), |ready| word(&ready.status)),
        reason: ready.map(|ready| word(&ready.reason)).unwrap_or_default(),
        message: ready
            .map(|ready| sentence(&ready.message))
            .unwrap_or_else(|| "the operator has not seen it yet".to_owned()),
        since: ready.map(|ready| ready.last_transition_time.clone()),
        revision,
        conditions: abnormal.collect(),
        clusters: clusters.into_iter().map(cleaned).collect(),
        stuck: credential.stuck().map(|mut stuck| {
            for pod in &mut stuck.items {
                for text in [&mut pod.cluster, &mut pod.namespace, &mut pod.name, &mut pod.reason] {
                    *text = foreign_text(text, 253);
                }
            }
            stuck
        }),
    }
}

/// A node of the tree, with what is below it.
struct Node {
    line: String,
    below: Vec<Node>,
}

fn tree(item: &Told, now: Timestamp) -> String {
    let for_ =
        |since: Option<&Time>| since.map(|since| format!(", for {}", age(since.0, now))).unwrap_or_default();
    let leaf = |line: String| Node { line, below: Vec::new() };
    let conditions = item.conditions.iter().map(|abnormal| {
        let Abnormal { type_, status, reason, message, since } = abnormal;
        // Mostly it is what `Ready` says, too.
        let why = if *message == item.message { String::new() } else { format!(": {message}") };
        leaf(format!("{type_}={status} {reason}{}{why}", for_(Some(since))))
    });
    let clusters = item.clusters.iter().map(|row| {
        let state = match row.state {
            ClusterState::Synced => "Synced",
            ClusterState::Pending => "Pending",
            ClusterState::Error => "Error",
            ClusterState::Unreachable => "Unreachable",
        };
        let counts = row.namespaces;
        let why: Vec<&str> = [&row.reason, &row.message].into_iter().flatten().map(String::as_str).collect();
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(": ")) };
        let since = for_(row.last_transition_time.as_ref());
        let mut below: Vec<Node> = row
            .failures
            .iter()
            .map(|failure| leaf(format!("{} {}: {}", failure.namespace, failure.reason, failure.message)))
            .collect();
        let more = usize::try_from(counts.failed).unwrap_or_default().saturating_sub(row.failures.len());
        match (more, below.is_empty()) {
            (0, _) => {}
            // The status does not name what the spec does not.
            (_, true) => below.push(leaf(counted(more, "namespace"))),
            (_, false) => below.push(leaf(format!("and {more} more"))),
        }
        let line = format!("{} {state} {}/{}{since}{why}", row.name, counts.synced, counts.desired);
        Node { line, below }
    });
    let stuck = item.stuck.iter().map(|stuck| {
        let mut below: Vec<Node> = stuck
            .items
            .iter()
            .map(|pod| {
                let place = if pod.cluster == LOCAL { String::new() } else { format!(" of {}", pod.cluster) };
                leaf(format!(
                    "{}/{}{place} {}{}",
                    pod.namespace,
                    pod.name,
                    pod.reason,
                    for_(Some(&pod.since))
                ))
            })
            .collect();
        let more = usize::try_from(stuck.total).unwrap_or_default().saturating_sub(stuck.items.len());
        if more > 0 {
            below.push(leaf(format!("and {more} more")));
        }
        let line = match stuck.total {
            1 => "1 Pod cannot pull because it was created too early".to_owned(),
            total => format!("{total} Pods cannot pull because they were created too early"),
        };
        Node { line, below }
    });
    let below: Vec<Node> = conditions.chain(clusters).chain(stuck).collect();
    let revision = item.revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
    let line = format!(
        "{} {}/{} Ready={} {}{}{revision}: {}",
        item.kind,
        item.namespace,
        item.name,
        item.ready,
        item.reason,
        for_(item.since.as_ref()),
        item.message
    );
    let mut text = format!("{line}\n");
    draw(&below, "", &mut text);
    text
}

fn draw(nodes: &[Node], before: &str, text: &mut String) {
    for (n, node) in nodes.iter().enumerate() {
        let is_last = n + 1 == nodes.len();
        let (branch, next) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        *text += &format!("{before}{branch}{}\n", node.line);
        draw(&node.below, &format!("{before}{next}"), text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tree_tells_clusters_and_failing_namespaces() {
        let rows = json!([
            {"name": "east", "state": "Error", "namespaces": {"desired": 5, "synced": 3, "failed": 2}, "lastTransitionTime": "2026-01-01T00:00:00Z",
                "failures": [{"namespace": "web", "reason": "SecretNameConflict", "message": "taken"}]},
            {"name": "local", "state": "Synced", "namespaces": {"desired": 1, "synced": 1, "failed": 0}},
        ]);
        let stuck = json!({"total": 3, "items": [
            {"cluster": "local", "namespace": "web", "name": "app", "since": "2026-01-01T00:00:00Z", "reason": "ErrImagePull"},
            {"cluster": "east", "namespace": "db", "name": "x", "since": "2026-01-01T00:00:00Z", "reason": "ImagePullBackOff"},
        ]});
        let since: Time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let abnormal = Abnormal {
            type_: "Synced".into(),
            status: "False".into(),
            reason: "PartiallySynced".into(),
            message: "no".into(),
            since: since.clone(),
        };
        let same = Abnormal {
            type_: "Stalled".into(),
            status: "True".into(),
            reason: "PartiallySynced".into(),
            message: "2 fail".into(),
            since: since.clone(),
        };
        let told = Told {
            kind: "TlsCredential",
            namespace: "a".into(),
            name: "b".into(),
            ready: "False".into(),
            reason: "PartiallySynced".into(),
            message: "2 fail".into(),
            since: Some(since),
            revision: Some(7),
            conditions: vec![abnormal, same],
            clusters: serde_json::from_value(rows).unwrap(),
            stuck: Some(serde_json::from_value(stuck).unwrap()),
        };
        let text = tree(&told, "2026-01-01T02:00:00Z".parse().unwrap());
        assert_eq!(
            text,
            "TlsCredential a/b Ready=False PartiallySynced, for 2h, revision 7: 2 fail\n\
             ├─ Synced=False PartiallySynced, for 2h: no\n\
             ├─ Stalled=True PartiallySynced, for 2h\n\
             ├─ east Error 3/5, for 2h\n\
             │  ├─ web SecretNameConflict: taken\n\
             │  └─ and 1 more\n\
             ├─ local Synced 1/1\n\
             └─ 3 Pods cannot pull because they were created too early\n\
             \x20  ├─ web/app ErrImagePull, for 2h\n\
             \x20  ├─ db/x of east ImagePullBackOff, for 2h\n\
             \x20  └─ and 1 more\n"
        );
    }
}
