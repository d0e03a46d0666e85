//! What the chart renders, without a cluster.

use std::collections::BTreeSet;

use clap::Parser;
use claviger::cli::{
    Cli, Command, Family, Kinds, Settings,
    member_rbac::{MemberRbacArgs, manifests},
};
use serde_json::{Value, json};

use super::helm::{chart, helm, only, template, template_with_tests, values};
use crate::support::{Error, Result};

#[tokio::test]
async fn lint_has_no_complaint() -> Result<()> {
    let chart = chart().display().to_string();
    for name in ["minimal", "full"] {
        let said = helm(None, &["lint", "--strict", &chart, "--values", &values(name)]).await?;
        assert!(said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");
    }
    helm(None, &["lint", "--strict", &chart]).await.map(drop)
}

fn kinds(objects: &[Value]) -> Vec<String> {
    let mut kinds: Vec<_> =
        objects.iter().map(|object| object["kind"].as_str().unwrap_or_default().to_owned()).collect();
    kinds.sort();
    kinds
}

#[tokio::test]
async fn default_values_bring_what_is_needed_and_no_more() -> Result<()> {
    let objects = template(&[]).await?;
    let expected = [
        "ClusterRole",
        "ClusterRole",
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicyBinding",
    ];
    let (crds, rest): (Vec<_>, Vec<_>) =
        kinds(&objects).into_iter().partition(|kind| kind == "CustomResourceDefinition");
    assert_eq!(rest, expected);
    assert_eq!(crds.len(), claviger::api::crds().len());
    for crd in objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition") {
        assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
    Ok(())
}

#[tokio::test]
async fn everything_can_be_switched_off_and_on() -> Result<()> {
    let minimal = template_with_tests(&["--values", &values("minimal")]).await?;
    assert_eq!(kinds(&minimal), ["Deployment"]);
    let pod = &minimal[0]["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "mine");
    assert_eq!(pod["containers"][0].get("startupProbe"), None);

    let unbound = template_with_tests(&["--set", "rbac.create=false,rbac.aggregate=false"]).await?;
    let rights: Vec<_> = kinds(&unbound).into_iter().filter(|kind| kind.contains("Role")).collect();
    assert!(rights.is_empty(), "{rights:?}");

    let full = template(&["--values", &values("full")]).await?;
    let all: BTreeSet<_> = kinds(&full).into_iter().collect();
    for kind in [
        "DistributionPolicy",
        "MutatingAdmissionPolicy",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PrometheusRule",
        "ServiceMonitor",
    ] {
        assert!(all.contains(kind), "no {kind}");
    }
    for crd in full.iter().filter(|object| object["kind"] == "CustomResourceDefinition") {
        assert_eq!(crd["metadata"]["annotations"].get("helm.sh/resource-policy"), None);
    }
    let deployment = only(&full, "Deployment");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["imagePullSecrets"], json!([{"name": "global-pull"}, {"name": "pull"}]));
    let image = pod["containers"][0]["image"].as_str().unwrap_or_default();
    assert!(image.starts_with("mirror.internal:5000/ghcr/claviger/claviger@sha256:0123"), "{image}");
    let spread = &pod["topologySpreadConstraints"][0];
    assert_eq!(spread["labelSelector"]["matchLabels"], deployment["spec"]["selector"]["matchLabels"]);
    Ok(())
}

/// The settings that a rendered Deployment comes to.
fn settings(objects: &[Value]) -> Result<Settings> {
    let container = &only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().cloned().unwrap_or_default();
    let line = args.iter().map(|arg| arg.as_str().unwrap_or_default());
    match Cli::try_parse_from(std::iter::once("claviger").chain(line))?.command {
        Command::Run(args) => Ok(Settings::try_from(*args)?),
        _ => Err(Error::new("not run")),
    }
}

#[tokio::test]
async fn flags_are_those_of_the_operator() -> Result<()> {
    let bare = settings(&template(&[]).await?)?;
    assert!(bare.leader_election.is_some(), "two replicas would both act");
    let full = settings(&template(&["--values", &values("full")]).await?)?;
    assert_eq!(full.listen_address.to_string(), "[::]:9090");
    assert_eq!(full.concurrency, 16);
    assert_eq!(full.watch_timeout.as_secs(), 90);
    assert_eq!(full.request_timeout.as_secs(), 5);
    assert_eq!(full.resync_interval.as_secs(), 5400);
    assert_eq!(full.sweep_interval.as_secs(), 7200);
    assert_eq!(full.worker_threads, 1);
    assert_eq!(full.hub_id.as_deref(), Some("hub-eu"));
    assert_eq!(full.former_hub_ids, ["hub-old", "hub-older"]);
    let labels: Vec<_> = full.cluster_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["env=prod", "example.com/tier=1"]);
    assert_eq!(full.unreachable_grace_period.as_secs(), 1800);
    assert_eq!(full.consent_grace_period.as_secs(), 45);
    assert_eq!(full.sweep_grace_period.as_secs(), 1200);
    assert_eq!(full.member_probe_interval.as_secs(), 15);
    let adopt = format!("{:?}", full.adopt);
    assert!(adopt.contains("gitops") && adopt.contains("All"), "{adopt}");
    assert!(full.allow_insecure_members);
    let (usual, full_policy) = (bare.references.policy(), full.references.policy());
    assert_eq!(usual.blocking, Kinds::of(&[Family::Pods, Family::Ingresses, Family::Gateways]));
    assert_eq!((usual.kinds, full_policy.kinds), (Kinds::of(&Family::ALL), full_policy.blocking));
    let asked = &full.verification;
    let patterns = |text: &str| text.parse().map_err(Error::new);
    let allowed = "quay.io,*.example.com,registry.internal:5000,[fd00::1]:5000";
    assert_eq!(asked.allowed_registries, patterns(allowed)?);
    assert_eq!(asked.plain_http_registries, patterns("mirror.internal:80")?);
    assert_eq!(asked.private_registries, patterns("*.internal")?);
    assert!(asked.registry_ca.is_some() && bare.verification.registry_ca.is_none());
    let off = settings(&template(&["--values", &values("minimal")]).await?)?;
    assert_eq!((bare.verification.no_verification, off.verification.no_verification), (false, true));
    assert_eq!((bare.metrics_authentication, full.metrics_authentication), (false, true));
    assert_eq!((bare.hub_id, bare.allow_insecure_members), (None, false));
    assert_eq!(full.leader_election.map(|election| election.timing.lease_duration.as_secs()), Some(30));
    Ok(())
}

