//! The clusters that credentials can go to: `local`, and the members.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use kube::Config;

use super::Roster;
use crate::{
    cluster::{Cluster, Connector, LOCAL, Sink as _, Surroundings, Timeouts, describe},
    domain::{
        consent::ClusterIdentity, fingerprint::FingerprintKey, ownership::Hub, selection::canonical,
        trouble::ClusterTrouble,
    },
    telemetry::{Freshness, Metrics},
};

/// What all clusters have in common.
pub struct Means {
    /// Times that bound requests.
    pub timeouts: Timeouts,
    /// Writes in flight at once, per cluster.
    pub concurrency: usize,
    /// How often a member is asked whether it is there.
    pub probe: Duration,
    /// Who we are on copies.
    pub hub: Arc<Hub>,
    /// Hashes contents.
    pub fingerprints: Arc<FingerprintKey>,
    /// Is told what changed.
    pub roster: Arc<Roster>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Knows how old answers are.
    pub freshness: Freshness,
    /// How old the last good answer to a watch may be.
    pub stale_after: Duration,
}

/// All clusters that credentials can go to.
pub struct Fleet {
    means: Means,
    local: Arc<Cluster>,
    local_membership: Arc<Membership>,
    members: RwLock<BTreeMap<Arc<str>, Entry>>,
}

struct Entry {
    member: Member,
    /// Changes whenever the configuration does.
    version: u64,
}

/// One of the clusters.
#[derive(Clone)]
pub struct Member {
    /// Its name.
    pub name: Arc<str>,
    /// How it is to be treated.
    pub membership: Arc<Membership>,
    /// The way to it.
    pub link: Link,
}

/// The way to a cluster.
#[derive(Clone)]
pub enum Link {
    /// There is one; whether the cluster answers is another question.
    Connected(Arc<Cluster>),
    /// There is none just now; why, as a phrase.
    Broken(String),
    /// It is not known yet whether there is one.
    Coming,
}

/// How a member is to be treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Its labels, which selectors look at.
    pub labels: BTreeMap<String, String>,
    /// Whether nothing is to be written there.
    pub paused: bool,
    /// Whether it is being removed, so that no credential wants anything there.
    pub leaving: bool,
    /// Whether it is known to be nobody else: not the hub, nor another member under a second name.
    pub identified: bool,
}

impl Member {
    /// As policies and targets see it.
    #[must_use]
    pub fn identity(&self) -> ClusterIdentity<'_> {
        ClusterIdentity { name: &self.name, labels: &self.membership.labels }
    }

    /// The cluster, when it was seen at some time by this process.
    #[must_use]
    pub fn seen(&self) -> Option<&Arc<Cluster>> {
        match &self.link {
            Link::Connected(cluster) if cluster.was_seen() => Some(cluster),
            _ => None,
        }
    }

    /// The cluster, when it can be worked with.
    #[must_use]
    pub fn up(&self) -> Option<&Arc<Cluster>> {
        self.seen().filter(|_| self.trouble().is_none())
    }

    /// What stands in the way of working with it.
    #[must_use]
    pub fn trouble(&self) -> Option<ClusterTrouble> {
        match &self.link {
            Link::Connected(cluster) => match cluster.reach().trouble() {
                None if !self.membership.identified => Some(ClusterTrouble::Connecting),
                trouble => trouble,
            },
            Link::Broken(why) => Some(ClusterTrouble::Unreachable(why.clone())),
            Link::Coming => Some(ClusterTrouble::Connecting),
        }
    }
}

