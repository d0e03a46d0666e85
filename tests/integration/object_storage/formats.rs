//! Each format, used by a client that reads it as its consumer does: to put an object into a bucket, and to list it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Storage, credential, source, wait_ready, wait_told, with};
use crate::{
    basic_auth::data,
    scenario::Scenario,
    support::{
        Error, Result, random_name,
        s3::{AwsCli, Key, REGION, Rclone, Remote},
    },
};

type Data = BTreeMap<String, String>;

/// Makes a credential and waits until the server has taken its key. The produced Secret has these keys and no others; its
/// data.
async fn produced(
    test: &Scenario,
    storage: &Storage,
    format: &str,
    more: Value,
    keys: &[&str],
) -> Result<Data> {
    let name = format.to_lowercase();
    let spec = storage.spec("good", with(json!({"format": format}), more));
    credential(test, &name, spec).await?;
    wait_told(test, &name, "Verified=True (Authenticated)", &[]).await?;
    wait_ready(test, &name, 1).await?;
    let secret = test.secrets(&test.home.name).get(&name).await?;
    assert_eq!(secret.type_.as_deref(), Some("Opaque"), "{format}");
    let data = data(&test.client, &test.home.name, &name).await?;
    assert!(data.keys().eq(keys), "{format}: {:?}", data.keys());
    Ok(data)
}

/// A scenario that knows the storage and its owner.
async fn scenario(storage: &Storage) -> Result<Scenario> {
    let test = Scenario::shared().await?;
    storage.trust(&test).await?;
    source(&test, "good", &storage.owner).await?;
    Ok(test)
}

#[tokio::test]
async fn the_aws_cli_comes_in_by_environment_and_by_credentials_file() -> Result<()> {
    let storage = Storage::start().await?;
    let test = scenario(&storage).await?;
    let keys = [
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL_S3",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
    ];
    let environment = produced(&test, &storage, "Env", json!({}), &keys).await?;
    let file = produced(&test, &storage, "AwsCredentialsFile", json!({}), &["cloud"]).await?;

    let new = async || AwsCli::new(storage.authority.pem()).await;
    let by_environment = async || {
        let own = environment.iter().map(|(name, value)| (&**name, &**value));
        Ok::<_, Error>(new().await?.variables(own))
    };
    let by_file = async |content: &str| {
        let client = new().await?;
        let path = client.file("credentials", content)?;
        let endpoint = storage.server.endpoint();
        // Velero has them from its BackupStorageLocation.
        let told = [("AWS_DEFAULT_REGION", REGION), ("AWS_ENDPOINT_URL_S3", &*endpoint)];
        Ok::<_, Error>(client.variables([("AWS_SHARED_CREDENTIALS_FILE", &*path)]).variables(told))
    };
    for client in [by_environment().await?, by_file(&file["cloud"]).await?] {
        let (key, content) = (random_name("object"), random_name("content"));
        client.put(&storage.bucket, &key, &content).await?;
        assert_eq!(storage.server.object(&storage.bucket, &key)?, content);
        assert!(client.list(&storage.bucket).await?.contains(&key));
    }
    // It is the key that lets them in, and nothing else.
    let wrong = storage.owner.rotated();
    let client = by_environment().await?.variables([("AWS_SECRET_ACCESS_KEY", &*wrong.secret)]);
    let error = client.list(&storage.bucket).await.expect_err("a wrong secret is let in").to_string();
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");
    let content = file["cloud"].replace(&storage.owner.secret, &wrong.secret);
    let error = by_file(&content).await?.list(&storage.bucket).await.expect_err("it is let in").to_string();
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");
    Ok(())
}

/// What a consumer of a Secret knows in the end: of the Secret, and for the rest from where it is configured.
#[derive(Clone)]
struct Known {
    bucket: String,
    remote: Remote,
}

impl Known {
    fn key(self, data: &Data, id: &str, secret: &str) -> Self {
        let key = Key { id: data[id].clone(), secret: data[secret].clone() };
        Self { remote: Remote { key, ..self.remote }, ..self }
    }
}

/// Reads a Secret as a consumer does.
type Reader = fn(&Data, Known) -> Result<Known>;

fn cloud_native_pg(data: &Data, known: Known) -> Result<Known> {
    Ok(known.key(data, "ACCESS_KEY_ID", "ACCESS_SECRET_KEY"))
}

