//! A pass over a credential that stays: observe, plan, set the work out, tell how it stands.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::{
    Error, Member,
    lane::Purpose,
    memory::Memory,
    reconcile::{KindContext, Next, Urgency},
    share::{Share, Shares},
    source::{self, Standing},
    status,
};
use crate::{
    api::{
        ANNOTATION_SYNC, ClusterStatus, CredentialStatus, DistributionPolicy, Reference, References, Target,
    },
    cluster::{Cluster, Produced},
    domain::{
        Content, Credential, CredentialId,
        consent::Consent,
        event::Note,
        fingerprint::Fingerprint,
        ownership::{Metadata, OwnerId},
        plan::{self, Targets, Wanted},
        revision::{attested, revision},
        selection::{NamespaceMatcher, canonical, means_cluster},
        status::{self as verdict, ClusterOutcome, Observation, SourceState},
        trouble::ClusterTrouble,
        view::{ClusterView, Key, PodUse},
    },
};

/// How long a status that would say only that work goes on is held back: mostly the next one says that it is done.
const HOLD: Duration = Duration::from_secs(2);

/// What one credential is, for the length of a pass.
struct Pass<'a, K: Credential> {
    context: &'a KindContext<K>,
    object: &'a K,
    id: CredentialId,
    owner: OwnerId,
    secret_name: Arc<str>,
    policies: Vec<Arc<DistributionPolicy>>,
    /// Labels of the credential's own namespace.
    labels: BTreeMap<String, String>,
}

/// Brings a credential's copies in line, and tells how that goes.
pub async fn keep<K: Credential>(
    context: &KindContext<K>,
    object: &K,
    memory: &mut Memory,
) -> Result<Next, Error> {
    let id = CredentialId::of(object);
    let labels = {
        let local = context.shared.local().read();
        local.view().namespaces.get(id.namespace.as_str()).map(|seen| seen.labels.clone())
    };
    let pass = Pass {
        context,
        object,
        owner: id.owner(),
        secret_name: object.target().secret_name.clone().unwrap_or_else(|| object.name_any()).into(),
        policies: context.shared.policies.state(),
        labels: labels.unwrap_or_default(),
        id,
    };
    pass.run(memory).await
}

