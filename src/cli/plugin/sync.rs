//! `kubectl claviger sync` and `rotate`: ask the operator to do now what it does by itself.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::json;

use super::{
    connect::Cluster,
    credentials::{Credential, CredentialArgs, plural},
    error::{PluginError, Right},
    news::News,
    output::{OutputArgs, table},
};
use crate::{
    api::{ANNOTATION_SYNC, CredentialStatus},
    cli::duration::at_least,
    domain::{
        condition::{self, ConditionStatus, ConditionType},
        foreign_text::foreign_text,
        schedule::{MAX_MESSAGE, MAX_WORD, PLUGIN_POLL, PLUGIN_PROBE, PLUGIN_WAIT},
    },
};

/// What is synced.
#[derive(Clone, Debug, Args)]
pub struct SyncArgs {
    #[command(flatten)]
    credential: CredentialArgs,

    /// Wait until the operator is done, and print the result
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    patience: Patience,
}

/// What is rotated.
#[derive(Clone, Debug, Args)]
pub struct RotateArgs {
    #[command(flatten)]
    credential: CredentialArgs,

    #[command(flatten)]
    patience: Patience,
}

#[derive(Clone, Copy, Debug, Args)]
struct Patience {
    /// How long to wait for the operator, such as 30s or 5m [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = at_least(PLUGIN_POLL))]
    timeout: Option<Duration>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Synced {
    credential: String,
    request: String,
    #[serde(flatten)]
    counts: Option<Counts>,
}

#[derive(Clone, Copy, Serialize)]
struct Counts {
    attempted: i64,
    ok: i64,
    failed: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rotated {
    credential: String,
    revision: Revisions,
    conditions: Vec<Told>,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct Revisions {
    before: i64,
    after: i64,
}

#[derive(Serialize)]
struct Told {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: String,
    message: String,
}

pub(super) async fn sync(
    args: &SyncArgs,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let mut credential = Credential::find(cluster, &args.credential).await?;
    let request = ask(cluster, &credential).await?;
    let counts = match args.wait {
        true => Some(answer(cluster, &mut credential, &request, args.patience).await?),
        false => None,
    };
    let answer = Synced { credential: credential.title(), request, counts };
    output.write(&answer, || match counts {
        None => format!("{}: a sync was requested\n", answer.credential),
        Some(counts) => counts_table(&answer.credential, counts),
    })?;
    Ok(News::good(counts.is_none_or(|counts| counts.failed == 0)))
}

pub(super) async fn rotate(
    args: &RotateArgs,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let mut credential = Credential::find(cluster, &args.credential).await?;
    let before = credential.status();
    let request = ask(cluster, &credential).await?;
    let counts = answer(cluster, &mut credential, &request, args.patience).await?;
    // Logins are tried beside that; one that was tried a moment ago is not tried again.
    let tried = async {
        while probes(&credential.status()).iter().any(|(key, at)| probes(&before).get(key) == Some(at)) {
            tokio::time::sleep(PLUGIN_POLL).await;
            credential.read(cluster).await?;
        }
        Ok::<_, PluginError>(())
    };
    tokio::time::timeout(PLUGIN_PROBE, tried).await.unwrap_or(Ok(()))?;
    let after = credential.status();
    use ConditionType::{Refreshed, SourceResolved, Synced, Verified};
    let shown = [SourceResolved, Verified, Refreshed, Synced];
    let is_bad = |condition: &Condition| ConditionStatus::of(condition) == ConditionStatus::False;
    let found = shown.iter().filter_map(|type_| condition::find(&after.conditions, *type_));
    let is_good = !found.clone().any(is_bad);
    let conditions: Vec<Told> = found.map(told).collect();
    let number = |status: &CredentialStatus| status.revision.unwrap_or_default();
    let revision = Revisions { before: number(&before), after: number(&after) };
    let answer = Rotated { credential: credential.title(), revision, conditions, counts };
    output.write(&answer, || {
        let Revisions { before, after } = answer.revision;
        let change = if before == after { "unchanged".to_owned() } else { format!("before: {before}") };
        let row = |told: &Told| {
            vec![told.type_.clone(), told.status.clone(), told.reason.clone(), told.message.clone()]
        };
        let rows: Vec<_> = answer.conditions.iter().map(row).collect();
        let conditions = table(&["CONDITION", "STATUS", "REASON", "MESSAGE"], &rows);
        format!("{}revision {after} ({change})\n\n{conditions}", counts_table(&answer.credential, counts))
    })?;
    Ok(News::good(is_good && counts.failed == 0))
}

fn counts_table(credential: &str, counts: Counts) -> String {
    let numbers = [counts.attempted, counts.ok, counts.failed].map(|number| number.to_string());
    let row = [credential.to_owned()].into_iter().chain(numbers).collect();
    table(&["CREDENTIAL", "ATTEMPTED", "OK", "FAILED"], &[row])
}

fn told(condition: &Condition) -> Told {
    let word = |text: &str| foreign_text(text, MAX_WORD);
    Told {
        type_: word(&condition.type_),
        status: word(&condition.status),
        reason: word(&condition.reason),
        message: foreign_text(&condition.message, MAX_MESSAGE),
    }
}

fn probes(status: &CredentialStatus) -> BTreeMap<&str, &Time> {
    let logins = status.verification.iter().flat_map(|verification| &verification.logins);
    logins.filter_map(|login| Some((login.key.as_str(), login.last_probe_time.as_ref()?))).collect()
}

/// Asks for a full sync, which reads the source and tries the logins too; returns what the answer is known by.
async fn ask(cluster: &Cluster, credential: &Credential) -> Result<String, PluginError> {
    let request = Timestamp::now().to_string();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {ANNOTATION_SYNC: request}}}));
    let right = Right::new("patch", plural(credential.kind), cluster.namespace.clone());
    let name = credential.name();
    let params = PatchParams::default();
    cluster.ask(right, credential.api.patch(&name, &params, &patch)).await?;
    Ok(request)
}

/// Waits for the operator's answer.
async fn answer(
    cluster: &Cluster,
    credential: &mut Credential,
    request: &str,
    patience: Patience,
) -> Result<Counts, PluginError> {
    let limit = patience.timeout.unwrap_or(PLUGIN_WAIT);
    let handled = async {
        loop {
            credential.read(cluster).await?;
            // Whoever asked after that asked for the same.
            let last = credential.object.annotations().get(ANNOTATION_SYNC).map_or(request, |last| last);
            if let Some(sync) = credential.status().sync.filter(|sync| sync.last_handled_request == last) {
                return Ok(Counts { attempted: sync.attempted, ok: sync.succeeded, failed: sync.failed });
            }
            tokio::time::sleep(PLUGIN_POLL).await;
        }
    };
    tokio::time::timeout(limit, handled).await.unwrap_or(Err(PluginError::NotHandled(limit)))
}
