//! That the chart gives the operator the rights that it uses, and no others.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::Api;

use claviger::cli::member_rbac::MemberRbacArgs;

use super::release::{FULL_NAME, NAMESPACE, Release};
use crate::support::{AuditEvent, ControlPlane, Error, Result};

/// One right: a rule of a role, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    /// With a subresource, after a slash.
    resource: String,
    name: Option<String>,
    verb: String,
    namespace: Option<&'static str>,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        for (what, text) in [(" ", self.name.as_deref()), (" in ", self.namespace)] {
            text.map_or(Ok(()), |text| write!(f, "{what}{text}"))?;
        }
        if self.group.is_empty() { Ok(()) } else { write!(f, " ({})", self.group) }
    }
}

impl Right {
    fn is_used_by(&self, event: &AuditEvent) -> bool {
        let resource = match event.subresource.as_str() {
            "" => event.resource.clone(),
            sub => format!("{}/{sub}", event.resource),
        };
        event.verb == self.verb
            && event.group == self.group
            && resource == self.resource
            && self.name.as_ref().is_none_or(|name| event.name == *name)
            && self.namespace.is_none_or(|namespace| event.namespace == namespace)
    }
}

fn rights(rules: Option<Vec<PolicyRule>>, namespace: Option<&'static str>, into: &mut BTreeSet<Right>) {
    for rule in rules.unwrap_or_default() {
        let names: Vec<_> = match rule.resource_names {
            Some(names) if !names.is_empty() => names.into_iter().map(Some).collect(),
            _ => vec![None],
        };
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for name in &names {
                    into.extend(rule.verbs.iter().map(|verb| Right {
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                        verb: verb.clone(),
                        namespace,
                    }));
                }
            }
        }
    }
}

/// What the installed roles of the operator give.
async fn given(release: &Release) -> Result<BTreeSet<Right>> {
    let client = release.client().await?;
    let mut all = BTreeSet::new();
    let global = Api::<ClusterRole>::all(client.clone()).get(FULL_NAME).await?;
    rights(global.rules, None, &mut all);
    let own = Api::<Role>::namespaced(client, NAMESPACE).get(FULL_NAME).await?;
    rights(own.rules, Some(NAMESPACE), &mut all);
    assert!(all.len() > 15, "only {} rights", all.len());
    assert!(
        !all.iter().any(|right| [&right.verb, &right.resource, &right.group].into_iter().any(|x| x == "*"))
    );
    Ok(all)
}

/// What the operator has asked for so far.
fn requests(release: &Release) -> Result<Vec<AuditEvent>> {
    let mut events = release.control_plane.audit_events()?;
    // The operator never asks for a dry run; a test that waits for the fence does, in its name.
    events.retain(|event| event.user == Release::user() && !event.uri.contains("dryRun="));
    Ok(events)
}

/// Neither RBAC nor the fence stands in the operator's way.
pub fn assert_enough(release: &Release) -> Result<()> {
    allowed("the chart", &requests(release)?)
}

fn allowed(giver: &str, requests: &[AuditEvent]) -> Result<()> {
    let refused: Vec<String> = requests
        .iter()
        .filter(|event| event.unauthorized || event.code == 403)
        .map(|event| {
            let by = if event.unauthorized { "RBAC" } else { "admission" };
            format!("{} {} {}/{}: refused by {by}", event.verb, event.resource, event.namespace, event.name)
        })
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!("{giver} does not allow what the operator does:\n{}", refused.join("\n"))))
}

/// The operator has used every right that the chart gives it.
pub async fn assert_minimal(release: &Release) -> Result<()> {
    used("the chart", &given(release).await?, &requests(release)?)
}

/// What `claviger member-rbac` gives in a member is what the operator has used there.
pub async fn assert_minimal_in_member(member: &ControlPlane) -> Result<()> {
    let MemberRbacArgs { namespace, service_account, .. } = MemberRbacArgs::default();
    let roles = Api::<ClusterRole>::all(member.client().await?);
    let mut given = BTreeSet::new();
    rights(roles.get(&format!("{namespace}:{service_account}")).await?.rules, None, &mut given);
    let user = format!("system:serviceaccount:{namespace}:{service_account}");
    let mut requests = member.audit_events()?;
    requests.retain(|event| event.user == user);
    allowed("member-rbac", &requests)?;
    used("member-rbac", &given, &requests)
}

/// The rules of a role in the operator's namespace give a user nothing that it has not used.
pub fn assert_used(
    giver: &str,
    rules: Vec<PolicyRule>,
    user: &str,
    control_plane: &ControlPlane,
) -> Result<()> {
    let mut given = BTreeSet::new();
    rights(Some(rules), None, &mut given);
    assert!(!given.is_empty(), "{giver} gives nothing");
    let mut requests = control_plane.audit_events()?;
    requests.retain(|event| event.user == user);
    used(giver, &given, &requests)
}

fn used(giver: &str, given: &BTreeSet<Right>, requests: &[AuditEvent]) -> Result<()> {
    let unused: Vec<String> = given
        .iter()
        .filter(|right| !requests.iter().any(|event| right.is_used_by(event)))
        .map(Right::to_string)
        .collect();
    if unused.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!("{giver} gives rights that the operator never uses:\n{}", unused.join("\n"))))
}
