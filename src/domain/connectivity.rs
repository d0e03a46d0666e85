//! Whether a cluster can be worked with, and how hard: a state machine, fed by watches, probes and writes.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;

use super::{
    cluster_condition::{ClusterCondition, ConnectionError},
    reference_kind::{ApiType, GrantKind, Kinds, ReferenceKind},
    schedule::{PERSISTENT_FAULTS, WRITE_PAUSE},
};

/// What is watched in a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WatchedKind {
    Namespaces,
    /// Secrets that carry our marks.
    Copies,
    /// All other Secrets, as metadata.
    Secrets,
    /// What may use Secrets.
    Users(ReferenceKind),
    /// What lets objects of other namespaces use Secrets.
    Grants(GrantKind),
}

impl WatchedKind {
    pub const PODS: Self = Self::Users(ReferenceKind::Pod);

    pub const ACCOUNTS: Self = Self::Users(ReferenceKind::ServiceAccount);

    /// Those without which a cluster cannot be worked with.
    pub const REQUIRED: [Self; 4] = [Self::Namespaces, Self::Copies, Self::PODS, Self::Secrets];

    /// Those that a cluster may lack, or keep from us, where these kinds are looked at.
    pub fn optional(kinds: Kinds) -> impl Iterator<Item = Self> {
        let users = kinds.iter().map(Self::Users).filter(|kind| !kind.is_required());
        users.chain(kinds.grants().map(Self::Grants))
    }

    /// The type of an object that may use Secrets, or lets others.
    pub fn api(self) -> Option<ApiType> {
        match self {
            Self::Users(kind) => Some(kind.api()),
            Self::Grants(kind) => Some(kind.api()),
            Self::Namespaces | Self::Copies | Self::Secrets => None,
        }
    }

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Copies => "copies",
            Self::Secrets => "secrets",
            Self::Users(kind) => kind.api().plural,
            Self::Grants(kind) => kind.api().plural,
        }
    }

    /// Whether a cluster cannot be worked with before it is listed. Of what is not required only a first try is waited for,
    /// so that a status does not tell less for a moment after each start.
    pub fn is_required(self) -> bool {
        Self::REQUIRED.contains(&self)
    }
}

/// What of a kind went wrong, or well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Stage {
    List,
    Watch,
}

/// Whether a cluster can be worked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Not everything was listed yet; why not, once something prevented it.
    Connecting(Option<ConnectionError>),
    /// All is known, and kept so by watches.
    Up,
    /// It does not answer.
    Down { why: ConnectionError, since: Timestamp },
}

impl Reach {
    /// Since when it does not answer.
    pub fn down_since(&self) -> Option<Timestamp> {
        match self {
            Self::Down { since, .. } => Some(*since),
            Self::Connecting(_) | Self::Up => None,
        }
    }

    /// What is wrong, when it is not up.
    pub fn condition(&self) -> Option<ClusterCondition> {
        match self {
            Self::Up => None,
            Self::Connecting(None) => Some(ClusterCondition::Connecting),
            Self::Connecting(Some(why)) => Some(ClusterCondition::Failing(why.to_string())),
            Self::Down { why, .. } => Some(ClusterCondition::Unreachable(why.to_string())),
        }
    }
}

/// What is known of a cluster's connectivity. Durations count from any one moment.
#[derive(Debug, Default)]
pub(crate) struct Connectivity {
    /// What may be listed besides what is required.
    optional: Vec<WatchedKind>,
    /// What was listed since the watches last began.
    listed: HashSet<WatchedKind>,
    /// What was listed at any time.
    ever: HashSet<WatchedKind>,
    /// Why no watch could begin.
    fault: Option<ConnectionError>,
    /// Faults in a row, and the last one, of what has not gone well since.
    faults: HashMap<(WatchedKind, Stage), (u32, ConnectionError)>,
    /// Which watch has been silent for too long.
    silent: Option<ConnectionError>,
    down: Option<(ConnectionError, Timestamp)>,
    /// Probes in a row that were not answered.
    pub failed_probes: u32,
    /// When the API server was last asked.
    pub last_probe: Option<Timestamp>,
    /// Version of the API server, as the last probe that was answered found it.
    pub version: Option<String>,
    pause: Option<(Duration, ClusterCondition)>,
    failed_writes: u32,
}

impl Connectivity {
    /// Of a cluster in which these kinds are looked at.
    pub fn new(kinds: Kinds) -> Self {
        Self { optional: WatchedKind::optional(kinds).collect(), ..Self::default() }
    }

    fn are_all(&self, kinds: &HashSet<WatchedKind>) -> bool {
        WatchedKind::REQUIRED.iter().chain(&self.optional).all(|kind| kinds.contains(kind))
    }

