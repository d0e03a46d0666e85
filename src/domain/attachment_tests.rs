use proptest::prelude::*;
use serde_json::json;

use super::*;

fn hub() -> Hub {
    Hub::new("hub", ["old".to_owned()])
}

fn id(name: &str) -> CredentialId {
    CredentialId { kind: CredentialKind::RegistryCredential, namespace: "home".into(), name: name.into() }
}

fn account(entries: &[&str], annotation: &str) -> ExistingAccount {
    ExistingAccount {
        uid: "u".into(),
        resource_version: "7".into(),
        entries: entries.iter().map(|entry| Arc::from(*entry)).collect(),
        is_full: false,
        marks: Mark::parse_all(annotation, &hub(), true).into(),
        annotated: !annotation.is_empty(),
        terminating: false,
    }
}

/// A ServiceAccount as the API server has it.
fn object(account: &ExistingAccount) -> Value {
    let entries: Vec<Value> = account.entries.iter().map(|name| json!({"name": &**name})).collect();
    let mut object = json!({"metadata": {"uid": "u", "resourceVersion": "7"}});
    if !entries.is_empty() {
        object["imagePullSecrets"] = entries.into();
    }
    if account.annotated {
        object["metadata"]["annotations"] = json!({"other": "x"});
        if !account.marks.is_empty() {
            object["metadata"]["annotations"][ANNOTATION_ATTACHED] = Mark::join(&account.marks).into();
        }
    }
    object
}

/// What an edit comes to: the names in the list, and the annotation.
fn edited(account: &ExistingAccount, wanted: &Wanted) -> Option<(Vec<String>, String)> {
    let edit = account.edit(&id("quay"), "hub", wanted)?;
    let patch: json_patch::Patch = serde_json::from_value(account.patch(&edit)).unwrap();
    let mut object = object(account);
    json_patch::patch(&mut object, &patch).unwrap();
    let names = object["imagePullSecrets"].as_array().into_iter().flatten();
    let names = names.map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    let text = object["metadata"]["annotations"][ANNOTATION_ATTACHED].as_str().unwrap_or_default();
    assert!(!account.annotated || object["metadata"]["annotations"]["other"] == "x");
    Some((names, text.to_owned()))
}

fn attached(name: &str) -> Wanted {
    Wanted::Attached(name.into())
}

fn some(names: &[&str], text: &str) -> Option<(Vec<String>, String)> {
    Some((names.iter().map(|name| (*name).to_owned()).collect(), text.to_owned()))
}

#[test]
fn a_name_is_attached_beside_those_of_others_and_only_it_is_taken_off_again() {
    let pull = attached("pull");
    assert_eq!(edited(&account(&[], ""), &pull), some(&["pull"], "pull=hub/home/quay"));
    let theirs = account(&["theirs", "more"], "");
    assert_eq!(edited(&theirs, &pull), some(&["theirs", "more", "pull"], "pull=hub/home/quay"));
    let both = account(&["theirs", "pull", "more"], "pull=hub/home/quay");
    assert_eq!(edited(&both, &pull), None, "it is so already");
    assert_eq!(edited(&both, &Wanted::Detached), some(&["theirs", "more"], ""));
    assert_eq!(edited(&both, &Wanted::Released), some(&["theirs", "pull", "more"], ""));
}

#[test]
fn what_a_person_has_put_there_serves_and_is_never_taken_off() {
    let theirs = account(&["pull"], "");
    for wanted in [attached("pull"), Wanted::Detached, Wanted::Released] {
        assert_eq!(edited(&theirs, &wanted), None);
    }
    let twice = account(&["pull", "pull"], "pull=hub/home/quay");
    assert_eq!(edited(&twice, &Wanted::Detached), some(&["pull"], ""), "one of them is theirs");
    let of_another = account(&["pull"], "pull=hub/home/quay,pull=other/home/quay");
    assert_eq!(edited(&of_another, &Wanted::Detached), some(&["pull"], "pull=other/home/quay"));
}

#[test]
fn a_new_name_comes_and_the_old_one_goes_in_one_write() {
    let old = account(&["old", "theirs"], "old=hub/home/quay,x=hub/home/other");
    let expected = some(&["theirs", "new"], "x=hub/home/other,new=hub/home/quay");
    assert_eq!(edited(&old, &attached("new")), expected);
}

#[test]
fn a_mark_without_a_hub_gets_ours_and_one_that_stayed_alone_is_used_again() {
    let policy = account(&["pull"], "pull=/home/quay");
    assert_eq!(edited(&policy, &attached("pull")), some(&["pull"], "pull=hub/home/quay"));
    let former = account(&["pull"], "pull=old/home/quay");
    assert_eq!(edited(&former, &attached("pull")), some(&["pull"], "pull=hub/home/quay"));
    let reverted = account(&["theirs"], "pull=hub/home/quay");
    assert_eq!(edited(&reverted, &attached("pull")), some(&["theirs", "pull"], "pull=hub/home/quay"));
    assert_eq!(edited(&reverted, &Wanted::Detached), some(&["theirs"], ""));
}

