//! The clusters that credentials can go to: `local`, and the members.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::jiff::Timestamp;
use kube::Config;

use crate::{
    api::Target,
    cluster::{Cluster, ClusterOptions, Connector, describe},
    domain::{
        cluster_condition::ClusterCondition,
        selection::{LOCAL, canonical, selects_cluster},
    },
    lock::Lock,
};

/// All clusters that credentials can go to.
pub(crate) struct ClusterRegistry {
    options: ClusterOptions,
    local: Arc<Cluster>,
    /// `local`, as one of the clusters.
    hub: Member,
    members: Lock<BTreeMap<Arc<str>, Member>>,
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
    /// There is one; whether the cluster answers is another question. The version changes whenever the configuration
    /// does.
    Connected { cluster: Arc<Cluster>, version: u64 },
    /// There is none; why, as a phrase.
    Broken(String),
    /// It is not known yet whether there is one.
    Unknown,
}

/// What the operator is told of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberSettings {
    /// Its labels, which selectors look at.
    pub labels: BTreeMap<String, String>,
    /// Whether nothing is to be written there.
    pub paused: bool,
    /// Whether it is being removed, so that no credential wants anything there.
    pub leaving: bool,
    /// Whether it is known not to be the hub, or another member under a second name.
    pub identified: bool,
}

impl Member {
    /// The cluster, when there is a connection to it.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        match &self.link {
            Link::Connected { cluster, .. } => Some(cluster),
            Link::Broken(_) | Link::Unknown => None,
        }
    }

    /// The cluster, when it was seen at some time by this process.
    pub fn seen(&self) -> Option<&Arc<Cluster>> {
        self.cluster().filter(|cluster| cluster.connectivity.was_seen())
    }

    /// The cluster, when it can be worked with.
    pub fn up(&self) -> Option<&Arc<Cluster>> {
        self.seen().filter(|_| self.condition().is_none())
    }

    /// What prevents work with it.
    pub fn condition(&self) -> Option<ClusterCondition> {
        let unidentified = || (!self.settings.identified).then_some(ClusterCondition::Connecting);
        match &self.link {
            Link::Connected { cluster, .. } => cluster.connectivity.reach().condition().or_else(unidentified),
            Link::Broken(why) => Some(ClusterCondition::Unreachable(why.clone())),
            Link::Unknown => Some(ClusterCondition::Connecting),
        }
    }

    /// Since when it does not answer.
    pub fn down_since(&self) -> Option<Timestamp> {
        self.cluster()?.connectivity.reach().down_since()
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
        let local = Cluster::start(LOCAL, connector, options.clone())?;
        let settings = MemberSettings { labels, identified: true, ..MemberSettings::default() };
        let hub = Member {
            name: LOCAL.into(),
            settings: Arc::new(settings),
            link: Link::Connected { cluster: local.clone(), version: 0 },
        };
        Ok(Self { options, local, hub, members: Lock::default() })
    }

    /// Adds a member, or changes it. A new configuration swaps the clients of one that is connected, and what
    /// is known of it stays. `access` is the configuration and its version, or why there is no connection.
    pub fn set(&self, name: &str, settings: MemberSettings, access: Result<(Config, u64), String>) {
        let before = self.get(name);
        let link = match (access, before.as_ref().map(|member| &member.link)) {
            (Ok((_, new)), Some(link @ Link::Connected { version, .. })) if new == *version => link.clone(),
            (Ok((config, version)), _) => self.connect(name, config, version, before.as_ref()),
            (Err(why), _) => Link::Broken(why),
        };
        let changed = before.as_ref().is_none_or(|before| {
            *before.settings != settings
                || match (&before.link, &link) {
                    (Link::Connected { cluster: a, .. }, Link::Connected { cluster: b, .. }) => {
                        !Arc::ptr_eq(a, b)
                    }
                    (Link::Broken(a), Link::Broken(b)) => a != b,
                    _ => true,
                }
        });
        if let (Some(cluster), Link::Broken(_)) = (before.as_ref().and_then(Member::cluster), &link) {
            cluster.retire();
        }
        self.put(name, settings, link, changed);
    }

    /// Adds a member before it is known how to reach it: a credential that selects it must not count as complete
    /// without it.
    pub fn announce(&self, name: &str, labels: &BTreeMap<String, String>) {
        if self.get(name).is_none() {
            let settings = MemberSettings { labels: labels.clone(), ..MemberSettings::default() };
            self.put(name, settings, Link::Unknown, true);
        }
    }

    fn put(&self, name: &str, settings: MemberSettings, link: Link, changed: bool) {
        let name: Arc<str> = name.into();
        if matches!(link, Link::Broken(_)) {
            self.options.metrics.set_cluster_up(&name, false);
        }
        let member = Member { name: name.clone(), settings: Arc::new(settings), link };
        self.members.write().insert(name.clone(), member);
        if changed {
            self.options.handler.connectivity_changed(&name);
        }
    }

    fn connect(&self, name: &str, config: Config, version: u64, before: Option<&Member>) -> Link {
        let connector = self.local.connection.connector().to(name.into(), config);
        let connected = match before.and_then(Member::cluster) {
            Some(cluster) => cluster.reconnect(connector).map(|()| cluster.clone()),
            None => Cluster::start(name, connector, self.options.clone()),
        };
        match connected {
            Ok(cluster) => Link::Connected { cluster, version },
            Err(error) => Link::Broken(describe(&error)),
        }
    }

    /// Takes a member out; its watches end.
    pub fn remove(&self, name: &str) {
        let Some(member) = self.members.write().remove(name) else { return };
        match member.cluster() {
            Some(cluster) => cluster.retire(),
            None => self.options.metrics.forget_cluster(name),
        }
        self.options.handler.connectivity_changed(&member.name);
    }

    /// A cluster by its name; `local` has two.
    pub fn get(&self, name: &str) -> Option<Member> {
        match canonical(name) {
            LOCAL => Some(self.hub.clone()),
            name => self.members.read().get(name).cloned(),
        }
    }

    /// All clusters, `local` first.
    pub fn all(&self) -> Vec<Member> {
        std::iter::once(&self.hub).chain(self.members.read().values()).cloned().collect()
    }

    /// The cluster that the operator runs in.
    pub fn local(&self) -> &Arc<Cluster> {
        &self.local
    }
}
