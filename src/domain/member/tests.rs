use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use serde_json::json;

use super::*;
use crate::{
    api::{ANNOTATION_ADOPTED_FROM, MemberClusterStatus},
    domain::{
        adoption::Scope,
        cluster_condition::{ConnectionError, Denied},
    },
};

const OPERATOR: &str = "claviger-system";
const KUBECONFIG: &str = "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nclusters: [{name: a, cluster: {server: 'https://a'}}]\nusers: [{name: a, user: {token: canary}}]\n";

fn origin(spec: serde_json::Value) -> Origin {
    let mut member = crate::api::MemberCluster::new("east", serde_json::from_value(spec.clone()).unwrap());
    let mark = spec["mark"].as_str().map(|mark| (ANNOTATION_ADOPTED_FROM.to_owned(), mark.to_owned()));
    member.metadata.annotations = Some(mark.into_iter().collect());
    Origin::of(&member, OPERATOR).unwrap()
}

fn secret(labels: &[(&str, &str)], data: &[(&str, &str)]) -> Secret {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        metadata: ObjectMeta { labels: Some(labels), ..ObjectMeta::default() },
        data: Some(data.collect()),
        ..Secret::default()
    }
}

fn read_spec(origin: &Origin, adopt: &Adopt, found: Option<&Secret>) -> Result<Access, MemberError> {
    place(Some(origin), adopt)?;
    read(origin, found.cloned().map(ReadSecret), false)
}

#[test]
fn a_kubeconfig_is_found_under_its_usual_keys_or_the_one_that_is_named() {
    let plain = origin(json!({"kubeconfigSecretRef": {"name": "east"}}));
    assert_eq!(place(Some(&plain), &Adopt::default()), Ok(NamespacedName::new(OPERATOR, "east")));
    assert_eq!(plain.to_string(), "Kubeconfig/claviger-system/east");
    assert_eq!(place(None, &Adopt::default()), Err(MemberError::SourceMissing));
    for key in ["value", "kubeconfig"] {
        assert!(
            read_spec(&plain, &Adopt::default(), Some(&secret(&[], &[(key, KUBECONFIG)]))).is_ok(),
            "{key}"
        );
    }
    let both = secret(&[], &[("kubeconfig", "broken"), ("value", KUBECONFIG)]);
    assert!(read_spec(&plain, &Adopt::default(), Some(&both)).is_ok(), "`value` comes first");
    let named = origin(json!({"kubeconfigSecretRef": {"name": "east", "key": "config"}}));
    let error = read_spec(&named, &Adopt::default(), Some(&both)).unwrap_err();
    assert_eq!(error.reason(), Reason::KubeconfigMissing);
    assert!(
        error.to_string().contains("'config'") && error.to_string().contains("'claviger-system/east'"),
        "{error}"
    );
    let error = read_spec(&plain, &Adopt::default(), None).unwrap_err();
    assert!(error.is_waiting() && error.to_string().contains("create it"), "{error}");
    let error =
        read_spec(&plain, &Adopt::default(), Some(&secret(&[], &[("value", "users: canary")]))).unwrap_err();
    assert_eq!(error.reason(), Reason::KubeconfigRefused);
    assert!(
        error.to_string().starts_with("Malformed: key 'value' of Secret")
            && !error.to_string().contains("canary"),
        "{error}"
    );
}

