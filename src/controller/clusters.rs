//! The clusters that credentials can go to: `local`, and the members.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use kube::Config;

use crate::{
    api::Target,
    cluster::{Cluster, ClusterOptions, Connector, Timeouts, describe},
    domain::{
        cluster_condition::ClusterCondition,
        connectivity::Reach,
        selection::{LOCAL, canonical, selects_cluster},
    },
};

/// All clusters that credentials can go to.
pub(crate) struct ClusterRegistry {
    options: ClusterOptions,
    timeouts: Timeouts,
    local: Arc<Cluster>,
    local_settings: Arc<MemberSettings>,
    members: RwLock<BTreeMap<Arc<str>, Entry>>,
}

struct Entry {
    member: Member,
    /// Changes whenever the configuration does.
    version: u64,
}

/// One of the clusters.
#[derive(Clone)]
pub(crate) struct Member {
    pub name: Arc<str>,
    pub settings: Arc<MemberSettings>,
    pub link: Link,
}

/// The connection to a cluster.
#[derive(Clone)]
pub(crate) enum Link {
    /// There is one; whether the cluster answers is another question.
    Connected(Arc<Cluster>),
    /// There is none; why, as a phrase.
    Broken(String),
    /// It is not known yet whether there is one.
    Unknown,
}

/// How a cluster is to be treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberSettings {
    /// Its labels, which selectors look at.
    pub labels: BTreeMap<String, String>,
    /// Whether nothing is to be written there.
    pub paused: bool,
    /// Whether it is being removed, so that no credential wants anything there.
    pub leaving: bool,
    /// Whether it is known to be no other one: not the hub, nor another member under a second name.
    pub identified: bool,
}

impl Member {
    /// The cluster, when it was seen at some time by this process.
    pub fn seen(&self) -> Option<&Arc<Cluster>> {
        match &self.link {
            Link::Connected(cluster) if cluster.connectivity.was_seen() => Some(cluster),
            _ => None,
        }
    }

    /// The cluster, when it can be worked with.
    pub fn up(&self) -> Option<&Arc<Cluster>> {
        self.seen().filter(|_| self.condition().is_none())
    }

    /// What prevents work with it.
    pub fn condition(&self) -> Option<ClusterCondition> {
        match &self.link {
            Link::Connected(cluster) => match cluster.connectivity.reach().condition() {
                None if !self.settings.identified => Some(ClusterCondition::Connecting),
                condition => condition,
            },
            Link::Broken(why) => Some(ClusterCondition::Unreachable(why.clone())),
            Link::Unknown => Some(ClusterCondition::Connecting),
        }
    }

    /// Since when it does not answer.
    pub fn down_since(&self) -> Option<k8s_openapi::jiff::Timestamp> {
        match &self.link {
            Link::Connected(cluster) => match cluster.connectivity.reach() {
                Reach::Down { since, .. } => Some(since),
                Reach::Connecting(_) | Reach::Up => None,
            },
            Link::Broken(_) | Link::Unknown => None,
        }
    }

    /// Whether a credential wants anything there.
    pub fn is_wanted(&self, target: &Target) -> bool {
        !self.settings.leaving && selects_cluster(target.clusters.as_ref(), &self.name, &self.settings.labels)
    }
}

impl ClusterRegistry {
    /// A registry of `local` alone.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub fn new(
        options: ClusterOptions,
        connector: Connector,
        labels: BTreeMap<String, String>,
    ) -> Result<Self, kube::Error> {
        let timeouts = connector.timeouts();
        let local = Cluster::start(LOCAL, connector, options.clone())?;
        let settings = MemberSettings { labels, identified: true, ..MemberSettings::default() };
        Ok(Self { options, timeouts, local, local_settings: Arc::new(settings), members: RwLock::default() })
    }

    /// Adds a member, or changes it. A new configuration swaps the clients of one that is connected, and what
    /// is known of it stays. `version` is any number that changes whenever the configuration does; an error says
    /// why there is no connection to the cluster.
    pub fn set(&self, name: &str, settings: MemberSettings, access: Result<(Config, u64), String>) {
        let before = self.get(name);
        let version = access.as_ref().map_or(0, |(_, version)| *version);
        let known = self.version(name);
        let link = match (access, before.as_ref().map(|member| &member.link)) {
            (Ok(_), Some(link @ Link::Connected(_))) if known == Some(version) => link.clone(),
            (Ok((config, _)), link) => self.connect(name, config, link),
            (Err(why), _) => Link::Broken(why),
        };
        let member = Member { name: name.into(), settings: Arc::new(settings), link };
        let changed = before.as_ref().is_none_or(|before| {
            before.settings != member.settings
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
            self.options.handler.connectivity_changed(&member.name);
        }
    }

    /// Lets it be known that there is a member of this name, before anybody has looked how to reach it: a credential that
    /// wants to go there is not to be called complete without it.
    pub fn announce(&self, name: &str, labels: &BTreeMap<String, String>) {
        if self.get(name).is_some() {
            return;
        }
        let settings = MemberSettings { labels: labels.clone(), ..MemberSettings::default() };
        let member = Member { name: name.into(), settings: Arc::new(settings), link: Link::Unknown };
        self.write().insert(member.name.clone(), Entry { member: member.clone(), version: 0 });
        self.options.handler.connectivity_changed(&member.name);
    }

    fn connect(&self, name: &str, config: Config, before: Option<&Link>) -> Link {
        let connector = Connector::new(config, self.timeouts, name.into(), self.options.metrics.clone());
        let connected = match before {
            Some(Link::Connected(cluster)) => cluster.reconnect(connector).map(|()| cluster.clone()),
            _ => Cluster::start(name, connector, self.options.clone()),
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
            self.options.handler.connectivity_changed(&member.name);
        }
    }

    /// A cluster by its name; `local` has two.
    pub fn get(&self, name: &str) -> Option<Member> {
        match canonical(name) {
            LOCAL => Some(self.hub()),
            name => self.read().get(name).map(|entry| entry.member.clone()),
        }
    }

    /// The version of the configuration by which a member is connected.
    pub fn version(&self, name: &str) -> Option<u64> {
        self.read().get(name).map(|entry| entry.version)
    }

    /// All clusters, `local` first.
    pub fn all(&self) -> Vec<Member> {
        let members = self.read();
        std::iter::once(self.hub()).chain(members.values().map(|entry| entry.member.clone())).collect()
    }

    /// The cluster that the operator runs in.
    pub fn local(&self) -> &Arc<Cluster> {
        &self.local
    }

    /// `local`, as one of the clusters.
    fn hub(&self) -> Member {
        Member {
            name: self.local.name().clone(),
            settings: self.local_settings.clone(),
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