/// What may be listed and watched besides Secrets, Namespaces and our own kinds, as group and resource.
fn users(objects: &[Value]) -> BTreeSet<(String, String)> {
    let roles = objects
        .iter()
        .filter(|object| object["kind"] == "ClusterRole" && object["aggregationRule"].is_null());
    let rules = roles.flat_map(|role| role["rules"].as_array().cloned().unwrap_or_default());
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let watched = rules.filter(|rule| rule["verbs"] == json!(["list", "watch"]));
    let all = watched.flat_map(|rule| {
        let resources = texts(&rule["resources"]);
        let groups = texts(&rule["apiGroups"]);
        groups.into_iter().flat_map(move |group| {
            resources.clone().into_iter().map(move |resource| (group.clone(), resource))
        })
    });
    all.filter(|(group, resource)| group != "claviger.dev" && resource != "namespaces").collect()
}

/// The chart and `claviger member-rbac` know the same kinds, and give no right that is not switched on. Without defaults, which
/// look at ServiceAccounts for another reason.
#[tokio::test]
async fn rights_to_look_at_users_grow_with_what_is_switched_on() -> Result<()> {
    const OFF: &str = "--set=defaults.enabled=false";
    let pods = BTreeSet::from([(String::new(), "pods".to_owned())]);
    let mut all = pods.clone();
    for family in Family::ALL {
        let printed = manifests(&MemberRbacArgs {
            references: Kinds::of(&[family]),
            defaults: false,
            ..MemberRbacArgs::default()
        })?;
        let expected = users(&serde_saphyr::from_multiple::<Value>(&printed)?);
        assert_eq!(expected == pods, family == Family::Pods, "{expected:?}");
        let name = family.name();
        for (kinds, block_on) in
            [(json!([name]), json!([])), (json!([]), json!([name])), (json!([name]), json!([name]))]
        {
            let set = format!("references={}", json!({"kinds": kinds, "blockOn": block_on}));
            assert_eq!(users(&template(&["--set-json", &set, OFF]).await?), expected, "{set}");
        }
        all.extend(expected);
    }
    assert_eq!(users(&template(&[OFF]).await?), all, "all by default");
    Ok(())
}

