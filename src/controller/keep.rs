//! A pass over a credential that stays: observe, plan, apply.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Error,
    memory::Memory,
    reconcile::{KindContext, Next, Urgency},
    source::{self, Standing},
    status,
};
use crate::{
    api::{ANNOTATION_SYNC, Reference, References},
    cluster::{Cluster, Pace, Produced, Source, Trouble},
    domain::{
        Content, Credential, CredentialId,
        consent::Consent,
        event::Note,
        fingerprint::Fingerprint,
        ownership::{Metadata, OwnerId},
        plan::{self, Failure, Plan, Targets, Wanted},
        revision::revision,
        selection::NamespaceMatcher,
        status::{self as verdict, ClusterOutcome, Observation, SourceState},
        view::{Key, PodUse},
    },
};

/// How long writes go on before the plan is made anew and the status is written.
const SLICE: Duration = Duration::from_secs(2);

/// What one credential is, for the length of a pass.
struct Pass<'a, K: Credential> {
    context: &'a KindContext<K>,
    object: &'a K,
    id: CredentialId,
    owner: OwnerId,
    hub: Arc<str>,
    secret_name: Arc<str>,
    consent: Consent<'a>,
}

/// Brings a credential's copies in line, and tells how that went.
pub async fn keep<K: Credential>(
    context: &KindContext<K>,
    object: &K,
    memory: &mut Memory,
) -> Result<Next, Error> {
    let local = context.shared.local()?;
    let namespace = object.namespace().unwrap_or_default();
    let policies = context.shared.policies.state();
    let labels = local.read().view().namespaces.get(namespace.as_str()).map(|seen| seen.labels.clone());
    let id = CredentialId::of(object);
    let pass = Pass {
        context,
        object,
        owner: id.owner(),
        hub: local.read().hub().unwrap_or_default(),
        secret_name: object.target().secret_name.clone().unwrap_or_else(|| object.name_any()).into(),
        consent: Consent::new(
            policies.iter().map(|policy| &policy.spec),
            K::KIND,
            &id.namespace,
            &labels.unwrap_or_default(),
            &context.shared.namespace,
        ),
        id: id.clone(),
    };
    pass.run(&local, memory).await
}

