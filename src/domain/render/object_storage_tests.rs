use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{
    api::VerificationMode,
    domain::{
        certificate::fixtures::Authority,
        content::Data,
        verification::{BucketLogin, Scheme, Server, Subject},
    },
};

const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY=";
const TOKEN: &str = "FwoGZXIvYXdzEJr//session+token==";

/// A bucket at a server of one's own.
fn spec(format: &str, extra: Value) -> ObjectStorageCredentialSpec {
    let mut full = json!({
        "bucket": "backups", "endpoint": "https://s3.example.com:9000/", "format": format,
        "secretRef": {"name": "src"},
    });
    json_patch::merge(&mut full, &extra);
    serde_json::from_value(full).unwrap()
}

/// A bucket of AWS.
fn aws(format: &str, extra: Value) -> ObjectStorageCredentialSpec {
    let mut full = json!({"endpoint": null, "region": "eu-central-1"});
    json_patch::merge(&mut full, &extra);
    spec(format, full)
}

fn secret(name: &str, data: &[(&str, &str)]) -> SourceSecret {
    SourceSecret {
        name: name.into(),
        type_: "Opaque".into(),
        data: data.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from(*value))).collect(),
        version: None,
    }
}

fn key() -> SourceSecret {
    secret("src", &[(ACCESS_KEY_ID, ID), (SECRET_ACCESS_KEY, SECRET)])
}

fn temporary() -> SourceSecret {
    secret("src", &[(ACCESS_KEY_ID, ID), (SECRET_ACCESS_KEY, SECRET), (SESSION_TOKEN, TOKEN)])
}

fn inputs(sources: &[SourceSecret]) -> Inputs<'_> {
    Inputs::new(sources, Timestamp::UNIX_EPOCH)
}

fn texts(data: &Data) -> BTreeMap<&str, &str> {
    data.iter().map(|(key, value)| (key.as_str(), value.text())).collect()
}

fn is(spec: &ObjectStorageCredentialSpec, sources: &[SourceSecret], wanted: &[(&str, &str)]) {
    let content = spec.render(inputs(sources)).unwrap();
    assert_eq!(texts(&content.data), wanted.iter().copied().collect(), "{:?}", spec.format);
    assert_eq!(content.type_, "Opaque");
    assert!(content.validity.is_none() && content.missing.is_empty() && content.warnings.is_empty());
}

fn fails(spec: &ObjectStorageCredentialSpec, sources: &[SourceSecret]) -> (Reason, String) {
    let error = spec.render(inputs(sources)).unwrap_err();
    assert!(spec.logins(inputs(sources)).len() <= 1);
    (error.reason, error.to_string())
}

fn login(spec: &ObjectStorageCredentialSpec, sources: &[SourceSecret]) -> (Login, BucketLogin) {
    let [login] = <[Login; 1]>::try_from(spec.logins(inputs(sources))).unwrap();
    let Subject::Bucket(bucket) = login.subject.clone() else { panic!("not of a bucket") };
    (login, bucket)
}

