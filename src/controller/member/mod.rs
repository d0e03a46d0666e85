//! The member loop: from a MemberCluster, and the Secret that says how to reach it, to a cluster of the registry.

mod adoption;

pub(crate) use adoption::Adoption;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use kube::{Api, ResourceExt, core::ApiResource};
use serde::Deserialize;
use serde_json::Value;
use tracing::{debug, warn};

use super::{
    Context, Error,
    clusters::{Link, Member, MemberSettings},
    events::about,
    members::{Entry, MemberIndex},
    patch::{Target, differences, fields},
};
use crate::{
    api::{ANNOTATION_FORCE_DELETE, FINALIZER, MemberCluster},
    cluster::{Unreadable, configuration, describe},
    domain::{
        access::Access,
        adoption::adopted_from,
        condition::{self, ConditionStatus, ConditionType, Verdict},
        event::{Action, Note},
        member::{self, Leave, MemberError, MemberRemoval, MemberState, Observation, Origin},
        reason::Reason,
        schedule::{MEMBER_EMPTYING, MEMBER_RESYNC, MEMBER_TROUBLED, START_PATIENCE},
        selection::LOCAL,
    },
    queue::Next,
    telemetry::Outcome,
};

/// The member loop.
pub(crate) struct MemberLoop {
    context: Arc<Context>,
}

impl MemberLoop {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Looks at one member.
    pub async fn reconcile(self: Arc<Self>, name: Arc<str>) -> Next {
        let began = Instant::now();
        let clusters = &self.context.clusters;
        let Some(entry) = self.index().get(&name) else { return Next::Done };
        let result = match &entry.object.0 {
            Ok(object) => self.look(&name, object, &entry).await,
            Err(bad) => {
                let why = "this version of Claviger cannot read its MemberCluster";
                self.set_broken_if_unknown(&name, &entry, why);
                self.tell_unreadable(&name, bad).await.map(|()| MEMBER_RESYNC)
            }
        };
        if result.is_err() {
            let why = "the API server of the hub did not carry out a request";
            self.set_broken_if_unknown(&name, &entry, why);
        }
        self.index().looked_at(&name);
        if self.index().get(&name).is_none() {
            // It was deleted while it was looked at.
            clusters.remove(&name);
        }
        let (outcome, next) = match result {
            Ok(wait) => (Outcome::Synced, Next::After(wait)),
            Err(error) => {
                let reason = error.reason().as_str();
                self.context.metrics.reconcile_failed("MemberCluster", reason);
                warn!(kind = "MemberCluster", name = &*name, reason, "{error}");
                (Outcome::Failed, Next::Retry)
            }
        };
        self.context.metrics.reconciled("MemberCluster", outcome, began.elapsed());
        debug!(name = &*name, ?outcome, took = ?began.elapsed(), "member");
        next
    }

    /// Puts a member into the registry that has no connection, unless more is known of it: a member that is not known
    /// must not be taken for one that does not exist.
    fn set_broken_if_unknown(&self, name: &str, entry: &Entry, why: &str) {
        let clusters = &self.context.clusters;
        if clusters.get(name).is_none_or(|member| matches!(member.link, Link::Unknown)) {
            let labels = entry.object.labels().clone();
            let settings = MemberSettings { labels, ..MemberSettings::default() };
            clusters.set(name, settings, Err(why.to_owned()));
        }
    }

    /// Ends when all members that there were at the start are known, and each was listed or does not answer.
    pub async fn started(self: Arc<Self>) {
        self.index().started.wait().await;
        let settled = async {
            for member in self.context.clusters.all().iter().filter(|member| &*member.name != LOCAL) {
                if let Some(cluster) = member.cluster() {
                    cluster.connectivity.settled().await;
                }
            }
        };
        let _ = tokio::time::timeout(START_PATIENCE, settled).await;
        // Once is enough.
        let _ = self.context.members_known.set(());
    }