#[test]
fn secrets_of_tools_are_used_only_where_that_was_allowed_and_only_their_clusters() {
    let argo = origin(json!({"mark": "ArgoCD/argocd/cluster-a"}));
    let on = Adopt { argocd: Some("argocd".into()), cluster_api: Some(Scope::All) };
    let elsewhere = Adopt { argocd: Some("other".into()), cluster_api: Some(Scope::All) };
    let good = [("server", "https://a"), ("config", r#"{"bearerToken":"x"}"#)];
    let marked = [(ARGOCD_LABEL, ARGOCD_CLUSTER)];
    assert!(read_spec(&argo, &on, Some(&secret(&marked, &good))).is_ok());
    assert_eq!(argo.to_string(), "ArgoCD/argocd/cluster-a");
    for adopt in [Adopt::default(), elsewhere] {
        let error = read_spec(&argo, &adopt, Some(&secret(&marked, &good))).unwrap_err();
        assert_eq!(error.reason(), Reason::AdoptionNotAllowed);
        assert!(error.to_string().contains("--adopt-argocd-clusters=argocd"), "{error}");
    }
    let error = read_spec(&argo, &on, Some(&secret(&[], &good))).unwrap_err();
    assert!(error.to_string().contains(ARGOCD_LABEL), "{error}");

    let capi = |name: &str| origin(json!({"mark": format!("ClusterAPI/team/{name}")}));
    let cluster = secret(&[(CLUSTER_API_LABEL, "a")], &[("value", KUBECONFIG)]);
    assert!(read_spec(&capi("a-kubeconfig"), &on, Some(&cluster)).is_ok());
    assert_eq!(
        read_spec(&capi("a-ca"), &on, Some(&cluster)).unwrap_err().reason(),
        Reason::AdoptionNotAllowed
    );
    assert_eq!(
        read_spec(&capi("b-kubeconfig"), &on, Some(&cluster)).unwrap_err().reason(),
        Reason::AdoptionNotAllowed
    );
}

fn seen(state: MemberState) -> Observation {
    Observation {
        generation: Some(3),
        state,
        origin: Some(origin(json!({"kubeconfigSecretRef": {"name": "east"}}))),
        server: Some("https://a".into()),
        ..Observation::default()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn condition(status: &MemberClusterStatus, type_: &str) -> (String, String, String) {
    let found = status.conditions.iter().find(|c| c.type_ == type_).unwrap();
    (found.status.clone(), found.reason.clone(), found.message.clone())
}

#[test]
fn never_both_reconciling_and_stalled_and_ready_only_when_it_can_be_used() {
    let missing = MemberError::SecretMissing { secret: "a/b".into() };
    let refused = MemberError::Refused { what: "x".into(), problem: AccessError::NoContext };
    let states = [
        (MemberState::Up, "Connected", "True", "False", "False"),
        (MemberState::Connecting, "Connecting", "Unknown", "True", "False"),
        (MemberState::Invalid(missing), "KubeconfigMissing", "Unknown", "True", "False"),
        (MemberState::Invalid(refused), "KubeconfigRefused", "Unknown", "False", "True"),
        (
            MemberState::Invalid(MemberError::Unusable("no".into())),
            "KubeconfigRefused",
            "Unknown",
            "False",
            "True",
        ),
        (MemberState::Duplicate { of: "west".into() }, "DuplicateCluster", "Unknown", "False", "True"),
        (MemberState::Down("connection refused".into()), "Unreachable", "False", "True", "False"),
        (
            MemberState::Down(ConnectionError { denied: Some(Denied::Unauthorized), message: "no".into() }),
            "Unauthorized",
            "False",
            "False",
            "True",
        ),
        (
            MemberState::Failing(ConnectionError { denied: Some(Denied::Forbidden), message: "no".into() }),
            "Forbidden",
            "Unknown",
            "False",
            "True",
        ),
        (MemberState::Failing("disk full".into()), "Failing", "Unknown", "True", "False"),
    ];
    for (state, reason, reachable, reconciling, stalled) in states {
        let up = state == MemberState::Up;
        let next = status(&seen(state), None, at(0));
        assert_eq!(condition(&next, "Ready").0, if up { "True" } else { "False" }, "{reason}");
        assert_eq!(condition(&next, "Ready").1, reason);
        assert_eq!(condition(&next, "Reachable").0, reachable, "{reason}");
        assert_eq!(condition(&next, "Reconciling").0, reconciling, "{reason}");
        assert_eq!(condition(&next, "Stalled").0, stalled, "{reason}");
    }
    let paused = status(&Observation { paused: true, ..seen(MemberState::Up) }, None, at(0));
    for (type_, wanted) in [("Ready", "True"), ("Reconciling", "False"), ("Stalled", "False")] {
        let (status, reason, _) = condition(&paused, type_);
        assert_eq!((&*status, &*reason), (wanted, "Paused"), "{type_}");
    }
    let lost = Observation { paused: true, ..seen(MemberState::Down("gone".into())) };
    assert_eq!(condition(&status(&lost, None, at(0)), "Ready").0, "False", "a pause hides no fault");
    assert_eq!(condition(&paused, "Reachable").0, "True");
}

#[test]
fn what_was_seen_stays_and_times_move_with_the_status_alone() {
    let up = Observation {
        id: Some("uid".into()),
        version: Some("v1.36.0".into()),
        probed: Some(at(0)),
        ..seen(MemberState::Up)
    };
    let first = status(&up, None, at(0));
    let down = status(&seen(MemberState::Down("gone".into())), Some(&first), at(10));
    assert_eq!((down.server_version.as_deref(), down.cluster_id.as_deref()), (Some("v1.36.0"), Some("uid")));
    assert_eq!(down.last_probe_time, Some(Time(at(0))));
    let later = status(&seen(MemberState::Down("still".into())), Some(&down), at(20));
    let ready = later.conditions.iter().find(|c| c.type_ == "Ready").unwrap();
    assert_eq!(ready.last_transition_time, Time(at(10)));
}

#[test]
fn that_it_was_asked_again_is_written_now_and_then_only() {
    let probed = |seconds| Observation { probed: Some(at(seconds)), ..seen(MemberState::Up) };
    let first = status(&probed(0), None, at(0));
    assert!(worth_writing(None, &first));
    assert!(!worth_writing(Some(&first), &first));
    assert!(!worth_writing(Some(&first), &status(&probed(299), Some(&first), at(299))));
    assert!(worth_writing(Some(&first), &status(&probed(300), Some(&first), at(300))));
    let paused = status(&Observation { paused: true, ..probed(1) }, Some(&first), at(1));
    assert!(worth_writing(Some(&first), &paused));
}

#[test]
fn each_change_is_one_event() {
    let first = status(&seen(MemberState::Connecting), None, at(0));
    assert_eq!(note(None, &first), None);
    let up = status(&seen(MemberState::Up), Some(&first), at(1));
    let told = note(Some(&first), &up).unwrap();
    assert_eq!((told.warning, told.reason), (false, Reason::Connected));
    assert_eq!(note(Some(&up), &up), None);
    let down = status(&seen(MemberState::Down("gone".into())), Some(&up), at(2));
    let told = note(Some(&up), &down).unwrap();
    assert!(told.warning && told.reason == Reason::Unreachable && told.note.contains("gone"));
    let other = status(&seen(MemberState::Down("other".into())), Some(&down), at(3));
    assert_eq!(note(Some(&down), &other), None, "another word for it is no news");
}

#[test]
fn a_deletion_says_what_it_waits_for() {
    let with =
        |state, awaited_until, copies| Observation { deleting: true, awaited_until, copies, ..seen(state) };
    let text = |seen: &Observation| condition(&status(seen, None, at(0)), "Ready");
    let waiting = with(MemberState::Up, None, Some((5, 2)));
    assert_eq!(text(&waiting).1, "Deleting");
    assert!(text(&waiting).2.starts_with("3 Secrets"), "{}", text(&waiting).2);
    let down = with(MemberState::Down("gone".into()), Some(at(60)), None);
    assert!(text(&down).2.contains("gone") && text(&down).2.contains("force-delete"), "{}", text(&down).2);
}
