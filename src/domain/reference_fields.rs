//! Which fields of which kinds name Secrets, and reading them: whatever else an object holds is passed over as it comes.
//!
//! The fields are those of the types as their projects define them: networking.k8s.io/v1, Gateway API 1.5, Traefik 3, Contour
//! 1.33 and Envoy Gateway 1.6.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{attachment::is_marked, reference_kind::ReferenceKind, schedule::MAX_PARTS};
use crate::api::ANNOTATION_ATTACHED;

impl ReferenceKind {
    /// The fields of an object that name Secrets: a name, `namespace/name`, or an object that has them.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::ServiceAccount => &["imagePullSecrets[].name", "secrets[].name"],
            Self::Ingress => &["spec.tls[].secretName"],
            Self::Gateway => &[
                "spec.listeners[].tls.certificateRefs[]",
                "spec.tls.backend.clientCertificateRef",
                // Up to Gateway API 1.3.
                "spec.backendTLS.clientCertificateRef",
                "spec.tls.frontend.default.validation.caCertificateRefs[]",
                "spec.tls.frontend.perPort[].tls.validation.caCertificateRefs[]",
            ],
            Self::ListenerSet => &["spec.listeners[].tls.certificateRefs[]"],
            Self::BackendTlsPolicy => &["spec.validation.caCertificateRefs[]"],
            Self::IngressRoute | Self::IngressRouteTcp => &["spec.tls.secretName"],
            Self::TlsStore => &["spec.defaultCertificate.secretName", "spec.certificates[].secretName"],
            Self::TlsOption => &["spec.clientAuth.secretNames[]"],
            Self::Middleware => &[
                "spec.basicAuth.secret",
                "spec.digestAuth.secret",
                "spec.forwardAuth.tls.caSecret",
                "spec.forwardAuth.tls.certSecret",
                "spec.rateLimit.redis.secret",
                "spec.rateLimit.redis.tls.caSecret",
                "spec.rateLimit.redis.tls.certSecret",
            ],
            Self::ServersTransport => {
                &["spec.rootCAsSecrets[]", "spec.rootCAs[].secret", "spec.certificatesSecrets[]"]
            }
            Self::ServersTransportTcp => {
                &["spec.tls.rootCAsSecrets[]", "spec.tls.rootCAs[].secret", "spec.tls.certificatesSecrets[]"]
            }
            Self::HttpProxy => &[
                "spec.virtualhost.tls.secretName",
                "spec.virtualhost.tls.clientValidation.caSecret",
                "spec.virtualhost.tls.clientValidation.crlSecret",
                "spec.virtualhost.jwtProviders[].remoteJWKS.validation.caSecret",
                "spec.routes[].services[].validation.caSecret",
                "spec.tcpproxy.services[].validation.caSecret",
            ],
            Self::ExtensionService => &["spec.validation.caSecret"],
            Self::SecurityPolicy => &[
                "spec.basicAuth.users",
                "spec.apiKeyAuth.credentialRefs[]",
                "spec.oidc.clientSecret",
                "spec.oidc.clientIDRef",
            ],
            Self::ClientTrafficPolicy => {
                &["spec.tls.clientValidation.caCertificateRefs[]", "spec.tls.clientValidation.crl.refs[]"]
            }
            Self::EnvoyProxy => &["spec.backendTLS.clientCertificateRef"],
            Self::Backend => &["spec.tls.clientCertificateRef", "spec.tls.caCertificateRefs[]"],
            Self::HttpRouteFilter => &["spec.credentialInjection.credential.valueRef"],
            Self::EnvoyExtensionPolicy => &[
                "spec.wasm[].code.image.pullSecretRef",
                "spec.wasm[].code.image.tls.caCertificateRef",
                "spec.wasm[].code.http.tls.caCertificateRef",
            ],
            // These name Secrets in the specs of Pods.
            Self::Pod
            | Self::Deployment
            | Self::StatefulSet
            | Self::DaemonSet
            | Self::ReplicaSet
            | Self::Job
            | Self::CronJob => &[],
        }
    }

    /// The annotations of an object that name Secrets, as `[namespace/]name`: those of ingress-nginx, NGINX Inc., HAProxy
    /// Technologies, haproxy-ingress, and the older prefix that the latter and Traefik 1 share.
    fn annotations(self) -> &'static [&'static str] {
        match self {
            Self::Ingress => &[
                "metadata.annotations['nginx.ingress.kubernetes.io/auth-secret']",
                "metadata.annotations['nginx.ingress.kubernetes.io/auth-tls-secret']",
                "metadata.annotations['nginx.ingress.kubernetes.io/proxy-ssl-secret']",
                "metadata.annotations['nginx.org/basic-auth-secret']",
                "metadata.annotations['nginx.com/jwt-key']",
                "metadata.annotations['haproxy.org/auth-secret']",
                "metadata.annotations['haproxy.org/server-ca']",
                "metadata.annotations['haproxy.org/server-crt']",
                "metadata.annotations['haproxy-ingress.github.io/auth-secret']",
                "metadata.annotations['haproxy-ingress.github.io/auth-tls-secret']",
                "metadata.annotations['haproxy-ingress.github.io/secure-crt-secret']",
                "metadata.annotations['haproxy-ingress.github.io/secure-verify-ca-secret']",
                "metadata.annotations['ingress.kubernetes.io/auth-secret']",
                "metadata.annotations['ingress.kubernetes.io/auth-tls-secret']",
                "metadata.annotations['traefik.ingress.kubernetes.io/auth-secret']",
            ],
            _ => &[],
        }
    }

    /// Every Secret that an object of this kind names in its annotations, with its namespace, if it names one too, and the field.
    pub fn visit_annotations<'a>(
        self,
        annotations: &'a BTreeMap<String, String>,
        mut visit: impl FnMut(Option<&'a str>, &'a str, &'static str),
    ) {
        for field in self.annotations() {
            let key = field.split('\'').nth(1).unwrap_or_default();
            if let Some(value) = annotations.get(key) {
                let value = value.trim();
                // haproxy-ingress takes this for what it is without it.
                let (namespace, name) = split(value.strip_prefix("secret://").unwrap_or(value));
                visit(namespace, name, field);
            }
        }
    }
}