    pub fn reach(&self) -> Reach {
        if let Some((why, since)) = &self.down {
            return Reach::Down { why: why.clone(), since: *since };
        }
        if self.is_filled() && self.silent.is_none() && !self.is_failing() {
            return Reach::Up;
        }
        let all = WatchedKind::REQUIRED.into_iter();
        let all = all.flat_map(|kind| [(kind, Stage::List), (kind, Stage::Watch)]);
        let worst = all.filter_map(|key| self.faults.get(&key));
        let worst = worst.max_by_key(|(faults, _)| *faults).map(|(_, why)| why);
        Reach::Connecting(self.silent.as_ref().or(worst).or(self.fault.as_ref()).cloned())
    }

    /// Whether a kind was listed since the watches last began.
    pub fn has_listed(&self, kind: WatchedKind) -> bool {
        self.listed.contains(&kind)
    }

    /// Whether everything was listed since the watches last began.
    pub fn is_filled(&self) -> bool {
        self.are_all(&self.listed)
    }

    /// Whether what was listed is not kept up to date, though the server answers.
    fn is_failing(&self) -> bool {
        self.faults.values().any(|(faults, _)| *faults >= PERSISTENT_FAULTS)
    }

    /// Whether everything was listed at some time, so that caches tell at least what was.
    pub fn was_seen(&self) -> bool {
        self.are_all(&self.ever)
    }

    pub fn is_down(&self) -> bool {
        self.down.is_some()
    }

    /// The watches begin anew.
    pub fn begin(&mut self) {
        self.listed.clear();
        self.faults.clear();
        (self.down, self.fault, self.pause, self.failed_writes) = (None, None, None, 0);
    }

    /// A watch listed everything. Returns whether that was the last one that was missing.
    pub fn listed(&mut self, kind: WatchedKind) -> bool {
        let before = self.is_filled() && !self.is_failing();
        self.ever.insert(kind);
        self.listed.insert(kind);
        self.faults.remove(&(kind, Stage::List));
        // It answers again, so there is nothing to wait for.
        (self.pause, self.failed_writes, self.fault) = (None, 0, None);
        self.is_filled() && !self.is_failing() && !before
    }

    /// What is not required is not there, may not be read or could not be listed. Returns whether it was the last of which
    /// a first try was waited for.
    pub fn settled(&mut self, kind: WatchedKind) -> bool {
        let before = self.is_filled();
        self.ever.insert(kind);
        self.listed.insert(kind);
        self.is_filled() && !self.is_failing() && !before
    }

    /// A watch could not list or go on. Returns whether that is news.
    pub fn faulted(&mut self, kind: WatchedKind, stage: Stage, why: ConnectionError) -> bool {
        let (before, first) = (self.is_failing(), self.faults.is_empty() && !self.is_filled());
        let faults = self.faults.get(&(kind, stage)).map_or(0, |(faults, _)| *faults);
        self.faults.insert((kind, stage), (faults.saturating_add(1), why));
        first || self.is_failing() != before
    }

    /// A watch goes on well. Returns whether that is news.
    pub fn followed(&mut self, kind: WatchedKind) -> bool {
        let before = self.is_failing();
        self.faults.remove(&(kind, Stage::Watch));
        before && !self.is_failing()
    }

    /// No connection could be made.
    pub fn unconnected(&mut self, why: ConnectionError) {
        self.fault = Some(why);
    }

    /// A probe was answered. `silent` is a watch that has had no answer for too long all the same. Returns whether the
    /// change is news. When the cluster was down, its watches have to begin anew.
    pub fn answered(
        &mut self,
        version: Option<String>,
        silent: Option<ConnectionError>,
        now: Timestamp,
    ) -> bool {
        (self.failed_probes, self.last_probe) = (0, Some(now));
        if version.is_some() {
            self.version = version;
        }
        let silent = silent.filter(|_| self.is_filled());
        let turned = self.silent.is_some() != silent.is_some();
        self.silent = silent;
        let back = self.is_down();
        if back {
            self.begin();
        }
        back || turned
    }

    /// A probe was not answered, or not well. One lost packet is not an outage, unless it is `certain`. Returns whether
    /// the cluster is down, and was not before.
    pub fn unanswered(&mut self, why: ConnectionError, certain: bool, now: Timestamp) -> bool {
        self.last_probe = Some(now);
        self.failed_probes = self.failed_probes.saturating_add(1);
        let fell = !self.is_down() && (certain || self.failed_probes > 1 || !self.is_filled());
        match &mut self.down {
            Some((before, _)) => *before = why,
            None if fell => self.down = Some((why, now)),
            None => {}
        }
        if fell {
            self.listed.clear();
        }
        fell
    }

    /// A write was not taken for a reason that lies with the cluster: nothing more is written for a while.
    pub fn strained(&mut self, why: ClusterCondition, clock: Duration, jitter: f64) {
        self.failed_writes = self.failed_writes.saturating_add(1);
        self.pause = Some((clock + WRITE_PAUSE.wait(self.failed_writes, jitter), why));
    }

    /// A write was taken.
    pub fn eased(&mut self) {
        (self.pause, self.failed_writes) = (None, 0);
    }