#[test]
fn formats_of_keys_have_the_keys_of_their_consumers() {
    let (key, own) = ([key()], "https://s3.example.com:9000");
    is(
        &spec("Env", json!({})),
        &key,
        &[
            ("AWS_ACCESS_KEY_ID", ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL_S3", own),
        ],
    );
    is(
        &aws("Env", json!({})),
        &[temporary()],
        &[
            ("AWS_ACCESS_KEY_ID", ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_SESSION_TOKEN", TOKEN),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
        ],
    );
    is(&spec("CloudNativePG", json!({})), &key, &[("ACCESS_KEY_ID", ID), ("ACCESS_SECRET_KEY", SECRET)]);
    is(
        &spec("CloudNativePG", json!({})),
        &[temporary()],
        &[("ACCESS_KEY_ID", ID), ("ACCESS_SECRET_KEY", SECRET), ("ACCESS_SESSION_TOKEN", TOKEN)],
    );
    is(&spec("Flux", json!({})), &key, &[("accesskey", ID), ("secretkey", SECRET)]);
    let loki = |endpoint, region, path_style| {
        [
            ("access_key_id", ID),
            ("access_key_secret", SECRET),
            ("bucketnames", "backups"),
            ("endpoint", endpoint),
            ("region", region),
            ("forcepathstyle", path_style),
        ]
    };
    is(&spec("LokiStack", json!({})), &key, &loki(own, "us-east-1", "true"));
    let of_aws = "https://s3.eu-central-1.amazonaws.com";
    is(&aws("LokiStack", json!({})), &key, &loki(of_aws, "eu-central-1", "false"));
}

#[test]
fn longhorn_is_told_what_differs_from_its_own_defaults() {
    let pair = [("AWS_ACCESS_KEY_ID", ID), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let with = |more: &[(&'static str, &'static str)]| [pair.as_slice(), more].concat();
    let own = ("AWS_ENDPOINTS", "https://s3.example.com:9000");
    is(&spec("Longhorn", json!({})), &[key()], &with(&[own]));
    let virtual_hosts = spec("Longhorn", json!({"pathStyle": false}));
    is(&virtual_hosts, &[key()], &with(&[own, ("VIRTUAL_HOSTED_STYLE", "true")]));
    is(&aws("Longhorn", json!({})), &[key()], &pair);
    let by_path = aws("Longhorn", json!({"pathStyle": true}));
    is(&by_path, &[key()], &with(&[("VIRTUAL_HOSTED_STYLE", "false")]));
}

#[test]
fn a_credentials_file_has_one_profile_without_quotes() {
    let file = format!("[default]\naws_access_key_id={ID}\naws_secret_access_key={SECRET}\n");
    is(&spec("AwsCredentialsFile", json!({})), &[key()], &[("cloud", &file)]);
    let file = format!("{file}aws_session_token={TOKEN}\n");
    is(&spec("AwsCredentialsFile", json!({})), &[temporary()], &[("cloud", &file)]);
}

#[test]
fn files_of_thanos_and_cosi_are_whole() {
    let file = |spec: &ObjectStorageCredentialSpec, key: &str, source: SourceSecret| -> Value {
        let content = spec.render(inputs(&[source])).unwrap();
        assert_eq!(content.data.keys().collect::<Vec<_>>(), [key]);
        serde_json::from_slice(content.data[key].expose()).unwrap()
    };
    let of_own = json!({"type": "S3", "config": {
        "bucket": "backups", "endpoint": "s3.example.com:9000", "region": "us-east-1",
        "access_key": ID, "secret_key": SECRET, "insecure": false,
    }});
    assert_eq!(file(&spec("Thanos", json!({})), "objstore.yml", key()), of_own);
    let plain = json!({"endpoint": "http://10.0.0.1", "pathStyle": true, "region": "garage"});
    let of_plain = json!({"type": "S3", "config": {
        "bucket": "backups", "endpoint": "10.0.0.1", "region": "garage", "access_key": ID, "secret_key": SECRET,
        "session_token": TOKEN, "insecure": true, "bucket_lookup_type": "path",
    }});
    assert_eq!(file(&spec("Thanos", plain), "objstore.yml", temporary()), of_plain);
    let virtual_hosts = file(&spec("Thanos", json!({"pathStyle": false})), "objstore.yml", key());
    assert_eq!(virtual_hosts["config"]["bucket_lookup_type"], "virtual-hosted");

    let info = json!({
        "metadata": {"name": "backups"},
        "spec": {
            "bucketName": "backups", "authenticationType": "KEY", "secretAzure": null, "protocols": ["s3"],
            "secretS3": {
                "endpoint": "https://s3.example.com:9000", "region": "us-east-1", "accessKeyID": ID,
                "accessSecretKey": SECRET,
            },
        },
    });
    assert_eq!(file(&spec("CosiBucketInfo", json!({})), "BucketInfo", key()), info);
}

#[test]
fn custom_keys_are_those_of_the_spec() {
    let pem = Authority::root("root").pem;
    let bundle = secret("ca", &[("root.pem", &format!("# ours\n{pem}"))]);
    let all = json!({
        "caSecretRef": {"name": "ca", "key": "root.pem"},
        "custom": {
            "accessKeyId": "id", "secretAccessKey": "secret", "sessionToken": "token", "bucket": "bucket",
            "region": "region", "endpoint": "url", "endpointHost": "host", "pathStyle": "path", "ca": "ca.pem",
        },
    });
    let all = spec("Custom", all);
    let wanted = [
        ("id", ID),
        ("secret", SECRET),
        ("token", TOKEN),
        ("bucket", "backups"),
        ("region", "us-east-1"),
        ("url", "https://s3.example.com:9000"),
        ("host", "s3.example.com:9000"),
        ("path", "true"),
        ("ca.pem", &pem),
    ];
    is(&all, &[temporary(), bundle.clone()], &wanted);
    let content = all.render(inputs(&[key(), bundle])).unwrap();
    assert_eq!(content.notes, ["key 'token' was left out, because there is no session token"]);
    assert!(!content.data.contains_key("token"));

    let few = spec("Custom", json!({"custom": {"accessKeyId": "id", "secretAccessKey": "secret"}}));
    is(&few, &[key()], &wanted[..2]);
    let (reason, message) = fails(&few, &[temporary()]);
    assert!(reason == Reason::InvalidFormat && message.contains("`custom.sessionToken`"), "{message}");
}

#[test]
fn a_session_token_is_never_left_out() {
    for format in ["Longhorn", "LokiStack", "Flux", "CosiBucketInfo"] {
        let (reason, message) = fails(&spec(format, json!({})), &[temporary()]);
        assert_eq!(reason, Reason::InvalidFormat);
        let wanted =
            format!("key 'AWS_SESSION_TOKEN' of Secret 'src' is a session token, for which format {format}");
        assert!(message.starts_with(&wanted) && !message.contains(TOKEN), "{message}");
        // Templates write an empty one.
        let empty = secret("src", &[(ACCESS_KEY_ID, ID), (SECRET_ACCESS_KEY, SECRET), (SESSION_TOKEN, "\n")]);
        assert!(spec(format, json!({})).render(inputs(&[empty])).is_ok());
    }
    let named = spec("Env", json!({"secretRef": {"sessionTokenKey": "token"}}));
    assert_eq!(fails(&named, &[key()]).0, Reason::KeyMissing);
    let empty = secret("src", &[(ACCESS_KEY_ID, ID), (SECRET_ACCESS_KEY, SECRET), ("token", "")]);
    assert_eq!(fails(&named, &[empty]).0, Reason::InvalidFormat);
}

#[test]
fn a_broken_source_is_reported_without_its_value() {
    let flux = spec("Flux", json!({}));
    let long = |length: usize| "x".repeat(length);
    let of = |id: &str, key: &str| secret("src", &[(ACCESS_KEY_ID, id), (SECRET_ACCESS_KEY, key)]);
    for (source, reason, part) in [
        (secret("other", &[]), Reason::SecretNotFound, "`secretRef.name`"),
        (secret("src", &[(ACCESS_KEY_ID, ID)]), Reason::KeyMissing, "`secretRef.secretKeyKey`"),
        (secret("src", &[(SECRET_ACCESS_KEY, SECRET)]), Reason::KeyMissing, "`secretRef.accessKeyKey`"),
        (
            SourceSecret { type_: "kubernetes.io/tls".into(), ..key() },
            Reason::UnsupportedSecretType,
            "Opaque",
        ),
        (of("", SECRET), Reason::InvalidFormat, "'AWS_ACCESS_KEY_ID' of Secret 'src' is empty"),
        (of(&long(129), SECRET), Reason::InvalidFormat, "has 129 characters, and may have 128"),
        (of(ID, &long(1_025)), Reason::InvalidFormat, "has 1025 characters, and may have 1024"),
        (
            of(ID, "hunter2 hunter2"),
            Reason::InvalidFormat,
            "'AWS_SECRET_ACCESS_KEY' of Secret 'src' has char",
        ),
        (of(ID, "hunter2\n\n"), Reason::InvalidFormat, "line breaks"),
        (of(ID, "hunter2\u{7f}"), Reason::InvalidFormat, "printable ASCII"),
        (of(ID, "hünter2"), Reason::InvalidFormat, "printable ASCII"),
        (of("AKIA\0", SECRET), Reason::InvalidFormat, "printable ASCII"),
    ] {
        let (found, message) = fails(&flux, std::slice::from_ref(&source));
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(part), "{message}");
        assert!(!message.contains("hunter2") && !message.contains("AKIA\0"), "{message}");
        assert_eq!(flux.logins(inputs(&[source])).len(), 0);
    }
    let longest = of(&long(128), &long(1_024));
    assert!(flux.render(inputs(&[longest])).is_ok());
    // `kubectl create secret --from-file` and `echo` put one there.
    let content = flux.render(inputs(&[of("AKIA\n", "secret\r\n")])).unwrap();
    assert_eq!(texts(&content.data), BTreeMap::from([("accesskey", "AKIA"), ("secretkey", "secret")]));
    let note = |key: &str| format!("a newline at the end of key '{key}' was left out");
    assert_eq!(content.notes, [note("AWS_ACCESS_KEY_ID"), note("AWS_SECRET_ACCESS_KEY")]);
}

#[test]
fn the_keys_of_the_source_can_be_named() {
    let named =
        json!({"secretRef": {"accessKeyKey": "id", "secretKeyKey": "key", "sessionTokenKey": "token"}});
    let named = spec("Env", named);
    let source = secret("src", &[("id", ID), ("key", SECRET), ("token", TOKEN)]);
    let content = named.render(inputs(&[source])).unwrap();
    assert_eq!(content.data["AWS_ACCESS_KEY_ID"].text(), ID);
    assert_eq!(content.data["AWS_SECRET_ACCESS_KEY"].text(), SECRET);
    assert_eq!(content.data["AWS_SESSION_TOKEN"].text(), TOKEN);
}

#[test]
fn authorities_that_the_consumer_does_not_get_hold_nothing_back() {
    let pem = Authority::root("root").pem;
    let ca = |text: &str| secret("ca", &[("ca.crt", text)]);
    let trusting = |format: &str| spec(format, json!({"caSecretRef": {"name": "ca"}}));
    let longhorn = trusting("Longhorn");
    assert_eq!(longhorn.source(), Source::Secrets(vec!["ca".into(), "src".into()]));
    let content = longhorn.render(inputs(&[key(), ca(&format!("{pem}after\n"))])).unwrap();
    assert_eq!(content.data["AWS_CERT"].text(), pem);
    let large = pem.repeat((16 << 10) / pem.len() + 1);
    for (sources, reason, part) in [
        (vec![key()], Reason::SecretNotFound, "`caSecretRef.name`"),
        (vec![key(), secret("ca", &[])], Reason::KeyMissing, "`caSecretRef.key`"),
        (vec![key(), ca("hunter2")], Reason::InvalidFormat, "key 'ca.crt' of Secret 'ca'"),
        (vec![key(), ca(&large)], Reason::InvalidFormat, "is too large"),
    ] {
        let (found, message) = fails(&longhorn, &sources);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(part) && !message.contains("hunter2"), "{message}");
        // The access key goes on, and only cannot be tested.
        let flux = trusting("Flux");
        assert!(flux.render(inputs(&sources)).is_ok());
        assert!(login(&flux, &sources).0.authorities.unwrap().is_err());
    }
    let (login, _) = login(&trusting("Flux"), &[key(), ca(&pem)]);
    assert_eq!(login.authorities.unwrap().unwrap().len(), 1);
}

#[test]
fn the_endpoint_results_from_the_spec() {
    let status = |spec: ObjectStorageCredentialSpec| {
        let status = spec.details(None, None, &Map::new())[DETAIL].clone();
        let text = |field: &str| status[field].as_str().unwrap().to_owned();
        (text("endpoint"), text("region"), status["pathStyle"] == true, spec.provider())
    };
    let is = |spec, endpoint: &str, region: &str, path_style, provider: &str| {
        let wanted = (endpoint.to_owned(), region.to_owned(), path_style, provider.to_owned());
        assert_eq!(status(spec), wanted);
    };
    let at = |endpoint: &str| spec("Flux", json!({"endpoint": endpoint}));
    let own = "S3Compatible";
    is(at("https://S3.Example.com/"), "https://s3.example.com", "us-east-1", true, own);
    is(at("https://s3.example.com:443"), "https://s3.example.com", "us-east-1", true, own);
    is(at("http://s3.example.com:80/"), "http://s3.example.com", "us-east-1", true, own);
    is(at("http://s3.example.com:443"), "http://s3.example.com:443", "us-east-1", true, own);
    is(at("https://[fd00::1]:9000"), "https://[fd00::1]:9000", "us-east-1", true, own);
    let virtual_hosts = spec("Flux", json!({"pathStyle": false, "region": "auto"}));
    is(virtual_hosts, "https://s3.example.com:9000", "auto", false, own);
    let in_region = |region: &str| aws("Flux", json!({"region": region}));
    is(in_region("us-east-1"), "https://s3.us-east-1.amazonaws.com", "us-east-1", false, "AmazonS3");
    is(in_region("cn-north-1"), "https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1", false, "AmazonS3");
    let by_path = aws("Flux", json!({"pathStyle": true}));
    is(by_path, "https://s3.eu-central-1.amazonaws.com", "eu-central-1", true, "AmazonS3");

    let none = at("https://[:::]");
    assert_eq!(
        fails(&none, &[key()]),
        (Reason::InvalidFormat, "`spec.endpoint` is not https://host[:port]".into())
    );
    assert!(none.logins(inputs(&[key()])).is_empty() && none.details(None, None, &Map::new()).is_empty());
}

#[test]
fn one_login_is_tried_of_each_credential() {
    let (login, bucket) = self::login(&spec("Flux", json!({})), &[key()]);
    assert_eq!(
        (login.key.as_str(), login.provider.as_str()),
        ("s3.example.com:9000/backups", "S3Compatible")
    );
    assert_eq!(login.server, Server { host: "s3.example.com".to_owned(), port: Some(9000) });
    assert_eq!((login.rules.mode, login.rules.interval.as_secs()), (VerificationMode::Warn, 6 * 3_600));
    assert!(login.authorities.is_none() && login.version.is_none());
    assert_eq!(bucket.scheme, Scheme::Https);
    assert_eq!((bucket.region.as_str(), bucket.bucket.as_str()), ("us-east-1", "backups"));
    assert!(bucket.path_style && bucket.access_key.session.is_none());
    assert_eq!((bucket.access_key.id.text(), bucket.access_key.secret.text()), (ID, SECRET));

    let asked =
        json!({"verification": {"mode": "Enforce", "interval": "1h"}, "endpoint": "http://s3.example.com"});
    let (login, bucket) = self::login(&spec("Env", asked), &[temporary()]);
    assert_eq!((login.rules.mode, login.rules.interval.as_secs()), (VerificationMode::Enforce, 3_600));
    assert_eq!(bucket.scheme, Scheme::Http);
    assert_eq!(bucket.access_key.session.map(|token| token.text().to_owned()).as_deref(), Some(TOKEN));

    let (login, bucket) = self::login(&aws("Flux", json!({})), &[key()]);
    assert_eq!(login.key, "s3.eu-central-1.amazonaws.com/backups");
    assert!(!bucket.path_style);
    // No wildcard certificate is for it.
    assert!(self::login(&aws("Flux", json!({"bucket": "my.backups"})), &[key()]).1.path_style);
}

#[test]
fn what_a_login_was_read_from_is_told_by_the_versions_of_its_secrets() {
    let of =
        |secret: SourceSecret, version: &str| SourceSecret { version: Some(version.to_owned()), ..secret };
    let alone = spec("Flux", json!({}));
    let trusting = spec("Flux", json!({"caSecretRef": {"name": "ca"}}));
    let version =
        |spec: &ObjectStorageCredentialSpec, sources: &[SourceSecret]| login(spec, sources).0.version;
    let sources = [of(key(), "11"), of(secret("ca", &[]), "12")];
    assert_eq!(version(&alone, &sources).as_deref(), Some("11"));
    assert_eq!(version(&trusting, &sources).as_deref(), Some("11,12"));
    assert_eq!(version(&trusting, &sources[..1]).as_deref(), Some("11,"));
    assert_eq!(version(&alone, &[of(key(), &"9".repeat(64))]), None);
}