impl Fleet {
    /// A fleet of `local` alone.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn new(
        means: Means,
        connector: Connector,
        labels: BTreeMap<String, String>,
    ) -> Result<Self, kube::Error> {
        let local = Cluster::start(LOCAL, means.surroundings(connector, None))?;
        let membership = Membership { labels, identified: true, ..Membership::default() };
        Ok(Self { means, local, local_membership: Arc::new(membership), members: RwLock::default() })
    }

    /// Takes a member in, or changes it. A new configuration swaps the clients of one that is connected, and what
    /// is known of it stays. `version` is any number that changes whenever the configuration does; an error says
    /// why there is no way to the cluster.
    pub fn set(&self, name: &str, membership: Membership, access: Result<(Config, u64), String>) {
        let before = self.get(name);
        let version = access.as_ref().map_or(0, |(_, version)| *version);
        let known = self.read().get(name).map(|entry| entry.version);
        let link = match (access, before.as_ref().map(|member| &member.link)) {
            (Ok(_), Some(link @ Link::Connected(_))) if known == Some(version) => link.clone(),
            (Ok((config, _)), link) => self.connect(name, config, link),
            (Err(why), _) => Link::Broken(why),
        };
        let member = Member { name: name.into(), membership: Arc::new(membership), link };
        let changed = before.as_ref().is_none_or(|before| {
            before.membership != member.membership
                || match (&before.link, &member.link) {
                    (Link::Connected(a), Link::Connected(b)) => !Arc::ptr_eq(a, b),
                    (Link::Broken(a), Link::Broken(b)) => a != b,
                    _ => true,
                }
        });
        if let (Some(Member { link: Link::Connected(cluster), .. }), Link::Broken(_)) =
            (&before, &member.link)
        {
            cluster.retire();
        }
        self.write().insert(member.name.clone(), Entry { member: member.clone(), version });
        if changed {
            self.tell(&member);
        }
    }

    /// Has those looked at that may want something of a member, or have something there.
    fn tell(&self, member: &Member) {
        let owners = match &member.link {
            Link::Connected(cluster) => cluster.owners(),
            Link::Broken(_) | Link::Coming => HashSet::new(),
        };
        self.means.roster.cluster_changed(&member.name, &owners);
    }

    /// Lets it be known that there is a member of this name, before anybody has looked how to reach it: a credential that
    /// wants to go there is not to be called complete without it.
    pub fn announce(&self, name: &str, labels: &BTreeMap<String, String>) {
        if self.get(name).is_some() {
            return;
        }
        let membership = Membership { labels: labels.clone(), ..Membership::default() };
        let member = Member { name: name.into(), membership: Arc::new(membership), link: Link::Coming };
        self.write().insert(member.name.clone(), Entry { member: member.clone(), version: 0 });
        self.tell(&member);
    }

    fn connect(&self, name: &str, config: Config, before: Option<&Link>) -> Link {
        let Means { timeouts, metrics, .. } = &self.means;
        let connector = Connector::new(config, *timeouts, name.into(), metrics.clone());
        let connected = match before {
            Some(Link::Connected(cluster)) => cluster.reconnect(connector).map(|()| cluster.clone()),
            _ => Cluster::start(name, self.means.surroundings(connector, Some(self.means.probe))),
        };
        connected.map_or_else(|error| Link::Broken(describe(&error)), Link::Connected)
    }

    /// Takes a member out; its watches end.
    pub fn remove(&self, name: &str) {
        let removed = self.write().remove(name);
        if let Some(Entry { member, .. }) = removed {
            if let Link::Connected(cluster) = &member.link {
                cluster.retire();
            }
            self.tell(&member);
        }
    }

    /// A cluster by its name; `local` has two.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Member> {
        match canonical(name) {
            LOCAL => Some(self.hub()),
            name => self.read().get(name).map(|entry| entry.member.clone()),
        }
    }

    /// The version of the configuration by which a member is connected.
    #[must_use]
    pub fn version(&self, name: &str) -> Option<u64> {
        self.read().get(name).map(|entry| entry.version)
    }

    /// All clusters, `local` first.
    #[must_use]
    pub fn all(&self) -> Vec<Member> {
        let members = self.read();
        std::iter::once(self.hub()).chain(members.values().map(|entry| entry.member.clone())).collect()
    }

    /// The cluster that the operator runs in.
    #[must_use]
    pub fn local(&self) -> &Arc<Cluster> {
        &self.local
    }

    /// `local`, as one of the clusters.
    fn hub(&self) -> Member {
        Member {
            name: self.local.name().clone(),
            membership: self.local_membership.clone(),
            link: Link::Connected(self.local.clone()),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, Entry>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Arc<str>, Entry>> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Means {
    fn surroundings(&self, connector: Connector, probe: Option<Duration>) -> Surroundings {
        Surroundings {
            connector,
            concurrency: self.concurrency,
            hub: self.hub.clone(),
            probe,
            fingerprints: self.fingerprints.clone(),
            sink: self.roster.clone(),
            metrics: self.metrics.clone(),
            freshness: self.freshness.clone(),
            stale_after: self.stale_after,
        }
    }
}
