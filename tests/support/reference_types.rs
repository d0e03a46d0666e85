//! Definitions of types that may name Secrets, as small as they can be: group, versions, names and the fields that name one are
//! those of the real ones, whose sources are named at each group. A field that the schema lacks is cut off by the API server.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Map, Value, json};

use super::{error::Result, wait::wait_for};

const DEADLINE: Duration = Duration::from_secs(60);

/// One type: kind, plural, and the fields that name a Secret. `=` marks a name, `@` an object of group, kind, namespace and name.
type Type = (&'static str, &'static str, &'static [&'static str]);

pub struct Group {
    pub name: &'static str,
    pub versions: &'static [&'static str],
    pub types: &'static [Type],
}

/// kubernetes-sigs/gateway-api, `config/crd/standard`, August 2026.
pub const GATEWAY_API: Group = Group {
    name: "gateway.networking.k8s.io",
    versions: &["v1", "v1beta1"],
    types: &[
        (
            "Gateway",
            "gateways",
            &[
                "spec.listeners[].tls.certificateRefs[]@",
                "spec.tls.backend.clientCertificateRef@",
                "spec.tls.frontend.default.validation.caCertificateRefs[]@",
            ],
        ),
        ("ListenerSet", "listenersets", &["spec.listeners[].tls.certificateRefs[]@"]),
        ("BackendTLSPolicy", "backendtlspolicies", &["spec.validation.caCertificateRefs[]@"]),
        ("ReferenceGrant", "referencegrants", &["spec.from[]@", "spec.to[]@"]),
    ],
};

/// traefik/traefik, `pkg/provider/kubernetes/crd/traefikio/v1alpha1`, July 2026.
pub const TRAEFIK: Group = Group {
    name: "traefik.io",
    versions: &["v1alpha1"],
    types: &[
        ("IngressRoute", "ingressroutes", &["spec.tls.secretName="]),
        ("IngressRouteTCP", "ingressroutetcps", &["spec.tls.secretName="]),
        (
            "TLSStore",
            "tlsstores",
            &["spec.defaultCertificate.secretName=", "spec.certificates[].secretName="],
        ),
        ("TLSOption", "tlsoptions", &["spec.clientAuth.secretNames[]="]),
        (
            "Middleware",
            "middlewares",
            &["spec.basicAuth.secret=", "spec.digestAuth.secret=", "spec.forwardAuth.tls.caSecret="],
        ),
        ("ServersTransport", "serverstransports", &["spec.rootCAs[].secret=", "spec.certificatesSecrets[]="]),
        ("ServersTransportTCP", "serverstransporttcps", &["spec.tls.rootCAs[].secret="]),
    ],
};

/// projectcontour/contour, `apis/projectcontour/v1` and `v1alpha1`, August 2026.
pub const CONTOUR: Group = Group {
    name: "projectcontour.io",
    versions: &["v1"],
    types: &[
        (
            "HTTPProxy",
            "httpproxies",
            &["spec.virtualhost.tls.secretName=", "spec.routes[].services[].validation.caSecret="],
        ),
        (
            "TLSCertificateDelegation",
            "tlscertificatedelegations",
            &["spec.delegations[].secretName=", "spec.delegations[].targetNamespaces[]="],
        ),
    ],
};

/// The same; this type is in another version.
pub const CONTOUR_ALPHA: Group = Group {
    name: "projectcontour.io",
    versions: &["v1alpha1"],
    types: &[("ExtensionService", "extensionservices", &["spec.validation.caSecret="])],
};

/// envoyproxy/gateway, `api/v1alpha1`, August 2026.
pub const ENVOY_GATEWAY: Group = Group {
    name: "gateway.envoyproxy.io",
    versions: &["v1alpha1"],
    types: &[
        (
            "SecurityPolicy",
            "securitypolicies",
            &["spec.basicAuth.users@", "spec.oidc.clientSecret@", "spec.apiKeyAuth.credentialRefs[]@"],
        ),
        ("ClientTrafficPolicy", "clienttrafficpolicies", &["spec.tls.clientValidation.caCertificateRefs[]@"]),
        ("EnvoyProxy", "envoyproxies", &["spec.backendTLS.clientCertificateRef@"]),
        ("Backend", "backends", &["spec.tls.clientCertificateRef@"]),
        ("HTTPRouteFilter", "httproutefilters", &["spec.credentialInjection.credential.valueRef@"]),
        ("EnvoyExtensionPolicy", "envoyextensionpolicies", &["spec.wasm[].code.image.pullSecretRef@"]),
    ],
};