/// Whether an entry in the list of a ServiceAccount is one that we attached: it is no use by anybody, and goes before the Secret.
pub(crate) fn is_own_attachment(account: &ObjectMeta, secret: &str) -> bool {
    let annotation = account.annotations.as_ref().and_then(|all| all.get(ANNOTATION_ATTACHED));
    annotation.is_some_and(|annotation| is_marked(annotation, secret))
}

fn split(text: &str) -> (Option<&str>, &str) {
    text.split_once('/').map_or((None, text), |(namespace, name)| (Some(namespace), name))
}

/// The Secrets that an object names, by the fields of any kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct NamedSecrets(Vec<Named>);

#[derive(Clone, Debug)]
struct Named {
    field: &'static str,
    namespace: Option<Box<str>>,
    name: Box<str>,
}

impl NamedSecrets {
    /// Every Secret that an object of a kind names, with its namespace, if it names one too, and the field.
    pub fn visit<'a>(
        &'a self,
        kind: ReferenceKind,
        mut visit: impl FnMut(Option<&'a str>, &'a str, &'static str),
    ) {
        let fields = kind.fields();
        for named in self.0.iter().filter(|named| fields.contains(&named.field)) {
            visit(named.namespace.as_deref(), &named.name, named.field);
        }
    }

    /// Reads the value of a field of an object, as far as it may name Secrets.
    pub fn reader(
        &mut self,
        field: &str,
    ) -> Option<impl for<'de> DeserializeSeed<'de, Value = ()> + use<'_>> {
        Some(Reader { at: FIELDS.fields.get(field)?, found: self })
    }

    fn add(&mut self, field: &'static str, namespace: Option<&str>, name: &str) {
        if self.0.len() < MAX_PARTS && name.len() <= MAX_NAME && namespace.is_none_or(|n| n.len() <= MAX_NAME)
        {
            self.0.push(Named { field, namespace: namespace.map(Into::into), name: name.into() });
        }
    }
}

/// The longest name that an object can have.
const MAX_NAME: usize = 253;

/// All fields of all kinds, as a tree.
static FIELDS: LazyLock<Node> = LazyLock::new(|| {
    let mut root = Node::default();
    for field in ReferenceKind::ALL.iter().flat_map(|kind| kind.fields()) {
        let mut at = &mut root;
        for step in field.split('.') {
            at = at.fields.entry(step.trim_end_matches("[]")).or_default();
            if step.ends_with("[]") {
                at = at.items.get_or_insert_default();
            }
        }
        at.names = Some(field);
    }
    root
});

#[derive(Default)]
struct Node {
    fields: BTreeMap<&'static str, Node>,
    items: Option<Box<Node>>,
    /// The field that this is, where it names a Secret.
    names: Option<&'static str>,
}

struct Reader<'a> {
    at: &'a Node,
    found: &'a mut NamedSecrets,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A reference as the Gateway API has it. One without group and kind is to a Secret.
#[derive(Default)]
struct Object {
    group: Option<String>,
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if let Some(field) = self.at.names {
            let (namespace, name) = split(text);
            self.found.add(field, namespace, name);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut object = Object::default();
        while let Some(key) = map.next_key::<String>()? {
            match (self.at.names, &*key) {
                (Some(_), "group") => object.group = map.next_value()?,
                (Some(_), "kind") => object.kind = map.next_value()?,
                (Some(_), "namespace") => object.namespace = map.next_value()?,
                (Some(_), "name") => object.name = map.next_value()?,
                (_, key) => match self.at.fields.get(key) {
                    Some(at) => map.next_value_seed(Reader { at, found: &mut *self.found })?,
                    None => drop(map.next_value::<IgnoredAny>()?),
                },
            }
        }
        let is = |text: &Option<String>, usual: &str| text.as_deref().is_none_or(|text| text == usual);
        let is_secret = is(&object.group, "") && is(&object.kind, "Secret");
        if let (Some(field), Some(name)) = (self.at.names.filter(|_| is_secret), object.name) {
            self.found.add(field, object.namespace.as_deref(), &name);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some(at) = &self.at.items else {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        while list.next_element_seed(Reader { at, found: &mut *self.found })?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "reference_fields_tests.rs"]
mod tests;
