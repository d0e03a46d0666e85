//! What kinds of objects use Secrets, and which of them hold one.

/// Kinds that are switched on together, by the names that flags and the chart have for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Pods. They are always looked at, and always hold.
    Pods,
    /// Templates of Pods, of which there may be no Pod at the moment.
    Workloads,
    /// ServiceAccounts.
    ServiceAccounts,
    /// Ingresses, with the annotations of controllers.
    Ingresses,
    /// The Gateway API.
    Gateways,
    /// Traefik's own types.
    Traefik,
    /// Contour's own types.
    Contour,
    /// Envoy Gateway's own types.
    EnvoyGateway,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pods,
        Self::Workloads,
        Self::ServiceAccounts,
        Self::Ingresses,
        Self::Gateways,
        Self::Traefik,
        Self::Contour,
        Self::EnvoyGateway,
    ];

    /// Its name in flags and in the chart.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Workloads => "workloads",
            Self::ServiceAccounts => "serviceaccounts",
            Self::Ingresses => "ingresses",
            Self::Gateways => "gateways",
            Self::Traefik => "traefik",
            Self::Contour => "contour",
            Self::EnvoyGateway => "envoygateway",
        }
    }

    /// The one of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }
}

/// A kind of object that may use Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum ReferenceKind {
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    Job,
    CronJob,
    ServiceAccount,
    Ingress,
    Gateway,
    ListenerSet,
    BackendTlsPolicy,
    IngressRoute,
    IngressRouteTcp,
    TlsStore,
    TlsOption,
    Middleware,
    ServersTransport,
    ServersTransportTcp,
    HttpProxy,
    ExtensionService,
    SecurityPolicy,
    ClientTrafficPolicy,
    EnvoyProxy,
    Backend,
    HttpRouteFilter,
    EnvoyExtensionPolicy,
}

/// An object by which a namespace lets others use its Secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum GrantKind {
    /// Of the Gateway API, which Envoy Gateway's types heed too.
    ReferenceGrant,
    /// Contour's.
    TlsCertificateDelegation,
}

/// Where a type is in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ApiType {
    pub kind: &'static str,
    pub group: &'static str,
    pub plural: &'static str,
    /// Those that can be read, the best first.
    pub versions: &'static [&'static str],
}

const GATEWAY_API: &str = "gateway.networking.k8s.io";
const TRAEFIK: &str = "traefik.io";
const CONTOUR: &str = "projectcontour.io";
const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io";

impl ApiType {
    const fn new(kind: &'static str, plural: &'static str, group: &'static str) -> Self {
        let versions: &[&str] = match group.as_bytes() {
            b"gateway.networking.k8s.io" => &["v1", "v1beta1", "v1alpha3"],
            b"projectcontour.io" => &["v1", "v1alpha1"],
            b"traefik.io" | b"gateway.envoyproxy.io" => &["v1alpha1"],
            _ => &["v1"],
        };
        Self { kind, group, plural, versions }
    }

    /// Whether every API server has it.
    pub fn is_built_in(&self) -> bool {
        matches!(self.group, "" | "apps" | "batch" | "networking.k8s.io")
    }
}

impl ReferenceKind {
    pub const ALL: [Self; 27] = [
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::Job,
        Self::CronJob,
        Self::ServiceAccount,
        Self::Ingress,
        Self::Gateway,
        Self::ListenerSet,
        Self::BackendTlsPolicy,
        Self::IngressRoute,
        Self::IngressRouteTcp,
        Self::TlsStore,
        Self::TlsOption,
        Self::Middleware,
        Self::ServersTransport,
        Self::ServersTransportTcp,
        Self::HttpProxy,
        Self::ExtensionService,
        Self::SecurityPolicy,
        Self::ClientTrafficPolicy,
        Self::EnvoyProxy,
        Self::Backend,
        Self::HttpRouteFilter,
        Self::EnvoyExtensionPolicy,
    ];

