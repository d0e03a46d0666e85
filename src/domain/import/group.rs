//! Which Secrets are copies of which.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    marks::{Claim, Obstacle},
    secret::{Left, LeftOut, Listed},
};
use crate::domain::identity::NamespacedName;

/// What of a cluster is looked at, and what a person has decided.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chosen {
    /// Namespaces whose Secret is the source, the first one first.
    pub sources: Vec<String>,
    /// Only copies in this namespace.
    pub namespace: Option<String>,
    /// Only copies of these names; of all when empty.
    pub names: BTreeSet<String>,
    /// No copies in these namespaces.
    pub exclude: BTreeSet<String>,
    /// Namespaces that take no copies, and why.
    pub closed: BTreeMap<String, &'static str>,
}

impl Chosen {
    fn covers(&self, place: &NamespacedName) -> bool {
        self.namespace.as_deref().is_none_or(|only| only == &*place.namespace)
            && (self.names.is_empty() || self.names.contains(&*place.name))
            && !self.exclude.contains(&*place.namespace)
    }
}

/// A source, and Secrets with its content.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub source: Listed,
    pub copies: Vec<Listed>,
}

/// What is to be done about all Secrets.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub groups: Vec<Group>,
    pub left: Vec<LeftOut>,
    /// How many have a content that no other one has.
    pub alone: usize,
}

/// Groups Secrets of equal content, and finds the source of each group.
pub(crate) fn groups(mut all: Vec<Listed>, chosen: &Chosen) -> Groups {
    all.retain(|secret| !secret.marks.ours);
    all.sort_by(|a, b| a.place.cmp(&b.place));
    let mut by_content = HashMap::new();
    let mut contents: Vec<Vec<Listed>> = Vec::new();
    for secret in all {
        let at = *by_content.entry((secret.kind, secret.content)).or_insert(contents.len());
        if at == contents.len() {
            contents.push(Vec::new());
        }
        contents.get_mut(at).into_iter().for_each(|members| members.push(secret.clone()));
    }
    let mut found = Groups::default();
    for members in contents {
        found.split(members, chosen);
    }
    found.left.sort_by(|a, b| (&a.name, &a.namespaces).cmp(&(&b.name, &b.namespaces)));
    found
}

impl Groups {
    /// Splits Secrets of one content by their sources.
    fn split(&mut self, members: Vec<Listed>, chosen: &Chosen) {
        if let [one] = members.as_slice()
            && !matches!(one.marks.claim, Some(Claim::Named(_)))
        {
            self.alone += 1;
            return;
        }
        let told = chosen.sources.iter().find_map(|namespace| {
            let there =
                members.iter().filter(|secret| *secret.place.namespace == **namespace && stays(secret));
            there.min_by_key(|secret| (secret.marks.made_by.is_some(), secret.created, secret.place.clone()))
        });
        let told = told.map(|secret| secret.place.clone());
        let mut copies: BTreeMap<NamespacedName, Vec<Listed>> = BTreeMap::new();
        let mut left = Vec::new();
        for secret in &members {
            let source = told.clone().or_else(|| claimed(secret, &members));
            let is_source = source.as_ref() == Some(&secret.place)
                || members.iter().any(|other| claimed(other, &members).as_ref() == Some(&secret.place));
            if told.as_ref() == Some(&secret.place)
                || told.is_none() && is_source
                || !chosen.covers(&secret.place)
            {
                continue;
            }
            match (source, &secret.marks.claim) {
                (Some(source), _) => match obstacle(secret, chosen) {
                    Some(why) => left.push((secret, why)),
                    None => copies.entry(source).or_default().push(secret.clone()),
                },
                (None, Some(Claim::Named(source))) => {
                    left.push((secret, Left::NotInLine(source.clone())));
                }
                (None, _) => left.push((secret, Left::NoSource)),
            }
        }
        for (secret, why) in left {
            self.leave(secret, why);
        }
        for (source, copies) in copies {
            let source = members.iter().find(|secret| secret.place == source).cloned();
            self.groups.extend(source.map(|source| Group { source, copies }));
        }
    }

    /// Notes that a Secret is left as it is.
    pub fn leave(&mut self, secret: &Listed, why: Left) {
        let (kind, name) = (secret.kind, secret.place.name.to_string());
        let namespace = secret.place.namespace.to_string();
        let same = |left: &&mut LeftOut| left.kind == kind && left.name == name && left.why == why;
        match self.left.iter_mut().rev().find(same) {
            Some(left) => left.namespaces.push(namespace),
            None => self.left.push(LeftOut { kind, name, namespaces: vec![namespace], why }),
        }
    }
}

/// Whether a Secret will be there tomorrow, as a source has to be.
fn stays(secret: &Listed) -> bool {
    secret.marks.obstacle != Some(Obstacle::Terminating)
}

/// The source that a copy names, where that has the same content and is no copy itself.
fn claimed(secret: &Listed, members: &[Listed]) -> Option<NamespacedName> {
    let claim = secret.marks.claim.as_ref()?;
    let mut sources = members.iter().filter(|other| {
        other.marks.claim.is_none()
            && stays(other)
            && other.place != secret.place
            && match claim {
                Claim::Named(place) => other.place == *place,
                Claim::Version(version) => {
                    other.marks.pushes && other.version == *version && other.place.name == secret.place.name
                }
            }
    });
    let source = sources.next()?;
    Some(source.place.clone())
}

fn obstacle(secret: &Listed, chosen: &Chosen) -> Option<Left> {
    let closed = chosen.closed.get(&*secret.place.namespace).map(|why| Left::Namespace(why));
    secret.marks.obstacle.map(Left::Obstacle).or(closed)
}
