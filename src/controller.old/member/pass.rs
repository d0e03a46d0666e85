//! One pass over one member.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Secret, jiff::Timestamp};
use kube::{Api, ResourceExt, runtime::controller::Action};
use tracing::warn;

use super::{Members, register::Entry};
use crate::{
    api::{MemberCluster, MemberClusterStatus},
    cluster::{LOCAL, Reach, configuration, describe},
    controller::{Error, Guarded, Link, Membership, finalizer, reconcile::BACKOFF, status, unreadable},
    domain::{
        SecretBytes,
        access::Access,
        member::{self, Deletion, Fault, Leave, Observation, Origin, Parting, Standing},
    },
};

/// How often a member is looked at though nothing happened: as often as `lastProbeTime` is written, and a little
/// more for the probe's own interval.
const RESYNC: Duration = Duration::from_secs(320);

/// How often one is looked at that is not up: what its API server says may change without a word of it.
const TROUBLED: Duration = Duration::from_secs(10);

/// How often one is looked at that is being emptied.
const EMPTYING: Duration = Duration::from_millis(500);

/// Of a cluster that shows no `kube-system`, as some that are made of others do not.
const NAMELESS: &str = "it shows no namespace kube-system, by whose uid clusters are told apart";

/// Looks at one member.
pub async fn reconcile(object: Arc<Guarded<MemberCluster>>, members: Arc<Members>) -> Result<Action, Error> {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    // Who the hub is must be known first; and when it is not, the end must not wait for it.
    let mut shutdown = members.shutdown.clone();
    tokio::select! {
        () = members.shared.local().filled() => {}
        _ = shutdown.wait_for(|down| *down) => return Ok(Action::await_change()),
    }
    let result = match &object.0 {
        Ok(object) => members.look(object).await,
        Err(bad) => {
            let why = "this version of Claviger cannot read its MemberCluster";
            if members.shared.fleet.get(&name).is_none() {
                let labels = bad.metadata.labels.clone().unwrap_or_default();
                let membership = Membership { labels, ..Membership::default() };
                members.shared.fleet.set(&name, membership, Err(why.to_owned()));
            }
            unreadable::tell::<MemberCluster>(&members.shared, bad).await.map(|_| RESYNC)
        }
    };
    let known = members.shared.fleet.get(&name).is_some_and(|member| !matches!(member.link, Link::Coming));
    if result.is_err() && !known {
        // Not known is not the same as not there.
        let membership = Membership { labels: object.labels().clone(), ..Membership::default() };
        let why = "the API server of the hub did not do what was asked of it".to_owned();
        members.shared.fleet.set(&name, membership, Err(why));
    }
    let failed = result.is_err();
    members.register.looked_at(&name);
    let still = members.register.change(&name, &uid, |entry| {
        entry.failures = if failed { entry.failures.saturating_add(1) } else { 0 }
    });
    if !still && !members.register.knows(&name) {
        // It went while it was looked at.
        members.shared.fleet.remove(&name);
    }
    result.map(Action::requeue)
}

/// When a failed pass is tried again. Here it is reported, once.
pub fn after_error(object: Arc<Guarded<MemberCluster>>, error: &Error, members: Arc<Members>) -> Action {
    let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
    warn!(parent: None, kind = "MemberCluster", name, reason = error.reason(), "{error}");
    let failures = members.register.recall(&name, &uid).failures;
    Action::requeue(BACKOFF.wait(failures, rand::random()))
}

/// How a member stands, and what was seen of it.
struct Sight {
    standing: Standing,
    server: Option<String>,
    id: Option<String>,
    version: Option<String>,
    probed: Option<Timestamp>,
    down: Option<Timestamp>,
    copies: Option<(usize, usize)>,
}