    pub const fn api(self) -> ApiType {
        match self {
            Self::Pod => ApiType::new("Pod", "pods", ""),
            Self::Deployment => ApiType::new("Deployment", "deployments", "apps"),
            Self::StatefulSet => ApiType::new("StatefulSet", "statefulsets", "apps"),
            Self::DaemonSet => ApiType::new("DaemonSet", "daemonsets", "apps"),
            Self::ReplicaSet => ApiType::new("ReplicaSet", "replicasets", "apps"),
            Self::Job => ApiType::new("Job", "jobs", "batch"),
            Self::CronJob => ApiType::new("CronJob", "cronjobs", "batch"),
            Self::ServiceAccount => ApiType::new("ServiceAccount", "serviceaccounts", ""),
            Self::Ingress => ApiType::new("Ingress", "ingresses", "networking.k8s.io"),
            Self::Gateway => ApiType::new("Gateway", "gateways", GATEWAY_API),
            Self::ListenerSet => ApiType::new("ListenerSet", "listenersets", GATEWAY_API),
            Self::BackendTlsPolicy => ApiType::new("BackendTLSPolicy", "backendtlspolicies", GATEWAY_API),
            Self::IngressRoute => ApiType::new("IngressRoute", "ingressroutes", TRAEFIK),
            Self::IngressRouteTcp => ApiType::new("IngressRouteTCP", "ingressroutetcps", TRAEFIK),
            Self::TlsStore => ApiType::new("TLSStore", "tlsstores", TRAEFIK),
            Self::TlsOption => ApiType::new("TLSOption", "tlsoptions", TRAEFIK),
            Self::Middleware => ApiType::new("Middleware", "middlewares", TRAEFIK),
            Self::ServersTransport => ApiType::new("ServersTransport", "serverstransports", TRAEFIK),
            Self::ServersTransportTcp => ApiType::new("ServersTransportTCP", "serverstransporttcps", TRAEFIK),
            Self::HttpProxy => ApiType::new("HTTPProxy", "httpproxies", CONTOUR),
            Self::ExtensionService => ApiType::new("ExtensionService", "extensionservices", CONTOUR),
            Self::SecurityPolicy => ApiType::new("SecurityPolicy", "securitypolicies", ENVOY_GATEWAY),
            Self::ClientTrafficPolicy => {
                ApiType::new("ClientTrafficPolicy", "clienttrafficpolicies", ENVOY_GATEWAY)
            }
            Self::EnvoyProxy => ApiType::new("EnvoyProxy", "envoyproxies", ENVOY_GATEWAY),
            Self::Backend => ApiType::new("Backend", "backends", ENVOY_GATEWAY),
            Self::HttpRouteFilter => ApiType::new("HTTPRouteFilter", "httproutefilters", ENVOY_GATEWAY),
            Self::EnvoyExtensionPolicy => {
                ApiType::new("EnvoyExtensionPolicy", "envoyextensionpolicies", ENVOY_GATEWAY)
            }
        }
    }

    /// Its name, as in manifests.
    pub fn name(self) -> &'static str {
        self.api().kind
    }

    pub fn family(self) -> Family {
        match self {
            Self::Pod => Family::Pods,
            Self::ServiceAccount => Family::ServiceAccounts,
            Self::Ingress => Family::Ingresses,
            _ if self.template().is_some() => Family::Workloads,
            _ => match self.api().group {
                GATEWAY_API => Family::Gateways,
                TRAEFIK => Family::Traefik,
                CONTOUR => Family::Contour,
                _ => Family::EnvoyGateway,
            },
        }
    }

    /// Where the spec of its Pods is, of a kind that makes some.
    pub fn template(self) -> Option<&'static str> {
        match self {
            Self::Deployment | Self::StatefulSet | Self::DaemonSet | Self::ReplicaSet | Self::Job => {
                Some("spec.template.")
            }
            Self::CronJob => Some("spec.jobTemplate.spec.template."),
            _ => None,
        }
    }

    /// A field of an object of this kind, from its root on.
    pub fn whole_field(self, field: &str) -> String {
        format!("{}{field}", self.template().unwrap_or_default())
    }

    /// The kind that stands for an object of this one that it controls: a Deployment for its ReplicaSets, those of earlier
    /// revisions among them.
    pub fn maker(self) -> Option<Self> {
        match self {
            Self::ReplicaSet => Some(Self::Deployment),
            Self::Job => Some(Self::CronJob),
            _ => None,
        }
    }

    /// By what a namespace lets objects of this kind in other namespaces use its Secrets. Without such a thing, nobody
    /// can: whoever writes an object elsewhere would hold what is not theirs.
    pub fn grant(self) -> Option<GrantKind> {
        match self {
            Self::Gateway | Self::ListenerSet => Some(GrantKind::ReferenceGrant),
            _ => match self.family() {
                Family::EnvoyGateway => Some(GrantKind::ReferenceGrant),
                Family::Contour => Some(GrantKind::TlsCertificateDelegation),
                _ => None,
            },
        }
    }
}

