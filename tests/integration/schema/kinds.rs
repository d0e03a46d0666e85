//! How `kubectl` finds our kinds, and what it prints.

use claviger::api::ObjectStorageCredential;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, PostParams},
    discovery,
};
use serde_json::{Value, json};

use super::client;
use crate::{
    scenario::Scenario,
    support::{Error, Result, wait::DEADLINE, wait_for},
};

/// As `kubectl get` asks.
async fn table(client: &Client, path: &str) -> Result<Value> {
    let request = http::Request::get(path)
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())?;
    Ok(client.request(request).await?)
}

/// Names of the columns that are shown, without and with `-o wide`.
fn columns(table: &Value, wide: bool) -> Vec<String> {
    let all = table["columnDefinitions"].as_array().cloned().unwrap_or_default();
    let shown = all.into_iter().filter(|column| wide || column["priority"] == 0);
    shown.map(|column| column["name"].as_str().unwrap_or_default().to_uppercase()).collect()
}

#[tokio::test]
async fn a_credential_prints_what_an_engineer_on_call_asks() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    test.source("src", json!({"username": "acme+ci", "password": "the-password"})).await?;
    let spec = json!({"provider": "Quay", "quay": {"namespace": "acme"}, "secretRef": {"name": "src"}, "target": test.selector()});
    test.credential("quay", spec).await?;
    test.wait_ready("quay", 1).await?;
    test.pod(&targets[0], "app", "quay").await?;

    let path = format!("/apis/claviger.dev/v1alpha1/namespaces/{}/registrycredentials", test.home.name);
    let expected = json!(["quay", "Quay", "quay.io/acme", "Unknown", "True", "2/2", "1/1", 1]);
    let seen = wait_for(DEADLINE, "the printed row", async || {
        let table = table(&test.client, &path).await.map_err(|e| e.to_string())?;
        let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
        if cells.get(..8).is_some_and(|row| json!(row) == expected) {
            Ok(table)
        } else {
            Err(format!("{cells:?}"))
        }
    })
    .await?;
    let short = ["NAME", "PROVIDER", "SERVER", "VERIFIED", "READY", "SYNCED", "CLUSTERS", "IN USE", "AGE"];
    assert_eq!(columns(&seen, false), short);
    assert_eq!(columns(&seen, true)[9..], ["EXPIRES", "REASON", "MESSAGE", "REVISION", "SECRET"]);
    let cells = seen["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
    assert!(cells[8].as_str().is_some_and(|age| age.ends_with('s')), "age: {}", cells[8]);
    assert_eq!((&cells[10], &cells[12]), (&json!("AllTargetsSynced"), &json!(1)));
    assert!(cells[11].as_str().is_some_and(|message| !message.is_empty()), "message: {}", cells[11]);
    Ok(())
}

