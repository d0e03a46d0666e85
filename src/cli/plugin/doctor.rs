//! `kubectl claviger doctor`: whether the operator is up, leads and sees, and whether all is of one version.

use std::collections::BTreeSet;

use clap::Args;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        admissionregistration::v1::ValidatingAdmissionPolicy, apps::v1::Deployment, coordination::v1::Lease,
        core::v1::Pod,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;
use serde_json::Value;

use super::{
    connect::Cluster,
    error::{PluginError, Right},
    news::News,
    output::{OutputArgs, table},
};
use crate::{
    api::{MemberCluster, crds},
    domain::{
        checkup::{Finding, Health, definition, leader, version, watches},
        condition::{self, ConditionStatus, ConditionType},
        schedule::{DOCTOR_NAMESPACES, DOCTOR_PODS, MAX_POD_ANSWER},
    },
};

/// The label of everything that the chart makes.
const PART: &str = "app.kubernetes.io/part-of=claviger";
/// And of Pods that have watches: the one of `helm test` has none.
const RUNNING: &str = "app.kubernetes.io/part-of=claviger,app.kubernetes.io/component!=self-test";
const VERSION: &str = "app.kubernetes.io/version";
const OURS: &str = env!("CARGO_PKG_VERSION");
/// Where the chart is installed by its documentation.
const HOME: &str = "claviger-system";
/// The name of the Lease.
const LEASE: &str = "claviger";

/// Where the operator is.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Namespace of the operator [default: that of a Deployment of the chart, else claviger-system]
    #[arg(long, value_name = "NAME")]
    operator_namespace: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    version: &'static str,
    checks: Vec<Finding>,
}

pub(super) async fn run(
    args: &DoctorArgs,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let mut doctor = Doctor { cluster, checks: Vec::new(), refused: None };
    doctor.definitions().await?;
    let namespaces = doctor.operators(args).await?;
    for namespace in &namespaces {
        doctor.leader(namespace).await?;
    }
    doctor.watches(&namespaces).await?;
    doctor.policies().await?;
    doctor.members().await?;
    let Doctor { checks, refused, .. } = doctor;
    let answer = Answer { version: OURS, checks };
    output.write(&answer, || {
        let row = |finding: &Finding| {
            let Finding { check, subject, result, message } = finding;
            vec![(*check).to_owned(), subject.clone(), result.as_str().to_owned(), message.clone()]
        };
        let rows: Vec<_> = answer.checks.iter().map(row).collect();
        table(&["CHECK", "SUBJECT", "RESULT", "MESSAGE"], &rows)
    })?;
    if answer.checks.iter().any(|finding| finding.result == Health::Problem) {
        return Ok(News::Bad);
    }
    refused.map_or(Ok(News::Good), Err)
}

struct Doctor<'a> {
    cluster: &'a Cluster,
    checks: Vec<Finding>,
    /// The first right that was missing.
    refused: Option<PluginError>,
}

