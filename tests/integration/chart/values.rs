//! What `values.schema.json` refuses: a typo must not be a setting that is silently not there.

use serde_json::Value;

use super::helm::{chart, template, template_with_tests};
use crate::support::{Error, Result};

#[tokio::test]
async fn nonsense_is_refused() -> Result<()> {
    let cases = [
        ("replicas=2", "additional properties 'replicas' not allowed"),
        ("replicaCount=-1", "minimum: got -1, want 0"),
        ("replicaCount=two", "got string, want integer"),
        ("crds.keeep=true", "additional properties 'keeep' not allowed"),
        ("crds.keep=maybe", "got string, want boolean"),
        ("image.digest=sha256:123", "/image/digest"),
        ("image.tag=a:b", "/image/tag"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("logFormat=xml", "/logFormat"),
        ("operator.port=70000", "maximum: got 70,000, want 65,535"),
        ("operator.watchTimeout=60", "/operator/watchTimeout"),
        ("operator.resyncInterval=1 hour", "/operator/resyncInterval"),
        ("operator.concurrency=0", "minimum: got 0, want 1"),
        ("operator.leaderElect=false", "additional properties 'leaderElect' not allowed"),
        ("serviceAccount.name=Mine", "/serviceAccount/name"),
        ("fullnameOverride=a_b", "/fullnameOverride"),
        ("deletionGuard.validationActions={Block}", "/deletionGuard/validationActions"),
        ("deletionGuard.validationActions={Deny,Warn}", "/deletionGuard/validationActions"),
        ("fence.validationActions={}", "/fence/validationActions"),
        ("distributionPolicy.toNamespaces.name=web", "additional properties 'name' not allowed"),
        ("distributionPolicy.fromNamespaces={*}", "/distributionPolicy/fromNamespaces"),
        ("distributionPolicy.kinds={Secret}", "/distributionPolicy/kinds"),
        ("distributionPolicy.toClusters.names={https://east}", "/distributionPolicy/toClusters/names"),
        ("hubId=a b", "/hubId"),
        ("clusterLabels.env=a b", "/clusterLabels/env"),
        ("clusterLabels._x=a", "at '/clusterLabels': additional properties '_x' not allowed"),
        ("unreachableGracePeriod=never", "/unreachableGracePeriod"),
        ("memberProbeInterval=10", "/memberProbeInterval"),
        ("allowInsecureMembers=yes", "/allowInsecureMembers"),
        ("adopt.argoCD.enabled=true", "additional properties 'argoCD' not allowed"),
        ("adopt.argocd.namespace=*", "/adopt/argocd/namespace"),
        ("adopt.clusterApi.namespace=Teams", "/adopt/clusterApi/namespace"),
        ("defaults.admissionPolicy.namespaces={*}", "/defaults/admissionPolicy/namespaces"),
        ("defaults.admissionPolicy.namespace=a", "additional properties 'namespace' not allowed"),
        ("defaults.restartStuckPods=sometimes", "/defaults/restartStuckPods"),
        ("references.kinds={ingress}", "/references/kinds"),
        ("references.blockOn=pods", "got string, want array"),
        ("references.block={pods}", "additional properties 'block' not allowed"),
        ("verification.mode=Enforce", "additional properties 'mode' not allowed"),
        ("verification.allowedRegistries=quay.io", "got string, want array"),
        ("verification.allowedRegistries={https://quay.io}", "/verification/allowedRegistries"),
        ("verification.allowedRegistries={*}", "/verification/allowedRegistries"),
        ("verification.plainHttpRegistries={quay.io/acme}", "/verification/plainHttpRegistries"),
        ("verification.privateRegistries={10.0.0.0/8}", "/verification/privateRegistries"),
        ("verification.ca.configMap=My_CA", "/verification/ca/configMap"),
        ("imagePullSecrets={pull}", "got string, want object"),
        ("networkPolicy.egress.ports={0}", "/networkPolicy/egress/ports"),
        ("prometheusRule.notReadyFor=soon", "/prometheusRule/notReadyFor"),
        ("metrics.authentication.enabled=yes", "/metrics/authentication/enabled"),
        ("metrics.authorization=true", "additional properties 'authorization' not allowed"),
        ("serviceMonitor.enabled=yes", "/serviceMonitor/enabled"),
        ("serviceMonitor.authorization.token=x", "additional properties 'token' not allowed"),
        ("strategy.type=Canary", "/strategy/type"),
        ("namespaceOverride=Keys", "/namespaceOverride"),
        ("commonAnnotations.contact=7", "/commonAnnotations/contact"),
        ("crds.annotations=none", "/crds/annotations"),
        ("extraObjects.kind=ConfigMap", "got object, want array"),
        ("global.imageRegistry=https://mirror.internal", "/global/imageRegistry"),
        ("global.imageRegistry=mirror.internal/", "/global/imageRegistry"),
        ("revisionHistoryLimit=-1", "/revisionHistoryLimit"),
        ("dnsPolicy=Cluster", "/dnsPolicy"),
        ("dnsConfig.servers={10.0.0.10}", "additional properties 'servers' not allowed"),
        ("hostAliases[0].hostnames={a.internal}", "missing property 'ip'"),
        ("podSpecExtra.containers={x}", "/podSpecExtra/containers"),
        ("service.ipFamilies={IPv5}", "/service/ipFamilies"),
        ("podMonitor.enabled=yes", "/podMonitor/enabled"),
        ("podMonitor.authorization.token=x", "additional properties 'token' not allowed"),
        ("prometheusRule.runbookUrl=docs/alerts.md", "/prometheusRule/runbookUrl"),
        ("selfTest.timeout=60", "/selfTest/timeout"),
        ("selfTest.podLabels=none", "/selfTest/podLabels"),
        ("podMonitor.authorization.type=Bearer", "missing property 'credentials'"),
        ("serviceMonitor.authorization.credentials.name=x", "missing property 'key'"),
        ("podDisruptionBudget.maxUnavailable=many", "/podDisruptionBudget/maxUnavailable"),
        ("podDisruptionBudget.minAvailable=-1", "/podDisruptionBudget/minAvailable"),
        ("grafanaDashboard.sidecarLabel=a b", "/grafanaDashboard/sidecarLabel"),
        ("grafanaDashboard.sidecarLabelValue=1", "got number, want string"),
    ];
    let mut wrong = Vec::new();
    for (set, expected) in cases {
        match template(&["--set", set]).await {
            Ok(_) => wrong.push(format!("{set}: accepted")),
            Err(error) if error.to_string().contains(expected) => {}
            Err(error) => wrong.push(format!("{set}: {error}")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::new(wrong.join("\n"))) }
}

/// Where the default of a value is empty.
fn empty(path: &str, value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                empty(&if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, value, into);
            }
        }
        Value::Object(_) => into.push(path.to_owned()),
        Value::Array(items) if items.is_empty() => into.push(path.to_owned()),
        _ => {}
    }
}

