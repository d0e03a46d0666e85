//! Which contents copies can have got: not only those of now. An operator that lags behind may have made one of an
//! older spec and a newer source.

use std::collections::BTreeMap;

use super::{
    content::{Content, Material},
    model,
    names::Id,
    observation::Seen,
    operation::Recipe,
    state::State,
};

#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// What copies were seen to hold at the last check, or may have held.
    before: BTreeMap<Id, Vec<Content>>,
    /// What specs have asked for since.
    recipes: BTreeMap<Id, Vec<Recipe>>,
    /// What source Secrets have given since.
    materials: BTreeMap<(String, String), Vec<Material>>,
}

impl Contents {
    /// Takes in how things are now.
    pub fn note(&mut self, state: &State) {
        let leaving = state.leaving.iter().map(|(id, leaving)| (id, &leaving.spec));
        for (id, spec) in state.credentials.iter().chain(leaving) {
            add(self.recipes.entry(id.clone()).or_default(), &spec.recipe);
        }
        for (name, (source, _)) in state.sources.iter().filter(|(_, (source, _))| source.fault.is_none()) {
            add(self.materials.entry(name.clone()).or_default(), &source.material);
        }
    }

    /// All contents that copies of a credential can have.
    pub fn of(&self, id: &Id) -> Vec<Content> {
        let mut all = self.before.get(id).cloned().unwrap_or_default();
        let given = |name: &str| {
            let found = self.materials.get(&(id.namespace.clone(), name.to_owned()));
            found.map_or(&[][..], Vec::as_slice)
        };
        for recipe in self.recipes.get(id).into_iter().flatten() {
            let (first, second) = recipe.sources();
            for one in given(first) {
                for other in second.map_or(std::slice::from_ref(one), given) {
                    let content = model::render(recipe, |name| Some(if name == first { one } else { other }));
                    if let Some(content) = content {
                        add(&mut all, &content);
                    }
                }
            }
        }
        all
    }

    /// Whether a Secret holds one of them.
    pub fn explain(&self, id: &Id, secret: &Seen) -> bool {
        self.of(id).iter().any(|content| content.difference(&secret.type_, &secret.data).is_none())
    }

    /// After a check: what can still be is what was seen, and for a credential of which that is not known, anything
    /// that could be until now.
    pub fn settle<'a>(
        &mut self,
        state: &State,
        ids: impl IntoIterator<Item = &'a Id>,
        copies: &[(Id, &Seen)],
        is_unknown: impl Fn(&Id) -> bool,
    ) {
        let mut before = BTreeMap::new();
        for id in ids {
            let current = state.credentials.get(id).map(|spec| model::content(state, id, spec));
            let mut all = self.of(id);
            // While the source is bad the last good content counts, whichever that was.
            if current != Some(None) && !is_unknown(id) {
                let is_seen = |content: &Content| {
                    let mut own = copies.iter().filter(|(owner, _)| owner == id);
                    own.any(|(_, seen)| content.difference(&seen.type_, &seen.data).is_none())
                };
                all.retain(is_seen);
            }
            before.insert(id.clone(), all);
        }
        *self = Self { before, ..Self::default() };
        self.note(state);
    }
}

fn add<T: Clone + PartialEq>(list: &mut Vec<T>, item: &T) {
    if !list.contains(item) {
        list.push(item.clone());
    }
}
