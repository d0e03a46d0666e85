//! Credentials, and specs of them and of policies.

use std::collections::BTreeSet;

use super::{
    super::{
        check::EXTRA_LABELS,
        content::{BucketFormat, Format, SOURCES},
        names::{Id, Kind},
        operation::{DeletionPolicy, Operation, Policy, Recipe, Spec, Target},
        selector::{Labels, Requirement, Selector},
        state::CLUSTER_LABEL,
    },
    Chooser, What,
};

/// The most credentials that a tenant has at once.
const MOST_CREDENTIALS: usize = 5;

impl Chooser<'_> {
    pub(super) fn credential(&mut self, home: &str) -> Option<Id> {
        let all: Vec<&Id> = self.state.credentials.keys().filter(|id| id.namespace == home).collect();
        self.dice.pick(&all).map(|id| (*id).clone())
    }

    pub(super) fn leaving(&mut self, home: &str) -> Option<Id> {
        let all: Vec<&Id> = self.state.leaving.keys().filter(|id| id.namespace == home).collect();
        self.dice.pick(&all).map(|id| (*id).clone())
    }

    pub(super) fn create_credential(&mut self, home: &str) -> Option<Operation> {
        let own: BTreeSet<&Id> = self.state.credentials.keys().filter(|id| id.namespace == home).collect();
        if own.len() >= MOST_CREDENTIALS {
            return None;
        }
        let kind = self.dice.weighted(&[
            (4, Kind::Registry),
            (3, Kind::BasicAuth),
            (2, Kind::Tls),
            (2, Kind::ObjectStorage),
        ]);
        let letter = self.dice.one_of(["a", "b"]);
        let short = match kind {
            Kind::Registry => "reg",
            Kind::BasicAuth => "web",
            Kind::Tls => "tls",
            Kind::ObjectStorage => "bucket",
        };
        let id = Id { kind, namespace: home.to_owned(), name: format!("t{}-{short}-{letter}", self.tenant) };
        // One of a name that is being deleted has to wait until that is done.
        let again = self.state.leaving.contains_key(&id) && !self.dice.percent(20);
        if own.contains(&id) || again {
            return None;
        }
        // What is left of an earlier one decides the format: a copy of another type is replaced, not updated, of which the
        // model knows nothing (see secret_type::copies_of_another_format_are_replaced_when_nothing_uses_them).
        let left = self.state.leaving.get(&id).and_then(|leaving| format(&leaving.spec));
        let spec = Spec { recipe: self.recipe(kind, left), target: self.target(), deletion: self.deletion() };
        Some(Operation::CreateCredential { id, spec })
    }

    pub(super) fn change_credential(&mut self, what: What, home: &str) -> Option<Operation> {
        let id = self.credential(home)?;
        let mut spec = self.state.credentials.get(&id)?.clone();
        match what {
            What::Retarget => spec.target = self.target(),
            What::ChangeRecipe => {
                spec.recipe = self.recipe(id.kind, format(&spec));
            }
            _ => spec.deletion = self.deletion(),
        }
        Some(Operation::ChangeCredential { id, spec })
    }

    fn deletion(&mut self) -> DeletionPolicy {
        self.dice.weighted(&[
            (6, DeletionPolicy::Protect),
            (2, DeletionPolicy::Orphan),
            (2, DeletionPolicy::Force),
        ])
    }

    /// The format of a BasicAuthCredential never changes.
    fn recipe(&mut self, kind: Kind, format: Option<Format>) -> Recipe {
        let source = self.dice.one_of([SOURCES[0], SOURCES[1]]);
        match kind {
            Kind::Registry => Recipe::Registry {
                server: self.dice.one_of(["r1.example.com", "r2.example.com:5000"]),
                username: self.dice.one_of([None, None, Some("robot")]),
                source,
            },
            Kind::BasicAuth => {
                // Those with bcrypt cost a lot of processor time.
                let format = format.unwrap_or_else(|| {
                    self.dice.weighted(&[
                        (5, Format::BasicAuth),
                        (5, Format::EnvoyGateway),
                        (1, Format::Htpasswd),
                        (1, Format::HtpasswdMap),
                        (1, Format::NginxOrg),
                    ])
                });
                let two = format != Format::BasicAuth && self.dice.percent(30);
                let (first, second) = if two { (SOURCES[0], Some(SOURCES[1])) } else { (source, None) };
                Recipe::Users { format, first, second }
            }
            Kind::Tls => Recipe::Tls { source: SOURCES[2] },
            Kind::ObjectStorage => Recipe::Bucket { format: self.dice.one_of(BucketFormat::ALL), source },
        }
    }

    pub(super) fn secret_name(&mut self) -> String {
        match self.dice.below(4) {
            0 => "shared".to_owned(),
            1 => "pull".to_owned(),
            2 => format!("t{}-reg-a", self.tenant),
            _ => format!("t{}-own", self.tenant),
        }
    }

    fn target(&mut self) -> Target {
        let mut labels = Labels::new();
        for key in EXTRA_LABELS {
            if self.dice.percent(15) {
                labels.insert(key.to_owned(), self.dice.one_of(["x", "y"]).to_owned());
            }
        }
        Target {
            secret_name: self.dice.percent(35).then(|| self.secret_name()),
            namespaces: self.dice.percent(85).then(|| self.namespaces()),
            clusters: self.dice.percent(65).then(|| self.clusters()),
            labels,
        }
    }

    /// Somebody's namespaces: mostly the tenant's own.
    fn namespaces(&mut self) -> Selector {
        let own: Vec<String> = self.own_namespaces().into_iter().map(|at| at.name).collect();
        let all: Vec<String> = self.state.namespaces.keys().map(|at| at.name.clone()).collect();
        let mut names = BTreeSet::new();
        for _ in 0..self.dice.below(3) {
            let from = if self.dice.percent(80) { &own } else { &all };
            names.extend(self.dice.pick(from).cloned());
        }
        if self.dice.percent(4) {
            names.insert("kube-public".to_owned());
        }
        if self.dice.percent(4) {
            names.insert("nowhere".to_owned());
        }
        let labels = if names.is_empty() || self.dice.percent(60) { Some(self.requirements()) } else { None };
        let exclude = if self.dice.percent(20) { self.dice.pick(&own).cloned() } else { None };
        Selector {
            names: names.into_iter().filter(|name| Some(name) != exclude.as_ref()).collect(),
            labels,
            exclude: exclude.into_iter().collect(),
        }
    }

    fn requirements(&mut self) -> Vec<Requirement> {
        let text = str::to_owned;
        match self.dice.below(9) {
            0 | 1 => vec![Requirement::Is(text("team"), text("a"))],
            2 => vec![Requirement::Is(text("tier"), text("gold"))],
            3 => vec![Requirement::In(text("team"), vec![text("a"), text("b")])],
            4 => vec![
                Requirement::NotIn(text("tier"), vec![text("silver")]),
                Requirement::Exists(text("team")),
            ],
            5 => vec![Requirement::Absent(text("tier"))],
            6 => vec![Requirement::Is(text("team"), text("b")), Requirement::Is(text("tier"), text("gold"))],
            _ => Vec::new(),
        }
    }

    fn clusters(&mut self) -> Selector {
        let labelled = |value: &str| {
            Selector::labelled(vec![Requirement::Is(CLUSTER_LABEL.to_owned(), value.to_owned())])
        };
        match self.dice.below(20) {
            0..=6 => Selector::all(),
            7..=9 => Selector::named(&["local", "east"]),
            10 | 11 => Selector::named(&["east"]),
            12 => Selector::named(&["in-cluster"]),
            13 => Selector { exclude: vec!["local".to_owned()], ..Selector::all() },
            14 => Selector { exclude: vec!["east".to_owned()], ..Selector::all() },
            15 => Selector::named(&["local", "nowhere"]),
            16 | 17 => labelled("prod"),
            18 => labelled("test"),
            _ => labelled("dev"),
        }
    }

    pub(super) fn policy(&mut self, home: &str) -> Policy {
        let from = match self.dice.below(4) {
            0 => Selector::labelled(self.requirements()),
            _ => Selector::named(&[home]),
        };
        let to = match self.dice.below(4) {
            0 | 1 => Selector::all(),
            _ => self.namespaces(),
        };
        let clusters = self.dice.percent(70).then(|| self.clusters());
        let kinds = match self.dice.below(6) {
            0 => vec![Kind::Registry],
            1 => vec![Kind::BasicAuth, Kind::Tls, Kind::ObjectStorage],
            _ => Vec::new(),
        };
        Policy { from, to, clusters, kinds }
    }
}

fn format(spec: &Spec) -> Option<Format> {
    if let Recipe::Users { format, .. } = spec.recipe { Some(format) } else { None }
}
