//! BasicAuthCredential: each format, hashes that stay, what the server refuses, deletion.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use claviger::api::{BasicAuthCredential, BasicAuthCredentialStatus};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    reached::reached,
    scenario::Scenario,
    support::{
        ControlPlane, Error, Operator, Result, apply_yaml_in, environment::prepare, operator_binary, stays,
        wait::wait_for,
    },
};

const DEADLINE: Duration = Duration::from_secs(90);

/// Long enough for a write that comes a moment after a look.
const QUIET: Duration = Duration::from_secs(4);

/// A BasicAuthCredential in a namespace; a refusal of the server is the error.
pub async fn apply(client: &Client, namespace: &str, name: &str, spec: Value) -> Result<BasicAuthCredential> {
    let api: Api<BasicAuthCredential> = Api::namespaced(client.clone(), namespace);
    let object = json!({"apiVersion": "claviger.dev/v1alpha1", "kind": "BasicAuthCredential", "metadata": {"name": name}, "spec": spec});
    Ok(api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await?)
}

/// Waits until a credential is ready as it stands in its spec, at a revision.
pub async fn wait_ready(
    client: &Client,
    namespace: &str,
    name: &str,
    revision: i64,
) -> Result<BasicAuthCredentialStatus> {
    wait_condition(client, namespace, name, |status, condition| {
        status.common.revision == Some(revision) && condition == "Ready=True (AllTargetsSynced)"
    })
    .await?;
    let api: Api<BasicAuthCredential> = Api::namespaced(client.clone(), namespace);
    wait_for(DEADLINE, &format!("all namespaces of {namespace}/{name}"), async || {
        let object = api.get(name).await.map_err(|e| e.to_string())?;
        let status = object.status.unwrap_or_default();
        reached(client, namespace, &object.spec.target, &status.common).await.map(|()| status)
    })
    .await
}

/// Waits until a condition of a credential is as it should be; it comes as `Type=Status (Reason)`.
pub async fn wait_condition(
    client: &Client,
    namespace: &str,
    name: &str,
    wanted: impl Fn(&BasicAuthCredentialStatus, &str) -> bool,
) -> Result<BasicAuthCredentialStatus> {
    let api: Api<BasicAuthCredential> = Api::namespaced(client.clone(), namespace);
    wait_for(DEADLINE, &format!("the condition of {namespace}/{name}"), async || {
        let object = api.get(name).await.map_err(|e| e.to_string())?;
        let status = object.status.clone().unwrap_or_default();
        let found = status.common.conditions.iter().any(|c| {
            c.observed_generation == object.metadata.generation
                && wanted(&status, &format!("{}={} ({})", c.type_, c.status, c.reason))
        });
        if found { Ok(status) } else { Err(serde_json::to_string(&status).unwrap()) }
    })
    .await
}

/// The data of a Secret, as texts.
pub async fn data(client: &Client, namespace: &str, name: &str) -> Result<BTreeMap<String, String>> {
    let secret = Api::<Secret>::namespaced(client.clone(), namespace).get(name).await?;
    let data = secret.data.unwrap_or_default().into_iter();
    data.map(|(key, value)| Ok((key, String::from_utf8(value.0)?))).collect()
}

/// Users whose passwords stand in Secret `team`, each under its own name.
pub fn team(names: &[&str]) -> Value {
    names
        .iter()
        .map(|name| json!({"username": name, "secretRef": {"name": "team", "passwordKey": name}}))
        .collect()
}

