//! The member loop: from a MemberCluster, and the Secret that says how to reach it, to a cluster of the registry.

mod adoption;
mod index;

pub(crate) use adoption::Adoption;
pub(crate) use index::MemberIndex;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, ResourceExt, core::ApiResource};
use serde_json::Value;
use tracing::{debug, warn};

use super::{
    Context, Error,
    clusters::{Link, MemberSettings},
    events::about,
    patch::{Target, fields},
};
use crate::{
    api::{ANNOTATION_FORCE_DELETE, FINALIZER, MemberCluster},
    cluster::{Unreadable, configuration, describe},
    domain::{
        SecretBytes,
        access::{Access, Tolerance},
        adoption::Adopt,
        condition::{self, ConditionStatus, ConditionType, Verdict},
        event::{Action, Note},
        member::{
            self, AccessSecret, Connect, Deletion, Leave, MemberError, MemberRemoval, MemberState,
            Observation,
        },
        reason::Reason,
        schedule::{MEMBER_EMPTYING, MEMBER_RESYNC, MEMBER_TROUBLED, START_PATIENCE},
        selection::LOCAL,
    },
    queue::Next,
    telemetry::Outcome,
};
use index::Entry;

/// What the operator was told of members.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemberOptions {
    /// Whose clusters become members by themselves.
    pub adopt: Adopt,
    /// What is accepted although it is not safe.
    pub tolerance: Tolerance,
}

/// The member loop.
pub(crate) struct MemberLoop {
    pub(super) context: Arc<Context>,
    pub(super) options: MemberOptions,
    pub(crate) index: Arc<MemberIndex>,
}

/// How a member stands, and what was seen of it.
struct Seen {
    state: MemberState,
    server: Option<String>,
    id: Option<String>,
    version: Option<String>,
    probed: Option<Timestamp>,
    down: Option<Timestamp>,
    copies: Option<(usize, usize)>,
}

impl MemberLoop {
    pub fn new(context: Arc<Context>, options: MemberOptions, index: Arc<MemberIndex>) -> Self {
        Self { context, options, index }
    }

