//! A hub, a member and an operator between them; and users who carry operations out by their own hands, past the
//! operator and past the proxies.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
        PostParams, Preconditions,
    },
};
use serde_json::{Value, json};

use super::{
    content::Source,
    manifests,
    names::{Cluster, Id, NamespaceName, Place},
    observation::{Observation, exact, is_mark},
    operation::{Edit, Exact, Operation, Outcome, Reference, Variant},
    selector::Labels,
    state::{CLUSTER_LABEL, State},
};
use crate::{
    fleet::world::Member,
    support::{
        ControlPlane, Error, FaultProxy, Result,
        environment::{OPERATOR_NAMESPACE, prepare},
        operator_binary, random_name, wait_for,
    },
};

/// How long a namespace of the same name, or a credential, is waited for to be gone.
const TEARDOWN: Duration = Duration::from_secs(60);
const DEPARTURE: Duration = Duration::from_secs(10);

pub struct World {
    pub control_plane: ControlPlane,
    pub binary: PathBuf,
    /// Between the operator and the hub.
    pub proxy: FaultProxy,
    pub member: Member,
    pub hub: Client,
    /// The uid of the hub's `kube-system`: what copies carry.
    pub hub_id: String,
}

impl World {
    pub async fn start() -> Result<Self> {
        // Pods need no ServiceAccount then, and can be made in a namespace that is a moment old.
        let plugin = "--disable-admission-plugins=ServiceAccount";
        let builder = || ControlPlane::builder().api_server_arg(plugin);
        let (control_plane, member) = tokio::try_join!(builder().start(), Member::with("east", builder()))?;
        let binary = tokio::task::spawn_blocking(operator_binary).await??;
        let proxy = FaultProxy::start(control_plane.address()).await?;
        let hub = control_plane.client().await?;
        prepare(&hub).await?;
        let system = Api::<Namespace>::all(hub.clone()).get("kube-system").await?;
        let hub_id = system.uid().unwrap_or_default();
        let world = Self { control_plane, binary, proxy, member, hub, hub_id };
        world.declare_member().await?;
        Ok(world)
    }

