//! An admission webhook of a third party, that lets everything through or nothing.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering},
};

use http_body_util::BodyExt;
use hyper::{Request, body::Incoming};
use serde_json::{Value, json};

use super::{
    control_plane::ControlPlane,
    error::Result,
    https::{Server, answer},
};

/// What it says of all that it does not let through.
pub const DENIAL: &str = "the policy of a test forbids it";

/// Ends when dropped. It lives in the runtime that it was started in.
pub struct Webhook {
    server: Server,
    shared: Arc<Shared>,
    ca: String,
}

#[derive(Default)]
struct Shared {
    /// The status code of denials; 0: nothing is denied.
    code: AtomicU16,
    denied: AtomicUsize,
    /// Whether denials quote the object.
    quotes: AtomicBool,
}

impl Webhook {
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let asked = shared.clone();
        let connected = move || {
            let shared = asked.clone();
            move |request: Request<Incoming>| {
                let shared = shared.clone();
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    let review: Value = serde_json::from_slice(&body)?;
                    answer(200, &shared.review(&review))
                }
            }
        };
        let server = Server::start(Some(&control_plane.server_identity()?), connected).await?;
        Ok(Self { server, shared, ca: control_plane.ca_pem().to_owned() })
    }

    /// Denies from now on, with this code. The server passes it on to the client as it is.
    pub fn deny(&self, code: u16) {
        self.shared.code.store(code, Ordering::SeqCst);
    }

    /// From now on denials say what was written, and what was there before.
    pub fn quote(&self) {
        self.shared.quotes.store(true, Ordering::SeqCst);
    }

    pub fn allow(&self) {
        self.deny(0);
    }

    /// How many requests it has denied so far.
    pub fn denied(&self) -> usize {
        self.shared.denied.load(Ordering::SeqCst)
    }

    /// A configuration that asks it about writes to Secrets in namespaces with this label.
    pub fn configuration(&self, name: &str, label: (&str, &str)) -> Value {
        use base64::{Engine, engine::general_purpose::STANDARD};
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{
                "name": format!("{name}.example.com"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Fail", "timeoutSeconds": 5,
                "clientConfig": {"url": format!("{}/review", self.server.url()), "caBundle": STANDARD.encode(&self.ca)},
                "namespaceSelector": {"matchLabels": {label.0: label.1}},
                "rules": [{
                    "operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"],
                    "resources": ["secrets"],
                }],
            }],
        })
    }
}

impl Shared {
    fn review(&self, review: &Value) -> Value {
        let code = self.code.load(Ordering::SeqCst);
        let mut response = json!({"uid": review["request"]["uid"], "allowed": code == 0});
        if code != 0 {
            self.denied.fetch_add(1, Ordering::SeqCst);
            let quoted = self.quotes.load(Ordering::SeqCst).then(|| quotation(&review["request"]));
            let message = format!("{DENIAL}{}", quoted.unwrap_or_default());
            response["status"] = json!({"code": code, "message": message});
        }
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }
}

/// Short parts of values, so that the whole is not cut off, as they are and decoded.
fn quotation(request: &Value) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let mut text = String::new();
    for object in ["object", "oldObject"] {
        for value in request[object]["data"].as_object().into_iter().flat_map(serde_json::Map::values) {
            let value = value.as_str().unwrap_or_default();
            let decoded = STANDARD.decode(value).unwrap_or_default();
            let decoded = String::from_utf8_lossy(&decoded).into_owned();
            let from = decoded.find("password").unwrap_or_default();
            let part: String = decoded.chars().skip(from).take(60).collect();
            text += &format!("; {object} has {part} and {}", &value[..value.len().min(60)]);
        }
    }
    text
}