/// An eviction takes a Pod away: nobody gets the right who has not asked for it.
#[tokio::test]
async fn pods_may_be_evicted_only_where_that_is_switched_on() -> Result<()> {
    let may_evict = async |args: &[&str]| {
        let objects = template(args).await?;
        let roles = objects.iter().filter(|object| object["kind"] == "ClusterRole");
        let mut rules = roles.flat_map(|role| role["rules"].as_array().into_iter().flatten());
        let right = json!({"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]});
        Ok::<_, Error>(rules.any(|rule| *rule == right))
    };
    assert!(!may_evict(&[]).await? && may_evict(&["--set=defaults.restartStuckPods=true"]).await?);
    Ok(())
}

/// A flag that names a file which is not there would keep the operator from starting.
#[tokio::test]
async fn authorities_of_registries_are_mounted_where_the_flag_says() -> Result<()> {
    let full = template(&["--values", &values("full")]).await?;
    let named = settings(&full)?.verification.registry_ca.unwrap_or_default();
    let pod = &only(&full, "Deployment")["spec"]["template"]["spec"];
    let mounts = &pod["containers"][0]["volumeMounts"];
    let (volumes, folder) = (&pod["volumes"], named.parent().map(|folder| folder.display().to_string()));
    assert_eq!(mounts[0], json!({"name": "registry-ca", "mountPath": folder, "readOnly": true}));
    let file = named.file_name().map(|name| name.to_string_lossy());
    let items = json!([{"key": "authorities.pem", "path": file}]);
    assert_eq!(volumes[0]["configMap"], json!({"name": "registry-ca", "items": items}));
    // Those that people add come along, and nothing is mounted where nothing is asked for.
    assert_eq!((&mounts[1]["name"], &volumes[1]["name"]), (&json!("ca"), &json!("ca")));
    let objects = template(&["--set", "verification.enabled=true"]).await?;
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    assert!(pod.get("volumes").is_none() && pod["containers"][0].get("volumeMounts").is_none(), "{pod}");
    // They hold for registries that mint tokens too, which are asked without verification.
    let objects = template(&["--set", "verification.enabled=false,verification.ca.configMap=ca"]).await?;
    let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"][0]["name"], "registry-ca", "{pod}");
    Ok(())
}

/// The verbs that a role of the chart gives on a resource of ours.
fn verbs(objects: &[Value], role: &str, resource: &str) -> BTreeSet<String> {
    let role =
        objects.iter().find(|object| object["kind"] == "ClusterRole" && object["metadata"]["name"] == role);
    let rules = role.and_then(|role| role["rules"].as_array()).cloned().unwrap_or_default();
    let of = |rule: &&Value| {
        rule["apiGroups"] == json!(["claviger.dev"])
            && rule["resources"].as_array().is_some_and(|all| all.contains(&json!(resource)))
    };
    let all = rules.iter().filter(of).flat_map(|rule| rule["verbs"].as_array().cloned().unwrap_or_default());
    all.filter_map(|verb| verb.as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn clusters_are_taken_in_by_admins_and_by_adoption_only() -> Result<()> {
    let set = |verbs: &[&str]| verbs.iter().map(|verb| (*verb).to_owned()).collect::<BTreeSet<_>>();
    let bare = template(&[]).await?;
    for kind in ["memberclusters", "distributionpolicies"] {
        assert_eq!(verbs(&bare, "keys-claviger-view", kind), set(&["get", "list", "watch"]));
        assert_eq!(verbs(&bare, "keys-claviger-edit", kind), set(&[]));
    }
    let used = ["get", "list", "watch", "patch"];
    assert_eq!(verbs(&bare, "keys-claviger", "memberclusters"), set(&used));
    for tool in ["argocd", "clusterApi"] {
        let on = format!("adopt.{tool}.enabled=true,adopt.{tool}.namespace=fleet");
        let adopting = template(&["--set", &on]).await?;
        let all = [&used[..], &["create", "delete"]].concat();
        assert_eq!(verbs(&adopting, "keys-claviger", "memberclusters"), set(&all), "{tool}");
    }
    let Err(refused) = template(&["--set", "adopt.clusterApi.enabled=true"]).await else {
        return Err(Error::new("clusters are named by whoever can write a Secret anywhere"));
    };
    assert!(refused.to_string().contains("adopt.clusterApi.namespace must be given"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn who_scrapes_shows_a_token_when_one_is_asked_for() -> Result<()> {
    let endpoint = async |sets: &[&str]| -> Result<Value> {
        let all = [&["serviceMonitor.enabled=true"], sets].concat();
        let args: Vec<&str> = all.iter().flat_map(|set| ["--set", set]).collect();
        Ok(only(&template(&args).await?, "ServiceMonitor")["spec"]["endpoints"][0].clone())
    };
    let open = endpoint(&[]).await?;
    assert!(open.get("bearerTokenFile").is_none() && open.get("authorization").is_none(), "{open}");
    let on = "metrics.authentication.enabled=true";
    let own = endpoint(&[on]).await?;
    assert_eq!(own["bearerTokenFile"], "/var/run/secrets/kubernetes.io/serviceaccount/token");
    let of = "serviceMonitor.authorization.credentials";
    let secret = endpoint(&[on, &format!("{of}.name=scraper"), &format!("{of}.key=token")]).await?;
    assert_eq!(secret["authorization"], json!({"credentials": {"name": "scraper", "key": "token"}}));
    assert!(secret.get("bearerTokenFile").is_none(), "only one of the two is allowed: {secret}");
    Ok(())
}

#[tokio::test]
async fn the_fence_knows_harmless_types_only_and_is_the_same_in_members() -> Result<()> {
    fn only_fence<'a>(objects: &'a [Value], name: &str) -> Result<&'a Value> {
        let is = |object: &&Value| {
            object["kind"] == "ValidatingAdmissionPolicy" && object["metadata"]["name"] == name
        };
        Ok(&objects.iter().find(is).ok_or_else(|| Error::new(format!("no {name}")))?["spec"])
    }
    let objects = template(&[]).await?;
    let fence = only_fence(&objects, "keys-claviger-fence")?;
    let text = fence.to_string();
    let types = text.split_once("object.type in [").and_then(|(_, rest)| rest.split_once(']'));
    let types: Vec<_> =
        types.map_or("", |(list, _)| list).split(", ").map(|t| t.trim_matches('\'')).collect();
    // Whoever adds one here has thought of what such a Secret can do in the hands of a thief.
    let harmless = [
        "Opaque",
        "kubernetes.io/basic-auth",
        "kubernetes.io/dockerconfigjson",
        "kubernetes.io/tls",
        "nginx.org/htpasswd",
    ];
    assert_eq!(types, harmless);
    // The same user, so that nothing else may differ.
    let args = MemberRbacArgs {
        namespace: "keys-system".into(),
        service_account: "keys-claviger".into(),
        ..MemberRbacArgs::default()
    };
    let printed: Vec<Value> = serde_saphyr::from_multiple(&manifests(&args)?)?;
    assert_eq!(only_fence(&printed, "claviger-fence.keys-system.keys-claviger")?, fence);
    Ok(())
}
