//! `explain-pull`, for each of its verdicts.

use k8s_openapi::api::{
    core::v1::{Pod, ServiceAccount},
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{Answer, Place, Plugin};
use crate::{
    checks::{SOON, good_source},
    scenario::Scenario,
    support::{ControlPlane, Result, discovery::minor, random_name, skips::skipped, wait_for},
};

const IMAGE: &str = "quay.io/acme/api:1";

impl Place {
    async fn explain(&self, pod: &str) -> Result<(i32, Value)> {
        let answer = self.plugin.call(&["explain-pull", pod, "-o", "json"]).await?;
        assert!(!answer.out.contains("canary") && !answer.err.contains("canary"), "{answer:?}");
        Ok((answer.code, answer.json()?))
    }

    /// The verdict and the message of its only image.
    async fn verdict(&self, pod: &str) -> Result<(i32, String, String)> {
        let (code, told) = self.explain(pod).await?;
        let image = &told["images"][0];
        let text = |field: &str| image[field].as_str().unwrap_or_default().to_owned();
        Ok((code, text("verdict"), text("message")))
    }
}

#[tokio::test]
async fn every_image_is_told_with_its_entries_in_kubelets_order() -> Result<()> {
    let place = Place::new().await?;
    place.pull_secret("host", &["quay.io", "ghcr.io"]).await?;
    place.pull_secret("path", &["quay.io/acme"]).await?;
    place
        .secret(
            "old",
            "kubernetes.io/dockercfg",
            ".dockercfg",
            r#"{"https://index.docker.io/v1/":{"auth":"dTpw"}}"#,
        )
        .await?;
    place.secret("tls", "Opaque", "x", "y").await?;
    let pod = random_name("pod");
    let container = |name: &str, image: &str| json!({"name": name, "image": image});
    let named = ["host", "path", "old", "tls", "gone"].map(|name| json!({ "name": name }));
    let server = minor(&ControlPlane::shared().await?.client().await?).await?;
    let mut volumes = vec![json!({"name": "model", "image": {"reference": "ghcr.io/acme/model:1"}})];
    if server < 35 {
        skipped("explain-pull of image volumes", "they are off by default before Kubernetes 1.35")?;
        volumes.clear();
    }
    let spec = json!({
        "initContainers": [container("init", "nginx")],
        "containers": [container("api", IMAGE), container("again", IMAGE), container("other", "reg.io:5000/x")],
        "imagePullSecrets": named,
        "volumes": volumes,
    });
    place.pod_with(&pod, spec).await?;
    let pods: Api<Pod> = place.namespace.api();
    let ephemeral =
        json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "ghcr.io/tools/debug"}]}});
    pods.patch_ephemeral_containers(&pod, &PatchParams::default(), &Patch::Strategic(ephemeral)).await?;
    let waiting = json!({"reason": "ImagePullBackOff", "message": "Back-off \u{1b}[2J pulling"});
    let status = json!({"status": {"containerStatuses": [{"name": "other", "image": "reg.io:5000/x", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": waiting}}]}});
    pods.patch_status(&pod, &PatchParams::default(), &Patch::Strategic(status)).await?;

    let (code, told) = place.explain(&pod).await?;
    assert_eq!(code, 3, "{told:#}");
    assert_eq!(told["imagePullSecrets"], json!(["host", "path", "old", "tls", "gone"]));
    let images: Vec<_> = told["images"].as_array().unwrap().iter().collect();
    let verdicts: Vec<_> =
        images.iter().map(|image| (image["image"].clone(), image["verdict"].clone())).collect();
    let mut expected = vec![
        (json!("nginx"), json!("ok")),
        (json!(IMAGE), json!("ok")),
        (json!("reg.io:5000/x"), json!("Secret missing")),
        (json!("ghcr.io/tools/debug"), json!("ok")),
    ];
    expected.extend(volumes.iter().map(|volume| (volume["image"]["reference"].clone(), json!("ok"))));
    assert_eq!(verdicts, expected);
    assert_eq!(images[1]["containers"].as_array().unwrap().len(), 2);
    assert_eq!(images[3]["containers"][0]["type"], "ephemeral");
    for image in &images[4..] {
        assert_eq!(image["containers"], json!([{"name": "model", "type": "volume", "pulled": false}]));
    }
    assert_eq!(
        images[2]["containers"][0]["waiting"],
        json!({"reason": "ImagePullBackOff", "message": "Back-off [2J pulling"})
    );
    let entries = |image: &Value| -> Vec<String> {
        let entries = image["entries"].as_array().unwrap().iter();
        entries
            .map(|e| {
                format!("{} {} {} {}", e["secret"], e["key"], e["matches"], e["reason"]).replace('"', "")
            })
            .collect()
    };
    assert_eq!(
        entries(images[1]),
        [
            "path quay.io/acme true Matches",
            "host quay.io true Matches",
            "host ghcr.io false OtherHost",
            "old https://index.docker.io/v1/ false OtherHost",
            "tls null false NotAPullSecret",
            "gone null false SecretMissing",
        ]
    );
    assert_eq!(entries(images[0])[0], "old https://index.docker.io/v1/ true Matches");

    // The same for people, and as YAML, also for pod/NAME.
    let text = place.plugin.call(&["explain-pull", &format!("pod/{pod}")]).await?;
    assert!(
        text.code == 3
            && text.out.contains("Verdict:          ok")
            && text.out.contains("1       path     quay.io/acme"),
        "{}",
        text.out
    );
    assert!(
        text.out.contains("init init") && text.out.contains("ImagePullBackOff: Back-off [2J pulling"),
        "{}",
        text.out
    );
    let yaml = place.plugin.call(&["explain-pull", &pod, "--output=yaml"]).await?;
    assert!(yaml.out.contains("verdict: Secret missing"), "{}", yaml.out);
    Ok(())
}

#[tokio::test]
async fn a_secret_that_the_service_account_names_since_then_is_not_attached() -> Result<()> {
    let place = Place::new().await?;
    let pod = place.pod(&[IMAGE], &[]).await?;
    assert_eq!(place.verdict(&pod).await?.1, "no credential");
    place.pull_secret("free", &["quay.io"]).await?;
    let (code, verdict, message) = place.verdict(&pod).await?;
    assert_eq!((code, verdict.as_str()), (3, "not attached"));
    assert!(message.contains("'free'") && message.contains("imagePullSecrets"), "{message}");
    let accounts: Api<ServiceAccount> = place.namespace.api();
    let patch = json!({"imagePullSecrets": [{"name": "free"}]});
    accounts.patch("default", &PatchParams::default(), &Patch::Merge(patch)).await?;
    let (_, verdict, message) = place.verdict(&pod).await?;
    assert!(verdict == "not attached" && message.contains("delete the Pod"), "{message}");
    // Admission gives it to the next one.
    let next = place.pod(&[IMAGE], &[]).await?;
    assert_eq!(
        place.verdict(&next).await?,
        (0, "ok".to_owned(), "kubelet tries Secret 'free' first".to_owned())
    );
    Ok(())
}

#[tokio::test]
async fn a_key_that_cannot_match_is_told() -> Result<()> {
    let place = Place::new().await?;
    place.pull_secret("hub", &["https://index.docker.io/v1"]).await?;
    let pod = place.pod(&["nginx"], &["hub"]).await?;
    let (code, verdict, message) = place.verdict(&pod).await?;
    assert_eq!((code, verdict.as_str()), (3, "wrong key"));
    assert!(message.contains("https://index.docker.io/v1/"), "{message}");

    place
        .secret(
            "broken",
            "kubernetes.io/dockerconfigjson",
            ".dockerconfigjson",
            r#"{"auths":{"x.io":{"auth":"canary"}}}"#,
        )
        .await?;
    place.pull_secret("good", &["quay.io"]).await?;
    let pod = place.pod(&[IMAGE], &["good", "broken"]).await?;
    let (_, verdict, message) = place.verdict(&pod).await?;
    assert!(verdict == "invalid Secret" && message.contains("'broken'"), "{message}");
    Ok(())
}

#[tokio::test]
async fn a_token_that_has_ended_is_told() -> Result<()> {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let place = Place::new().await?;
    let token = format!("e30.{}.canary", URL_SAFE_NO_PAD.encode(r#"{"exp":1700000000}"#));
    let text = json!({"auths": {"quay.io": {"username": "u", "password": token}}}).to_string();
    place.secret("old", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", &text).await?;
    let pod = place.pod(&[IMAGE], &["old"]).await?;
    let (code, verdict, message) = place.verdict(&pod).await?;
    assert!((code, verdict.as_str()) == (3, "expired") && !message.contains(&token), "{message}");
    Ok(())
}

#[tokio::test]
async fn credentials_that_target_the_namespace_are_known() -> Result<()> {
    let test = Scenario::shared().await?;
    let target = random_name("pull");
    test.target(&target).await?;
    let kubeconfig = ControlPlane::shared().await?.kubeconfig();
    let plugin = Plugin::new(Some(kubeconfig), Some(&target)).await?;
    good_source(&test, "src", "canary-password").await?;
    let mut spec = crate::checks::spec(&test, "src");
    spec["target"]["secretName"] = json!("quay-pull");
    test.credential("reg", spec).await?;
    let key = wait_for(SOON, "the key", async || {
        let read = test.credentials().get("reg").await.map_err(|error| error.to_string())?;
        read.status
            .and_then(|status| status.registry)
            .map(|registry| registry.endpoint)
            .ok_or_else(|| "none yet".to_owned())
    })
    .await?;
    let image = format!("{key}/x");
    let pods = test.pods(&target);
    let make = async |name: &str, secrets: Value| -> Result<()> {
        let spec = json!({"containers": [{"name": "c", "image": image}], "imagePullSecrets": secrets});
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
        wait_for(SOON, "the ServiceAccount", async || {
            pods.create(&PostParams::default(), &pod).await.map(drop).map_err(|error| error.to_string())
        })
        .await
    };
    make("named", json!([{"name": "quay-pull"}])).await?;
    make("plain", json!([])).await?;
    let verdict = async |pod: &str| -> Result<(String, String)> {
        let answer: Answer = plugin.call(&["explain-pull", pod, "-o", "json"]).await?;
        let image = answer.json()?["images"][0].clone();
        Ok((image["verdict"].as_str().unwrap_or_default().to_owned(), image["message"].to_string()))
    };
    for pod in ["named", "plain"] {
        let (said, message) = verdict(pod).await?;
        assert!(said == "no consent" && message.contains("RegistryCredential"), "{pod}: {said} {message}");
    }
    test.policy().await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(verdict("named").await?.0, "ok");
    let (said, message) = verdict("plain").await?;
    assert!(said == "not attached" && message.contains("quay-pull"), "{said} {message}");
    Ok(())
}

#[tokio::test]
async fn a_missing_right_is_named_and_the_rest_is_still_said() -> Result<()> {
    let place = Place::new().await?;
    place.pull_secret("pull", &["quay.io"]).await?;
    let pod = place.pod(&[IMAGE], &["pull"]).await?;
    let none = place.plugin.call(&["explain-pull", &pod, "--as", "jane"]).await?;
    assert_eq!((none.code, none.out.as_str()), (4, ""), "{none:?}");
    let wanted = format!("error: you may not get pods in namespace '{}'", place.namespace.name);
    assert!(none.err.starts_with(&wanted) && none.err.trim_end().ends_with("(Forbidden)"), "{}", none.err);

    let roles: Api<Role> = place.namespace.api();
    let rules = json!({"metadata": {"name": "pods"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    roles.create(&PostParams::default(), &serde_json::from_value(rules)?).await?;
    let bindings: Api<RoleBinding> = place.namespace.api();
    let binding = json!({"metadata": {"name": "pods"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pods"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]});
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    let some = wait_for(SOON, "the right to count", async || {
        let some = place.plugin.call(&["explain-pull", &pod, "--as", "jane", "-o", "json"]).await;
        some.map_err(|error| error.to_string())
            .and_then(|some| if some.out.is_empty() { Err(some.err) } else { Ok(some) })
    })
    .await?;
    assert_eq!(some.code, 4, "{some:?}");
    assert!(some.err.contains("you may not get secrets"), "{}", some.err);
    let told = some.json()?;
    assert_eq!(
        (&told["images"][0]["verdict"], &told["images"][0]["entries"][0]["reason"]),
        (&json!("unknown"), &json!("Forbidden"))
    );
    Ok(())
}