impl<K: Credential> Pass<'_, K> {
    async fn run(&self, memory: &mut Memory) -> Result<Next, Error> {
        let previous = memory.status.clone().or_else(|| self.object.status().cloned());
        let request = self.sync_request(previous.as_ref());
        let rows = previous.as_ref().map_or(&[][..], |status| &status.clusters);
        let members: Vec<Member> = self.context.shared.fleet.all();
        let members: Vec<&Member> =
            members.iter().filter(|member| self.concerns(member, row(rows, &member.name))).collect();
        let seen: Vec<&Arc<Cluster>> = members.iter().filter_map(|member| member.seen()).collect();

        let targets: Vec<Targets<'_>> = members.iter().map(|member| self.targets(member)).collect();

        // What may go nowhere is not even read.
        let anywhere = members
            .iter()
            .zip(&targets)
            .any(|(member, targets)| member.seen().is_some_and(|cluster| targets.any(cluster.read().view())));
        self.resolve(memory, anywhere, &seen, request.is_some()).await;
        let content = memory.material.as_ref().and_then(|material| material.content.as_ref().ok()).cloned();
        memory.good = content.clone().or_else(|| memory.good.take());
        let fingerprint = content.as_ref().map(|content| self.context.shared.fingerprints.of(content));
        let recorded = previous.as_ref().and_then(|status| status.revision);
        let revision = match fingerprint {
            Some(fingerprint) => {
                let revision = self.revision(&seen, recorded, memory.assigned, fingerprint);
                memory.assigned = Some((revision, fingerprint));
                Some(revision)
            }
            None => recorded.max(memory.assigned.map(|(revision, _)| revision)),
        };
        let hub = &self.context.shared.hub;
        let desired = Metadata::desired(&self.id, hub.id(), revision.unwrap_or(0), self.object.target());
        let produced = content.as_ref().zip(fingerprint).map(|(content, fingerprint)| {
            Arc::new(Produced::new(
                self.id.clone(),
                hub.clone(),
                self.secret_name.clone(),
                desired.clone(),
                Content::clone(content),
                fingerprint,
            ))
        });

        let generation = self.object.meta().generation.unwrap_or_default();
        let shares = Shares {
            context: &self.context.shared,
            id: &self.id,
            owner: &self.owner,
            purpose: Purpose { generation, revision, deleting: false },
            stale_after: Some(self.context.shared.stale_after),
        };
        let mut next = Next::default();
        let (mut busy, mut refreshed) = (HashSet::new(), true);
        let mut outcomes = Vec::new();
        for (member, targets) in members.iter().zip(targets) {
            let is_wanted = targets.cluster;
            let Some(cluster) = member.seen() else {
                let trouble = member.trouble().unwrap_or(ClusterTrouble::Connecting);
                outcomes.push(ClusterOutcome::unseen(&member.name, row(rows, &member.name), trouble));
                continue;
            };
            let wanted = Wanted {
                owner: &self.owner,
                secret_name: &self.secret_name,
                targets,
                content: fingerprint,
                revision: revision.unwrap_or(0),
                metadata: &desired,
            };
            let plan = |view: ClusterView<'_>| plan::keep(view, &wanted);
            let share = shares.tend(member, cluster, plan, produced.as_ref(), request.as_deref());
            if share.busy {
                busy.insert(&*member.name);
            }
            refreshed &= share.refreshed || share.outcome.trouble.is_some();
            next = next.and(share.next);
            if is_wanted || !is_bare(&share) {
                outcomes.push(share.outcome);
            }
        }
        outcomes.extend(self.unknown_clusters());

        let seen = Observation {
            generation,
            revision,
            secret_name: self.secret_name.to_string(),
            source: match memory.material.as_ref().map(|material| &material.content) {
                Some(Ok(content)) => SourceState::Resolved(content.notes.clone()),
                Some(Err(error)) => SourceState::Failed(error.clone()),
                None => SourceState::NotRead,
            },
            clusters: outcomes,
            references: references(seen.iter().map(|cluster| &**cluster), &self.owner),
            deletion: None,
            awaited: Vec::new(),
            validity: memory.validity(self.object),
            // Answered once it has come to an end.
            sync_request: None,
        };
        if matches!(&seen.source, SourceState::Failed(error) if error.reason() == "SecretUnreadable") {
            next = next.sooner(Urgency::Trouble);
        }
        let now = Timestamp::now();
        let changes = seen.validity.and_then(|validity| validity.next_change(now));
        let until = memory.material.as_ref().and_then(|material| material.until);
        if let Some(change) = changes.into_iter().chain(until).min() {
            next = next.within(Duration::try_from(change.duration_since(now)).unwrap_or_default());
        }
        let answers = request.filter(|_| refreshed && busy.is_empty() && !seen.is_pending());
        let answered = answers.is_some();
        let seen = Observation { sync_request: answers, ..seen };
        let status = verdict::compute(previous.as_ref(), &seen, now);
        let news =
            status.clusters.iter().any(|new| !busy.contains(&*new.name) && row(rows, &new.name) != Some(new));
        if let Some(wait) = memory.hold(!busy.is_empty(), news, HOLD) {
            return Ok(next.within(wait));
        }
        let good = memory.good.clone();
        if let Some(wait) =
            status::write(&self.context.shared, self.object, memory, good.as_deref(), status).await?
        {
            return Ok(next.within(wait));
        }
        if answered {
            self.context.shared.lanes.forget(&self.owner);
        }
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
        Ok(next)
    }

    /// Reads the source, if there is anywhere to write to.
    async fn resolve(&self, memory: &mut Memory, anywhere: bool, seen: &[&Arc<Cluster>], anew: bool) {
        let before = memory.material.take();
        if anywhere {
            let local = self.context.shared.local();
            let standing = || if K::KEEPS { self.standing(seen) } else { Vec::new() };
            memory.material = Some(
                source::resolve(local, &self.context.index, self.object, before.as_ref(), standing, anew)
                    .await,
            );
        }
    }

    /// The request for a sync that was not answered yet.
    fn sync_request(&self, previous: Option<&CredentialStatus>) -> Option<String> {
        let asked = self.object.annotations().get(ANNOTATION_SYNC)?;
        let handled = previous.and_then(|status| status.sync.as_ref()).map(|sync| &sync.last_handled_request);
        (handled != Some(asked)).then(|| asked.clone())
    }

    /// Whether a cluster is to be looked at: it should have copies, or has some, or may have some.
    fn concerns(&self, member: &Member, row: Option<&ClusterStatus>) -> bool {
        member.is_wanted(self.object.target())
            || member.seen().is_some_and(|cluster| cluster.read().view().copies.has(&self.owner))
            || (row.is_some() && member.up().is_none())
    }

    /// Clusters that the credential names and that do not exist.
    fn unknown_clusters(&self) -> Vec<ClusterOutcome> {
        let named = self.object.target().clusters.iter().flat_map(|clusters| &clusters.names);
        let unknown = named.filter(|name| self.context.shared.fleet.get(name).is_none());
        unknown.map(|name| ClusterOutcome::unseen(canonical(name), None, ClusterTrouble::NotFound)).collect()
    }

    fn targets<'b>(&'b self, member: &Member) -> Targets<'b> {
        let operator_namespace = self.context.shared.namespace.as_str();
        let target = self.object.target();
        Targets {
            cluster: member.is_wanted(target),
            own_namespace: &self.id.namespace,
            selector: target
                .namespaces
                .as_ref()
                .map(|selector| NamespaceMatcher::new(selector, operator_namespace)),
            consent: Consent::new(
                self.policies.iter().map(|policy| &policy.spec),
                K::KIND,
                &self.id.namespace,
                &self.labels,
                operator_namespace,
                member.identity(),
            ),
        }
    }

    /// Copies that stand, of the newest revision there is, `local` first. Of several contents the one that most
    /// copies have, so that a single one edited by hand does not have all the others written anew.
    fn standing(&self, clusters: &[&Arc<Cluster>]) -> Vec<Standing> {
        let mut contents = HashMap::new();
        for cluster in clusters {
            for (key, copy) in cluster.read().view().copies.of(&self.owner) {
                let (count, places) = contents
                    .entry((copy.metadata.revision(), copy.content))
                    .or_insert_with(|| (0_usize, Vec::<Standing>::new()));
                *count += 1;
                // One of each cluster will do.
                if places.last().is_none_or(|last| !Arc::ptr_eq(&last.cluster, cluster)) {
                    places.push(Standing { cluster: Arc::clone(cluster), key: key.clone() });
                }
            }
        }
        let best = contents.into_iter().max_by_key(|((revision, _), (count, _))| (*revision, *count));
        best.map(|(_, (_, places))| places).unwrap_or_default()
    }

    fn revision(
        &self,
        clusters: &[&Arc<Cluster>],
        recorded: Option<i64>,
        assigned: Option<(i64, Fingerprint)>,
        content: Fingerprint,
    ) -> i64 {
        let caches: Vec<_> = clusters.iter().map(|cluster| cluster.read()).collect();
        let members = clusters.iter().zip(&caches).filter(|(cluster, _)| !cluster.is_local());
        let attested = members.filter_map(|(_, cache)| {
            attested(content, cache.view().copies.of(&self.owner).map(|(_, copy)| copy))
        });
        let recorded = recorded.into_iter().chain(attested).max();
        let copies =
            caches.iter().flat_map(|cache| cache.view().copies.of(&self.owner).map(|(_, copy)| copy));
        revision(recorded, assigned, content, copies)
    }
}

impl Member {
    /// Whether a credential wants anything there.
    fn is_wanted(&self, target: &Target) -> bool {
        !self.membership.leaving
            && means_cluster(target.clusters.as_ref(), &self.name, &self.membership.labels)
    }
}

/// Whether nothing is in a cluster, nor on its way out, so that there is nothing to tell of it.
fn is_bare(share: &Share) -> bool {
    share.left == 0 && share.outcome.held == 0 && share.outcome.trouble.is_none() && !share.busy
}

/// What the last status said of a cluster.
pub fn row<'a>(rows: &'a [ClusterStatus], cluster: &str) -> Option<&'a ClusterStatus> {
    rows.iter().find(|row| row.name == cluster)
}

/// The most users that a status lists.
const MAX_REFERENCES: usize = 50;

/// Who uses the copies of an owner, in all clusters.
pub fn references<'a>(clusters: impl IntoIterator<Item = &'a Arc<Cluster>>, owner: &OwnerId) -> References {
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