fn longhorn(data: &Data, known: Known) -> Result<Known> {
    let mut known = known.key(data, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
    known.remote.endpoint = data["AWS_ENDPOINTS"].clone();
    known.remote.ca_pem = data["AWS_CERT"].clone();
    known.remote.path_style = !data.contains_key("VIRTUAL_HOSTED_STYLE");
    Ok(known)
}

fn loki_stack(data: &Data, known: Known) -> Result<Known> {
    let mut known = known.key(data, "access_key_id", "access_key_secret");
    known.bucket = data["bucketnames"].clone();
    known.remote.endpoint = data["endpoint"].clone();
    known.remote.region = data["region"].clone();
    known.remote.path_style = data["forcepathstyle"] == "true";
    Ok(known)
}

fn thanos(data: &Data, mut known: Known) -> Result<Known> {
    let file: Value = serde_saphyr::from_str(&data["objstore.yml"])?;
    let text = |name: &str| file["config"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(file["type"], "S3");
    let scheme = if file["config"]["insecure"] == true { "http" } else { "https" };
    known.bucket = text("bucket");
    known.remote.endpoint = format!("{scheme}://{}", text("endpoint"));
    known.remote.region = text("region");
    known.remote.key = Key { id: text("access_key"), secret: text("secret_key") };
    Ok(known)
}

fn flux(data: &Data, known: Known) -> Result<Known> {
    Ok(known.key(data, "accesskey", "secretkey"))
}

fn cosi(data: &Data, mut known: Known) -> Result<Known> {
    let info: Value = serde_json::from_str(&data["BucketInfo"])?;
    let spec = &info["spec"];
    assert_eq!((&spec["authenticationType"], &spec["protocols"]), (&json!("KEY"), &json!(["s3"])));
    let text = |name: &str| spec["secretS3"][name].as_str().unwrap_or_default().to_owned();
    known.bucket = spec["bucketName"].as_str().unwrap_or_default().to_owned();
    known.remote.endpoint = text("endpoint");
    known.remote.region = text("region");
    known.remote.key = Key { id: text("accessKeyID"), secret: text("accessSecretKey") };
    Ok(known)
}

fn custom(data: &Data, known: Known) -> Result<Known> {
    let mut known = known.key(data, "id", "secret");
    assert_eq!(data["url"], format!("https://{}", data["host"]));
    known.bucket = data["bucket"].clone();
    known.remote.endpoint = data["url"].clone();
    known.remote.region = data["region"].clone();
    known.remote.path_style = data["path-style"] == "true";
    known.remote.ca_pem = data["ca.crt"].clone();
    Ok(known)
}

const CASES: [(&str, &[&str], Reader); 7] = [
    ("CloudNativePG", &["ACCESS_KEY_ID", "ACCESS_SECRET_KEY"], cloud_native_pg),
    ("Longhorn", &["AWS_ACCESS_KEY_ID", "AWS_CERT", "AWS_ENDPOINTS", "AWS_SECRET_ACCESS_KEY"], longhorn),
    (
        "LokiStack",
        &["access_key_id", "access_key_secret", "bucketnames", "endpoint", "forcepathstyle", "region"],
        loki_stack,
    ),
    ("Thanos", &["objstore.yml"], thanos),
    ("Flux", &["accesskey", "secretkey"], flux),
    ("CosiBucketInfo", &["BucketInfo"], cosi),
    ("Custom", &["bucket", "ca.crt", "host", "id", "path-style", "region", "secret", "url"], custom),
];

#[tokio::test]
async fn rclone_comes_in_by_each_other_format() -> Result<()> {
    let Some(rclone) = Rclone::find().await? else { return Ok(()) };
    let storage = Storage::start().await?;
    let test = scenario(&storage).await?;
    let keys = json!({
        "accessKeyId": "id", "secretAccessKey": "secret", "bucket": "bucket", "region": "region", "endpoint": "url",
        "endpointHost": "host", "pathStyle": "path-style", "ca": "ca.crt",
    });
    // A key that lets nobody in, so that what comes in has come from the Secret.
    let remote = Remote {
        endpoint: storage.server.endpoint(),
        region: REGION.to_owned(),
        key: Key::random(),
        path_style: true,
        ca_pem: storage.authority.pem().to_owned(),
    };
    let configured = Known { bucket: storage.bucket.clone(), remote };
    for (format, names, read) in CASES {
        let more = if format == "Custom" { json!({"custom": keys}) } else { json!({}) };
        let data = produced(&test, &storage, format, more, names).await?;
        let Known { bucket, remote } = read(&data, configured.clone())?;
        let (key, content) = (random_name("object"), random_name("content"));
        rclone.put(&remote, &bucket, &key, &content).await.map_err(|error| error.context(format))?;
        assert_eq!(storage.server.object(&storage.bucket, &key)?, content, "{format}");
        assert!(rclone.list(&remote, &bucket).await?.contains(&key), "{format}");
        let wrong = Remote { key: remote.key.rotated(), ..remote };
        rclone.list(&wrong, &bucket).await.expect_err("a wrong secret is let in");
    }
    Ok(())
}

/// Without an endpoint it is AWS, which is asked by the name of the bucket; and what has a place for a session token has it.
#[tokio::test]
async fn a_bucket_at_aws_needs_no_endpoint() -> Result<()> {
    let test = Scenario::shared().await?;
    let key = Key::random();
    let (id, secret, token) = (&key.id, &key.secret, random_name("token"));
    source(&test, "plain", &key).await?;
    let temporary =
        json!({"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token});
    test.source("temporary", temporary).await?;
    let file = format!(
        "[default]\naws_access_key_id={id}\naws_secret_access_key={secret}\naws_session_token={token}\n"
    );
    for (format, source, wanted) in [
        (
            "Env",
            "temporary",
            json!({
                "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token,
                "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            }),
        ),
        ("AwsCredentialsFile", "temporary", json!({"cloud": file})),
        (
            "CloudNativePG",
            "temporary",
            json!({"ACCESS_KEY_ID": id, "ACCESS_SECRET_KEY": secret, "ACCESS_SESSION_TOKEN": token}),
        ),
        ("Longhorn", "plain", json!({"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret})),
        (
            "LokiStack",
            "plain",
            json!({
                "access_key_id": id, "access_key_secret": secret, "bucketnames": "photos",
                "endpoint": "https://s3.eu-central-1.amazonaws.com", "region": REGION, "forcepathstyle": "false",
            }),
        ),
    ] {
        let spec = json!({
            "bucket": "photos", "region": REGION, "secretRef": {"name": source}, "format": format,
            "verification": {"mode": "Off"},
        });
        let name = format.to_lowercase();
        credential(&test, &name, spec).await?;
        wait_ready(&test, &name, 1).await?;
        assert_eq!(json!(data(&test.client, &test.home.name, &name).await?), wanted, "{format}");
    }
    Ok(())
}
