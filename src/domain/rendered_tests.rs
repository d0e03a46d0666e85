use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{CredentialKind, DeletionPolicy, Target},
    domain::fingerprint::FingerprintKey,
};

fn rendered() -> RenderedSecret {
    let id = CredentialId {
        kind: CredentialKind::BasicAuthCredential,
        namespace: "platform".into(),
        name: "web".into(),
    };
    let metadata = Metadata::desired(&id, "hub", 3, &Target::default(), DeletionPolicy::Protect);
    let data = Data::from([("auth".into(), "new".into()), ("a\"b".into(), "".into())]);
    let content = Content::new("Opaque", data);
    let print = FingerprintKey::new([0; 32]).of(content.type_, &content.data);
    let hub = Arc::new(Hub::new("hub", []));
    RenderedSecret::new(id, hub, "web".into(), Arc::new(metadata), Arc::new(content), print)
}

/// Somebody's Secret, as `kubectl apply` has left it.
fn applied() -> ReadSecret {
    let secret = json!({
        "metadata": {
            "name": "web", "namespace": "team", "uid": "u", "resourceVersion": "7", "finalizers": ["a/b"],
            "labels": {"team": "a"}, "managedFields": [{"manager": "kubectl"}],
            "annotations": {"note": "kept", LAST_APPLIED: "{\"data\":{\"auth\":\"b2xk\"}}"},
        },
        "type": "Opaque", "immutable": false, "data": {"auth": "b2xk"},
    });
    ReadSecret(serde_json::from_value::<Secret>(secret).unwrap())
}

fn parsed(body: &SecretBytes) -> Value {
    serde_json::from_slice(body.expose()).unwrap()
}

#[test]
fn a_body_has_what_a_secret_needs_and_nothing_else() {
    let body = parsed(&rendered().body(None).unwrap());
    assert_eq!(body["data"], json!({"auth": "bmV3", "a\"b": ""}));
    let fields: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["apiVersion", "data", "kind", "metadata", "type"]);
    let fields: Vec<_> = body["metadata"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["annotations", "labels", "name"]);
}

/// The former value would be quoted by the copy for ever.
#[test]
fn what_kubectl_noted_of_the_former_value_goes_with_it() {
    let body = rendered().update(&mut applied()).unwrap();
    assert!(!body.text().contains("b2xk") && !body.text().contains(LAST_APPLIED));
    let body = parsed(&body);
    assert_eq!(body["data"]["auth"], "bmV3");
    assert_eq!((&body["immutable"], &body["type"]), (&json!(false), &json!("Opaque")));
    let meta = &body["metadata"];
    assert_eq!((&meta["uid"], &meta["resourceVersion"]), (&json!("u"), &json!("7")));
    assert_eq!((&meta["finalizers"], &meta["annotations"]["note"]), (&json!(["a/b"]), &json!("kept")));
    assert_eq!((&meta["labels"]["team"], &meta["managedFields"]), (&json!("a"), &Value::Null));
    assert_eq!(meta["annotations"]["claviger.dev/revision"], "3");
}

#[test]
fn what_is_let_go_keeps_all_but_our_marks() {
    let mut ours = applied();
    let meta = &mut ours.0.metadata;
    let marked = take_metadata(meta).merged(&rendered().metadata);
    set_metadata(meta, marked);
    let body = parsed(&release(&mut ours, &rendered().id).unwrap());
    assert_eq!(body["data"], json!({"auth": "b2xk"}));
    assert_eq!(body["metadata"]["labels"], json!({"team": "a"}));
    let annotations = body["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations.keys().collect::<Vec<_>>(), ["claviger.dev/released-from", LAST_APPLIED, "note"]);
    assert!(annotations[LAST_APPLIED].as_str().unwrap().contains("b2xk"), "it is theirs again");
}

/// kube would copy what it serializes, and nobody would wipe it.
#[test]
fn the_body_on_its_way_is_the_buffer_that_is_wiped() {
    let body = rendered().body(None).unwrap();
    let buffer = body.expose().as_ptr();
    let sent = hyper::body::Bytes::from_owner(body);
    assert_eq!(sent.clone().as_ptr(), buffer);
}

#[test]
fn a_secret_that_was_read_shows_nothing() {
    let mut secret = applied();
    secret.0.string_data = Some(BTreeMap::from([("a".to_owned(), "canary".to_owned())]));
    secret.0.data = Some(BTreeMap::from([("auth".to_owned(), ByteString(b"canary".to_vec()))]));
    assert!(!format!("{secret:?}").contains("canary"));
    assert_eq!(secret.take_data()["auth"].text(), "canary");
    assert!(secret.take_last_applied().is_some() && secret.take_last_applied().is_none());
}
