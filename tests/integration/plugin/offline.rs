//! `verify` and `render`, which need no cluster: they are called without any.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{Answer, Plugin};
use crate::support::Result;

const GOOD: &str = r#"
apiVersion: claviger.dev/v1alpha1
kind: RegistryCredential
metadata: {name: quay, namespace: platform}
spec:
  provider: Quay
  quay: {namespace: acme}
  username: acme+ci
  secretRef: {name: robot, passwordKey: token}
  keyScope: Path
  target: {secretName: quay-pull, namespaces: {names: [web, api]}}
---
apiVersion: v1
kind: Secret
metadata: {name: robot, namespace: platform}
stringData: {token: canary-password}
"#;

async fn offline() -> Result<Plugin> {
    Plugin::new(None, None).await
}

async fn stdin(plugin: &Plugin, args: &[&str], text: &str) -> Result<Answer> {
    let answer = plugin.call_as("kubectl-claviger", &[args, &["-f", "-"]].concat(), text).await?;
    assert!(!answer.out.contains("canary") && !answer.err.contains("canary"), "{answer:?}");
    Ok(answer)
}

#[tokio::test]
async fn every_example_is_valid() -> Result<()> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let answer =
        offline().await?.call(&["verify", "-o", "json", "-f", &examples.display().to_string()]).await?;
    assert_eq!(answer.code, 0, "{answer:?}");
    let objects = answer.json()?["objects"].as_array().map_or(0, Vec::len);
    assert!(objects > 15, "{objects}");
    Ok(())
}

#[tokio::test]
async fn keys_and_images_are_told() -> Result<()> {
    let plugin = offline().await?;
    let asked = ["verify", "-o", "json", "--image", "quay.io/acme/api:1", "--image", "quay.io/other/x"];
    let told = stdin(&plugin, &asked, GOOD).await?;
    assert_eq!(told.code, 0, "{told:?}");
    let object = told.json()?["objects"][0].clone();
    assert_eq!((&object["secret"], &object["namespaces"]), (&json!("quay-pull"), &json!(["web", "api"])));
    assert_eq!(
        object["registries"],
        json!([{"endpoint": "quay.io/acme", "key": "quay.io/acme", "images": "names that begin with quay.io/acme",
            "matching": ["quay.io/acme/api:1"]}])
    );
    let text = stdin(&plugin, &["verify"], GOOD).await?;
    assert!(text.out.starts_with("RegistryCredential platform/quay (-): valid\n"), "{}", text.out);
    Ok(())
}

#[tokio::test]
async fn what_the_api_server_would_refuse_is_refused() -> Result<()> {
    let plugin = offline().await?;
    let bad = GOOD
        .replace("secretName: quay-pull", "secretName: Quay")
        .replace("acme+ci", "other+ci")
        .replace("keyScope: Path", "keyScpoe: Path");
    let told = stdin(&plugin, &["verify"], &bad).await?;
    assert_eq!(told.code, 3, "{told:?}");
    assert!(
        told.out.contains("not valid") && told.out.contains("spec.keyScpoe: is not a known field"),
        "{}",
        told.out
    );
    // Rules are asked once the form is right, all of them.
    let told = stdin(&plugin, &["verify"], &bad.replace("keyScpoe", "keyScope")).await?;
    assert!(
        told.out.contains("must be a valid Secret name")
            && told.out.contains("must be a robot of the namespace in `quay`"),
        "{}",
        told.out
    );
    for (text, code) in [
        ("kind: Secret\napiVersion: v1\nmetadata: {name: a}\n", 1),
        ("a: [canary\n", 1),
        ("\u{0}", 1),
        ("a: 1\n", 1),
        ("", 1),
        (&GOOD.replace("v1alpha1", "v9"), 3),
        (&GOOD.replace("kind: RegistryCredential", "kind: \"\\e[2JX\""), 3),
    ] {
        let told = stdin(&plugin, &["verify"], text).await?;
        assert_eq!(told.code, code, "{text:?}: {told:?}");
        assert!(!told.out.contains('\u{1b}') && !told.err.contains('\u{1b}'), "{told:?}");
    }
    let nowhere = plugin.call(&["verify", "-f", "/nowhere.yaml"]).await?;
    assert!(nowhere.code == 1 && nowhere.err.contains("InvalidManifest"), "{nowhere:?}");
    Ok(())
}

#[tokio::test]
async fn secrets_are_rendered_without_their_values() -> Result<()> {
    let plugin = offline().await?;
    let told = stdin(&plugin, &["render", "-o", "json"], GOOD).await?;
    assert_eq!(told.code, 0, "{told:?}");
    let item = told.json()?["items"][0].clone();
    assert_eq!(
        (&item["credential"], &item["namespaces"]["names"]),
        (&json!("RegistryCredential platform/quay"), &json!(["web", "api"]))
    );
    let secret = &item["secret"];
    assert_eq!(
        (&secret["metadata"]["name"], &secret["type"]),
        (&json!("quay-pull"), &json!("kubernetes.io/dockerconfigjson"))
    );
    let login = &secret["data"][".dockerconfigjson"]["auths"]["quay.io/acme"];
    assert_eq!(login["password"], "<redacted: 15 bytes>");
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/managed-by"], "claviger");

    // People get YAML, and what is missing on stderr.
    let (credential, _) = GOOD.split_once("---").unwrap();
    let told = stdin(&plugin, &["render"], credential).await?;
    assert!(told.code == 3 && told.err.contains("Secret 'robot' does not exist"), "{told:?}");
    let others = r#"
apiVersion: v1
kind: List
items:
- {apiVersion: claviger.dev/v1alpha1, kind: BasicAuthCredential, metadata: {name: web}, spec: {format: Htpasswd, users: [{username: ann, secretRef: {name: src}}]}}
- {apiVersion: v1, kind: Secret, metadata: {name: src}, data: {password: Y2FuYXJ5LXBhc3N3b3Jk}}
"#;
    let told = stdin(&plugin, &["render"], others).await?;
    assert!(
        told.code == 0
            && told.out.contains("auth: '<redacted:")
                | told.out.contains("auth: \"<redacted:")
                | told.out.contains("auth: <redacted:"),
        "{told:?}"
    );
    Ok(())
}

#[tokio::test]
async fn folders_and_several_files_are_read_as_by_kubectl() -> Result<()> {
    let plugin = offline().await?;
    let (credential, secret) = GOOD.split_once("---").unwrap();
    let folder = plugin.dir.join("manifests");
    fs::create_dir(&folder)?;
    fs::write(folder.join("a.yaml"), credential)?;
    let as_json: Value = serde_saphyr::from_str(secret)?;
    fs::write(folder.join("b.json"), as_json.to_string())?;
    fs::write(folder.join("notes.txt"), "not: [yaml")?;
    let folder = folder.display().to_string();
    let told = plugin.call(&["render", "-f", &folder]).await?;
    assert!(told.code == 0 && told.out.contains("quay-pull"), "{told:?}");
    let twice = plugin.call(&["verify", "-f", &folder, "-f", &folder, "-o", "json"]).await?;
    assert_eq!(twice.json()?["objects"].as_array().map(Vec::len), Some(2));
    Ok(())
}