/// `commonLabels:` with nothing after it is null.
#[tokio::test]
async fn a_key_with_nothing_after_it_is_empty() -> Result<()> {
    let defaults: Value = serde_saphyr::from_str(&std::fs::read_to_string(chart().join("values.yaml"))?)?;
    let mut keys = Vec::new();
    empty("", &defaults, &mut keys);
    assert!(keys.len() > 30, "{keys:?}");
    let sets: Vec<String> = keys.iter().map(|key| format!("{key}=null")).collect();
    let on = "grafanaDashboard.enabled=true,serviceMonitor.enabled=true,prometheusRule.enabled=true,\
              networkPolicy.enabled=true,distributionPolicy.create=true,defaults.admissionPolicy.enabled=true";
    let with = template_with_tests(&["--set", on]).await?;
    let without = template_with_tests(&["--set", on, "--set", &sets.join(",")]).await?;
    assert_eq!(without, with);
    // Lists that are not empty by default.
    template(&["--set", "references.kinds=null,references.blockOn=null"]).await.map(drop)
}

#[tokio::test]
async fn what_does_not_go_together_is_refused() -> Result<()> {
    for (sets, expected) in [
        (
            &["serviceMonitor.enabled=true", "service.enabled=false"][..],
            "serviceMonitor.enabled needs service.enabled",
        ),
        (
            &["serviceAccount.create=false"],
            "serviceAccount.name must be set when serviceAccount.create is false",
        ),
        (
            &["podDisruptionBudget.enabled=true", "podDisruptionBudget.maxUnavailable=null"],
            "podDisruptionBudget",
        ),
        (
            &["podMonitor.enabled=true", "serviceMonitor.enabled=true"],
            "podMonitor.enabled and serviceMonitor.enabled together would scrape everything twice",
        ),
        (
            &["podMonitor.enabled=true", "metrics.authentication.enabled=true"],
            "podMonitor.enabled with metrics.authentication.enabled needs podMonitor.authorization",
        ),
        (&["dnsPolicy=None"], "dnsPolicy: None needs dnsConfig.nameservers"),
        (
            &[
                "operator.watchTimeout=2m",
                "prometheusRule.enabled=true",
                "prometheusRule.watchStaleSeconds=150",
            ],
            "prometheusRule.watchStaleSeconds must be more than twice operator.watchTimeout",
        ),
    ] {
        let args: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let error = template(&args).await.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{sets:?}: {error}");
    }
    Ok(())
}