impl GrantKind {
    pub const ALL: [Self; 2] = [Self::ReferenceGrant, Self::TlsCertificateDelegation];

    pub const fn api(self) -> ApiType {
        match self {
            Self::ReferenceGrant => ApiType::new("ReferenceGrant", "referencegrants", GATEWAY_API),
            Self::TlsCertificateDelegation => {
                ApiType::new("TLSCertificateDelegation", "tlscertificatedelegations", CONTOUR)
            }
        }
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);

    /// Those of families, and Pods.
    #[must_use]
    pub fn of(families: &[Family]) -> Self {
        let is_in = |kind: &ReferenceKind| *kind == ReferenceKind::Pod || families.contains(&kind.family());
        ReferenceKind::ALL.into_iter().filter(is_in).collect()
    }

    pub(crate) fn contains(self, kind: ReferenceKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    pub(crate) fn with(self, kind: ReferenceKind) -> Self {
        Self(self.0 | (1 << kind as u8))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = ReferenceKind> {
        ReferenceKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }

    /// The types that are looked at, those by which namespaces let others use their Secrets among them.
    pub(crate) fn types(self) -> impl Iterator<Item = ApiType> {
        self.iter().map(ReferenceKind::api).chain(self.grants().map(GrantKind::api))
    }

    /// What lets them use Secrets of other namespaces.
    pub(crate) fn grants(self) -> impl Iterator<Item = GrantKind> {
        GrantKind::ALL.into_iter().filter(move |grant| self.iter().any(|kind| kind.grant() == Some(*grant)))
    }
}

impl FromIterator<ReferenceKind> for Kinds {
    fn from_iter<I: IntoIterator<Item = ReferenceKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Which kinds are looked at, and which of them hold a Secret that they use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReferencePolicy {
    /// Those that are looked at.
    pub kinds: Kinds,
    /// Those of them that hold.
    pub blocking: Kinds,
}

impl ReferencePolicy {
    /// What holds is looked at, whether it is named there or not.
    #[must_use]
    pub fn new(kinds: Kinds, blocking: Kinds) -> Self {
        Self { kinds: Kinds(kinds.0 | blocking.0), blocking }
    }
}

impl Default for ReferencePolicy {
    fn default() -> Self {
        let blocking = Kinds::of(&[Family::Pods, Family::Ingresses, Family::Gateways]);
        Self::new(Kinds::of(&Family::ALL), blocking)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_in_one_family_and_every_family_has_kinds() {
        assert!(ReferenceKind::ALL.windows(2).all(|pair| pair[0] < pair[1]), "sorted, and none twice");
        for family in Family::ALL {
            assert_eq!(Family::of(family.name()), Some(family));
            let kinds = Kinds::of(&[family]);
            assert!(kinds.iter().any(|kind| kind.family() == family), "{}", family.name());
            assert!(kinds.contains(ReferenceKind::Pod), "Pods always count");
        }
        assert_eq!(Kinds::of(&Family::ALL).iter().count(), ReferenceKind::ALL.len());
        let names: std::collections::BTreeSet<_> =
            ReferenceKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ReferenceKind::ALL.len());
    }

    #[test]
    fn what_holds_is_looked_at_and_pods_hold_whatever_is_said() {
        let policy = ReferencePolicy::new(Kinds::of(&[]), Kinds::of(&[Family::Ingresses]));
        assert_eq!(policy.kinds, policy.blocking);
        assert!(
            policy.blocking.contains(ReferenceKind::Pod) && policy.blocking.contains(ReferenceKind::Ingress)
        );
        let usual = ReferencePolicy::default();
        assert!(
            usual.kinds.contains(ReferenceKind::CronJob) && !usual.blocking.contains(ReferenceKind::CronJob)
        );
        assert_eq!(usual.blocking.grants().collect::<Vec<_>>(), [GrantKind::ReferenceGrant]);
        assert_eq!(Kinds::of(&[Family::Traefik]).grants().count(), 0);
    }
}