impl<K: Credential> Pass<'_, K> {
    async fn run(&self, local: &Arc<Cluster>, memory: &mut Memory) -> Result<Next, Error> {
        let clusters = self.context.shared.clusters();
        let previous = memory.status.clone().or_else(|| self.object.status().cloned());
        let request = self.sync_request(previous.as_ref());
        if request.is_some() {
            for cluster in &clusters {
                cluster.refresh(&self.owner).await.map_err(Error::api("read the copies for a sync"))?;
            }
        }

        // Consent comes first: what may go nowhere is not even read.
        let anywhere = clusters.iter().any(|cluster| {
            let cache = cluster.read();
            self.targets(cluster).any(cache.view())
        });
        memory.material = if anywhere {
            let before = memory.material.take();
            let standing = if K::KEEPS { self.standing(&clusters) } else { None };
            let anew = request.is_some();
            Some(
                source::resolve(local, &self.context.index, self.object, before.as_ref(), standing, anew)
                    .await,
            )
        } else {
            None
        };
        let content = memory.material.as_ref().and_then(|material| material.content.as_ref().ok()).cloned();
        memory.good = content.clone().or_else(|| memory.good.take());
        let fingerprint = content.as_ref().map(|content| self.context.shared.fingerprints.of(content));
        let recorded = previous.as_ref().and_then(|status| status.revision);
        let revision = match fingerprint {
            Some(fingerprint) => {
                let revision = self.revision(&clusters, recorded, memory.assigned, fingerprint);
                memory.assigned = Some((revision, fingerprint));
                Some(revision)
            }
            None => recorded.max(memory.assigned.map(|(revision, _)| revision)),
        };
        let desired = Metadata::desired(&self.id, &self.hub, revision.unwrap_or(0), self.object.target());
        let produced = content.as_ref().zip(fingerprint).map(|(content, fingerprint)| {
            Produced::new(
                self.id.clone(),
                self.hub.clone(),
                self.secret_name.clone(),
                desired.clone(),
                Content::clone(content),
                fingerprint,
            )
        });

        let passes = clusters.iter().map(|cluster| async {
            let plan = {
                let cache = cluster.read();
                let wanted = Wanted {
                    owner: &self.owner,
                    secret_name: &self.secret_name,
                    targets: self.targets(cluster),
                    content: fingerprint,
                    revision: revision.unwrap_or(0),
                    metadata: &desired,
                };
                plan::keep(cache.view(), &wanted)
            };
            self.carry_out(cluster, plan, produced.as_ref()).await
        });
        let (outcomes, nexts): (Vec<_>, Vec<_>) = futures::future::join_all(passes).await.into_iter().unzip();

        let seen = Observation {
            generation: self.object.meta().generation.unwrap_or_default(),
            revision,
            secret_name: self.secret_name.to_string(),
            source: match memory.material.as_ref().map(|material| &material.content) {
                Some(Ok(content)) => SourceState::Resolved(content.notes.clone()),
                Some(Err(error)) => SourceState::Failed(error.clone()),
                None => SourceState::NotRead,
            },
            clusters: outcomes,
            references: references(&clusters, &self.owner),
            deletion: None,
            validity: memory.validity(self.object),
            // Answered once it has come to an end.
            sync_request: None,
        };
        let mut next = nexts.into_iter().fold(Next::default(), Next::and);
        if matches!(&seen.source, SourceState::Failed(error) if error.reason() == "SecretUnreadable") {
            next = next.sooner(Urgency::Trouble);
        }
        let now = Timestamp::now();
        let changes = seen.validity.and_then(|validity| validity.next_change(now));
        let until = memory.material.as_ref().and_then(|material| material.until);
        if let Some(change) = changes.into_iter().chain(until).min() {
            next = next.within(Duration::try_from(change.duration_since(now)).unwrap_or_default());
        }
        let seen = Observation { sync_request: request.filter(|_| !seen.is_pending()), ..seen };
        let status = verdict::compute(previous.as_ref(), &seen, now);
        let good = memory.good.clone();
        if let Some(wait) =
            status::write(&self.context.shared, self.object, memory, good.as_deref(), status).await?
        {
            next = next.within(wait);
        } else {
            let new = content.iter().filter(|_| recorded != revision);
            for warning in new.flat_map(|content| &content.warnings) {
                let note = Note {
                    warning: true,
                    reason: warning.reason().to_owned(),
                    action: "Resolve",
                    note: warning.message().to_owned(),
                };
                self.context.shared.events.publish(self.object, &note).await;
            }
        }
        Ok(next)
    }

    /// The request for a sync that was not answered yet.
    fn sync_request(&self, previous: Option<&crate::api::CredentialStatus>) -> Option<String> {
        let asked = self.object.annotations().get(ANNOTATION_SYNC)?;
        let handled = previous.and_then(|status| status.sync.as_ref()).map(|sync| &sync.last_handled_request);
        (handled != Some(asked)).then(|| asked.clone())
    }

    fn targets<'b>(&'b self, cluster: &Cluster) -> Targets<'b> {
        Targets {
            own_namespace: (&**cluster.name() == crate::cluster::LOCAL).then_some(self.id.namespace.as_str()),
            selector: self
                .object
                .target()
                .namespaces
                .as_ref()
                .map(|selector| NamespaceMatcher::new(selector, &self.context.shared.namespace)),
            consent: &self.consent,
        }
    }

    /// A copy that stands, of the newest revision there is. Of several contents the one that most
    /// copies have, so that a single one edited by hand does not have all the others written anew.
    fn standing(&self, clusters: &[Arc<Cluster>]) -> Option<Standing> {
        let mut contents = HashMap::new();
        for cluster in clusters {
            for (key, copy) in cluster.read().view().copies.of(&self.owner) {
                let (count, _) = contents
                    .entry((copy.metadata.revision(), copy.content))
                    .or_insert_with(|| (0_usize, Standing { cluster: cluster.clone(), key: key.clone() }));
                *count += 1;
            }
        }
        let best = contents.into_iter().max_by_key(|((revision, _), (count, _))| (*revision, *count));
        best.map(|(_, (_, standing))| standing)
    }

    fn revision(
        &self,
        clusters: &[Arc<Cluster>],
        recorded: Option<i64>,
        assigned: Option<(i64, Fingerprint)>,
        content: Fingerprint,
    ) -> i64 {
        let caches: Vec<_> = clusters.iter().map(|cluster| cluster.read()).collect();
        let copies =
            caches.iter().flat_map(|cache| cache.view().copies.of(&self.owner).map(|(_, copy)| copy));
        revision(recorded, assigned, content, copies)
    }

    async fn carry_out(
        &self,
        cluster: &Cluster,
        mut plan: Plan,
        produced: Option<&Produced>,
    ) -> (ClusterOutcome, Next) {
        let mut next = Next::default();
        if !plan.delete.is_empty() && cluster.stale(Source::Pods, self.context.shared.stale_after) {
            // Who uses what is not known just now; nothing is pulled away on a guess.
            plan.held.extend(plan.delete.drain(..).map(|(key, _)| key));
            next = next.sooner(Urgency::Trouble);
        }
        if let Some(wait) = produced
            .and_then(|produced| produced.metadata.revision())
            .and_then(|revision| cluster.pace_repairs(&mut plan, revision))
        {
            next = next.within(wait);
        }
        let pace = Pace { slice: SLICE };
        let applied = cluster.apply(&plan, &self.id, &self.hub, produced, pace).await;
        let written = !plan.create.is_empty() || !plan.update.is_empty();
        let mut failures = plan.failures;
        failures.extend(applied.failures);
        let conflicts =
            failures.iter().filter(|(_, failure)| matches!(failure, Failure::SecretNameConflict(_)));
        let taken: Vec<Key> = conflicts
            .map(|(namespace, _)| Key { namespace: namespace.clone(), name: self.secret_name.clone() })
            .collect();
        cluster.wait_for(taken, &self.owner);
        if applied.again {
            // Time ran out after real work, or the view was stale and was mended.
            next = next.sooner(if applied.written + applied.removed > 0 {
                Urgency::Now
            } else {
                Urgency::Shortly
            });
        }
        if applied.trouble.is_some() || failures.iter().any(|(_, failure)| !failure.is_final()) {
            next = next.sooner(Urgency::Trouble);
        }
        let outcome = ClusterOutcome {
            name: cluster.name().to_string(),
            desired: plan.desired - applied.gone.min(plan.desired),
            synced: plan.synced + if written { applied.written } else { 0 },
            failures,
            held: plan.held.len(),
            unreachable: match applied.trouble {
                Some(Trouble::Unreachable(why)) => Some(why),
                _ => None,
            },
        };
        (outcome, next)
    }
}

/// The most users that a status lists.
const MAX_REFERENCES: usize = 50;

/// Who uses the copies of an owner, in all clusters.
pub fn references(clusters: &[Arc<Cluster>], owner: &OwnerId) -> References {
    let mut total = 0;
    let mut first = Vec::new();
    for cluster in clusters {
        let cache = cluster.read();
        let view = cache.view();
        let mut users: Vec<(&Key, &PodUse)> = view
            .copies
            .of(owner)
            .flat_map(|(key, _)| view.references.of(key).iter().map(move |user| (key, user)))
            .collect();
        total += users.len();
        // In order, so that a status does not change when nothing else does.
        users.sort_unstable_by(|(a, x), (b, y)| {
            (&a.namespace, &x.pod, x.field).cmp(&(&b.namespace, &y.pod, y.field))
        });
        first.extend(users.into_iter().take(MAX_REFERENCES - first.len()).map(|(key, user)| Reference {
            cluster: cluster.name().to_string(),
            kind: "Pod".to_owned(),
            namespace: key.namespace.to_string(),
            name: user.pod.to_string(),
            field: user.field.to_owned(),
        }));
    }
    let total = i64::try_from(total).unwrap_or(i64::MAX);
    References { total, blocking: total, items: first }
}