    async fn declare_member(&self) -> Result<()> {
        let secret = json!({
            "metadata": {"name": "east"}, "stringData": {"kubeconfig": self.member.kubeconfig},
        });
        let secrets: Api<Secret> = Api::namespaced(self.hub.clone(), OPERATOR_NAMESPACE);
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        let object = json!({
            "apiVersion": "claviger.dev/v1alpha1", "kind": "MemberCluster",
            "metadata": {"name": "east", "labels": {CLUSTER_LABEL: "prod"}},
            "spec": {"kubeconfigSecretRef": {"name": "east"}},
        });
        let object: DynamicObject = serde_json::from_value(object)?;
        self.cluster_scoped("MemberCluster").create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// What is there before anybody does anything.
    pub async fn initial_state(&self) -> Result<State> {
        let mut state = State::default();
        for cluster in Cluster::ALL {
            for namespace in Api::<Namespace>::all(self.client(cluster)).list(&ListParams::default()).await? {
                let name = NamespaceName { cluster, name: namespace.name_any() };
                state.namespaces.insert(name, namespace.labels().clone());
            }
        }
        let secrets = Observation::read(&self.hub, &self.member.admin).await?.secrets;
        state.foreign = secrets.into_iter().map(|(place, seen)| (place, seen.exact)).collect();
        state.member.labels = Labels::from([(CLUSTER_LABEL.to_owned(), "prod".to_owned())]);
        Ok(state)
    }

    pub fn client(&self, cluster: Cluster) -> Client {
        match cluster {
            Cluster::Hub => self.hub.clone(),
            Cluster::Member => self.member.admin.clone(),
        }
    }

    pub fn secrets(&self, place: &Place) -> Api<Secret> {
        Api::namespaced(self.client(place.cluster()), &place.namespace.name)
    }

    /// Objects that may name Secrets.
    fn users(&self, place: &Place, by: Reference) -> Api<DynamicObject> {
        let (group, kind) = match by {
            Reference::Ingress => ("networking.k8s.io", "Ingress"),
            Reference::Deployment => ("apps", "Deployment"),
            Reference::ImagePullSecret | Reference::Volume | Reference::Environment => ("", "Pod"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        Api::namespaced_with(self.client(place.cluster()), &place.namespace.name, &resource)
    }

    pub fn cluster_scoped(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("claviger.dev", "v1alpha1", kind));
        Api::all_with(self.hub.clone(), &resource)
    }

    pub fn credential(&self, id: &Id) -> Api<DynamicObject> {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("claviger.dev", "v1alpha1", id.kind.name()));
        Api::namespaced_with(self.hub.clone(), &id.namespace, &resource)
    }

    /// Carries an operation out. What users get to hear of it must not be an error, unless things changed under them.
    pub async fn carry_out(&self, operation: &Operation) -> Result<Outcome> {
        match operation {
            Operation::CreateNamespace { at, labels } => self.create_namespace(at, labels).await,
            Operation::DeleteNamespace { at } => {
                let namespaces: Api<Namespace> = Api::all(self.client(at.cluster));
                namespaces.delete(&at.name, &DeleteParams::default()).await?;
                Ok(Outcome::Done)
            }
            Operation::LabelNamespace { at, key, value } => {
                let namespaces: Api<Namespace> = Api::all(self.client(at.cluster));
                merge(&namespaces, &at.name, json!({"metadata": {"labels": {*key: value}}})).await
            }
            Operation::WriteSource { namespace, name, source } => {
                self.write_source(&Place::new(Cluster::Hub, namespace, name), source).await
            }
            Operation::DeleteSource { namespace, name } => {
                let place = Place::new(Cluster::Hub, namespace, name);
                delete(&self.secrets(&place), name, None).await
            }
            Operation::EditCopy { at, edit } => self.edit_copy(at, *edit).await,
            Operation::DeleteCopy { at } => self.delete_copy(at).await,
            Operation::CreateForeign { at, variant, usurp } => {
                self.create_foreign(at, *variant, *usurp).await
            }
            Operation::EditForeign { at } => {
                let patch = Patch::Merge(json!({"stringData": {"theirs": random_name("value")}}));
                let changed = self.secrets(at).patch(&at.name, &PatchParams::default(), &patch).await?;
                Ok(Outcome::Wrote(exact(&changed)))
            }
            Operation::DeleteForeign { at } => delete(&self.secrets(at), &at.name, None).await,
            Operation::CreateUser { at, uses, by } => {
                let user = serde_json::from_value(manifests::user(&at.name, uses, *by))?;
                self.users(at, *by).create(&PostParams::default(), &user).await?;
                Ok(Outcome::Done)
            }
            Operation::FinishPod { at, phase } => {
                let patch = Patch::Merge(json!({"status": {"phase": phase}}));
                self.users(at, Reference::Volume)
                    .patch_status(&at.name, &PatchParams::default(), &patch)
                    .await?;
                Ok(Outcome::Done)
            }
            Operation::DeleteUser { at, by } => {
                self.users(at, *by).delete(&at.name, &DeleteParams::default().grace_period(0)).await?;
                Ok(Outcome::Done)
            }
            Operation::WritePolicy { name, policy } => {
                let object = json!({
                    "apiVersion": "claviger.dev/v1alpha1", "kind": "DistributionPolicy",
                    "metadata": {"name": name}, "spec": manifests::policy(policy),
                });
                write(&self.cluster_scoped("DistributionPolicy"), object).await
            }
            Operation::DeletePolicy { name } => {
                delete(&self.cluster_scoped("DistributionPolicy"), name, None).await
            }
            Operation::Fate(_) => Err(Error::new("fate is not in the hands of users")),
            credential => self.change_credential(credential).await,
        }
    }

    async fn change_credential(&self, operation: &Operation) -> Result<Outcome> {
        match operation {
            Operation::CreateCredential { id, spec } => {
                let api = self.credential(id);
                let object = serde_json::from_value(manifests::credential(id, spec))?;
                // One of that name may be being deleted.
                let what = format!("{id} to be made");
                let made = wait_for(DEPARTURE, &what, async || {
                    match api.create(&PostParams::default(), &object).await {
                        Err(kube::Error::Api(status)) if status.is_already_exists() => None,
                        other => Some(other),
                    }
                });
                match made.await {
                    Ok(made) => made.map(|_| Outcome::Done).map_err(Error::from),
                    Err(_) => Ok(Outcome::Nothing),
                }
            }
            Operation::ChangeCredential { id, spec } => {
                write(&self.credential(id), manifests::credential(id, spec)).await
            }
            Operation::DeleteCredential { id } => delete(&self.credential(id), &id.name, None).await,
            Operation::ForceDeletion { id } => {
                let patch = json!({"metadata": {"annotations": {"claviger.dev/force-delete": "true"}}});
                merge(&self.credential(id), &id.name, patch).await
            }
            Operation::TakeFinalizer { id } => {
                merge(&self.credential(id), &id.name, json!({"metadata": {"finalizers": null}})).await
            }
            Operation::ForgeStatus { id, ready } => {
                let patch = Patch::Merge(manifests::forged_status(ready));
                match self.credential(id).patch_status(&id.name, &PatchParams::default(), &patch).await {
                    Ok(_) => Ok(Outcome::Done),
                    Err(error) => nothing(error),
                }
            }
            other => Err(Error::new(format!("not about a credential: {other:?}"))),
        }
    }

    /// Waits for the end of one of the same name that is being torn down.
    async fn create_namespace(&self, at: &NamespaceName, labels: &Labels) -> Result<Outcome> {
        let namespaces: Api<Namespace> = Api::all(self.client(at.cluster));
        let namespace = serde_json::from_value(json!({"metadata": {"name": at.name, "labels": labels}}))?;
        wait_for(TEARDOWN, &format!("namespace {at} to be made"), async || {
            namespaces.create(&PostParams::default(), &namespace).await
        })
        .await?;
        Ok(Outcome::Done)
    }

    async fn write_source(&self, place: &Place, source: &Source) -> Result<Outcome> {
        let secrets = self.secrets(place);
        if secrets.get_metadata_opt(&place.name).await?.is_some() {
            let patch = Patch::Merge(json!({"data": manifests::data(source)}));
            let written = secrets.patch(&place.name, &PatchParams::default(), &patch).await?;
            return Ok(Outcome::Wrote(exact(&written)));
        }
        let secret = json!({"metadata": {"name": place.name}, "data": manifests::data(source)});
        created(&secrets, secret).await
    }

    /// A copy that stands there now, with the conditions under which it still does.
    async fn copy(&self, at: &Place) -> Result<Option<Secret>> {
        let found = self.secrets(at).get_opt(&at.name).await?;
        Ok(found.filter(|secret| {
            let marks = secret.labels().keys().chain(secret.annotations().keys());
            marks.into_iter().any(is_mark)
        }))
    }

    async fn edit_copy(&self, at: &Place, edit: Edit) -> Result<Outcome> {
        let Some(copy) = self.copy(at).await? else { return Ok(Outcome::Nothing) };
        let last_mark = match edit {
            Edit::DropLabels => copy.annotations().is_empty(),
            Edit::DropAnnotations => copy.labels().is_empty(),
            _ => false,
        };
        if last_mark {
            // That is what `DropAllMarks` does, after which nobody can tell that the Secret was a copy.
            return Ok(Outcome::Nothing);
        }
        let mut patch = manifests::edit(&copy, edit);
        // Whatever was there when we looked is what is changed, or nothing.
        patch["metadata"]["uid"] = json!(copy.uid());
        patch["metadata"]["resourceVersion"] = json!(copy.resource_version());
        let written = self.secrets(at).patch(&at.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        match written {
            Ok(written) => Ok(Outcome::Wrote(exact(&written))),
            Err(error) => nothing(error),
        }
    }

    async fn delete_copy(&self, at: &Place) -> Result<Outcome> {
        let Some(copy) = self.copy(at).await? else { return Ok(Outcome::Nothing) };
        delete(&self.secrets(at), &at.name, Some(exact(&copy))).await
    }

    async fn create_foreign(&self, at: &Place, variant: Variant, usurp: bool) -> Result<Outcome> {
        let deleted = usurp && matches!(self.delete_copy(at).await?, Outcome::Done);
        match created(&self.secrets(at), manifests::foreign(&at.name, variant)).await? {
            // The operator was faster.
            Outcome::Nothing if deleted => Ok(Outcome::Done),
            other => Ok(other),
        }
    }
}

/// A refusal because things are not as they were is no error.
fn nothing(error: kube::Error) -> Result<Outcome> {
    match &error {
        kube::Error::Api(status)
            if status.is_conflict() || status.is_not_found() || status.is_already_exists() =>
        {
            Ok(Outcome::Nothing)
        }
        _ => Err(error.into()),
    }
}

async fn created(api: &Api<Secret>, secret: Value) -> Result<Outcome> {
    match api.create(&PostParams::default(), &serde_json::from_value(secret)?).await {
        Ok(secret) => Ok(Outcome::Wrote(exact(&secret))),
        Err(error) => nothing(error),
    }
}

async fn delete<K>(api: &Api<K>, name: &str, when: Option<Exact>) -> Result<Outcome>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let preconditions =
        when.map(|exact| Preconditions { uid: Some(exact.uid), resource_version: Some(exact.version) });
    match api.delete(name, &DeleteParams { preconditions, ..DeleteParams::default() }).await {
        Ok(_) => Ok(Outcome::Done),
        Err(error) => nothing(error),
    }
}

pub async fn merge<K>(api: &Api<K>, name: &str, patch: Value) -> Result<Outcome>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(Outcome::Done),
        Err(error) => nothing(error),
    }
}

/// Creates an object, or puts a new spec in the place of the old one.
async fn write(api: &Api<DynamicObject>, object: Value) -> Result<Outcome> {
    let patch: json_patch::Patch =
        serde_json::from_value(json!([{"op": "add", "path": "/spec", "value": object["spec"]}]))?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match api.patch(name, &PatchParams::default(), &Patch::<()>::Json(patch)).await {
        Ok(_) => Ok(Outcome::Done),
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
            Ok(Outcome::Done)
        }
        Err(error) => Err(error.into()),
    }
}