    /// How much longer nothing is to be written, and why.
    pub fn pause(&self, clock: Duration) -> Option<(Duration, ClusterCondition)> {
        let (until, why) = self.pause.as_ref()?;
        Some((until.checked_sub(clock).filter(|left| !left.is_zero())?, why.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reference_kind::Family;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn filled() -> Connectivity {
        let mut state = Connectivity::default();
        let last = WatchedKind::REQUIRED.map(|kind| state.listed(kind));
        assert_eq!(last, [false, false, false, true]);
        state
    }

    #[test]
    fn it_is_up_once_everything_was_listed() {
        let mut state = Connectivity::default();
        assert_eq!(state.reach(), Reach::Connecting(None));
        let kind = WatchedKind::PODS;
        assert!(state.faulted(kind, Stage::List, "list failed".into()));
        assert!(!state.faulted(kind, Stage::List, "again".into()), "told once");
        assert!(matches!(state.reach().condition(), Some(ClusterCondition::Failing(_))));
        let state = filled();
        assert_eq!((state.reach(), state.was_seen()), (Reach::Up, true));
    }

    #[test]
    fn one_whose_objects_cannot_be_listed_any_more_is_not_up_until_they_can() {
        for (stage, kind) in [(Stage::List, WatchedKind::PODS), (Stage::Watch, WatchedKind::Copies)] {
            let mut state = filled();
            for _ in 1..PERSISTENT_FAULTS {
                assert!(!state.faulted(kind, stage, "x".into()) && state.reach() == Reach::Up);
            }
            assert!(!state.faulted(WatchedKind::Secrets, stage, "y".into()), "each kind for itself");
            assert!(state.faulted(kind, stage, "too many".into()));
            assert_eq!(state.reach(), Reach::Connecting(Some("too many".into())));
            assert!(!state.listed(WatchedKind::Secrets) && !state.followed(WatchedKind::Secrets));
            assert_eq!(state.listed(kind), stage == Stage::List);
            assert_eq!(state.followed(kind), stage == Stage::Watch);
            assert_eq!(state.reach(), Reach::Up);
        }
    }

    #[test]
    fn one_lost_probe_is_no_outage_two_are_and_a_timeout_is_at_once() {
        let mut state = filled();
        assert!(!state.unanswered("x".into(), false, at(1)) && state.failed_probes == 1);
        assert!(state.unanswered("x".into(), false, at(2)));
        assert_eq!(state.reach(), Reach::Down { why: "x".into(), since: at(2) });
        assert!(!state.unanswered("y".into(), true, at(3)), "it is down already");
        assert_eq!(state.reach(), Reach::Down { why: "y".into(), since: at(2) });
        assert!(filled().unanswered("x".into(), true, at(1)));
    }

    #[test]
    fn one_that_is_back_is_listed_anew_before_it_is_up_and_stays_known() {
        let mut state = filled();
        state.unanswered("x".into(), true, at(1));
        assert!(state.is_down() && state.answered(Some("v1".into()), None, at(5)) && !state.is_down());
        assert_eq!((state.reach(), state.was_seen()), (Reach::Connecting(None), true));
        for kind in WatchedKind::REQUIRED {
            state.listed(kind);
        }
        assert_eq!(state.reach(), Reach::Up);
    }

    #[test]
    fn what_a_cluster_may_lack_is_tried_once_before_it_is_up_and_never_waited_for_again() {
        let mut state = Connectivity::new(Kinds::of(&[Family::Gateways]));
        for kind in WatchedKind::REQUIRED {
            assert!(!state.listed(kind));
        }
        let optional: Vec<_> = WatchedKind::optional(Kinds::of(&[Family::Gateways])).collect();
        assert!(optional.contains(&WatchedKind::Grants(GrantKind::ReferenceGrant)));
        assert!(optional.iter().all(|kind| !kind.is_required()));
        let last: Vec<_> = optional.iter().map(|kind| state.settled(*kind)).collect();
        assert_eq!(last.iter().filter(|last| **last).count(), 1);
        assert!(last.last() == Some(&true) && state.reach() == Reach::Up);
        assert!(!state.settled(optional[0]) && state.reach() == Reach::Up);
    }

    #[test]
    fn a_silent_watch_makes_it_unusable_though_probes_are_answered() {
        let mut state = filled();
        let silent = || Some(ConnectionError::from("the watch of pods"));
        assert!(state.answered(None, silent(), at(1)));
        assert!(!state.answered(None, silent(), at(2)));
        assert!(matches!(state.reach(), Reach::Connecting(Some(_))));
        assert!(state.answered(None, None, at(3)) && state.reach() == Reach::Up);
    }

    #[test]
    fn writes_pause_longer_each_time_and_go_on_after_one_that_was_taken() {
        let mut state = filled();
        let clock = Duration::from_secs(100);
        let full = || ClusterCondition::Failing("full".into());
        state.strained(full(), clock, 1.0);
        let first = state.pause(clock).unwrap().0;
        state.strained(full(), clock, 1.0);
        assert!(state.pause(clock).unwrap().0 > first);
        assert_eq!(state.pause(clock + Duration::from_secs(60)), None);
        state.eased();
        assert_eq!(state.pause(clock), None);
    }
}