#[tokio::test]
async fn a_bucket_prints_where_it_is() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let targets = test.targets(1).await?;
    let key = json!({"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "the-secret-key"});
    test.source("key", key).await?;
    let spec = json!({
        "bucket": "backups", "endpoint": "https://S3.example.com:443/", "format": "Flux",
        "secretRef": {"name": "key"}, "verification": {"mode": "Off"}, "target": test.selector(),
    });
    let resource = ApiResource::erase::<ObjectStorageCredential>(&());
    let object = DynamicObject::new("backups", &resource).data(json!({ "spec": spec }));
    let api = Api::<DynamicObject>::namespaced_with(test.client.clone(), &test.home.name, &resource);
    api.create(&PostParams::default(), &object).await?;
    test.pod(&targets[0], "app", "backups").await?;

    let path = format!("/apis/claviger.dev/v1alpha1/namespaces/{}/objectstoragecredentials", test.home.name);
    let expected = json!(["backups", "backups", "https://s3.example.com", "True", "1/1", "1/1", 1]);
    let seen = wait_for(DEADLINE, "the printed row", async || {
        let table = table(&test.client, &path).await.map_err(|e| e.to_string())?;
        let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
        if cells.get(..7).is_some_and(|row| json!(row) == expected) {
            Ok(table)
        } else {
            Err(format!("{cells:?}"))
        }
    })
    .await?;
    let short = ["NAME", "BUCKET", "ENDPOINT", "READY", "SYNCED", "CLUSTERS", "IN USE", "AGE"];
    assert_eq!(columns(&seen, false), short);
    let wide = ["VERIFIED", "FORMAT", "REASON", "MESSAGE", "REVISION", "SECRET"];
    assert_eq!(columns(&seen, true)[8..], wide);
    assert_eq!(seen["rows"][0]["cells"][9], "Flux");
    let status = api.get("backups").await?.data["status"]["objectStorage"].clone();
    let told = json!({"endpoint": "https://s3.example.com", "region": "us-east-1", "pathStyle": true});
    assert_eq!(status, told);
    Ok(())
}

#[tokio::test]
async fn a_policy_prints_from_where_to_where() -> Result<()> {
    let test = Scenario::shared().await?;
    test.policy().await?;
    let path = format!("/apis/claviger.dev/v1alpha1/distributionpolicies/policy-{}", test.mark);
    let expected = json!([test.home.name, "by label", "local", 0]);
    let seen = wait_for(DEADLINE, "the printed row", async || {
        let table = table(&test.client, &path).await.map_err(|error| error.to_string())?;
        let cells = table["rows"][0]["cells"].as_array().cloned().unwrap_or_default();
        if cells.get(1..5).is_some_and(|row| json!(row) == expected) {
            Ok(table)
        } else {
            Err(format!("{cells:?}"))
        }
    })
    .await?;
    assert_eq!(columns(&seen, false), ["NAME", "FROM", "TO", "CLUSTERS", "CREDENTIALS", "AGE"]);
    assert_eq!(columns(&seen, true)[6..], ["KINDS", "DEFAULT"]);
    Ok(())
}

#[tokio::test]
async fn a_member_prints_whether_it_can_be_reached() -> Result<()> {
    let table = table(&client().await?, "/apis/claviger.dev/v1alpha1/memberclusters").await?;
    let short = ["NAME", "READY", "REACHABLE", "VERSION", "SOURCE", "REASON", "AGE"];
    assert_eq!(columns(&table, false), short);
    assert_eq!(columns(&table, true)[7..], ["PROBED", "SERVER", "MESSAGE"]);
    Ok(())
}

#[tokio::test]
async fn kinds_are_found_by_short_name_and_category() -> Result<()> {
    let client = client().await?;
    let resources = wait_for(DEADLINE, "our kinds in discovery", async || {
        let found = client.list_api_group_resources("claviger.dev/v1alpha1").await.map_err(Error::from)?;
        if found.resources.iter().any(|resource| resource.kind == "DistributionPolicy") {
            Ok(found)
        } else {
            Err(Error::new("not yet"))
        }
    })
    .await?
    .resources;
    let find = |name: &str| {
        resources
            .iter()
            .find(|resource| resource.name == name)
            .ok_or_else(|| Error::new(format!("no {name}")))
    };
    let credential = find("registrycredentials")?;
    assert_eq!(credential.short_names.as_deref().unwrap_or_default(), ["regcred"]);
    let categories = credential.categories.clone().unwrap_or_default();
    assert_eq!(categories, ["claviger", "credentials"], "`kubectl get credentials`");
    assert!(credential.namespaced);
    let policy = find("distributionpolicies")?;
    assert_eq!(policy.short_names.as_deref().unwrap_or_default(), ["dpol"]);
    assert_eq!(policy.categories.clone().unwrap_or_default(), ["claviger"]);
    assert!(!policy.namespaced, "consent of a cluster is not in a namespace");
    assert!(find("registrycredentials/status").is_ok());
    let member = find("memberclusters")?;
    assert_eq!(member.short_names.as_deref().unwrap_or_default(), ["mcl"]);
    assert_eq!(member.categories.clone().unwrap_or_default(), ["claviger"]);
    assert!(!member.namespaced, "a cluster is not in a namespace");
    assert!(find("memberclusters/status").is_ok());
    let tls = find("tlscredentials")?;
    assert_eq!(tls.short_names.as_deref().unwrap_or_default(), ["tlscred"]);
    assert_eq!(tls.categories.clone().unwrap_or_default(), ["claviger", "credentials"]);
    let bucket = find("objectstoragecredentials")?;
    assert_eq!(bucket.short_names.as_deref().unwrap_or_default(), ["oscred"]);
    assert_eq!(bucket.categories.clone().unwrap_or_default(), ["claviger", "credentials"]);
    assert!(bucket.namespaced);
    Ok(())
}

#[tokio::test]
async fn credentials_can_be_selected_by_provider() -> Result<()> {
    let client = client().await?;
    let group = discovery::group(&client, "claviger.dev").await?;
    let (kind, _) = group.recommended_kind("RegistryCredential").ok_or_else(|| Error::new("no such kind"))?;
    let api: kube::Api<kube::core::DynamicObject> = kube::Api::all_with(client, &kind);
    let params = kube::api::ListParams::default().fields("spec.provider=Nobody");
    assert_eq!(api.list(&params).await?.items.len(), 0);
    Ok(())
}