/// All of them.
pub const GROUPS: [&Group; 5] = [&GATEWAY_API, &TRAEFIK, &CONTOUR, &CONTOUR_ALPHA, &ENVOY_GATEWAY];

impl Group {
    /// Installs its definitions, and waits until they are served.
    pub async fn install(&self, client: &Client) -> Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        for crd in self.definitions() {
            let name = crd["metadata"]["name"].as_str().unwrap_or_default();
            api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await?;
            wait_for(DEADLINE, &format!("{name} to be served"), async || {
                let conditions = api.get(name).await.ok()?.status?.conditions?;
                conditions.iter().find(|c| c.type_ == "Established" && c.status == "True").map(drop)
            })
            .await?;
        }
        Ok(())
    }

    /// Takes its definitions away, and with them all objects.
    pub async fn remove(&self, client: &Client) -> Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        for (_, plural, _) in self.types {
            api.delete(&format!("{plural}.{}", self.name), &DeleteParams::default()).await?;
        }
        for (_, plural, _) in self.types {
            let name = format!("{plural}.{}", self.name);
            wait_for(DEADLINE, &format!("{name} to be gone"), async || {
                api.get_opt(&name).await.is_ok_and(|left| left.is_none())
            })
            .await?;
        }
        Ok(())
    }

    /// An object of each type that names a Secret in one of its fields; with the field.
    pub fn objects(&self, secret: &str) -> Vec<(Value, String)> {
        let grants = ["ReferenceGrant", "TLSCertificateDelegation"];
        let users = self.types.iter().filter(|(kind, ..)| !grants.contains(kind));
        let objects = users.flat_map(|(kind, _, fields)| {
            fields.iter().enumerate().map(move |(n, field)| {
                let (path, is_object) = split(field);
                let value = if is_object {
                    json!({"group": "", "kind": "Secret", "name": secret})
                } else {
                    json!(secret)
                };
                let mut object = nest(path, value, &|step, value| match step.strip_suffix("[]") {
                    Some(step) => json!({step: [value]}),
                    None => json!({step: value}),
                });
                object["apiVersion"] = json!(format!("{}/{}", self.name, self.versions[0]));
                object["kind"] = json!(kind);
                object["metadata"] = json!({"name": format!("{}-{n}", kind.to_lowercase())});
                (object, path.to_owned())
            })
        });
        objects.collect()
    }

    fn definitions(&self) -> Vec<Value> {
        let definition = |(kind, plural, fields): &Type| {
            let schema = fields.iter().fold(json!({"type": "object"}), |schema, field| {
                let (path, is_object) = split(field);
                let text = json!({"type": "string"});
                let parts = json!({"group": text, "kind": text, "namespace": text, "name": text});
                let leaf = if is_object { json!({"type": "object", "properties": parts}) } else { text };
                let field = nest(path, leaf, &|step, value| {
                    let (name, value) = match step.strip_suffix("[]") {
                        Some(name) => (name, json!({"type": "array", "items": value})),
                        None => (step, value),
                    };
                    json!({"type": "object", "properties": {name: value}})
                });
                merged(schema, field)
            });
            let versions: Vec<Value> = self
                .versions
                .iter()
                .map(|version| {
                    let is_first = *version == self.versions[0];
                    json!({"name": version, "served": true, "storage": is_first, "schema": {"openAPIV3Schema": schema}})
                })
                .collect();
            let approved = "https://github.com/kubernetes-sigs/gateway-api/pull/2466";
            json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{}", self.name), "annotations": {"api-approved.kubernetes.io": approved}},
                "spec": {
                    "group": self.name, "scope": "Namespaced", "versions": versions,
                    "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
                },
            })
        };
        self.types.iter().map(definition).collect()
    }
}

/// The path of a field, and whether an object is there and not a name.
fn split(field: &str) -> (&str, bool) {
    (&field[..field.len() - 1], field.ends_with('@'))
}

fn nest(path: &str, leaf: Value, wrap: &dyn Fn(&str, Value) -> Value) -> Value {
    path.rsplit('.').fold(leaf, |value, step| wrap(step, value))
}

fn merged(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            for (key, value) in other {
                let before = one.remove(&key).unwrap_or_else(|| Value::Object(Map::new()));
                one.insert(key, merged(before, value));
            }
            Value::Object(one)
        }
        (_, other) => other,
    }
}
