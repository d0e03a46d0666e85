//! The API server's audit log: who asked for what, as the server saw it.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::Deserialize;

use super::error::{Context, Result};

/// Everything, without bodies; one line per request, as the first of the stages is left out.
pub const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\n\
                          rules:\n- level: Metadata\n";

/// One request. A watch is there once, from when it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// When the server received the request, on the clock of this machine.
    pub received: Timestamp,
    pub user: String,
    /// Which of a ServiceAccount's tokens it came with; empty for other users.
    pub credential: String,
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// Empty for requests that are not about a resource, such as `/readyz`.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub code: u16,
    /// RBAC said no. A 403 can also come from admission, or from a namespace that is going.
    pub unauthorized: bool,
    pub user_agent: String,
    pub uri: String,
}

impl AuditEvent {
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    #[serde(rename = "auditID")]
    audit_id: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    request_received_timestamp: MicroTime,
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: Status,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
    #[serde(default)]
    extra: HashMap<String, Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// What is in the log by now. The last line may be half written: it is left for the next reading.
pub fn read(path: &Path) -> Result<Vec<AuditEvent>> {
    let text = fs::read_to_string(path).context(format!("audit log {}", path.display()))?;
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut events = Vec::new();
    let mut seen = HashSet::new();
    for line in complete.lines() {
        let line: Line = serde_json::from_str(line)?;
        let decision = line.annotations.get("authorization.k8s.io/decision");
        // Long-running requests (watches) are logged when they start and again when they end.
        if seen.insert(line.audit_id) {
            let credential = line.user.extra.get("authentication.kubernetes.io/credential-id");
            events.push(AuditEvent {
                received: line.request_received_timestamp.0,
                credential: credential.and_then(|ids| ids.first()).cloned().unwrap_or_default(),
                user: line.user.username,
                verb: line.verb,
                group: line.object_ref.api_group,
                resource: line.object_ref.resource,
                subresource: line.object_ref.subresource,
                namespace: line.object_ref.namespace,
                name: line.object_ref.name,
                code: line.response_status.code,
                unauthorized: decision.is_some_and(|decision| decision == "forbid"),
                user_agent: line.user_agent,
                uri: line.request_uri,
            });
        }
    }
    Ok(events)
}
