//! ObjectStorageCredential: which bucket can be where, and what goes with which format.

use serde_json::{Value, json};

use super::{ACCEPTED, Case, Subject};
use crate::support::Result;

/// A bucket at a server of one's own.
fn subject() -> Subject {
    Subject {
        kind: "ObjectStorageCredential",
        path: "/apis/claviger.dev/v1alpha1/namespaces/default/objectstoragecredentials",
        spec: json!({
            "bucket": "backups", "endpoint": "https://s3.example.com", "format": "Env", "secretRef": {"name": "src"},
        }),
    }
}

/// The same in AWS S3.
fn of_aws(change: Value) -> Value {
    let mut spec = json!({"endpoint": null, "region": "eu-central-1"});
    json_patch::merge(&mut spec, &change);
    spec
}

#[tokio::test]
async fn a_bucket_is_one_that_its_server_can_have() -> Result<()> {
    const BY_PATH: &[&str] = &["spec.bucket", "may have letters, digits, '.', '_' and '-'"];
    const AWS: &[&str] = &["spec.bucket", "must follow the rules of AWS"];
    let own = |bucket: &str| json!({"bucket": bucket});
    let aws = |bucket: &str| of_aws(json!({"bucket": bucket}));
    let virtual_hosts = |bucket: &str| json!({"bucket": bucket, "pathStyle": false});
    let cases: Vec<Case<'_>> = vec![
        ("three characters", own("abc"), ACCEPTED),
        ("63 characters", own(&"b".repeat(63)), ACCEPTED),
        ("two characters", own("ab"), &["spec.bucket", "should be at least 3 chars long"]),
        ("64 characters", own(&"b".repeat(64)), &["spec.bucket", "may not be more than 63"]),
        ("an old name of Ceph", own("Team_Backups.2024"), ACCEPTED),
        ("two dots in a path", own("a..b"), ACCEPTED),
        ("a path style that is said", json!({"bucket": "Team_Backups", "pathStyle": true}), ACCEPTED),
        ("underscore first", own("_backups"), BY_PATH),
        ("dot last", own("backups."), BY_PATH),
        ("a path", own("backups/daily"), BY_PATH),
        ("a query", own("backups?acl"), BY_PATH),
        ("a space", own("my backups"), BY_PATH),
        ("a line end", own("backups\n"), BY_PATH),
        ("another script", own("b\u{fc}cher"), BY_PATH),
        ("nothing", json!({"bucket": null}), &["spec.bucket"]),
        ("a name of AWS", aws("my.backups-2024"), ACCEPTED),
        ("digits", aws("123"), ACCEPTED),
        ("upper case at AWS", aws("Backups"), AWS),
        ("upper case at AWS by path", of_aws(json!({"bucket": "Backups", "pathStyle": true})), AWS),
        ("underscore at AWS", aws("team_backups"), AWS),
        ("two dots at AWS", aws("a..b"), AWS),
        ("hyphen first at AWS", aws("-backups"), AWS),
        ("an address at AWS", aws("192.168.5.4"), AWS),
        ("a name as a part of the host", virtual_hosts("my.backups"), ACCEPTED),
        ("upper case as a part of the host", virtual_hosts("Backups"), AWS),
        ("underscore as a part of the host", virtual_hosts("team_backups"), AWS),
    ];
    subject().check(&cases).await
}