#[test]
fn a_patch_holds_for_one_state_of_the_object_alone() {
    let account = account(&["a"], "");
    let edit = account.edit(&id("quay"), "hub", &attached("pull")).unwrap();
    let patch: json_patch::Patch = serde_json::from_value(account.patch(&edit)).unwrap();
    for (path, other) in [("/metadata/uid", "v"), ("/metadata/resourceVersion", "8")] {
        let mut newer = object(&account);
        *newer.pointer_mut(path).unwrap() = other.into();
        assert!(json_patch::patch(&mut newer, &patch).is_err(), "{path}");
    }
}

#[test]
fn what_somebody_took_off_is_noticed_and_what_was_made_anew_is_not() {
    let before = account(&["pull", "x"], "pull=hub/home/quay");
    let lost = |after: &ExistingAccount| after.lost(&before).collect::<Vec<_>>();
    assert_eq!(lost(&account(&["x"], "pull=hub/home/quay")), [id("quay").owner()]);
    assert_eq!(lost(&account(&[], "")), [id("quay").owner()], "with the annotation, too");
    assert!(lost(&account(&["pull"], "")).is_empty());
    assert!(lost(&ExistingAccount { uid: "v".into(), ..account(&[], "") }).is_empty());
}

#[test]
fn foreign_text_is_no_mark() {
    let hub = hub();
    for text in
        ["", "a", "a=", "a=b", "a=b/c", "A=hub/b/c", "a=hub/b.c/d", "a=h!/b/c", "=hub/b/c", "a=hub/b/c d"]
    {
        assert!(Mark::parse_all(text, &hub, true).is_empty(), "{text}");
    }
    assert!(Mark::parse_all(&format!("a=hub/b/c,{}", "x".repeat(MAX_MARKS_BYTES)), &hub, true).is_empty());
    let many: Vec<_> = (0..1_000).map(|n| format!("a{n}=hub/b/c")).collect();
    assert_eq!(Mark::parse_all(&many.join(","), &hub, true).len(), MAX_MARKS);
    let foreign = &Mark::parse_all("a=other/home/quay,a=other/home/quay", &hub, true)[..];
    assert!(matches!(foreign, [mark] if !mark.is_ours && !mark.hub.is_empty()));
    let of_a_policy = |is_local| Mark::parse_all("a=/home/quay", &hub, is_local)[0].is_ours;
    assert!(of_a_policy(true) && !of_a_policy(false), "a member's policy works for the operator there");
    assert!(is_marked("a=other/home/quay", "a") && !is_marked("a=other/home/quay", "b"));
}

#[test]
fn those_of_an_owner_are_found_by_namespace() {
    let mut accounts = Accounts::default();
    for (namespace, name) in [("web", "b"), ("web", "a"), ("web-2", "a")] {
        let name = NamespacedName::new(namespace, name);
        accounts.insert(name, account(&["pull"], "pull=hub/home/quay,x=other/home/quay"));
    }
    let owner = id("quay").owner();
    let names = |accounts: &Accounts| accounts.within(&owner, &"web".into()).count();
    assert_eq!((names(&accounts), accounts.of(&owner).count(), accounts.owners().count()), (2, 3, 1));
    accounts.insert(NamespacedName::new("web", "a"), account(&["pull"], ""));
    assert_eq!((names(&accounts), accounts.len()), (1, 3));
    for name in accounts.names().cloned().collect::<Vec<_>>() {
        accounts.remove(&name);
    }
    assert!(!accounts.has(&owner) && accounts.bytes() == 0);
}

proptest! {
    /// Whatever was there: what others put there stays, in its order, and what was attached and taken off is as it was.
    #[test]
    fn nobody_elses_entry_is_lost(
        entries in prop::collection::vec("[a-d]", 0..6),
        marks in prop::collection::vec(("[a-d]", prop::sample::select(vec!["hub/home/quay", "hub/home/other", "other/home/quay"])), 0..4),
        secret in "[a-d]",
    ) {
        let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
        let text: Vec<String> = marks.iter().map(|(name, of)| format!("{name}={of}")).collect();
        let account = account(&entries, &text.join(","));
        let ours: Vec<&str> = marks.iter().filter(|(_, of)| *of == "hub/home/quay").map(|(name, _)| &**name).collect();
        for wanted in [attached(&secret), Wanted::Detached, Wanted::Released] {
            let Some((after, text)) = edited(&account, &wanted) else { continue };
            let others = |all: &mut dyn Iterator<Item = &str>| {
                all.filter(|name| !ours.contains(name) && **name != *secret).map(str::to_owned).collect::<Vec<_>>()
            };
            prop_assert_eq!(others(&mut entries.iter().copied()), others(&mut after.iter().map(String::as_str)));
            for name in entries.iter().filter(|name| !ours.contains(name)) {
                let count = |all: &mut dyn Iterator<Item = &str>| all.filter(|one| one == name).count();
                prop_assert!(count(&mut after.iter().map(String::as_str)) >= count(&mut entries.iter().copied()));
            }
            prop_assert_eq!(after.contains(&secret), match wanted {
                Wanted::Attached(_) => true,
                _ => after.contains(&secret),
            });
            // It is settled: no second write follows.
            let names: Vec<&str> = after.iter().map(String::as_str).collect();
            let settled = ExistingAccount { annotated: true, ..self::account(&names, &text) };
            prop_assert_eq!(edited(&settled, &wanted), None);
        }
    }
}
