//! The Pods of the chart: their image, and what people say about where and how they run.

use serde_json::{Value, json};

use super::helm::{only, template, template_with_tests, values};
use crate::support::{Error, Result};

/// The spec of the operator's Pods, and of the Pod of the self-test.
async fn pods(args: &[&str]) -> Result<[Value; 2]> {
    let objects = template_with_tests(args).await?;
    let operator = only(&objects, "Deployment")["spec"]["template"]["spec"].clone();
    Ok([operator, only(&objects, "Pod")["spec"].clone()])
}

#[tokio::test]
async fn a_registry_for_all_images_takes_the_place_of_the_charts_own() -> Result<()> {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    for (sets, repository) in [
        ("global.imageRegistry=", "ghcr.io/claviger/claviger"),
        ("global.imageRegistry=mirror.internal", "mirror.internal/claviger/claviger"),
        ("global.imageRegistry=localhost:5000", "localhost:5000/claviger/claviger"),
        ("global.imageRegistry=mirror.internal/ghcr", "mirror.internal/ghcr/claviger/claviger"),
        ("global.imageRegistry=m.io,image.repository=claviger", "m.io/claviger"),
        ("global.imageRegistry=m.io,image.repository=acme/keys", "m.io/acme/keys"),
        ("global.imageRegistry=m.io,image.repository=localhost/keys", "m.io/keys"),
    ] {
        for pod in pods(&["--set", sets]).await? {
            assert_eq!(pod["containers"][0]["image"], format!("{repository}:{VERSION}"), "{sets}");
        }
    }
    for (sets, wanted) in [
        ("global.imageRegistry=m.io,image.repository=registry:5000/a/keys,image.tag=1.2", "m.io/a/keys:1.2"),
        ("image.repository=registry:5000/keys,image.tag=1.2", "registry:5000/keys:1.2"),
    ] {
        for pod in pods(&["--set", sets]).await? {
            assert_eq!(pod["containers"][0]["image"], wanted, "{sets}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn names_are_resolved_as_people_say() -> Result<()> {
    let unsaid = pods(&[]).await?;
    for (n, pod) in pods(&["--values", &values("full")]).await?.iter().enumerate() {
        assert_eq!(pod["dnsPolicy"], "None");
        assert_eq!(pod["dnsConfig"]["nameservers"], json!(["10.0.0.10"]));
        assert_eq!(pod["dnsConfig"]["options"], json!([{"name": "ndots", "value": "2"}]));
        assert_eq!(pod["hostAliases"], json!([{"ip": "10.0.0.1", "hostnames": ["registry.internal"]}]));
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "global-pull"}, {"name": "pull"}]));
        for field in
            ["dnsPolicy", "dnsConfig", "hostAliases", "imagePullSecrets", "nodeSelector", "tolerations"]
        {
            assert!(pod.get(field).is_some() && unsaid[n].get(field).is_none(), "{field}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn fields_that_have_no_value_of_their_own_can_be_given() -> Result<()> {
    let [operator, test] = pods(&["--values", &values("full")]).await?;
    assert_eq!((&operator["runtimeClassName"], &operator["hostUsers"]), (&json!("gvisor"), &json!(false)));
    assert!(test.get("runtimeClassName").is_none());
    // What the chart itself writes cannot be written twice: the last of two equal keys would win.
    let fields = operator.as_object().ok_or_else(|| Error::new("no spec"))?;
    let own = fields.keys().filter(|field| !["runtimeClassName", "hostUsers"].contains(&field.as_str()));
    for field in own {
        let refused = template(&["--set-json", &format!("podSpecExtra={}", json!({field: {}}))]).await;
        let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("/podSpecExtra"), "{field}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn former_revisions_are_kept_as_people_say() -> Result<()> {
    for (sets, wanted) in
        [("replicaCount=2", 3), ("revisionHistoryLimit=0", 0), ("revisionHistoryLimit=10", 10)]
    {
        let objects = template(&["--set", sets]).await?;
        assert_eq!(only(&objects, "Deployment")["spec"]["revisionHistoryLimit"], wanted);
    }
    let annotated = template(&["--set", "deploymentAnnotations.a=b,commonAnnotations.c=d"]).await?;
    let deployment = only(&annotated, "Deployment");
    assert_eq!(deployment["metadata"]["annotations"], json!({"a": "b", "c": "d"}));
    // Written twice, a key would make the manifest one that strict parsers refuse.
    let container = template(&[
        "--set",
        r"podAnnotations.kubectl\.kubernetes\.io/default-container=x,podAnnotations.a=b",
    ]);
    let notes = only(&container.await?, "Deployment")["spec"]["template"]["metadata"]["annotations"].clone();
    assert_eq!(notes, json!({"a": "b", "kubectl.kubernetes.io/default-container": "claviger"}));
    // A note for all objects must not restart the operator.
    let pods = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(*pods, json!({"kubectl.kubernetes.io/default-container": "claviger"}));
    Ok(())
}

#[tokio::test]
async fn replicas_are_spread_by_the_selector_that_people_give() -> Result<()> {
    let own = json!([{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
    }]);
    let [operator, _] = pods(&["--set-json", &format!("topologySpreadConstraints={own}")]).await?;
    assert_eq!(operator["topologySpreadConstraints"], own);
    Ok(())
}

#[tokio::test]
async fn the_pod_of_the_self_test_takes_notes_of_its_own() -> Result<()> {
    let given = json!({
        "podLabels": {"a": "b", "app.kubernetes.io/component": "operator"},
        "podAnnotations": {"sidecar.istio.io/inject": "no"},
    });
    let objects = template_with_tests(&["--set-json", &format!("selfTest={given}")]).await?;
    let metadata = &only(&objects, "Pod")["metadata"];
    assert_eq!(
        (&metadata["labels"]["a"], &metadata["annotations"]["sidecar.istio.io/inject"]),
        (&json!("b"), &json!("no"))
    );
    assert_eq!(metadata["labels"]["app.kubernetes.io/component"], "self-test", "the Service would find it");
    assert_eq!(metadata["annotations"]["helm.sh/hook"], "test");
    Ok(())
}
