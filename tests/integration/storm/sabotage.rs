//! Proof that the check can fail: with the operator stopped, what stands is spoilt, one thing at a time.

use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::json;

use super::{
    driver::Storm,
    model,
    names::Place,
    operation::{Edit, Operation},
};
use crate::support::{Error, Result, error::Context};

impl Storm {
    /// Spoils what stands, sees that each time it is noticed, and that the operator puts it right.
    pub async fn sabotage(&mut self) -> Result<()> {
        self.runner.operator().signal("STOP")?;
        let mut done = 0;
        for operation in self.spoiling() {
            let outcome = self.world.carry_out(&operation).await.context(format!("{operation:?}"))?;
            let place = match &operation {
                Operation::EditCopy { at, .. }
                | Operation::DeleteCopy { at }
                | Operation::EditForeign { at } => at,
                other => return Err(Error::new(format!("not about a Secret: {other:?}"))),
            };
            self.assert_noticed(place, &format!("{operation:?} {outcome:?}")).await?;
            // From now on it is something that a user did.
            self.shared().commit("sabotage", &operation, &outcome);
            done += 1;
        }
        if let Some(place) = self.plant().await? {
            self.assert_noticed(&place, "a copy where none is wanted").await?;
            done += 1;
        }
        println!("the check noticed each of {done} kinds of sabotage");
        self.runner.operator().signal("CONT")?;
        self.settle().await.map(drop)
    }

    async fn assert_noticed(&self, place: &Place, what: &str) -> Result<()> {
        let wrong = self.check(&self.observe().await?);
        if wrong.iter().any(|mismatch| mismatch.place.as_ref() == Some(place)) {
            return Ok(());
        }
        Err(Error::new(format!("the check does not notice {what} at {place}, but {wrong:?}")))
    }

    /// One of each kind, on different Secrets, as far as there are enough.
    fn spoiling(&self) -> Vec<Operation> {
        let shared = self.shared();
        let state = &shared.state;
        // What cannot be written to is not checked to the last byte.
        let has_source = |owner| {
            let spec = state.credentials.get(owner);
            spec.is_some_and(|spec| model::content(state, owner, spec).is_some())
        };
        let mut copies = shared
            .history
            .kept
            .iter()
            .filter(|(_, kept)| has_source(&kept.owner))
            .map(|(place, _)| place.clone());
        let mut next =
            |edit: Option<Edit>| {
                let at = copies.next()?;
                Some(edit.map_or(Operation::DeleteCopy { at: at.clone() }, |edit| Operation::EditCopy {
                    at,
                    edit,
                }))
            };
        let edits =
            [Edit::ChangeValue, Edit::AddKey, Edit::Revision(777), Edit::DropLabels, Edit::DropAllMarks];
        let mut operations: Vec<Operation> = edits.into_iter().filter_map(|edit| next(Some(edit))).collect();
        operations.extend(next(None));
        operations.extend(state.foreign.keys().next().map(|at| Operation::EditForeign { at: at.clone() }));
        operations
    }

    /// Puts the likeness of a copy where its credential does not want one.
    async fn plant(&self) -> Result<Option<Place>> {
        let found = {
            let shared = self.shared();
            let claims = model::claims(&model::wishes(&shared.state));
            shared.history.kept.iter().find_map(|(copy, kept)| {
                let spec = shared.state.credentials.get(&kept.owner)?;
                let name = spec.secret_name(&kept.owner);
                let mut free = shared.state.namespaces.keys().filter(|at| at.cluster == copy.cluster());
                let namespace = free.find(|at| {
                    let place = Place { namespace: (*at).clone(), name: name.to_owned() };
                    at.name.starts_with('t')
                        && !claims.contains_key(&place)
                        && !shared.state.in_use(&place)
                        && !shared.state.untouchable().contains_key(&place)
                })?;
                Some((copy.clone(), Place { namespace: namespace.clone(), name: name.to_owned() }))
            })
        };
        let Some((copy, place)) = found else { return Ok(None) };
        let Some(found) = self.world.secrets(&copy).get_opt(&copy.name).await? else { return Ok(None) };
        let likeness: Secret = serde_json::from_value(json!({
            "metadata": {
                "name": place.name, "labels": found.metadata.labels, "annotations": found.metadata.annotations,
            },
            "type": found.type_, "data": found.data,
        }))?;
        match self.world.secrets(&place).create(&PostParams::default(), &likeness).await {
            Ok(_) => Ok(Some(place)),
            // Something is held there.
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
