//! What has to stand where, worked out from what users have made. Written from the documentation, without the
//! operator's code.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    content::{Content, Material},
    names::{Cluster, Id, NamespaceName, Place},
    operation::{Policy, Recipe, Spec, TWO_USERS},
    selector::{Labels, OPT_OUT},
    state::State,
};

/// Where a credential wants to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Copies that it may have.
    pub copies: BTreeSet<Place>,
    /// Copies that no policy allows.
    pub refused: BTreeSet<Place>,
    /// It names a cluster that does not exist.
    pub unknown_cluster: bool,
    /// It names a namespace that exists in none of its clusters.
    pub unknown_namespace: bool,
    /// It selects, and does not name, a cluster in which no policy allows it anything: it is told so much, and nothing
    /// of that cluster, not even whether there is a namespace to go to.
    pub concealed_cluster: bool,
}

impl Wish {
    /// All copies that it wants, allowed or not.
    pub fn places(self) -> BTreeSet<Place> {
        self.copies.into_iter().chain(self.refused).collect()
    }

    /// Whether it wants a copy in a cluster, allowed or not.
    pub fn wants(&self, cluster: Cluster) -> bool {
        self.copies.iter().chain(&self.refused).any(|place| place.cluster() == cluster)
    }
}

/// Whether a credential means a cluster.
pub fn reaches(state: &State, spec: &Spec, cluster: Cluster) -> bool {
    match &spec.target.clusters {
        None => cluster == Cluster::Hub,
        Some(selector) => selector.means_cluster(cluster.name(), &state.cluster_labels(cluster)),
    }
}

/// Where a credential wants to go, and may.
pub fn wish(state: &State, id: &Id, spec: &Spec) -> Wish {
    let target = &spec.target;
    let mut wish = Wish::default();
    let clusters: Vec<Cluster> =
        Cluster::ALL.into_iter().filter(|&cluster| reaches(state, spec, cluster)).collect();
    for (at, labels) in state.namespaces.iter().filter(|(at, _)| clusters.contains(&at.cluster)) {
        let meant = match &target.namespaces {
            None => at.name == id.namespace,
            Some(selector) => selector.means_namespace(&at.name, labels),
        };
        let own = at.cluster == Cluster::Hub && at.name == id.namespace;
        if !meant || (!own && labels.get(OPT_OUT).is_some_and(|value| value == "true")) {
            continue;
        }
        let place = Place { namespace: at.clone(), name: spec.secret_name(id).to_owned() };
        if own || is_allowed(state, id, at, labels) {
            wish.copies.insert(place);
        } else {
            wish.refused.insert(place);
        }
    }
    let known = ["local", "in-cluster", "east"];
    let named = target.clusters.iter().flat_map(|selector| &selector.names);
    wish.unknown_cluster = named.into_iter().any(|name| !known.contains(&name.as_str()));
    let named = target.namespaces.iter().flat_map(|selector| &selector.names);
    let exists = |name: &String| {
        let mut places = clusters.iter().map(|&cluster| NamespaceName { cluster, name: name.clone() });
        places.any(|at| state.namespaces.contains_key(&at))
    };
    let is_named = |cluster: Cluster| {
        target.clusters.iter().any(|selector| selector.names.iter().any(|name| name == cluster.name()))
    };
    wish.concealed_cluster = clusters.iter().any(|&cluster| {
        cluster != Cluster::Hub && !is_named(cluster) && !policies(state, id, cluster).any(|_| true)
    });
    wish.unknown_namespace = !clusters.is_empty() && named.into_iter().any(|name| !exists(name));
    wish
}

/// Whether a policy lets a credential into a namespace that is not its own.
fn is_allowed(state: &State, id: &Id, to: &NamespaceName, labels: &Labels) -> bool {
    policies(state, id, to.cluster).any(|policy| policy.to.means_namespace(&to.name, labels))
}

/// The policies that speak of a credential, and of a cluster.
fn policies<'a>(state: &'a State, id: &'a Id, cluster: Cluster) -> impl Iterator<Item = &'a Policy> {
    let home = NamespaceName { cluster: Cluster::Hub, name: id.namespace.clone() };
    let home_labels = state.namespaces.get(&home);
    state.policies.values().filter(move |policy| {
        let is_there = match &policy.clusters {
            None => cluster == Cluster::Hub,
            Some(selector) => selector.means_cluster(cluster.name(), &state.cluster_labels(cluster)),
        };
        is_there
            && (policy.kinds.is_empty() || policy.kinds.contains(&id.kind))
            && home_labels.is_some_and(|labels| policy.from.means_namespace(&id.namespace, labels))
    })
}

/// All wishes.
pub fn wishes(state: &State) -> BTreeMap<Id, Wish> {
    state.credentials.iter().map(|(id, spec)| (id.clone(), wish(state, id, spec))).collect()
}

/// Who should have a copy in which place; of several one wins.
pub fn claims(wishes: &BTreeMap<Id, Wish>) -> BTreeMap<Place, BTreeSet<Id>> {
    let mut claims: BTreeMap<Place, BTreeSet<Id>> = BTreeMap::new();
    for (id, wish) in wishes {
        for place in &wish.copies {
            claims.entry(place.clone()).or_default().insert(id.clone());
        }
    }
    claims
}

/// What the copies of a credential hold; `None` while a source is missing or bad.
pub fn content(state: &State, id: &Id, spec: &Spec) -> Option<Content> {
    render(&spec.recipe, |name| {
        let (source, _) = state.sources.get(&(id.namespace.clone(), name.to_owned()))?;
        source.fault.is_none().then_some(&source.material)
    })
}

/// What is made of source Secrets.
pub fn render<'a>(recipe: &Recipe, source: impl Fn(&str) -> Option<&'a Material>) -> Option<Content> {
    let login = |name: &str| match source(name)? {
        Material::Login { username, password } => Some((username.clone(), password.clone())),
        Material::Pair(_) => None,
    };
    Some(match recipe {
        Recipe::Registry { server, username, source } => {
            let (found, password) = login(source)?;
            let username = username.map_or(found, str::to_owned);
            Content::Registry { server: (*server).to_owned(), username, password }
        }
        Recipe::Users { format, first, second: None } => {
            Content::Users { format: *format, passwords: BTreeMap::from([login(first)?]) }
        }
        Recipe::Users { format, first, second: Some(second) } => {
            let passwords = [login(first)?.1, login(second)?.1];
            let names = TWO_USERS.map(str::to_owned);
            Content::Users { format: *format, passwords: names.into_iter().zip(passwords).collect() }
        }
        Recipe::Tls { source: name } => match source(name)? {
            Material::Pair(pair) => Content::Tls(pair.clone()),
            Material::Login { .. } => return None,
        },
        Recipe::Bucket { format, source } => {
            let (id, secret) = login(source)?;
            Content::Bucket { format: *format, id, secret }
        }
    })
}
