//! `claviger member-rbac`: prints what a member cluster gives the operator, as manifests for that cluster.

use std::{collections::BTreeMap, io};

use clap::{ArgAction, Args};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use kube::api::ObjectMeta;
use serde_json::Value;

use super::{
    references::{ALL, kinds},
    yaml::{ManifestError, print, to_yaml},
};
use crate::domain::{
    adoption::dns_label,
    labels::is_dns_label,
    reference_kind::{Family, Kinds},
};

/// The resource that defaults are attached to.
const ACCOUNTS: &str = "serviceaccounts";

/// The default of `--namespace`.
const NAMESPACE: &str = "claviger-system";

/// The default of `--service-account`.
const SERVICE_ACCOUNT: &str = "claviger-member";

/// What the fence says, as the spec of a ValidatingAdmissionPolicy; the user is in the place of [`OPERATOR`]. It is the
/// chart's file, so that the fence is the same in the hub and in members.
const FENCE: &str = include_str!("../../charts/claviger/files/fence.yaml");

/// The same for ServiceAccounts.
const ACCOUNTS_FENCE: &str = include_str!("../../charts/claviger/files/fence-serviceaccounts.yaml");

/// Where the user belongs in [`FENCE`], as a string of CEL.
const OPERATOR: &str = "OPERATOR";

/// Prints manifests for a member cluster on stdout: a service account with the rights that the operator needs
/// there, a fence that holds it to the Secrets that are Claviger's, and a token.
#[derive(Clone, Debug, Args)]
pub struct MemberRbacArgs {
    /// Namespace of the service account and its token in the member
    #[arg(long, env = "CLAVIGER_MEMBER_NAMESPACE", value_name = "NAME")]
    #[arg(default_value = NAMESPACE, value_parser = label)]
    pub namespace: String,

    /// Name of the operator's service account in the member; each operator that pushes there needs its own
    #[arg(long, env = "CLAVIGER_MEMBER_SERVICE_ACCOUNT", value_name = "NAME")]
    #[arg(default_value = SERVICE_ACCOUNT, value_parser = label)]
    pub service_account: String,

    /// Print permissions and fence for an existing user, such as that of a client certificate, and no service
    /// account. The fence restricts everything that acts as this user
    #[arg(long, env = "CLAVIGER_MEMBER_USER", value_name = "NAME", value_parser = user)]
    #[arg(conflicts_with_all = ["namespace", "service_account"])]
    pub user: Option<String>,

    /// Which objects there count as users of Secrets, as in the operator's flag --references; pods always do
    #[arg(long, env = "CLAVIGER_MEMBER_REFERENCES", value_name = "KINDS", value_parser = kinds)]
    #[arg(default_value = ALL, hide_default_value = true)]
    pub references: Kinds,

    /// Let the operator attach Secrets to ServiceAccounts there, as the operator's flag --defaults does; `false`
    /// removes the permission
    #[arg(long, env = "CLAVIGER_MEMBER_DEFAULTS", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = true)]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub defaults: bool,

    /// Let the operator evict Pods there that were created before a default was attached, if a credential sets
    /// `spec.default.restartStuckPods`
    #[arg(long, env = "CLAVIGER_MEMBER_RESTART_STUCK_PODS", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = false)]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub restart_stuck_pods: bool,

    /// Print the fence too, a ValidatingAdmissionPolicy; `false` for members older than Kubernetes 1.30
    #[arg(long, env = "CLAVIGER_MEMBER_FENCE", value_name = "BOOL")]
    #[arg(action = ArgAction::Set, default_value_t = true)]
    #[arg(default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub fence: bool,
}