impl Doctor<'_> {
    fn add(&mut self, check: &'static str, subject: &str, result: Health, message: &str) {
        self.checks.push(Finding::new(check, subject, result, message));
    }

    /// What was read; what may not be read is unknown, and what does not exist is `None`.
    fn read<T>(
        &mut self,
        check: &'static str,
        subject: &str,
        read: Result<T, PluginError>,
    ) -> Result<Option<T>, PluginError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error @ (PluginError::Forbidden { .. } | PluginError::Refused(_))) => {
                self.add(check, subject, Health::Unknown, &error.to_string());
                self.refused = self.refused.take().or_else(|| error.is_forbidden().then_some(error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn definitions(&mut self) -> Result<(), PluginError> {
        let api = Api::<CustomResourceDefinition>::all(self.cluster.client.clone());
        for ours in crds() {
            let name = ours.name_any();
            let right = Right::new("get", "customresourcedefinitions.apiextensions.k8s.io", None);
            let found = match self.cluster.ask(right, api.get(&name)).await {
                Err(PluginError::NotFound(_)) => Ok(None),
                found => found.map(Some),
            };
            if let Some(found) = self.read("definition", &name, found)? {
                let found = found.as_ref().and_then(schema);
                let ours = schema(&ours).unwrap_or_default();
                self.checks.push(definition(&name, found.as_ref(), &ours));
            }
        }
        Ok(())
    }

    /// The Deployments; returns the namespaces in which the operator may be.
    async fn operators(&mut self, args: &DoctorArgs) -> Result<Vec<String>, PluginError> {
        let api = self.cluster.api::<Deployment>(args.operator_namespace.as_deref());
        let right = Right::new("list", "deployments.apps", args.operator_namespace.clone());
        let listed = self.cluster.list(&right, &api, ListParams::default().labels(PART)).await;
        let fallback = args.operator_namespace.clone().unwrap_or_else(|| HOME.to_owned());
        let Some(listed) = self.read("operator", &fallback, listed)? else { return Ok(vec![fallback]) };
        if listed.is_empty() {
            let message = format!(
                "no Deployment has label {PART}: the operator is not installed with its chart, or is elsewhere"
            );
            self.add("operator", &fallback, Health::Unknown, &message);
        }
        let (places, all) = places(listed.iter().filter_map(ResourceExt::namespace));
        self.left_out("operator", "all", "namespaces with Deployments", all, DOCTOR_NAMESPACES);
        for place in &places {
            let here: Vec<&Deployment> =
                listed.iter().filter(|one| one.metadata.namespace.as_ref() == Some(place)).collect();
            self.left_out("operator", place, "Deployments", here.len(), DOCTOR_PODS);
            here.into_iter().take(DOCTOR_PODS).for_each(|deployment| self.operator(deployment));
        }
        Ok(if places.is_empty() { vec![fallback] } else { places })
    }

    fn operator(&mut self, deployment: &Deployment) {
        let subject = format!("{}/{}", deployment.namespace().unwrap_or_default(), deployment.name_any());
        let status = deployment.status.as_ref();
        let ready = status.and_then(|status| status.ready_replicas).unwrap_or_default();
        let wanted = deployment.spec.replicas.unwrap_or(1);
        let result = if ready > 0 && ready >= wanted { Health::Ok } else { Health::Problem };
        self.add("operator", &subject, result, &format!("{ready} of {wanted} Pods are ready"));
        let found = deployment.labels().get(VERSION).map(String::as_str);
        self.checks.push(version("operator", &subject, found, OURS));
    }

    async fn leader(&mut self, namespace: &str) -> Result<(), PluginError> {
        let subject = format!("{namespace}/{LEASE}");
        let api = Api::<Lease>::namespaced(self.cluster.client.clone(), namespace);
        let right = Right::new("get", "leases.coordination.k8s.io", namespace.to_owned());
        match self.cluster.ask(right, api.get(LEASE)).await {
            Err(PluginError::NotFound(_)) => {
                self.add(
                    "leader",
                    &subject,
                    Health::Problem,
                    "there is no Lease: no operator was ever the leader here",
                );
            }
            lease => {
                if let Some(lease) = self.read("leader", &subject, lease)? {
                    self.checks.push(leader(&subject, &lease.spec.unwrap_or_default(), Timestamp::now()));
                }
            }
        }
        Ok(())
    }

    /// How old the watches are: by the metrics of the Pods, else by whether they call themselves alive.
    async fn watches(&mut self, namespaces: &[String]) -> Result<(), PluginError> {
        let cluster = self.cluster;
        let mut asked = Vec::new();
        for namespace in namespaces {
            let api = Api::<Pod>::namespaced(cluster.client.clone(), namespace);
            let right = Right::new("list", "pods", namespace.clone());
            let listed = cluster.list(&right, &api, ListParams::default().labels(RUNNING)).await;
            let pods = self.read("watches", namespace, listed)?.unwrap_or_default();
            self.left_out("watches", namespace, "Pods", pods.len(), DOCTOR_PODS);
            asked.extend(pods.into_iter().take(DOCTOR_PODS).map(|pod| ask(cluster, namespace, pod)));
        }
        for (name, alive, metrics) in join_all(asked).await {
            if let Some((result, message)) = alive.as_ref().err().and_then(unheard) {
                self.add("watches", &name, result, &message);
                continue;
            }
            let is_alive = alive.as_ref().ok().map(|_| true);
            if let Some(finding) = metrics.and_then(|metrics| watches(&name, &metrics, is_alive)) {
                self.checks.push(finding);
                continue;
            }
            if self.read("watches", &name, alive)?.is_some() {
                self.add(
                    "watches",
                    &name,
                    Health::Ok,
                    "none is too old, according to /healthz; only the metrics show how old they are",
                );
            }
        }
        Ok(())
    }

    /// Says how many were too many.
    fn left_out(&mut self, check: &'static str, subject: &str, what: &str, all: usize, most: usize) {
        if let Some(more @ 1..) = all.checked_sub(most) {
            let message = format!("{what} with label {PART} that are not checked: {more}");
            self.add(check, subject, Health::Unknown, &message);
        }
    }

    async fn policies(&mut self) -> Result<(), PluginError> {
        let api = Api::<ValidatingAdmissionPolicy>::all(self.cluster.client.clone());
        let right = Right::new("list", "validatingadmissionpolicies.admissionregistration.k8s.io", None);
        let listed = self.cluster.list(&right, &api, ListParams::default().labels(PART)).await;
        for policy in self.read("policy", PART, listed)?.unwrap_or_default() {
            let found = policy.labels().get(VERSION).map(String::as_str);
            self.checks.push(version("policy", &policy.name_any(), found, OURS));
        }
        Ok(())
    }

    async fn members(&mut self) -> Result<(), PluginError> {
        let api = Api::<MemberCluster>::all(self.cluster.client.clone());
        let right = Right::new("list", "memberclusters.claviger.dev", None);
        let listed = match self.cluster.list(&right, &api, ListParams::default()).await {
            // Then the definition is not there, which was told.
            Err(PluginError::NotFound(_)) => return Ok(()),
            listed => listed,
        };
        for member in self.read("member", "all", listed)?.unwrap_or_default() {
            let name = member.name_any();
            let conditions = member.status.map(|status| status.conditions).unwrap_or_default();
            match condition::find(&conditions, ConditionType::Ready) {
                Some(ready) if ConditionStatus::of(ready) == ConditionStatus::True => {
                    self.add("member", &name, Health::Ok, &ready.message)
                }
                Some(ready) => {
                    let since = super::output::age(ready.last_transition_time.0, Timestamp::now());
                    let message = format!("{} for {since}: {}", ready.reason, ready.message);
                    self.add("member", &name, Health::Problem, &message);
                }
                None => self.add("member", &name, Health::Problem, "the operator has not seen it yet"),
            }
        }
        Ok(())
    }
}

/// The namespaces that are looked at, and how many there are: a Deployment that anybody labelled hides none.
fn places(namespaces: impl Iterator<Item = String>) -> (Vec<String>, usize) {
    let all: BTreeSet<String> = namespaces.collect();
    let count = all.len();
    let mut places: Vec<String> = all.into_iter().collect();
    places.sort_by_key(|place| place != HOME);
    places.truncate(DOCTOR_NAMESPACES);
    (places, count)
}

/// Asks a Pod whether it is alive, and for its metrics.
async fn ask(
    cluster: &Cluster,
    namespace: &str,
    pod: Pod,
) -> (String, Result<String, PluginError>, Option<String>) {
    let name = pod.name_any();
    let spec = pod.spec.unwrap_or_default();
    let ports = spec.containers.into_iter().flat_map(|container| container.ports.unwrap_or_default());
    let port = ports.into_iter().find(|port| port.name.as_deref() == Some("http"));
    let port = port.map_or(8080, |port| port.container_port);
    let get = async |path: &str| {
        let url = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/{path}");
        let right = Right::new("get", "pods/proxy", namespace.to_owned());
        cluster.text(right, &url, MAX_POD_ANSWER).await
    };
    let alive = get("healthz").await;
    let metrics = match alive.as_ref().err().and_then(unheard) {
        None => get("metrics").await.ok(),
        Some(_) => None,
    };
    (name, alive, metrics)
}

/// What is told of a Pod that is not asked further. It may be anybody's, so no answer of it ends the other checks.
fn unheard(error: &PluginError) -> Option<(Health, String)> {
    match error {
        PluginError::Timeout(_) => Some((Health::Problem, "does not answer".to_owned())),
        PluginError::Unreachable(why) => Some((Health::Problem, format!("does not answer: {why}"))),
        PluginError::Refused(told) if told.contains("watch of") => Some((Health::Problem, told.clone())),
        // Which rights are missing is told with the others.
        PluginError::Forbidden { .. } | PluginError::Refused(_) => None,
        error => Some((Health::Unknown, error.to_string())),
    }
}

/// The schema of a definition, as a value that can be compared.
fn schema(definition: &CustomResourceDefinition) -> Option<Value> {
    let version = definition.spec.versions.iter().find(|version| version.name == "v1alpha1")?;
    serde_json::to_value(&version.schema).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_deployment_that_anybody_labelled_hides_none() {
        let found = |names: &[&str]| places(names.iter().map(|&name| name.to_owned()));
        assert_eq!(found(&["x", "a", "x"]), (vec!["a".to_owned(), "x".to_owned()], 2));
        let many = (0..100).map(|n| format!("a{n:03}")).chain([HOME.to_owned()]);
        let (looked_at, all) = places(many);
        assert_eq!((looked_at.len(), looked_at[0].as_str(), all), (DOCTOR_NAMESPACES, HOME, 101));
    }

    #[test]
    fn a_pod_that_hangs_or_went_away_is_told_and_ends_nothing() {
        let told = |error| unheard(&error).map(|(result, _)| result);
        assert_eq!(told(PluginError::Timeout(Duration::from_secs(1))), Some(Health::Problem));
        assert_eq!(told(PluginError::Unreachable("x".to_owned())), Some(Health::Problem));
        assert_eq!(told(PluginError::NotFound("x".to_owned())), Some(Health::Unknown));
        assert_eq!(told(PluginError::Unauthorized("x".to_owned())), Some(Health::Unknown));
        assert_eq!(told(PluginError::Refused("watch of Pod is old".to_owned())), Some(Health::Problem));
        // With these its metrics may still tell.
        assert_eq!(told(PluginError::Refused("x".to_owned())), None);
    }
}