    /// Returns when to look again.
    async fn look(&self, name: &Arc<str>, object: &MemberCluster, entry: &Entry) -> Result<Duration, Error> {
        let deleted = object.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let held = object.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
        match (deleted, held) {
            (Some(_), false) => return Ok(MEMBER_RESYNC),
            // Before the first copy, so that none can be left behind.
            (None, false) => self.target(name).add_finalizer(&object.metadata).await?,
            (_, true) => {}
        }
        let forced = object.annotations().get(ANNOTATION_FORCE_DELETE).is_some_and(|value| value == "true");
        let from = adopted_from(object).filter(|_| deleted.is_some());
        let successor = from.and_then(|from| self.index().successor(name, &from));
        let leaving = deleted.is_some() && successor.is_none() && member::takes_back(&object.spec, forced);
        let access = self.access(name, object, entry).await;
        let mut seen = self.connect(name, object, entry, access, leaving);
        let up = seen.state == MemberState::Up;
        let Some(deleted) = deleted else {
            self.tell(name, object, entry, seen).await?;
            return Ok(if up { MEMBER_RESYNC } else { MEMBER_TROUBLED });
        };
        let removal = MemberRemoval {
            spec: &object.spec,
            forced,
            successor: successor.as_deref(),
            seen: &seen,
            settled: entry.settled,
            deleted,
            grace: self.context.unreachable_grace,
        };
        let now = Timestamp::now();
        seen.awaited_until = match removal.judge(now) {
            Leave::Now(note) => {
                // When the object is gone, it is taken out of the registry.
                self.target(name).remove_finalizer(&object.metadata).await?;
                self.context.events.publish(&about(object, &()), &note).await;
                return Ok(MEMBER_RESYNC);
            }
            Leave::Wait(until) => until,
        };
        let settled = up && leaving && seen.copies.is_some_and(|(all, used)| all <= used);
        self.index().change(name, entry.uid(), |entry| entry.settled = settled);
        let wait = match seen.awaited_until {
            None => MEMBER_EMPTYING,
            Some(until) => {
                Duration::try_from(until.duration_since(now)).unwrap_or_default().min(MEMBER_TROUBLED)
            }
        };
        self.tell(name, object, entry, seen).await?;
        Ok(wait)
    }

    /// How to reach a member, as its Secret says it now.
    async fn access(
        &self,
        name: &Arc<str>,
        object: &MemberCluster,
        entry: &Entry,
    ) -> Result<Access, MemberError> {
        let origin = Origin::of(object, &self.context.namespace);
        let place = member::place(origin.as_ref(), &self.context.adopt);
        // Before it is read, so that no change is missed.
        let reads = place.as_ref().ok().cloned();
        self.index().change(name, entry.uid(), |entry| entry.reads = reads);
        let place = place?;
        let found = self.context.local().connection.secret(&place.namespace, &place.name).await;
        let secret = found.map_err(|error| MemberError::Unreadable {
            secret: place.to_string(),
            problem: describe(&error),
        })?;
        let origin = origin.ok_or(MemberError::SourceMissing)?;
        member::read(&origin, secret, self.context.allow_insecure_members)
    }

    /// Puts the member into the registry, and looks at it there.
    fn connect(
        &self,
        name: &Arc<str>,
        object: &MemberCluster,
        entry: &Entry,
        access: Result<Access, MemberError>,
        leaving: bool,
    ) -> Observation {
        let clusters = &self.context.clusters;
        let server = access.as_ref().ok().map(|access| access.server.to_string());
        let config = access.as_ref().ok().map(configuration);
        let before = clusters.get(name).map(|member| member.link);
        let seen_now = match (&before, &config) {
            (Some(Link::Connected { cluster, version }), Some((_, wanted)))
                if version == wanted && cluster.connectivity.is_up() =>
            {
                cluster.id()
            }
            _ => None,
        };
        if let Some(id) = &seen_now {
            self.index().seen(name, entry.uid(), id, server.clone());
        }
        let (id, seen_at) = (entry.id.as_deref(), entry.seen_at.as_deref());
        let (id, refused) = match access {
            Err(error) => (entry.id.clone(), Some(MemberState::Invalid(error))),
            Ok(_) => {
                let id = member::identity(seen_now.as_deref(), id, seen_at, server.as_deref());
                let duplicate = id.as_deref().and_then(|id| self.duplicate(name, id));
                (id, duplicate.map(|of| MemberState::Duplicate { of }))
            }
        };
        let is_connected = matches!(before, Some(Link::Connected { .. }));
        let access = match &refused {
            Some(state) => state.breaks_connection(is_connected).map(Err),
            None => config.map(Ok),
        };
        if let Some(access) = access {
            // Nothing is written to a cluster as long as it may be another member's too.
            let identified = id.is_some();
            let (labels, paused) = (object.labels().clone(), object.spec.paused);
            clusters.set(name, MemberSettings { labels, paused, leaving, identified }, access);
        }
        let mut seen = Observation {
            generation: object.metadata.generation,
            paused: object.spec.paused,
            deleting: object.metadata.deletion_timestamp.is_some(),
            origin: Origin::of(object, &self.context.namespace),
            server,
            id,
            ..Observation::default()
        };
        match (refused, clusters.get(name)) {
            (Some(state), _) => seen.state = state,
            (None, Some(Member { link: Link::Broken(why), .. })) => {
                seen.state = MemberState::Invalid(MemberError::Unusable(why));
            }
            (None, Some(member)) => self.observe(&member, &mut seen),
            (None, None) => {}
        }
        seen
    }

