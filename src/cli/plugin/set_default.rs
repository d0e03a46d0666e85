//! `kubectl claviger set-default`: makes a credential the one that Pods pull with that name none themselves.

use clap::{Args, ValueEnum};
use kube::api::{DynamicObject, Patch, PatchParams};
use serde::Serialize;
use serde_json::json;

use super::{
    connect::Cluster,
    credentials::{Credential, CredentialArgs, plural},
    error::{PluginError, Right},
    news::{News, tell},
    output::OutputArgs,
};
use crate::{
    api::{CredentialKind, RegistryCredentialSpec},
    domain::{
        default_choice::{Candidate, Choice, Kept},
        foreign_text::foreign_text,
        gitops::keeper,
        schedule::{MAX_MESSAGE, MAX_NAME_EXPLAINED},
    },
};

const KIND: CredentialKind = CredentialKind::RegistryCredential;

/// Which credential becomes the default.
#[derive(Clone, Debug, Args)]
pub struct SetDefaultArgs {
    /// Name of the RegistryCredential, also as regcred/NAME
    #[arg(value_name = "NAME")]
    name: String,

    /// Change nothing: `client` only prints what would change, `server` lets the API server check it
    #[arg(long, value_enum, value_name = "WHERE", default_value = "none")]
    dry_run: DryRun,
}

/// Who only pretends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// Make the change
    None,
    /// Send nothing
    Client,
    /// The API server checks the change and does not store it
    Server,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    credential: String,
    /// Whether something was, or would be, changed.
    changed: bool,
    registries: Vec<String>,
    before: Setting,
    default: Setting,
    /// Defaults for the same registries, which come after it.
    loses: Vec<Loser>,
    /// Those that it does not come before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keeps: Vec<Keeper>,
    #[serde(skip_serializing_if = "Option::is_none")]
    managed_by: Option<&'static str>,
}

#[derive(Clone, Copy, Serialize)]
struct Setting {
    enabled: bool,
    priority: i32,
}

#[derive(Serialize)]
struct Loser {
    credential: String,
    priority: i32,
}

#[derive(Serialize)]
struct Keeper {
    credential: String,
    priority: i32,
    reason: Kept,
}

pub(super) async fn run(
    args: &SetDefaultArgs,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let named = if args.name.contains('/') { args.name.clone() } else { format!("regcred/{}", args.name) };
    let credential = Credential::find(cluster, &CredentialArgs::named(&named)).await?;
    if credential.kind != KIND {
        let title = credential.title();
        return Err(PluginError::Usage(format!(
            "{title} is not for a registry: only a RegistryCredential can be a default"
        )));
    }
    let own = candidate(&credential.object).ok_or_else(|| {
        PluginError::Refused(format!("this version cannot read the spec of {}", credential.title()))
    })?;
    let choice = own.choose(others(cluster).await?);
    let managed_by = keeper(&credential.object.metadata, true).map(|tool| tool.name());
    if !choice.is_made && args.dry_run != DryRun::Client {
        patch(&credential, &choice, args.dry_run, cluster).await?;
    }
    let answer = Answer {
        credential: credential.title(),
        changed: !choice.is_made,
        registries: own.keys.iter().map(|key| foreign_text(key, MAX_NAME_EXPLAINED)).collect(),
        before: Setting { enabled: own.enabled, priority: own.priority },
        default: Setting { enabled: true, priority: choice.priority },
        loses: choice
            .loses
            .into_iter()
            .map(|one| Loser { credential: one.title, priority: one.priority })
            .collect(),
        keeps: choice
            .keeps
            .into_iter()
            .map(|(one, reason)| Keeper { credential: one.title, priority: one.priority, reason })
            .collect(),
        managed_by,
    };
    output.write(&answer, || in_words(&answer, args.dry_run))?;
    if let Some(tool) = managed_by.filter(|_| answer.changed) {
        tell(&format!(
            "{tool} manages {} and would undo this: write `spec.default` into its source, too",
            answer.credential
        ));
    }
    Ok(News::Good)
}

fn candidate(object: &DynamicObject) -> Option<Candidate> {
    let spec = object.data.get("spec")?;
    let spec: RegistryCredentialSpec = serde_json::from_value(spec.clone()).ok()?;
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let name = object.metadata.name.as_deref().unwrap_or_default();
    Some(Candidate::new(namespace, name, &spec))
}

/// All credentials for registries that the caller may see.
async fn others(cluster: &Cluster) -> Result<Vec<Candidate>, PluginError> {
    let (listed, refused) = cluster.list_what_may_be_seen(&KIND.resource(), plural(KIND)).await?;
    if let Some(refused) = refused {
        let why = foreign_text(&refused.to_string(), MAX_MESSAGE);
        tell(&format!("Only defaults of namespace '{}' are known: {why}", cluster.namespace));
    }
    Ok(listed.iter().filter_map(candidate).collect())
}

async fn patch(
    credential: &Credential,
    choice: &Choice,
    dry_run: DryRun,
    cluster: &Cluster,
) -> Result<(), PluginError> {
    // Nobody else's change is overwritten: it is judged by what was read.
    let patch = json!({
        "metadata": {"resourceVersion": credential.object.metadata.resource_version},
        "spec": {"default": {"enabled": true, "priority": choice.priority}},
    });
    let params = PatchParams { dry_run: dry_run == DryRun::Server, ..PatchParams::default() };
    let right = Right::new("patch", plural(KIND), cluster.namespace.clone());
    let (name, patch) = (credential.name(), Patch::Merge(&patch));
    cluster.ask(right, credential.api.patch(&name, &params, &patch)).await.map(drop)
}

fn in_words(answer: &Answer, dry_run: DryRun) -> String {
    let Answer { credential, changed, registries, before, default, loses, keeps, .. } = answer;
    let (is, how) = match (changed, dry_run) {
        (false, _) => ("is already", ""),
        (true, DryRun::None) => ("is now", ""),
        (true, DryRun::Client) => ("would be", " (dry run)"),
        (true, DryRun::Server) => ("would be", " (server dry run)"),
    };
    let was = match (changed, before.enabled) {
        (false, _) => String::new(),
        (true, false) => ", and was not a default before".to_owned(),
        (true, true) => format!(", and was a default with priority {} before", before.priority),
    };
    let mut text = format!(
        "{credential} {is} the default for {}, with priority {}{was}{how}\n",
        registries.join(", "),
        default.priority
    );
    for Loser { credential, priority } in loses {
        text += &format!("  before RegistryCredential {credential}, with priority {priority}\n");
    }
    for Keeper { credential, priority, reason } in keeps {
        let how = match reason {
            Kept::OwnNamespace => "stays the default in its own namespace",
            Kept::HighestPriority => "cannot be outranked; lower its priority first",
        };
        text += &format!("  RegistryCredential {credential}, with priority {priority}, {how}\n");
    }
    text
}