    /// Looks at one member.
    pub async fn reconcile(self: Arc<Self>, name: Arc<str>) -> Next {
        let began = Instant::now();
        let clusters = &self.context.clusters;
        let Some(entry) = self.index.get(&name) else {
            if &*name != LOCAL {
                clusters.remove(&name);
            }
            return Next::Done;
        };
        let result = match &entry.object.0 {
            Ok(object) => self.look(&name, object, &entry).await,
            Err(bad) => {
                let why = "this version of Claviger cannot read its MemberCluster";
                if clusters.get(&name).is_none_or(|member| matches!(member.link, Link::Unknown)) {
                    let labels = bad.metadata.labels.clone().unwrap_or_default();
                    let settings = MemberSettings { labels, ..MemberSettings::default() };
                    clusters.set(&name, settings, Err(why.to_owned()));
                }
                self.tell_unreadable(&name, bad).await.map(|()| MEMBER_RESYNC)
            }
        };
        let known = clusters.get(&name).is_some_and(|member| !matches!(member.link, Link::Unknown));
        if result.is_err() && !known {
            // Not known is not the same as not there.
            let labels = entry.object.labels().clone();
            let settings = MemberSettings { labels, ..MemberSettings::default() };
            let why = "the API server of the hub did not do what was asked of it".to_owned();
            clusters.set(&name, settings, Err(why));
        }
        self.index.looked_at(&name);
        if self.index.get(&name).is_none() {
            // It went while it was looked at.
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

    /// Ends when all members that there were at the start are known, and each was listed or does not answer.
    pub async fn started(self: Arc<Self>) {
        self.index.started().await;
        let settled = async {
            for member in self.context.clusters.all() {
                if let (Link::Connected(cluster), true) = (&member.link, &*member.name != LOCAL) {
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
        let access = self.access(name, object, entry).await;
        let removal = deleted.map(|deleted| self.removal(object, deleted));
        let leaving = removal.as_ref().is_some_and(MemberRemoval::takes_back);
        let seen = self.connect(name, object, entry, access, leaving);
        let Some(removal) = removal else {
            self.tell(name, object, entry, &seen, None).await?;
            return Ok(if seen.state == MemberState::Up { MEMBER_RESYNC } else { MEMBER_TROUBLED });
        };
        let (up, now) = (seen.state == MemberState::Up, Timestamp::now());
        let removal = MemberRemoval {
            duplicate: matches!(seen.state, MemberState::Duplicate { .. }),
            up,
            copies: seen.copies,
            settled: entry.settled,
            down: seen.down,
            ..removal
        };
        let deletion = match removal.judge(now) {
            Leave::Now(note) => {
                // When the object is gone, it is taken out of the registry.
                self.target(name).remove_finalizer(&object.metadata).await?;
                self.context.events.publish(&about(object, &()), &note).await;
                return Ok(MEMBER_RESYNC);
            }
            Leave::Wait(deletion) => deletion,
        };
        let settled = up && leaving && seen.copies.is_some_and(|(all, used)| all <= used);
        self.index.change(name, entry.uid(), |entry| entry.settled = settled);
        let wait = match deletion.until {
            None => MEMBER_EMPTYING,
            Some(until) => {
                Duration::try_from(until.duration_since(now)).unwrap_or_default().min(MEMBER_TROUBLED)
            }
        };
        self.tell(name, object, entry, &seen, Some(deletion)).await?;
        Ok(wait)
    }

    /// How to reach a member, as its Secret says it now.
    async fn access(
        &self,
        name: &Arc<str>,
        object: &MemberCluster,
        entry: &Entry,
    ) -> Result<Access, MemberError> {
        let place = member::place(&object.spec, &self.context.namespace, &self.options.adopt);
        // Before it is read, so that no change is missed.
        self.index.reads(name, entry.uid(), place.as_ref().ok().cloned());
        let place = place?;
        let found = self.context.local().connection.secret(&place.namespace, &place.name).await;
        let secret = found.map_err(|error| MemberError::Unreadable {
            secret: place.to_string(),
            problem: describe(&error),
        })?;
        member::read(&object.spec, &place, secret.map(access_secret).as_ref(), self.options.tolerance)
    }

    /// Puts the member into the registry, and tells how it stands there.
    fn connect(
        &self,
        name: &Arc<str>,
        object: &MemberCluster,
        entry: &Entry,
        access: Result<Access, MemberError>,
        leaving: bool,
    ) -> Seen {
        let clusters = &self.context.clusters;
        let server = access.as_ref().ok().map(|access| access.server.to_string());
        let way = access.as_ref().ok().map(configuration);
        let before = clusters.get(name).map(|member| member.link);
        let seen_now = match (&before, &way) {
            (Some(Link::Connected(cluster)), Some((_, version)))
                if clusters.version(name) == Some(*version) && cluster.connectivity.is_up() =>
            {
                cluster.id()
            }
            _ => None,
        };
        if let Some(id) = &seen_now {
            self.index.seen(name, entry.uid(), id, server.clone());
        }
        let id = match &access {
            Ok(_) => member::identity(
                seen_now.as_deref(),
                entry.id.as_deref(),
                entry.seen_at.as_deref(),
                server.as_deref(),
            ),
            Err(_) => entry.id.clone(),
        };
        let duplicate = id.as_deref().filter(|_| access.is_ok()).and_then(|id| self.duplicate(name, id));
        let settings = MemberSettings {
            labels: object.labels().clone(),
            paused: object.spec.paused,
            leaving,
            identified: id.is_some(),
        };
        let is_connected = matches!(before, Some(Link::Connected(_)));
        let verdict = access.as_ref().map(drop);
        match (member::connect(verdict, duplicate.as_deref(), is_connected, id.is_some()), way) {
            (Connect::Keep, _) => {}
            (Connect::Break(why), _) => {
                clusters.set(name, MemberSettings { identified: false, ..settings }, Err(why));
            }
            (Connect::To { identified }, Some(way)) => {
                clusters.set(name, MemberSettings { identified, ..settings }, Ok(way));
            }
            (Connect::To { .. }, None) => {}
        }
        let mut seen = Seen {
            state: MemberState::Connecting,
            server,
            id: id.clone(),
            version: None,
            probed: None,
            down: None,
            copies: None,
        };
        seen.state = match (access, duplicate, clusters.get(name).map(|member| member.link)) {
            (Err(error), ..) => MemberState::Invalid(error),
            (Ok(_), Some(of), _) => MemberState::Duplicate { of },
            (Ok(_), None, Some(Link::Connected(cluster))) => {
                let connectivity = &cluster.connectivity;
                let reach = connectivity.reach();
                seen.version = connectivity.version().map(|version| version.to_string());
                seen.probed = connectivity.last_probe();
                seen.copies = connectivity.was_seen().then(|| cluster.copies());
                seen.down = match &reach {
                    crate::domain::connectivity::Reach::Down { since, .. } => Some(*since),
                    _ => None,
                };
                let shows_id = cluster.id().is_some();
                let state = member::connected(&reach, seen.probed.is_some(), id.is_some(), shows_id);
                if state == MemberState::Connecting && connectivity.is_up() {
                    self.context.queues.member(name);
                }
                state
            }
            (Ok(_), None, Some(Link::Broken(why))) => MemberState::Unusable(why),
            (Ok(_), None, Some(Link::Unknown) | None) => MemberState::Connecting,
        };
        seen
    }

    /// Whose cluster it is besides: that of the operator, or of a member that was there before.
    fn duplicate(&self, name: &str, id: &str) -> Option<String> {
        let hub = self.context.local().id().is_some_and(|hub| &*hub == id);
        if hub { Some(LOCAL.to_owned()) } else { self.index.elder(name, id) }
    }

    /// Writes the status when it says anything new, and tells its transitions.
    async fn tell(
        &self,
        name: &str,
        object: &MemberCluster,
        entry: &Entry,
        seen: &Seen,
        deletion: Option<Deletion>,
    ) -> Result<(), Error> {
        let previous = entry.status().filter(|status| !status.conditions.is_empty());
        let generation = object.metadata.generation;
        if seen.state == MemberState::Connecting
            && deletion.is_none()
            && member::told_how_connecting_ended(previous, generation, seen.server.as_deref())
        {
            // After a restart, or with new credentials: how this ends is told in a moment.
            return Ok(());
        }
        let seen = Observation {
            generation,
            state: seen.state.clone(),
            paused: object.spec.paused,
            deletion,
            source: member::source(&object.spec, &self.context.namespace),
            server: seen.server.clone(),
            id: seen.id.clone(),
            version: seen.version.clone(),
            probed: seen.probed,
        };
        let next = member::status(&seen, previous, Timestamp::now());
        if !member::worth_writing(previous, &next) {
            return Ok(());
        }
        let version = self.target(name).status(entry.uid(), None, &fields(&next)?).await?;
        for note in member::notes(previous, &next) {
            self.context.events.publish(&about(object, &()), &note).await;
        }
        self.index.change(name, entry.uid(), |entry| entry.written = version.map(|version| (version, next)));
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
        let told: Vec<_> = before
            .get("conditions")
            .and_then(|conditions| serde_json::from_value(conditions.clone()).ok())
            .unwrap_or_default();
        let verdict = |status| Verdict::new(status, Reason::UnsupportedSpec, message.clone());
        let verdicts = [
            (ConditionType::Ready, verdict(ConditionStatus::False)),
            (ConditionType::Reconciling, verdict(ConditionStatus::False)),
            (ConditionType::Stalled, verdict(ConditionStatus::True)),
        ];
        let conditions = condition::set(&told, verdicts, object.metadata.generation, Timestamp::now());
        let mut fields = before.clone();
        fields.insert("observedGeneration".to_owned(), object.metadata.generation.into());
        fields.insert("conditions".to_owned(), serde_json::to_value(conditions).unwrap_or_default());
        if fields == before {
            return Ok(());
        }
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        target.status(uid, Some(&before).filter(|before| !before.is_empty()), &fields).await?;
        let about = about(&object, &ApiResource::erase::<MemberCluster>(&()));
        let note = Note::warning(Reason::UnsupportedSpec, Action::Read, message);
        self.context.events.publish(&about, &note).await;
        Ok(())
    }

    fn target(&self, name: &str) -> Target {
        let client = self.context.local().connection.client();
        let api = Api::all_with(client, &ApiResource::erase::<MemberCluster>(&()));
        Target { api, name: name.to_owned() }
    }

    /// What the object alone says of its deletion.
    fn removal(&self, object: &MemberCluster, deleted: Timestamp) -> MemberRemoval {
        let forced = object.annotations().get(ANNOTATION_FORCE_DELETE).is_some_and(|value| value == "true");
        MemberRemoval {
            policy: object.spec.deletion_policy,
            forced,
            paused: object.spec.paused,
            duplicate: false,
            up: false,
            copies: None,
            settled: false,
            deleted,
            down: None,
            grace: self.context.unreachable_grace,
        }
    }
}

/// A Secret, with its values where they are wiped.
fn access_secret(secret: Secret) -> AccessSecret {
    let data = secret.data.unwrap_or_default();
    AccessSecret {
        labels: secret.metadata.labels.unwrap_or_default(),
        data: data.into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect(),
    }
}