    /// Looks at a member that may have a connection.
    fn observe(&self, member: &Member, seen: &mut Observation) {
        let Some(cluster) = member.cluster() else { return };
        let connectivity = &cluster.connectivity;
        let reach = connectivity.reach();
        seen.version = connectivity.state().version.clone();
        seen.probed = connectivity.state().last_probe;
        seen.copies = connectivity.was_seen().then(|| cluster.copies());
        seen.attached = cluster.attached();
        seen.down = reach.down_since();
        let (is_probed, is_identified) = (seen.probed.is_some(), seen.id.is_some());
        seen.state = member::connected(&reach, is_probed, is_identified, cluster.id().is_some());
        if seen.state == MemberState::Connecting && connectivity.is_up() {
            self.context.queues.member(&member.name);
        }
    }

    /// Who else has the cluster: the operator, or a member that was created before.
    fn duplicate(&self, name: &str, id: &str) -> Option<String> {
        let is_hub = self.context.local().id().is_some_and(|hub| &*hub == id);
        if is_hub { Some(LOCAL.to_owned()) } else { self.index().holder(name, id) }
    }

    /// Writes the status when it says anything new, and publishes an Event when `Ready` changes.
    async fn tell(
        &self,
        name: &str,
        object: &MemberCluster,
        entry: &Entry,
        seen: Observation,
    ) -> Result<(), Error> {
        let previous = entry.status().filter(|status| !status.conditions.is_empty());
        if seen.state == MemberState::Connecting
            && !seen.deleting
            && member::told_how_connecting_ended(previous, seen.generation, seen.server.as_deref())
        {
            // After a restart, or with new credentials: the result follows in a moment.
            return Ok(());
        }
        let next = member::status(&seen, previous, Timestamp::now());
        if !member::worth_writing(previous, &next) {
            return Ok(());
        }
        let version = self.target(name).status(entry.uid(), differences(None, &fields(&next)?)).await?;
        if let Some(note) = member::note(previous, &next) {
            self.context.events.publish(&about(object, &()), &note).await;
        }
        self.index()
            .change(name, entry.uid(), |entry| entry.written = version.map(|version| (version, next)));
        Ok(())
    }

    /// Says on the object that this version cannot read it.
    async fn tell_unreadable(&self, name: &str, bad: &Unreadable) -> Result<(), Error> {
        let target = self.target(name);
        let found = target.api.get_opt(name).await.map_err(Error::api("read the object"))?;
        let Some(object) = found else { return Ok(()) };
        let message = format!(
            "this version of Claviger cannot read the object, and leaves its cluster as it is: {}; upgrade Claviger, or fix the spec",
            bad.error
        );
        let before = object.data.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
        let told = before.get("conditions").and_then(|conditions| Vec::deserialize(conditions).ok());
        let verdict = |status| Verdict::new(status, Reason::UnsupportedSpec, message.clone());
        let verdicts = [
            (ConditionType::Ready, verdict(ConditionStatus::False)),
            (ConditionType::Reconciling, verdict(ConditionStatus::False)),
            (ConditionType::Stalled, verdict(ConditionStatus::True)),
        ];
        let conditions =
            condition::set(&told.unwrap_or_default(), verdicts, object.metadata.generation, Timestamp::now());
        let mut fields = before.clone();
        fields.insert("observedGeneration".to_owned(), object.metadata.generation.into());
        fields.insert("conditions".to_owned(), serde_json::to_value(conditions).unwrap_or_default());
        if fields == before {
            return Ok(());
        }
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        let before = Some(&before).filter(|before| !before.is_empty());
        target.status(uid, differences(before, &fields)).await?;
        let about = about(&object, &ApiResource::erase::<MemberCluster>(&()));
        let note = Note::warning(Reason::UnsupportedSpec, Action::Read, message);
        self.context.events.publish(&about, &note).await;
        Ok(())
    }

    fn index(&self) -> &MemberIndex {
        &self.context.stores.members
    }

    fn target(&self, name: &str) -> Target {
        let client = self.context.local().connection.client();
        let api = Api::all_with(client, &ApiResource::erase::<MemberCluster>(&()));
        Target { api, name: name.to_owned() }
    }
}
