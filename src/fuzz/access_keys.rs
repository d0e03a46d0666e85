//! Access keys for object storage.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{CANARY, check, generate, tells_no_secret};
use crate::{
    api::ObjectStorageCredentialSpec,
    domain::{
        SecretBytes,
        certificate::fixtures::now,
        content::{Data, Inputs, SourceSecret},
        credential::CredentialSpec,
    },
};

/// Formats whose files have a structure that a value could break.
const FILES: [(&str, &str); 3] =
    [("AwsCredentialsFile", "cloud"), ("Thanos", "objstore.yml"), ("CosiBucketInfo", "BucketInfo")];

fn spec(format: &str) -> ObjectStorageCredentialSpec {
    let spec = json!({
        "bucket": "backups", "endpoint": "https://s3.example.com", "format": format, "secretRef": {"name": "src"},
    });
    serde_json::from_value(spec).unwrap()
}

/// Id, secret and session token, with a NUL between them.
fn source(input: &[u8]) -> SourceSecret {
    let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
    let parts = input.splitn(3, |byte| *byte == 0).map(|part| SecretBytes::new(part.to_vec()));
    let data: Data = keys.into_iter().map(str::to_owned).zip(parts).collect();
    SourceSecret { name: "src".into(), type_: "Opaque".into(), data, version: None }
}

#[test]
fn access_keys_become_whole_files_or_are_refused() {
    let texts = [
        format!("AKIAIOSFODNN7EXAMPLE\0{CANARY}"),
        format!("AKIAIOSFODNN7EXAMPLE\n\0{CANARY}/+=\"\\\r\n"),
        format!("AKIAIOSFODNN7EXAMPLE\0{CANARY}\0{CANARY}=="),
        format!("AKIA]\naws_secret_access_key={CANARY}\0{CANARY}\"}}}},#\0\n"),
    ];
    check(generate::from(texts.map(String::into_bytes).into()), |input| {
        let sources = [source(input)];
        let trimmed = |key: &str| sources[0].data[key].text().trim_end_matches(['\r', '\n']);
        for (format, key) in FILES {
            let inputs = Inputs::new(&sources, now());
            let content = match spec(format).render(inputs) {
                Ok(content) => content,
                Err(error) => {
                    tells_no_secret(&error)?;
                    continue;
                }
            };
            prop_assert_eq!(spec(format).logins(inputs).len(), 1);
            let file = str::from_utf8(content.data[key].expose()).unwrap();
            let read: Value = serde_json::from_str(file).unwrap_or_default();
            let of_file = file.lines().nth(2).and_then(|line| line.strip_prefix("aws_secret_access_key="));
            let found = match format {
                "Thanos" => read["config"]["secret_key"].as_str(),
                "CosiBucketInfo" => read["spec"]["secretS3"]["accessSecretKey"].as_str(),
                _ => of_file.filter(|_| (3..=4).contains(&file.lines().count())),
            };
            prop_assert_eq!(found, Some(trimmed("AWS_SECRET_ACCESS_KEY")));
        }
        Ok(())
    });
}
