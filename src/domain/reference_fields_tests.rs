use serde_json::{Value, json};

use super::*;

/// Reads an object as the caches do.
fn read(object: &Value) -> NamedSecrets {
    let mut found = NamedSecrets::default();
    for (field, value) in object.as_object().unwrap() {
        if let Some(reader) = found.reader(field) {
            let text = value.to_string();
            reader.deserialize(&mut serde_json::Deserializer::from_str(&text)).unwrap();
        }
    }
    found
}

fn names(kind: ReferenceKind, object: &Value) -> Vec<(String, &'static str)> {
    let (found, mut names) = (read(object), Vec::new());
    found.visit(kind, |namespace, name, field| {
        names.push((namespace.map(|of| format!("{of}/")).unwrap_or_default() + name, field));
    });
    names
}

/// An object in which one field names a Secret.
fn with(field: &str, value: Value) -> Value {
    let step = |value: Value, step: &str| match step.strip_suffix("[]") {
        Some(name) => json!({"other": [{}], name: [null, value]}),
        None => json!({"other": {"tls": 1}, step: value}),
    };
    field.rsplit('.').fold(value, step)
}

#[test]
fn each_field_of_each_kind_is_found_and_no_field_of_another_kind() {
    for kind in ReferenceKind::ALL {
        for field in kind.fields() {
            let object = with(field, json!("quay"));
            assert_eq!(names(kind, &object), [("quay".to_owned(), *field)], "{kind:?}");
            for other in ReferenceKind::ALL.iter().filter(|other| !other.fields().contains(field)) {
                assert!(names(*other, &object).is_empty(), "{field} of {other:?}");
            }
        }
    }
}

#[test]
fn a_reference_to_something_else_than_a_secret_is_none() {
    let of = |reference: Value| {
        let listeners =
            json!({"spec": {"listeners": [{"tls": {"certificateRefs": [reference]}}, {"name": "plain"}]}});
        names(ReferenceKind::Gateway, &listeners).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(of(json!({"name": "tls"})), ["tls"]);
    assert_eq!(
        of(json!({"name": "tls", "kind": "Secret", "group": "", "namespace": "certs"})),
        ["certs/tls"]
    );
    for other in [
        json!({"name": "tls", "kind": "ConfigMap"}),
        json!({"name": "tls", "group": "example.com"}),
        json!({"kind": "Secret"}),
        json!(null),
        json!([{"name": "tls"}]),
        json!(7),
    ] {
        assert!(of(other.clone()).is_empty(), "{other}");
    }
}

#[test]
fn annotations_name_secrets_with_and_without_a_namespace() {
    let found = |key: &str, value: &str| {
        let annotations = BTreeMap::from([(key.to_owned(), value.to_owned()), ("a".into(), "b".into())]);
        let mut found = Vec::new();
        ReferenceKind::Ingress.visit_annotations(&annotations, |namespace, name, field| {
            assert!(field.contains(key), "{field}");
            found.push((namespace.map(str::to_owned), name.to_owned()));
        });
        ReferenceKind::Gateway.visit_annotations(&annotations, |_, _, _| panic!("an Ingress has them"));
        found
    };
    let web = Some("web".to_owned());
    assert_eq!(found("nginx.ingress.kubernetes.io/auth-secret", "users"), [(None, "users".into())]);
    assert_eq!(found("haproxy.org/auth-secret", "web/users"), [(web.clone(), "users".into())]);
    assert_eq!(found("haproxy-ingress.github.io/auth-secret", "secret://web/users"), [(web, "users".into())]);
    assert_eq!(found("ingress.kubernetes.io/auth-secret", " users "), [(None, "users".into())]);
    assert!(found("ingress.kubernetes.io/auth-type", "basic").is_empty());
}

/// Whoever writes objects could fill the memory with names.
#[test]
fn of_countless_and_of_impossible_names_few_are_kept() {
    let many: Vec<Value> = (0..MAX_PARTS + 10).map(|n| json!({"name": n.to_string()})).collect();
    assert_eq!(read(&json!({"secrets": many})).0.len(), MAX_PARTS);
    let long = "x".repeat(MAX_NAME + 1);
    let account = json!({"secrets": [{"name": long}, {"name": "b", "x": {"name": "c"}}]});
    assert_eq!(names(ReferenceKind::ServiceAccount, &account), [("b".to_owned(), "secrets[].name")]);
}