#[tokio::test]
async fn each_format_is_a_secret_as_its_consumer_reads_it() -> Result<()> {
    let test = Scenario::shared().await?;
    let (client, home) = (&test.client, &test.home.name);
    test.source("team", json!({"alice": "alice-password", "bob": "bob-password"})).await?;
    test.source("one", json!({"username": "alice", "password": "alice-password\n"})).await?;
    let two = team(&["bob", "alice"]);
    for (name, spec, type_, keys, begins) in [
        (
            "plain",
            json!({"format": "BasicAuth", "secretRef": {"name": "one"}}),
            "kubernetes.io/basic-auth",
            vec!["password", "username"],
            "alice",
        ),
        ("file", json!({"format": "Htpasswd", "users": two}), "Opaque", vec!["auth"], "alice:$2y$10$"),
        (
            "single",
            json!({"format": "Htpasswd", "username": "me", "secretRef": {"name": "one"}}),
            "Opaque",
            vec!["auth"],
            "me:$2y$10$",
        ),
        (
            "map",
            json!({"format": "HtpasswdMap", "hash": "Sha512Crypt", "users": two}),
            "Opaque",
            vec!["alice", "bob"],
            "$6$",
        ),
        (
            "nginx",
            json!({"format": "NginxOrg", "users": two}),
            "nginx.org/htpasswd",
            vec!["htpasswd"],
            "alice:$2y$10$",
        ),
        (
            "envoy",
            json!({"format": "EnvoyGateway", "users": two}),
            "Opaque",
            vec![".htpasswd"],
            "alice:{SHA}",
        ),
    ] {
        let many = spec.get("users").is_some();
        apply(client, home, name, spec).await?;
        let status = test.home.explain(wait_ready(client, home, name, 1).await).await?;
        assert_eq!(status.basic_auth.map(|status| status.users), Some(if many { 2 } else { 1 }), "{name}");
        assert_eq!(test.secrets(home).get(name).await?.type_.as_deref(), Some(type_), "{name}");
        let data = data(client, home, name).await?;
        assert_eq!(data.keys().collect::<Vec<_>>(), keys, "{name}");
        assert!(data.values().any(|value| value.starts_with(begins)), "{name}");
    }
    assert_eq!(data(client, home, "plain").await?["password"], "alice-password");

    // What is unwise is told, and only where it is so.
    let events: Api<Event> = Api::namespaced(client.clone(), home);
    let weak = wait_for(DEADLINE, "an Event about {SHA}", async || {
        let events = events.list(&ListParams::default()).await.map_err(|e| e.to_string())?;
        let weak = events.items.into_iter().filter(|event| event.reason.as_deref() == Some("WeakHash"));
        let about: Vec<_> = weak.filter_map(|event| event.regarding?.name).collect();
        if about.is_empty() { Err("none".to_owned()) } else { Ok(about) }
    })
    .await?;
    assert_eq!(weak, ["envoy"]);
    Ok(())
}

#[tokio::test]
async fn a_new_password_changes_one_line_in_place_and_a_bad_one_none() -> Result<()> {
    let test = Scenario::shared().await?;
    let (client, home) = (&test.client, &test.home.name);
    test.source("team", json!({"alice": "alice-password", "bob": "bob-password"})).await?;
    apply(client, home, "web", json!({"format": "Htpasswd", "users": team(&["alice", "bob"])})).await?;
    wait_ready(client, home, "web", 1).await?;
    let uid = test.secrets(home).get("web").await?.uid();
    let first = data(client, home, "web").await?["auth"].clone();

    test.source("team", json!({"alice": "alice-password", "bob": "another-password"})).await?;
    wait_ready(client, home, "web", 2).await?;
    let second = data(client, home, "web").await?["auth"].clone();
    let lines: Vec<_> = first.lines().zip(second.lines()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0].0, lines[0].1, "alice has a new hash for her old password");
    assert_ne!(lines[1].0, lines[1].1, "bob has no hash for his new password");
    assert_eq!(test.secrets(home).get("web").await?.uid(), uid, "it was replaced, not updated");

    // bcrypt would read 72 bytes of it only.
    test.source("team", json!({"alice": "x".repeat(73), "bob": "another-password"})).await?;
    let status = wait_condition(client, home, "web", |_, condition| {
        condition == "SourceResolved=False (InvalidFormat)"
    })
    .await?;
    let source = status.common.conditions.iter().find(|c| c.type_ == "SourceResolved").unwrap();
    assert!(source.message.contains("key 'alice' of Secret 'team' has 73 bytes"), "{}", source.message);
    assert_eq!(data(client, home, "web").await?["auth"], second);
    test.source("team", json!({"alice": "x".repeat(72), "bob": "another-password"})).await?;
    wait_ready(client, home, "web", 3).await?;

    // A user more, then one less: the others keep their hashes.
    let before = data(client, home, "web").await?["auth"].clone();
    test.source(
        "team",
        json!({"alice": "x".repeat(72), "bob": "another-password", "carol": "carol-password"}),
    )
    .await?;
    apply(client, home, "web", json!({"format": "Htpasswd", "users": team(&["carol", "bob", "alice"])}))
        .await?;
    wait_ready(client, home, "web", 4).await?;
    let after = data(client, home, "web").await?["auth"].clone();
    assert!(after.starts_with(&before) && after.lines().count() == 3);
    apply(client, home, "web", json!({"format": "Htpasswd", "users": team(&["bob", "alice"])})).await?;
    wait_ready(client, home, "web", 5).await?;
    assert_eq!(data(client, home, "web").await?["auth"], before);
    Ok(())
}