impl Members {
    /// Returns when to look again.
    async fn look(&self, object: &MemberCluster) -> Result<Duration, Error> {
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        let deleted = object.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let api: Api<MemberCluster> = Api::all(self.shared.local().client());
        match (deleted, finalizer::is_set(object)) {
            (Some(_), false) => return Ok(RESYNC),
            // Before the first copy, so that none can be left behind.
            (None, false) => finalizer::add(&api, object).await?,
            (_, true) => {}
        }
        let entry = self.register.recall(&name, &uid);
        let access = self.way(object, &name, &uid).await;
        let leaving = deleted.is_some()
            && parting(object, Timestamp::now(), self.shared.unreachable_grace).takes_back();
        let sight = self.link(object, &entry, access, leaving);
        let Some(deleted) = deleted else {
            self.tell(object, &entry, &sight, None).await?;
            return Ok(if sight.standing == Standing::Up { RESYNC } else { TROUBLED });
        };
        let (up, now) = (sight.standing == Standing::Up, Timestamp::now());
        let parting = Parting {
            duplicate: matches!(sight.standing, Standing::Duplicate { .. }),
            up,
            copies: sight.copies,
            settled: entry.settled,
            down: sight.down,
            ..parting(object, deleted, self.shared.unreachable_grace)
        };
        let deletion = match parting.judge(now) {
            Leave::Now(note) => {
                // When the object is gone, it is taken out of the fleet.
                finalizer::remove(&api, object).await?;
                self.shared.events.publish(object, &note).await;
                return Ok(RESYNC);
            }
            Leave::Wait(deletion) => deletion,
        };
        let settled = up && leaving && sight.copies.is_some_and(|(all, used)| all <= used);
        self.register.change(&name, &uid, |entry| entry.settled = settled);
        let wait = match deletion.until {
            None => EMPTYING,
            Some(until) => Duration::try_from(until.duration_since(now)).unwrap_or_default().min(TROUBLED),
        };
        self.tell(object, &entry, &sight, Some(deletion)).await?;
        Ok(wait)
    }

    /// How to reach a member, as its Secret says it now.
    async fn way(&self, object: &MemberCluster, name: &str, uid: &str) -> Result<Access, Fault> {
        let place = member::place(&object.spec, &self.shared.namespace, &self.rules.adopt);
        // Before it is read, so that no change is missed.
        self.register.reads(name, uid, place.as_ref().ok().cloned());
        let place = place?;
        let found = self.shared.local().secret(&place.namespace, &place.name).await;
        let secret = found.map_err(|error| Fault::Unreadable {
            secret: format!("{}/{}", place.namespace, place.name),
            problem: describe(&error),
        })?;
        member::read(&object.spec, &place, secret.map(origin).as_ref(), self.rules.tolerance)
    }

    /// Puts the member into the fleet, and tells how it stands there.
    fn link(
        &self,
        object: &MemberCluster,
        entry: &Entry,
        access: Result<Access, Fault>,
        leaving: bool,
    ) -> Sight {
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        let fleet = &self.shared.fleet;
        let mut membership = Membership {
            labels: object.labels().clone(),
            paused: object.spec.paused,
            leaving,
            identified: false,
        };
        let mut sight = Sight {
            standing: Standing::Connecting,
            server: None,
            id: entry.id.clone(),
            version: None,
            probed: None,
            down: None,
            copies: None,
        };
        let access = match access {
            Ok(access) => access,
            Err(Fault::Unreadable { secret, problem }) => {
                // The hub does not answer; the member itself may well be there.
                let fault = Fault::Unreadable { secret, problem };
                match fleet.get(&name) {
                    Some(member) if matches!(member.link, Link::Connected(_)) => {}
                    _ => fleet.set(&name, membership, Err(fault.to_string())),
                }
                return Sight { standing: Standing::Broken(fault), ..sight };
            }
            Err(fault) => {
                fleet.set(&name, membership, Err(fault.to_string()));
                return Sight { standing: Standing::Broken(fault), ..sight };
            }
        };
        sight.server = Some(access.server.to_string());
        let (config, way) = configuration(&access);
        // At the same address it is the same cluster until something else is seen.
        let mut known = entry.id.clone().filter(|_| entry.seen_at == sight.server);
        if let Some(Link::Connected(cluster)) = fleet.get(&name).map(|member| member.link)
            && fleet.version(&name) == Some(way)
            && cluster.reach() == Reach::Up
            && let Some(id) = cluster.id()
        {
            self.register.seen(&name, &uid, &id, sight.server.clone());
            known = Some(id.to_string());
        }
        let of = known.as_deref().and_then(|id| {
            let hub = self.shared.local().id().is_some_and(|hub| &*hub == id);
            if hub { Some(LOCAL.to_owned()) } else { self.register.elder(&name, id) }
        });
        sight.id.clone_from(&known);
        if let Some(of) = of {
            fleet.set(&name, membership, Err(format!("it is the same cluster as '{of}'")));
            return Sight { standing: Standing::Duplicate { of }, ..sight };
        }
        // Nothing is written to a cluster of which nobody knows yet whether it is another member's too.
        membership.identified = known.is_some();
        fleet.set(&name, membership, Ok((config, way)));
        match fleet.get(&name).map(|member| member.link) {
            Some(Link::Connected(cluster)) => {
                sight.standing = match cluster.reach() {
                    Reach::Up => Standing::Up,
                    Reach::Connecting(None) => Standing::Connecting,
                    // Whether it does not answer at all is for the probe to tell, which is on its way.
                    Reach::Connecting(Some(_)) if cluster.last_probe().is_none() => Standing::Connecting,
                    Reach::Connecting(Some(why)) => Standing::Failing(why),
                    Reach::Down { why, since } => {
                        sight.down = Some(since);
                        Standing::Down(why)
                    }
                };
                if sight.standing == Standing::Up && known.is_none() {
                    sight.standing = if cluster.id().is_some() {
                        // It filled while this was decided; who it is will be seen in the next pass.
                        self.shared.roster.members.now(name);
                        Standing::Connecting
                    } else {
                        // Nor will it be seen in any: asking for one at once would never end.
                        Standing::Failing(NAMELESS.into())
                    };
                }
                sight.version = cluster.server_version().map(|version| version.to_string());
                sight.probed = cluster.last_probe();
                sight.copies = cluster.was_seen().then(|| cluster.copies());
            }
            Some(Link::Broken(why)) => sight.standing = Standing::Unusable(why),
            Some(Link::Coming) | None => {}
        }
        sight
    }

