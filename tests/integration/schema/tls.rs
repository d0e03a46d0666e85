//! TlsCredential: which keys of the source Secret may be named.

use serde_json::json;

use super::{ACCEPTED, Subject};
use crate::support::Result;

#[tokio::test]
async fn keys_of_the_source_are_three_different_ones() -> Result<()> {
    let subject = Subject {
        kind: "TlsCredential",
        path: "/apis/claviger.dev/v1alpha1/namespaces/default/tlscredentials",
        spec: json!({"secretRef": {"name": "src"}}),
    };
    let keys = |keys: serde_json::Value| json!({"secretRef": keys});
    let same = "`certificateKey` and `privateKeyKey` must be different";
    subject
        .check(&[
            ("the default keys", json!({}), ACCEPTED),
            (
                "other keys",
                keys(
                    json!({"certificateKey": "cert.pem", "privateKeyKey": "key.pem", "caKey": "chain_1.PEM"}),
                ),
                ACCEPTED,
            ),
            ("the certificate as its own authority", keys(json!({"caKey": "tls.crt"})), ACCEPTED),
            ("one key for both", keys(json!({"certificateKey": "pem", "privateKeyKey": "pem"})), &[same]),
            ("the key of the other", keys(json!({"certificateKey": "tls.key"})), &[same]),
            ("the certificate's for the key", keys(json!({"privateKeyKey": "tls.crt"})), &[same]),
            ("a private authority", keys(json!({"caKey": "tls.key"})), &["caKey", "must be different"]),
            ("no key at all", keys(json!({"certificateKey": ""})), &["secretRef.certificateKey"]),
            ("a path", keys(json!({"privateKeyKey": "a/b"})), &["secretRef.privateKeyKey"]),
            ("another namespace", keys(json!({"namespace": "other"})), &["secretRef.namespace"]),
            ("a chosen type", json!({"type": "Opaque"}), &["spec.type"]),
            ("no source", json!({"secretRef": null}), &["secretRef"]),
            ("a bad name", keys(json!({"name": "Not_A_Name"})), &["must be a valid Secret name"]),
        ])
        .await
}