impl Default for MemberRbacArgs {
    fn default() -> Self {
        let (namespace, service_account) = (NAMESPACE.to_owned(), SERVICE_ACCOUNT.to_owned());
        let references = Kinds::of(&Family::ALL);
        let restart_stuck_pods = false;
        Self {
            namespace,
            service_account,
            user: None,
            references,
            defaults: true,
            restart_stuck_pods,
            fence: true,
        }
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
    let mut documents = Vec::new();
    if args.user.is_none() {
        documents = vec![to_yaml(what, &namespace(args))?, to_yaml(what, &service_account(args))?];
    }
    documents.push(to_yaml(what, &cluster_role(args))?);
    documents.push(to_yaml(what, &cluster_role_binding(args))?);
    if args.fence {
        documents.push(fence(args, "claviger-fence", FENCE));
        if args.defaults {
            documents.push(fence(args, "claviger-fence-serviceaccounts", ACCOUNTS_FENCE));
        }
    }
    if args.user.is_none() {
        documents.push(to_yaml(what, &token(args))?);
    }
    let header =
        "# Made by `claviger member-rbac`: what the operator needs in a member cluster. Apply it there.\n";
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

/// Names of cluster-wide objects hold who the operator is, so that two operators do not take each other's.
fn global_name(args: &MemberRbacArgs, separator: char) -> String {
    match &args.user {
        Some(user) => dns_label(user),
        None => format!("{}{separator}{}", args.namespace, args.service_account),
    }
}

/// The role and its binding.
fn role_name(args: &MemberRbacArgs) -> String {
    let prefix = if args.user.is_some() { "claviger:" } else { "" };
    format!("{prefix}{}", global_name(args, ':'))
}

/// As text, so that the reasons which stand in it are printed too. A policy must be called as a DNS name.
fn fence(args: &MemberRbacArgs, name: &str, spec: &str) -> String {
    let name = format!("{name}.{}", global_name(args, '.'));
    let MemberRbacArgs { namespace, service_account, user, .. } = args;
    let user = user.clone().unwrap_or_else(|| format!("system:serviceaccount:{namespace}:{service_account}"));
    let spec = spec.replace(OPERATOR, &Value::from(user).to_string());
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let head = |kind: &str| {
        let labels = "  labels:\n    app.kubernetes.io/part-of: claviger\n";
        let kind = format!("apiVersion: admissionregistration.k8s.io/v1\nkind: {kind}\n");
        format!("{kind}metadata:\n{labels}  name: {name}\nspec:\n")
    };
    let (policy, binding) = (head("ValidatingAdmissionPolicy"), head("ValidatingAdmissionPolicyBinding"));
    format!("{policy}{spec}---\n{binding}  policyName: {name}\n  validationActions:\n  - Deny\n")
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
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(resources.iter().map(|resource| (*resource).to_owned()).collect()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        ..PolicyRule::default()
    };
    let mut rules = vec![
        rule("", &["secrets"], &["get", "list", "watch", "create", "update", "delete"]),
        rule("", &["namespaces"], &["list", "watch"]),
    ];
    let mut users: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for api in args.references.types().filter(|api| !args.defaults || api.plural != ACCOUNTS) {
        users.entry(api.group).or_default().push(api.plural);
    }
    if args.defaults {
        rules.push(rule("", &[ACCOUNTS], &["list", "watch", "patch"]));
    }
    rules.extend(users.iter().map(|(group, resources)| rule(group, resources, &["list", "watch"])));
    if args.restart_stuck_pods {
        rules.push(rule("", &["pods/eviction"], &["create"]));
    }
    ClusterRole { metadata: metadata(&role_name(args), None), rules: Some(rules), ..ClusterRole::default() }
}

fn cluster_role_binding(args: &MemberRbacArgs) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: metadata(&role_name(args), None),
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".to_owned()),
            kind: "ClusterRole".to_owned(),
            name: role_name(args),
        },
        subjects: Some(vec![subject(args)]),
    }
}