    /// Writes the status when it says anything new, and tells its transitions.
    async fn tell(
        &self,
        object: &MemberCluster,
        entry: &Entry,
        sight: &Sight,
        deletion: Option<Deletion>,
    ) -> Result<(), Error> {
        let previous = entry.status.as_ref().or(object.status.as_ref()).filter(|s| !s.conditions.is_empty());
        if sight.standing == Standing::Connecting && deletion.is_none() && stands(previous, object, sight) {
            // After a restart, or with new credentials: how this ends is told in a moment.
            return Ok(());
        }
        let seen = Observation {
            generation: object.metadata.generation,
            standing: sight.standing.clone(),
            paused: object.spec.paused,
            deletion,
            source: member::source(&object.spec, &self.shared.namespace),
            server: sight.server.clone(),
            id: sight.id.clone(),
            version: sight.version.clone(),
            probed: sight.probed,
        };
        let next = member::status(&seen, previous, Timestamp::now());
        if !member::worth_writing(previous, &next) {
            return Ok(());
        }
        let (name, uid) = (object.name_any(), object.uid().unwrap_or_default());
        let api: Api<MemberCluster> = Api::all(self.shared.local().client());
        let value = serde_json::to_value(&next).map_err(|_| Error::Json { what: "the status" })?;
        status::replace(&api, &name, Some(&uid), &value).await?;
        for note in member::notes(previous, &next) {
            self.shared.events.publish(object, &note).await;
        }
        self.register.change(&name, &uid, |entry| entry.status = Some(next));
        Ok(())
    }
}

/// Whether the last status tells how the last try to connect there ended.
fn stands(previous: Option<&MemberClusterStatus>, object: &MemberCluster, sight: &Sight) -> bool {
    const ENDS: [&str; 6] = ["Connected", "Paused", "Unreachable", "Unauthorized", "Forbidden", "Failing"];
    previous.is_some_and(|status| {
        status.observed_generation == object.metadata.generation
            && status.server == sight.server
            && status.conditions.iter().any(|c| c.type_ == "Ready" && ENDS.contains(&c.reason.as_str()))
    })
}

/// What the object alone says of its deletion.
fn parting(object: &MemberCluster, deleted: Timestamp, grace: Duration) -> Parting {
    Parting {
        policy: object.spec.deletion_policy,
        forced: finalizer::is_forced(object),
        paused: object.spec.paused,
        duplicate: false,
        up: false,
        copies: None,
        settled: false,
        deleted,
        down: None,
        grace,
    }
}

/// A Secret, with its values where they are wiped.
pub(super) fn origin(secret: Secret) -> Origin {
    let data = secret.data.unwrap_or_default();
    Origin {
        labels: secret.metadata.labels.unwrap_or_default(),
        data: data.into_iter().map(|(key, value)| (key, SecretBytes::new(value.0))).collect(),
    }
}
