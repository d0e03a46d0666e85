//! `claviger member-rbac`: prints what a member cluster gives the operator, as manifests for that cluster.

use std::io;

use clap::Args;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use kube::api::ObjectMeta;

use super::yaml::{ManifestError, print, to_yaml};
use crate::domain::labels::is_dns_label;

/// The default of `--namespace`.
const NAMESPACE: &str = "claviger-system";

/// The default of `--service-account`.
const SERVICE_ACCOUNT: &str = "claviger-member";

/// Prints manifests for a member cluster on stdout: a service account with the rights that the operator needs
/// there, and a token.
#[derive(Clone, Debug, Args)]
pub struct MemberRbacArgs {
    /// Where the service account and its token stand, in the member
    #[arg(long, env = "CLAVIGER_MEMBER_NAMESPACE", value_name = "NAME")]
    #[arg(default_value = NAMESPACE, value_parser = label)]
    pub namespace: String,

    /// Who the operator is in the member; another name for each operator that pushes there
    #[arg(long, env = "CLAVIGER_MEMBER_SERVICE_ACCOUNT", value_name = "NAME")]
    #[arg(default_value = SERVICE_ACCOUNT, value_parser = label)]
    pub service_account: String,
}

impl Default for MemberRbacArgs {
    fn default() -> Self {
        Self { namespace: NAMESPACE.to_owned(), service_account: SERVICE_ACCOUNT.to_owned() }
    }
}

/// Carries out `claviger member-rbac`.
///
/// # Errors
/// See [`ManifestError`].
pub fn run(args: &MemberRbacArgs) -> Result<(), ManifestError> {
    print(&mut io::stdout().lock(), &manifests(args)?)
}

/// The manifests, one document each.
///
/// # Errors
/// An object that has no YAML form.
pub fn manifests(args: &MemberRbacArgs) -> Result<String, ManifestError> {
    let what = "the manifests";
    let documents = [
        to_yaml(what, &namespace(args))?,
        to_yaml(what, &service_account(args))?,
        to_yaml(what, &cluster_role(args))?,
        to_yaml(what, &cluster_role_binding(args))?,
        to_yaml(what, &token(args))?,
    ];
    let header = "# Made by `claviger member-rbac`: what a member cluster gives to the operator. To be applied there.\n";
    Ok(documents.iter().fold(header.to_owned(), |all, yaml| format!("{all}---\n{yaml}")))
}

fn metadata(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        // Not `managed-by: claviger`, which marks the copies.
        labels: Some([("app.kubernetes.io/part-of".to_owned(), "claviger".to_owned())].into()),
        ..ObjectMeta::default()
    }
}

/// Names of cluster-wide objects hold both, so that two operators do not take each other's.
fn global_name(args: &MemberRbacArgs) -> String {
    format!("{}:{}", args.namespace, args.service_account)
}

fn namespace(args: &MemberRbacArgs) -> Namespace {
    Namespace { metadata: metadata(&args.namespace, None), ..Namespace::default() }
}

fn service_account(args: &MemberRbacArgs) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(&args.service_account, Some(&args.namespace)),
        // No Pod there runs as it.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

fn cluster_role(args: &MemberRbacArgs) -> ClusterRole {
    let rule = |resource: &str, verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    ClusterRole {
        metadata: metadata(&global_name(args), None),
        rules: Some(vec![
            rule("secrets", &["get", "list", "watch", "create", "update", "delete"]),
            rule("namespaces", &["list", "watch"]),
            rule("pods", &["list", "watch"]),
        ]),
        ..ClusterRole::default()
    }
}

fn cluster_role_binding(args: &MemberRbacArgs) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: metadata(&global_name(args), None),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: global_name(args),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: args.service_account.clone(),
            namespace: Some(args.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

/// The control plane of the member fills it in.
fn token(args: &MemberRbacArgs) -> Secret {
    let mut metadata = metadata(&args.service_account, Some(&args.namespace));
    let account = ("kubernetes.io/service-account.name".to_owned(), args.service_account.clone());
    metadata.annotations = Some([account].into());
    Secret { metadata, type_: Some("kubernetes.io/service-account-token".to_owned()), ..Secret::default() }
}

/// A name as Namespaces have it.
fn label(text: &str) -> Result<String, String> {
    if is_dns_label(text) {
        return Ok(text.to_owned());
    }
    Err("write 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::super::{Cli, Command};
    use super::*;

    fn printed(flags: &[&str]) -> Result<Vec<Value>, String> {
        let line = ["claviger", "member-rbac"].iter().chain(flags);
        let cli = Cli::try_parse_from(line).map_err(|e| e.to_string())?;
        let Command::MemberRbac(args) = cli.command else { return Err("not member-rbac".into()) };
        let yaml = manifests(&args).map_err(|e| e.to_string())?;
        serde_saphyr::from_multiple(&yaml).map_err(|e| e.to_string())
    }

    fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
        objects.iter().find(|object| object["kind"] == kind).unwrap()
    }

    #[test]
    fn a_role_has_the_rights_that_are_used_there_and_no_others() {
        let objects = printed(&[]).unwrap();
        let rule = |resource: &str, verbs: Value| json!({"apiGroups": [""], "resources": [resource], "verbs": verbs});
        let expected = json!([
            rule("secrets", json!(["get", "list", "watch", "create", "update", "delete"])),
            rule("namespaces", json!(["list", "watch"])),
            rule("pods", json!(["list", "watch"])),
        ]);
        assert_eq!(only(&objects, "ClusterRole")["rules"], expected);
    }

    #[test]
    fn the_objects_belong_together() {
        let objects = printed(&["--namespace=ops", "--service-account=hub-east"]).unwrap();
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Secret"]);
        assert_eq!(only(&objects, "Namespace")["metadata"]["name"], "ops");
        let account = only(&objects, "ServiceAccount");
        assert_eq!(account["metadata"]["name"], "hub-east");
        assert_eq!(account["metadata"]["namespace"], "ops");
        let binding = only(&objects, "ClusterRoleBinding");
        assert_eq!(binding["roleRef"]["name"], only(&objects, "ClusterRole")["metadata"]["name"]);
        let subject = json!([{"kind": "ServiceAccount", "name": "hub-east", "namespace": "ops"}]);
        assert_eq!(binding["subjects"], subject);
        let token = only(&objects, "Secret");
        assert_eq!(token["type"], "kubernetes.io/service-account-token");
        assert_eq!(token["metadata"]["namespace"], "ops");
        let of = &token["metadata"]["annotations"]["kubernetes.io/service-account.name"];
        assert_eq!(of, &account["metadata"]["name"]);
        // It is not one of our copies.
        assert_eq!(token["metadata"]["labels"].get("app.kubernetes.io/managed-by"), None);
    }

    #[test]
    fn two_operators_do_not_take_each_others_rights() {
        let name =
            |flags: &[&str]| only(&printed(flags).unwrap(), "ClusterRoleBinding")["metadata"]["name"].clone();
        assert_ne!(name(&["--namespace=one"]), name(&["--namespace=other"]));
        assert_ne!(name(&["--service-account=one"]), name(&["--service-account=other"]));
    }

    #[test]
    fn names_that_no_server_takes_are_refused() {
        for flag in ["--namespace=", "--namespace=Ops", "--service-account=a/b", "--service-account=-a"] {
            let error = printed(&[flag]).unwrap_err();
            assert!(error.contains("lower-case letters"), "{flag}: {error}");
        }
    }
}