#[tokio::test]
async fn an_endpoint_is_a_server_and_no_more() -> Result<()> {
    const SCHEME: &[&str] = &["spec.endpoint", "must begin with https:// or http://"];
    const FORM: &[&str] = &["spec.endpoint", "must be https://host[:port], without a path"];
    const PORT: &[&str] = &["spec.endpoint", "must have a port from 1 to 65535"];
    const ADDRESS: &[&str] = &["spec.pathStyle", "may not be false with an endpoint that is an IP address"];
    let at = |endpoint: &str| json!({"endpoint": endpoint});
    let virtual_hosts = |endpoint: &str| json!({"endpoint": endpoint, "pathStyle": false});
    let host = format!("{}h", "h.".repeat(126));
    let cases: Vec<Case<'_>> = vec![
        ("a slash at the end", at("https://s3.example.com/"), ACCEPTED),
        ("a port", at("https://s3.example.com:9000"), ACCEPTED),
        ("a port and a slash", at("https://s3.example.com:9000/"), ACCEPTED),
        ("without TLS", at("http://rook-ceph-rgw.rook-ceph.svc:80"), ACCEPTED),
        ("one word", at("http://s3"), ACCEPTED),
        ("upper case", at("https://S3.Example.com"), ACCEPTED),
        ("IPv4", at("https://10.0.0.1:9000"), ACCEPTED),
        ("IPv6", at("https://[fd00::1]:9000/"), ACCEPTED),
        ("no scheme", at("s3.example.com:9000"), SCHEME),
        ("another scheme", at("s3://s3.example.com"), SCHEME),
        ("a scheme in upper case", at("HTTPS://s3.example.com"), SCHEME),
        ("a path", at("https://s3.example.com/backups"), FORM),
        ("two slashes", at("https://s3.example.com//"), FORM),
        ("a user", at("https://me:secret@s3.example.com"), FORM),
        ("a query", at("https://s3.example.com?x=y"), FORM),
        ("a fragment", at("https://s3.example.com/#x"), FORM),
        ("no host", at("https:///x"), FORM),
        ("a space", at("https://s3 example.com"), FORM),
        ("a line end", at("https://s3.example.com\n"), FORM),
        ("underscore", at("https://s3_a.example.com"), FORM),
        ("a wildcard", at("https://*.example.com"), FORM),
        ("a port by name", at("https://s3.example.com:https"), FORM),
        ("no port", at("https://s3.example.com:"), FORM),
        ("IPv6 without brackets", at("https://fd00::1"), FORM),
        ("a part of 63", at(&format!("https://{}.example.com", "h".repeat(63))), ACCEPTED),
        ("a part of 64", at(&format!("https://{}.example.com", "h".repeat(64))), FORM),
        ("port 65535", at("https://s3.example.com:65535"), ACCEPTED),
        ("port 65536", at("https://s3.example.com:65536/"), PORT),
        ("port 0", at("https://s3.example.com:0"), PORT),
        ("everything at its longest", at(&format!("https://{host}:65535/")), ACCEPTED),
        ("a host of 256", at(&format!("https://h{host}.h")), &["may have a host of at most 253 characters"]),
        (
            "longer than all",
            at(&format!("https://{host}:65535/x")),
            &["spec.endpoint", "may not be more than"],
        ),
        ("a name for the bucket's host", virtual_hosts("https://10.0.0.1.example.com"), ACCEPTED),
        ("IPv4 for the bucket's host", virtual_hosts("https://10.0.0.1"), ADDRESS),
        ("IPv4 and port for the bucket's host", virtual_hosts("https://10.0.0.1:9000/"), ADDRESS),
        ("IPv6 for the bucket's host", virtual_hosts("https://[fd00::1]"), ADDRESS),
        (
            "neither endpoint nor region",
            json!({"endpoint": null}),
            &["`region` is required without `endpoint`"],
        ),
        ("a region of one's own", json!({"region": "US_east-1"}), ACCEPTED),
        ("R2", json!({"region": "auto"}), ACCEPTED),
        ("a region with a slash", json!({"region": "us/east"}), &["spec.region"]),
        ("a long region", json!({"region": "r".repeat(64)}), &["spec.region", "may not be more than 63"]),
        ("AWS", of_aws(json!({})), ACCEPTED),
        ("AWS by path", of_aws(json!({"pathStyle": true})), ACCEPTED),
        ("AWS with a region of nobody", of_aws(json!({"region": "US"})), &["must be a region of AWS"]),
    ];
    subject().check(&cases).await
}

