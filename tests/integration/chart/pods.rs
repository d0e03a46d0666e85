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
    for (sets, wanted) in [
        ("global.imageRegistry=", "ghcr.io/claviger/claviger:0.1.0"),
        ("global.imageRegistry=mirror.internal", "mirror.internal/claviger/claviger:0.1.0"),
        ("global.imageRegistry=localhost:5000", "localhost:5000/claviger/claviger:0.1.0"),
        ("global.imageRegistry=mirror.internal/ghcr", "mirror.internal/ghcr/claviger/claviger:0.1.0"),
        ("global.imageRegistry=m.io,image.repository=claviger", "m.io/claviger:0.1.0"),
        ("global.imageRegistry=m.io,image.repository=acme/keys", "m.io/acme/keys:0.1.0"),
        ("global.imageRegistry=m.io,image.repository=localhost/keys", "m.io/keys:0.1.0"),
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
    // A note for all objects must not restart the operator.
    let pods = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(*pods, json!({"kubectl.kubernetes.io/default-container": "claviger"}));
    Ok(())
}