#[tokio::test]
async fn a_restart_keeps_every_hash_and_writes_nothing() -> Result<()> {
    let control_plane = ControlPlane::builder().audit(true).start().await?;
    let test = Scenario::alone(&control_plane).await?;
    let (client, home) = (&test.client, &test.home.name);
    prepare(client).await?;
    let start = async || {
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        Operator::builder(binary, control_plane.kubeconfig()).namespace("claviger-system").start().await
    };
    let operator = start().await?;
    test.policy().await?;
    let targets = test.targets(3).await?;
    test.source("team", json!({"alice": "alice-password", "bob": "bob-password"})).await?;
    for (name, format) in [("file", "Htpasswd"), ("map", "HtpasswdMap"), ("envoy", "EnvoyGateway")] {
        let spec = json!({"format": format, "users": team(&["alice", "bob"]), "target": test.selector()});
        apply(client, home, name, spec).await?;
        wait_ready(client, home, name, 1).await?;
    }
    operator.terminate(DEADLINE).await?;
    drop(operator);

    // What was written to Secrets and credentials after a place in the log.
    let writes = |after: usize| -> Result<Vec<(String, String, String)>> {
        let events = control_plane.audit_events()?.into_iter().skip(after).filter(|event| {
            event.is_write()
                && ["secrets", "basicauthcredentials", "events"].contains(&event.resource.as_str())
        });
        Ok(events.map(|e| (e.verb, e.namespace, e.name)).collect())
    };
    // Until each of them was looked at.
    let look_at_all = async || -> Result<Operator> {
        let operator = start().await?;
        for name in ["file", "map", "envoy"] {
            let info = format!("claviger_credential_info{{kind=\"BasicAuthCredential\",name=\"{name}\"}}");
            wait_for(DEADLINE, &format!("a look at {name}"), async || {
                operator.metric(&info).await.ok().flatten()
            })
            .await?;
        }
        Ok(operator)
    };
    let stay = async |after: usize, wanted: &[(String, String, String)]| {
        stays(QUIET, "no other write", async || {
            let found = writes(after).map_err(|error| error.to_string())?;
            if found == wanted { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await
    };
    let before = control_plane.audit_events()?.len();
    let operator = look_at_all().await?;
    stay(before, &[]).await?;
    operator.terminate(DEADLINE).await?;

    // One copy of three that was edited meanwhile is healed, and no other gets a new hash for it.
    let good = data(client, &targets[0], "file").await?;
    let edited = json!({"stringData": {"auth": "alice:{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=\n"}});
    test.secrets(&targets[1]).patch("file", &PatchParams::default(), &Patch::Merge(edited)).await?;
    wait_for(DEADLINE, "the edit in the log", async || writes(before).is_ok_and(|found| !found.is_empty()))
        .await?;
    let before = control_plane.audit_events()?.len();
    let _operator = look_at_all().await?;
    for namespace in &targets {
        wait_for(DEADLINE, &format!("the hashes in {namespace}"), async || {
            data(client, namespace, "file").await.is_ok_and(|found| found == good)
        })
        .await?;
    }
    let update = ("update".to_owned(), targets[1].clone(), "file".to_owned());
    let healed = async || {
        let found = writes(before).map_err(|error| error.to_string())?;
        // Drift may be told in the status and by an Event, which stand in the credential's namespace.
        let secrets: Vec<_> = found.into_iter().filter(|(_, namespace, _)| namespace != home).collect();
        if secrets == [update.clone()] { Ok(()) } else { Err(format!("{secrets:?}")) }
    };
    wait_for(DEADLINE, "the repair in the log", healed).await?;
    stays(QUIET, "one repair", healed).await
}

#[tokio::test]
async fn what_can_be_judged_from_the_spec_is_refused_in_words() -> Result<()> {
    let test = Scenario::shared().await?;
    let (client, home) = (&test.client, &test.home.name);
    let one = json!({"name": "one"});
    let named = |name: &str| json!([{"username": name, "secretRef": {"name": "one"}}]);
    let many: Value =
        (0..101).map(|n| json!({"username": format!("u{n}"), "secretRef": {"name": "one"}})).collect();
    for (spec, sentence) in [
        (json!({"format": "Htpasswd"}), "give either `secretRef`, for one user, or `users`"),
        (json!({"format": "Htpasswd", "secretRef": one, "users": named("a")}), "not both"),
        (json!({"format": "Htpasswd", "users": []}), "at least 1"),
        (json!({"format": "Htpasswd", "users": many}), "at most 100"),
        (
            json!({"format": "Htpasswd", "username": "a", "users": named("a")}),
            "`username` may only be given with `secretRef`",
        ),
        (json!({"format": "BasicAuth", "users": team(&["a", "b"])}), "format BasicAuth holds one user"),
        (json!({"format": "BasicAuth", "hash": "Bcrypt", "secretRef": one}), "whose password is plain"),
        (
            json!({"format": "EnvoyGateway", "hash": "Bcrypt", "secretRef": one}),
            "Envoy reads {SHA} and nothing else",
        ),
        (
            json!({"format": "HtpasswdMap", "hash": "Sha1", "secretRef": one}),
            "HAProxy reads crypt(3) hashes only",
        ),
        (json!({"format": "Htpasswd", "hash": "MD5", "secretRef": one}), "supported values"),
        (json!({"format": "Htpasswd", "users": named("a:b")}), "may not contain ':'"),
        (json!({"format": "BasicAuth", "username": "a:b", "secretRef": one}), "may not contain ':'"),
        (json!({"format": "Htpasswd", "users": named("a\nroot")}), "may not contain control characters"),
        (json!({"format": "Htpasswd", "users": named("#a")}), "which makes the line a comment"),
        (json!({"format": "NginxOrg", "username": "a ", "secretRef": one}), "nor begin or end with a space"),
        (json!({"format": "HtpasswdMap", "users": named("a@example.com")}), "valid keys of a Secret"),
        (json!({"format": "HtpasswdMap", "username": "..a", "secretRef": one}), "a valid key of a Secret"),
        (json!({"format": "Htpasswd", "users": named(&"x".repeat(256))}), "may not be more than 255"),
        (
            json!({"format": "Htpasswd", "secretRef": {"name": "one", "namespace": "kube-system"}}),
            "field not declared",
        ),
    ] {
        match apply(client, home, "refused", spec.clone()).await {
            Ok(_) => return Err(Error::new(format!("not refused: {spec}"))),
            Err(error) => assert!(error.to_string().contains(sentence), "{spec}: {error}"),
        }
    }
    // Characters that YAML has no place for, and so server-side apply; JSON brings them.
    let api: Api<BasicAuthCredential> = Api::namespaced(client.clone(), home);
    for name in ["a\0", "a\u{7f}", "a\u{85}", "a\u{9f}b"] {
        for spec in [
            json!({"format": "Htpasswd", "users": named(name)}),
            json!({"format": "BasicAuth", "username": name, "secretRef": one}),
        ] {
            let object = BasicAuthCredential::new("refused", serde_json::from_value(spec)?);
            let error = api.create(&PostParams::default(), &object).await.unwrap_err().to_string();
            assert!(error.contains("may not contain control characters"), "{name:?}: {error}");
        }
    }
    // As many users as can be, with the longest names.
    let most: Value = (0..100)
        .map(|n| json!({"username": format!("{n:0>255}"), "secretRef": {"name": "gone", "passwordKey": "k"}}))
        .collect();
    apply(client, home, "most", json!({"format": "EnvoyGateway", "users": most})).await?;

    apply(client, home, "kept", json!({"format": "Htpasswd", "secretRef": one})).await?;
    let refused = apply(client, home, "kept", json!({"format": "NginxOrg", "secretRef": one})).await;
    let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(
        error.contains("may not be changed, because it decides the type and keys of the Secret"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_pod_that_mounts_it_or_reads_it_holds_a_deletion() -> Result<()> {
    let test = Scenario::shared().await?;
    let (client, home) = (&test.client, &test.home.name);
    test.source("one", json!({"username": "alice", "password": "alice-password"})).await?;
    let api: Api<BasicAuthCredential> = Api::namespaced(client.clone(), home);
    for (name, field, pod) in [
        (
            "mounted",
            "spec.volumes",
            json!({
                "containers": [{"name": "app", "image": "app", "volumeMounts": [{"name": "auth", "mountPath": "/auth"}]}],
                "volumes": [{"name": "auth", "secret": {"secretName": "mounted"}}],
            }),
        ),
        (
            "read",
            "spec.containers",
            json!({
                "containers": [{"name": "app", "image": "app", "envFrom": [{"secretRef": {"name": "read"}}]}],
            }),
        ),
    ] {
        apply(client, home, name, json!({"format": "BasicAuth", "secretRef": {"name": "one"}})).await?;
        wait_ready(client, home, name, 1).await?;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod});
        test.pods(home).patch(name, &PatchParams::apply("test"), &Patch::Apply(pod)).await?;
        test.phase(home, name, "Running").await?;
        wait_for(DEADLINE, "the Pod to be seen", async || {
            let status = api.get(name).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
            let users = status.common.references.unwrap_or_default().items;
            if users.iter().any(|user| user.field.starts_with(field)) {
                Ok(())
            } else {
                Err(format!("{users:?}"))
            }
        })
        .await?;
        api.delete(name, &DeleteParams::default()).await?;
        wait_condition(client, home, name, |_, condition| condition == "DeletionBlocked=True (InUse)")
            .await?;
        assert!(test.secrets(home).get_opt(name).await?.is_some());
        test.phase(home, name, "Succeeded").await?;
        wait_for(DEADLINE, "credential and Secret to be gone", async || {
            api.get_opt(name).await.is_ok_and(|object| object.is_none())
                && test.secrets(home).get_opt(name).await.is_ok_and(|secret| secret.is_none())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_examples_come_true() -> Result<()> {
    let test = Scenario::shared().await?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for (file, name) in [("basic-auth-minimal.yaml", "dashboard"), ("basic-auth-full.yaml", "metrics")] {
        let manifest = fs::read_to_string(folder.join(file))?;
        let applied = apply_yaml_in(&test.client, &test.home.name, &manifest).await?;
        let credential = applied.iter().find(|object| object.name_any() == name).unwrap();
        wait_ready(&test.client, &credential.namespace().unwrap(), name, 1).await?;
    }
    let minimal = data(&test.client, &test.home.name, "dashboard").await?;
    assert!(minimal["auth"].starts_with("alice:$2y$10$"));
    let full = data(&test.client, "basic-auth-web", "metrics-users").await?;
    assert_eq!(full.keys().collect::<Vec<_>>(), ["alice", "scraper"]);
    Ok(())
}