#[tokio::test]
async fn a_format_has_what_belongs_to_it() -> Result<()> {
    const SESSION: &[&str] = &["spec.secretRef", "may not be given with this format"];
    const NEEDED: &[&str] = &["spec.custom", "is required with format Custom"];
    const SAME: &[&str] = &["spec.custom", "must have a key of its own for each field"];
    let format = |format: &str| json!({"format": format});
    let session = |format: &str| json!({"format": format, "secretRef": {"sessionTokenKey": "token"}});
    let custom = |more: Value| {
        let mut keys = json!({"accessKeyId": "id", "secretAccessKey": "key"});
        json_patch::merge(&mut keys, &more);
        json!({"format": "Custom", "custom": keys})
    };
    let with = |mut spec: Value, more: Value| {
        json_patch::merge(&mut spec, &more);
        spec
    };
    let all = json!({
        "sessionToken": "token", "bucket": "bucket", "region": "region", "endpoint": "endpoint", "endpointHost": "host",
        "pathStyle": "path-style",
    });
    let mut cases: Vec<Case<'_>> = vec![
        ("a format of nobody", format("Velero"), &["spec.format"]),
        ("no format", json!({"format": null}), &["spec.format"]),
        ("Custom without keys", format("Custom"), NEEDED),
        ("keys without Custom", with(custom(json!({})), format("Env")), NEEDED),
        ("the fewest keys", custom(json!({})), ACCEPTED),
        ("all keys but one", custom(all.clone()), ACCEPTED),
        ("no key for the id", custom(json!({"accessKeyId": null})), &["spec.custom.accessKeyId"]),
        ("no key for the secret", custom(json!({"secretAccessKey": null})), &["spec.custom.secretAccessKey"]),
        ("an unknown field", custom(json!({"expiry": "expiry"})), &["spec.custom.expiry"]),
        ("dots in a key", custom(json!({"bucket": ".a..b"})), ACCEPTED),
        ("a dot for a key", custom(json!({"bucket": "."})), &["spec.custom.bucket"]),
        ("two dots first in a key", custom(json!({"bucket": "..a"})), &["spec.custom.bucket"]),
        ("a path for a key", custom(json!({"bucket": "a/b"})), &["spec.custom.bucket"]),
        ("an empty key", custom(json!({"bucket": ""})), &["spec.custom.bucket"]),
        ("a long key", custom(json!({"bucket": "k".repeat(254)})), &["spec.custom.bucket"]),
        ("CA certificates of nobody", custom(json!({"ca": "ca.crt"})), &["`custom.ca` needs `caSecretRef`"]),
        (
            "CA certificates",
            with(custom(json!({"ca": "ca.crt"})), json!({"caSecretRef": {"name": "ca", "key": "root.pem"}})),
            ACCEPTED,
        ),
        ("CA certificates to trust", json!({"caSecretRef": {"name": "ca"}}), ACCEPTED),
        (
            "a bad name of those",
            json!({"caSecretRef": {"name": "Not_A_Name"}}),
            &["must be a valid Secret name"],
        ),
        (
            "a session token without a place",
            with(custom(json!({})), session("Custom")),
            &["spec.custom", "`custom.sessionToken` is required with `secretRef.sessionTokenKey`"],
        ),
        ("a session token with a place", with(custom(all), session("Custom")), ACCEPTED),
        (
            "another one's namespace",
            json!({"secretRef": {"namespace": "other"}}),
            &["spec.secretRef.namespace"],
        ),
        ("a chosen type", json!({"type": "Opaque"}), &["spec.type"]),
        ("another mode", json!({"verification": {"mode": "Enforce", "interval": "12h"}}), ACCEPTED),
        ("a mode of nobody", json!({"verification": {"mode": "Try"}}), &["spec.verification.mode"]),
        ("too often", json!({"verification": {"interval": "30m"}}), &["must be a duration from 1h to 168h"]),
        (
            "a repository",
            json!({"verification": {"repository": "team/app"}}),
            &["spec.verification.repository"],
        ),
    ];
    for name in ["Env", "AwsCredentialsFile", "CloudNativePG", "Thanos"] {
        cases.push((name, format(name), ACCEPTED));
        cases.push((name, session(name), ACCEPTED));
    }
    for name in ["Longhorn", "LokiStack", "Flux", "CosiBucketInfo"] {
        cases.push((name, format(name), ACCEPTED));
        cases.push((name, session(name), SESSION));
    }
    // Each field with the key of each other one.
    let ca = json!({"caSecretRef": {"name": "ca"}});
    let fields = [
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "bucket",
        "region",
        "endpoint",
        "endpointHost",
        "ca",
    ];
    for (n, one) in fields.into_iter().enumerate() {
        for other in fields.into_iter().skip(n + 1).chain(["pathStyle"]) {
            let same = with(custom(json!({one: "same", other: "same"})), ca.clone());
            cases.push((one, same, SAME));
        }
    }
    subject().check(&cases).await
}

#[tokio::test]
async fn keys_of_the_source_are_different_ones() -> Result<()> {
    const PAIR: &[&str] = &["spec.secretRef", "`accessKeyKey` and `secretKeyKey` must be different"];
    const TOKEN: &[&str] =
        &["spec.secretRef.sessionTokenKey", "must be different from the keys of the access key"];
    let keys = |keys: Value| json!({"secretRef": keys});
    subject()
        .check(&[
            ("the default keys", json!({}), ACCEPTED),
            (
                "other keys",
                keys(json!({"accessKeyKey": "id", "secretKeyKey": "key", "sessionTokenKey": "token"})),
                ACCEPTED,
            ),
            ("one key for both", keys(json!({"accessKeyKey": "key", "secretKeyKey": "key"})), PAIR),
            ("the key of the other", keys(json!({"accessKeyKey": "AWS_SECRET_ACCESS_KEY"})), PAIR),
            ("the id's for the secret", keys(json!({"secretKeyKey": "AWS_ACCESS_KEY_ID"})), PAIR),
            ("the id's for the token", keys(json!({"sessionTokenKey": "AWS_ACCESS_KEY_ID"})), TOKEN),
            ("the secret's for the token", keys(json!({"secretKeyKey": "a", "sessionTokenKey": "a"})), TOKEN),
            ("no key at all", keys(json!({"accessKeyKey": ""})), &["secretRef.accessKeyKey"]),
            ("a path", keys(json!({"secretKeyKey": "a/b"})), &["secretRef.secretKeyKey"]),
            ("no source", json!({"secretRef": null}), &["secretRef"]),
            ("a bad name", keys(json!({"name": "Not_A_Name"})), &["must be a valid Secret name"]),
        ])
        .await
}