fn subject(args: &MemberRbacArgs) -> Subject {
    let kind = |kind: &str, name: &str| Subject {
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..Subject::default()
    };
    match &args.user {
        Some(user) => {
            let api_group = Some("rbac.authorization.k8s.io".to_owned());
            Subject { api_group, ..kind("User", user) }
        }
        None => {
            let namespace = Some(args.namespace.clone());
            Subject { namespace, ..kind("ServiceAccount", &args.service_account) }
        }
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

/// A user as API servers know one: any text that is one line.
fn user(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err("write the name of a user as the API server of the member knows it".to_owned());
    }
    Ok(text.to_owned())
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
        let rule = |group: &str, resources: Value, verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
        let watched = |group: &str, resources: Value| rule(group, resources, &["list", "watch"]);
        let base = [
            rule("", json!(["secrets"]), &["get", "list", "watch", "create", "update", "delete"]),
            watched("", json!(["namespaces"])),
        ];
        let accounts = rule("", json!(["serviceaccounts"]), &["list", "watch", "patch"]);
        for (flag, users) in [
            ("--references=", vec![watched("", json!(["pods"]))]),
            (
                "--references=ingresses,serviceaccounts,gateways",
                vec![
                    watched("", json!(["pods", "serviceaccounts"])),
                    watched(
                        "gateway.networking.k8s.io",
                        json!(["gateways", "listenersets", "backendtlspolicies", "referencegrants"]),
                    ),
                    watched("networking.k8s.io", json!(["ingresses"])),
                ],
            ),
        ] {
            let printed = printed(&[flag, "--defaults=false"]).unwrap();
            let rules = only(&printed, "ClusterRole")["rules"].clone();
            assert_eq!(rules, json!([&base[..], &users].concat()), "{flag}");
        }
        let with = only(&printed(&["--references=serviceaccounts"]).unwrap(), "ClusterRole")["rules"].clone();
        let once = [&base[..], &[accounts, watched("", json!(["pods"]))]].concat();
        assert_eq!(with, json!(once), "each resource once");
        let all = only(&printed(&[]).unwrap(), "ClusterRole")["rules"].clone();
        assert!(all.as_array().unwrap().iter().skip(3).all(|rule| rule["verbs"] == json!(["list", "watch"])));
    }

    #[test]
    fn pods_are_evicted_only_where_that_is_switched_on() {
        let may_evict = |flags: &[&str]| {
            let rules = only(&printed(flags).unwrap(), "ClusterRole")["rules"].clone();
            let rule = json!({"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]});
            rules.as_array().unwrap().contains(&rule)
        };
        assert!(may_evict(&["--restart-stuck-pods"]) && may_evict(&["--restart-stuck-pods=true"]));
        assert!(!may_evict(&[]) && !may_evict(&["--restart-stuck-pods=false"]));
    }

    #[test]
    fn the_objects_belong_together() {
        let objects = printed(&["--namespace=ops", "--service-account=hub-east"]).unwrap();
        let kinds: Vec<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        let expected = [
            "Namespace",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "Secret",
        ];
        assert_eq!(kinds, expected);
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
    fn two_operators_do_not_take_each_others_rights_or_fence() {
        for kind in ["ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"] {
            let name = |flags: &[&str]| only(&printed(flags).unwrap(), kind)["metadata"]["name"].to_string();
            assert_ne!(name(&["--namespace=one"]), name(&["--namespace=other"]));
            assert_ne!(name(&["--service-account=one"]), name(&["--service-account=other"]));
            // Which part is which is not in doubt.
            let (one, other) =
                (["--namespace=a-b", "--service-account=c"], ["--namespace=a", "--service-account=b-c"]);
            assert_ne!(name(&one), name(&other));
            assert_ne!(name(&["--user=Alice"]), name(&["--user=alice"]));
        }
    }

    #[test]
    fn a_fence_is_about_one_user_and_no_text_breaks_out_of_it() {
        let condition = |flags: &[&str]| {
            let objects = printed(flags).unwrap();
            let policy = only(&objects, "ValidatingAdmissionPolicy");
            let binding = &only(&objects, "ValidatingAdmissionPolicyBinding")["spec"];
            assert_eq!(binding["policyName"], policy["metadata"]["name"]);
            assert_eq!(policy["spec"]["failurePolicy"], "Fail");
            policy["spec"]["matchConditions"][0]["expression"].as_str().unwrap().to_owned()
        };
        assert_eq!(
            condition(&["--namespace=ops", "--service-account=hub-east"]),
            r#"request.userInfo.username == "system:serviceaccount:ops:hub-east""#
        );
        for (user, expected) in [
            ("kubernetes-admin", r#""kubernetes-admin""#),
            (r#"a" || true || "b"#, r#""a\" || true || \"b""#),
            (r"back\slash: #1 'x'", r#""back\\slash: #1 'x'""#),
        ] {
            let condition = condition(&[&format!("--user={user}")]);
            assert_eq!(condition, format!("request.userInfo.username == {expected}"), "{user}");
        }
        let without = printed(&["--fence=false"]).unwrap();
        assert!(without.iter().all(|object| !object["kind"].as_str().unwrap().starts_with("Validating")));
    }

    #[test]
    fn a_user_that_there_is_gets_no_account_and_no_token() {
        let objects = printed(&["--user=oidc:eve@example.com"]).unwrap();
        assert_eq!(objects.len(), 6, "{objects:?}");
        let subject = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "oidc:eve@example.com"}]);
        assert_eq!(only(&objects, "ClusterRoleBinding")["subjects"], subject);
        assert!(printed(&["--user=eve", "--service-account=hub"]).is_err());
        for nobody in ["--user=", "--user= ", "--user=a\nb"] {
            assert!(printed(&[nobody]).unwrap_err().contains("name of a user"), "{nobody:?}");
        }
    }

    #[test]
    fn names_that_no_server_takes_are_refused() {
        for flag in ["--namespace=", "--namespace=Ops", "--service-account=a/b", "--service-account=-a"] {
            let error = printed(&[flag]).unwrap_err();
            assert!(error.contains("lower-case letters"), "{flag}: {error}");
        }
    }
}
