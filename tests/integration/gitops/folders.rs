//! The folders for Argo CD's own repository: scripts, and states with what is to be made of them.
//!
//! The states are those that a real operator leaves. After a change of them:
//! `CLAVIGER_WRITE_TESTDATA=1 cargo test --test integration gitops::folders`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    judge::{judge_with, path},
    life::{Life, Seen, conditions},
};
use crate::support::{Result, error::Context};

const ROOT: &str = "docs/argocd/resource_customizations/claviger.dev";

/// What Argo CD shows of these by itself, whatever a script says.
const DELETED: &str = "deletion-held";

fn of(kind: &str) -> PathBuf {
    path(ROOT).join(kind)
}

fn kinds() -> Result<Vec<String>> {
    let entries = fs::read_dir(path(ROOT)).context(ROOT)?;
    let mut names =
        entries.map(|e| Ok(e?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn load(path: &Path) -> Result<Value> {
    Ok(serde_saphyr::from_str(&fs::read_to_string(path).context(path.display())?)?)
}

fn save(path: &Path, value: &impl Serialize) -> Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    Ok(fs::write(path, serde_saphyr::to_string(value)?)?)
}

/// Scripts of the folders as keys of `argocd-cm`.
fn scripts() -> Result<Value> {
    let mut keys = Map::new();
    for kind in kinds()? {
        let script = |name: &str| fs::read_to_string(of(&kind).join(name)).context(name);
        keys.insert(
            format!("resource.customizations.health.claviger.dev_{kind}"),
            script("health.lua")?.into(),
        );
        if of(&kind).join("actions").exists() {
            let (discovery, action) = (script("actions/discovery.lua")?, script("actions/sync/action.lua")?);
            let actions =
                json!({"discovery.lua": discovery, "definitions": [{"name": "sync", "action.lua": action}]});
            let key = format!("resource.customizations.actions.claviger.dev_{kind}");
            keys.insert(key, actions.to_string().into());
        }
    }
    Ok(Value::Object(keys))
}

/// As an object is in every life: without ids, times and addresses.
fn normal(seen: &Seen, addresses: &[(String, &str)]) -> Result<Value> {
    let text = addresses
        .iter()
        .fold(seen.object.to_string(), |text, (address, instead)| text.replace(address.as_str(), instead));
    let mut object: Value = serde_json::from_str(&text)?;
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    metadata.remove("managedFields");
    for (field, value) in [("uid", "00000000-0000-4000-8000-000000000000"), ("resourceVersion", "1000")] {
        metadata.insert(field.to_owned(), value.into());
    }
    for id in ["clusterId", "serverVersion"] {
        if let Some(found) = object["status"].get_mut(id) {
            *found = if id == "clusterId" {
                json!("00000000-0000-4000-8000-000000000001")
            } else {
                json!("v1.36.3")
            };
        }
    }
    timeless(&mut object);
    Ok(object)
}

fn timeless(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let is_time = name.ends_with("Time") || name.ends_with("Timestamp");
                if is_time && field.is_string() {
                    *field = json!("2026-01-01T00:00:00Z")
                } else {
                    timeless(field)
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(timeless),
        _ => {}
    }
}

/// Writes the states, and what is to be made of them.
async fn write(states: &[(&Seen, Value)]) -> Result<()> {
    let verdicts = judge_with(scripts()?, states.iter().map(|(_, object)| object)).await?;
    let mut health: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut discovery: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for ((seen, object), verdict) in states.iter().zip(&verdicts) {
        let file = format!("testdata/{}.yaml", seen.state);
        if let Some(told) = verdict.argocd.as_ref().filter(|_| seen.state != DELETED) {
            let status = json!({"status": told.status, "message": told.message});
            health.entry(seen.kind).or_default().push(json!({"healthStatus": status, "inputPath": file}));
            save(&of(seen.kind).join(&file), object)?;
        }
        let Some(sync) = verdict.actions.get("sync").filter(|_| ["healthy", DELETED].contains(&seen.state))
        else {
            continue;
        };
        let mut offered = json!({"name": "sync"});
        if sync.disabled {
            offered["disabled"] = json!(true);
        }
        discovery.entry(seen.kind).or_default().push(json!({"inputPath": file, "result": [offered]}));
        let folder = of(seen.kind).join("actions");
        save(&folder.join(&file), object)?;
        if seen.state == "healthy" {
            let mut synced = object.clone();
            json_patch::merge(&mut synced, &sync.patch);
            save(&folder.join("testdata/synced.yaml"), &synced)?;
        }
    }
    for (kind, tests) in health {
        save(&of(kind).join("health_test.yaml"), &json!({"tests": tests}))?;
    }
    for (kind, tests) in discovery {
        let action = json!({
            "action": "sync", "inputPath": "testdata/healthy.yaml", "expectedOutputPath": "testdata/synced.yaml",
        });
        let all = json!({"actionTests": [action], "discoveryTests": tests});
        save(&of(kind).join("actions/action_test.yaml"), &all)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_states_in_the_folders_are_those_of_a_real_operator() -> Result<()> {
    let life = Life::shared().await?;
    let with_status = life.seen.iter().filter(|seen| seen.kind != "DistributionPolicy");
    let states = with_status
        .map(|seen| Ok((seen, normal(seen, &life.addresses)?)))
        .collect::<Result<Vec<(&Seen, Value)>>>()?;
    if crate::checks::writes_testdata() {
        write(&states).await?;
    }
    for (seen, object) in &states {
        let actions = if seen.state == DELETED { "actions/" } else { "" };
        let file = of(seen.kind).join(format!("{actions}testdata/{}.yaml", seen.state));
        if seen.kind == "MemberCluster" && seen.state == DELETED {
            continue;
        }
        let committed = load(&file)?;
        assert_eq!(conditions(&committed), conditions(object), "{}", file.display());
        assert_eq!(committed["spec"], object["spec"], "{}", file.display());
        let observed =
            |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
        assert_eq!(observed(&committed), observed(object), "{}", file.display());
    }
    Ok(())
}

/// What a test of a folder wants of an object.
enum Wanted {
    Health(Value),
    /// Action, and whether it is greyed out.
    Offered(String, bool),
    /// Action, and what it makes of the object.
    Done(String, Value),
}

/// The tests of the folder of a kind, each with its object.
fn tests_of(kind: &str) -> Result<Vec<(Value, Wanted)>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut tests = Vec::new();
    let folder = of(kind);
    for test in list(&load(&folder.join("health_test.yaml"))?["tests"]) {
        let object = load(&folder.join(text(&test["inputPath"])))?;
        tests.push((object, Wanted::Health(test["healthStatus"].clone())));
    }
    let actions = folder.join("actions");
    if !actions.exists() {
        return Ok(tests);
    }
    let all = load(&actions.join("action_test.yaml"))?;
    for test in list(&all["discoveryTests"]) {
        let offered = &test["result"][0];
        let disabled = offered["disabled"].as_bool().unwrap_or_default();
        let object = load(&actions.join(text(&test["inputPath"])))?;
        tests.push((object, Wanted::Offered(text(&offered["name"]), disabled)));
    }
    for test in list(&all["actionTests"]) {
        let object = load(&actions.join(text(&test["inputPath"])))?;
        let done = load(&actions.join(text(&test["expectedOutputPath"])))?;
        tests.push((object, Wanted::Done(text(&test["action"]), done)));
    }
    Ok(tests)
}

/// As Argo CD's own tests do it.
#[tokio::test]
async fn the_folders_pass_the_tests_of_argo_cd() -> Result<()> {
    let mut tests = Vec::new();
    for kind in kinds()? {
        tests.extend(tests_of(&kind)?);
    }
    assert!(tests.len() > 30, "{} tests", tests.len());
    let verdicts = judge_with(scripts()?, tests.iter().map(|(object, _)| object)).await?;
    for ((object, wanted), verdict) in tests.iter().zip(&verdicts) {
        let what = format!("{} {}", object["kind"], object["metadata"]["name"]);
        match wanted {
            Wanted::Health(wanted) => {
                let told = verdict.argocd.as_ref();
                let told = told.map(|told| json!({"status": told.status, "message": told.message}));
                assert_eq!(told.as_ref(), Some(wanted), "{what}");
            }
            Wanted::Offered(action, disabled) => {
                assert_eq!(verdict.actions[action].disabled, *disabled, "{what}");
            }
            Wanted::Done(action, wanted) => {
                let mut object = object.clone();
                json_patch::merge(&mut object, &verdict.actions[action].patch);
                assert_eq!(object, *wanted, "{what}");
            }
        }
    }
    Ok(())
}
