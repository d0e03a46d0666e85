//! `kubectl claviger explain-pull`: reads what there is about a Pod's images.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerStatus, LocalObjectReference, Namespace as KubeNamespace, Pod, Secret, ServiceAccount, Volume,
};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::ApiResource,
};
use sha2::{Digest, Sha256};

use super::{
    connect::Cluster,
    error::{PluginError, Right},
    news::News,
    output::{OutputArgs, indented, table},
};
use crate::{
    api::{CredentialKind, DistributionPolicy},
    domain::{
        content::ReadSecret,
        counted::counted,
        foreign_text::foreign_text,
        labels::is_dns_subdomain,
        namespace::Namespace,
        pull::{
            ConsentInputs, Container, Declaration, Explanation, Facts, PullSecret, State, Waiting, explain,
            names_its_own, offers,
        },
        registry::keyring::{Given, PULL_TYPES, given, judge, repository},
        schedule::{IMPORT_PAGE, MAX_MESSAGE, MAX_NAME_EXPLAINED, MAX_WORD},
    },
};

/// Which Pod.
#[derive(Clone, Debug, Args)]
pub struct ExplainPullArgs {
    /// Name of the Pod, also as pod/NAME
    #[arg(value_name = "POD")]
    pod: String,
}

pub(super) async fn run(
    args: &ExplainPullArgs,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let name = pod_name(&args.pod)?;
    let (facts, missing) = facts(cluster, name).await?;
    let explanation = explain(&facts, Timestamp::now());
    output.write(&explanation, || in_words(&explanation))?;
    if let Some(error) = missing {
        return Err(error);
    }
    Ok(News::good(explanation.images.iter().all(|image| image.verdict.is_fine())))
}

/// The name of a Pod, which may have its kind before a slash.
fn pod_name(text: &str) -> Result<&str, PluginError> {
    let name = text.split_once('/').map_or(text, |(kind, name)| {
        if ["po", "pod", "pods"].contains(&kind.to_lowercase().as_str()) { name } else { text }
    });
    if is_dns_subdomain(name) {
        return Ok(name);
    }
    let text = foreign_text(text, MAX_NAME_EXPLAINED);
    Err(PluginError::Usage(format!("'{text}' is not the name of a Pod; write POD or pod/POD")))
}

/// Everything about a Pod that the caller may read, and why a pull Secret of it could not be.
async fn facts(cluster: &Cluster, name: &str) -> Result<(Facts, Option<PluginError>), PluginError> {
    let namespace = &cluster.namespace;
    let client = || cluster.client.clone();
    let right = |resource| Right::new("get", resource, namespace.clone());
    let pod = cluster.ask(right("pods"), Api::<Pod>::namespaced(client(), namespace).get(name)).await?;
    let spec = pod.spec.unwrap_or_default();
    let account = spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned());
    let names = names(spec.image_pull_secrets.as_deref());

    let secrets = Secrets { cluster, api: Api::namespaced(client(), namespace) };
    let (mut attached, mut missing) = (Vec::new(), None);
    for (secret, error) in join_all(names.iter().map(|name| secrets.get(name))).await {
        attached.push(secret);
        missing = missing.or(error);
    }

    let accounts = Api::<ServiceAccount>::namespaced(client(), namespace);
    // What follows is read where it may be; the answer says less without it.
    let today = cluster.ask(right("serviceaccounts"), accounts.get(&account)).await.ok();
    let of_account = |account: ServiceAccount| self::names(account.image_pull_secrets.as_deref());
    let today: Option<BTreeSet<String>> = today.map(|account| of_account(account).into_iter().collect());
    let names_its_own = names_its_own(&names, today.as_ref());
    let today = today.unwrap_or_default();
    let has = |name: &String| names.contains(name);
    let mut others = secrets.list().await;
    let listed: BTreeSet<&String> = others.iter().map(|secret| &secret.name).collect();
    let unlisted: Vec<&String> = today.iter().filter(|name| !has(name) && !listed.contains(name)).collect();
    let more = join_all(unlisted.into_iter().map(|name| secrets.get(name))).await;
    others.extend(more.into_iter().map(|(secret, _)| secret));
    others.retain(|secret| !has(&secret.name));
    let others = others.into_iter().map(|secret| (today.contains(&secret.name), secret));

    let declarations = declarations(cluster).await;
    let inputs = consent_inputs(cluster, &declarations).await;
    let statuses = pod.status.unwrap_or_default();
    let facts = Facts {
        namespace: namespace.clone(),
        pod: name.to_owned(),
        service_account: account,
        attached,
        names_its_own,
        others: others.map(|(on_account, secret)| (secret, on_account)).collect(),
        offers: offers(&declarations, &inputs, namespace),
        images: images([
            ("init", of(spec.init_containers), statuses.init_container_statuses),
            ("container", of(Some(spec.containers)), statuses.container_statuses),
            (
                "ephemeral",
                spec.ephemeral_containers.into_iter().flatten().map(|one| (one.name, one.image)).collect(),
                statuses.ephemeral_container_statuses,
            ),
            ("volume", of_volumes(spec.volumes), None),
        ]),
    };
    Ok((facts, missing))
}

fn of(containers: Option<Vec<k8s_openapi::api::core::v1::Container>>) -> Vec<(String, Option<String>)> {
    containers.into_iter().flatten().map(|container| (container.name, container.image)).collect()
}

/// Volumes that are images, which kubelet pulls as those of containers. Their state is in no status.
fn of_volumes(volumes: Option<Vec<Volume>>) -> Vec<(String, Option<String>)> {
    let images =
        volumes.into_iter().flatten().filter_map(|volume| Some((volume.name, volume.image?.reference)));
    images.collect()
}

type Group = (&'static str, Vec<(String, Option<String>)>, Option<Vec<ContainerStatus>>);

/// The images of a Pod in its order, each once.
fn images(groups: [Group; 4]) -> Vec<(String, Vec<Container>)> {
    let mut images: Vec<(String, Vec<Container>)> = Vec::new();
    let mut places = BTreeMap::new();
    for (type_, containers, statuses) in groups {
        let statuses: BTreeMap<String, ContainerStatus> =
            statuses.into_iter().flatten().map(|status| (status.name.clone(), status)).collect();
        for (name, image) in containers {
            let status = statuses.get(&name);
            let waiting =
                status.and_then(|status| status.state.as_ref()?.waiting.as_ref()).map(|waiting| Waiting {
                    reason: foreign_text(waiting.reason.as_deref().unwrap_or_default(), MAX_WORD),
                    message: foreign_text(waiting.message.as_deref().unwrap_or_default(), MAX_MESSAGE),
                });
            let pulled = status.is_some_and(|status| !status.image_id.is_empty());
            let image = image.unwrap_or_default();
            let place = *places.entry(image.clone()).or_insert(images.len());
            if place == images.len() {
                images.push((image, Vec::new()));
            }
            if let Some((_, used_by)) = images.get_mut(place) {
                used_by.push(Container { name, type_, waiting, pulled });
            }
        }
    }
    images
}

/// Names in the order of the list. An empty one is no name to kubelet, either.
fn names(references: Option<&[LocalObjectReference]>) -> Vec<String> {
    let names = references.unwrap_or_default().iter().map(|reference| reference.name.clone());
    names.filter(|name| !name.is_empty()).collect()
}

struct Secrets<'a> {
    cluster: &'a Cluster,
    api: Api<Secret>,
}

impl Secrets<'_> {
    /// A Secret, and why it could not be read.
    async fn get(&self, name: &str) -> (PullSecret, Option<PluginError>) {
        let right = Right::new("get", "secrets", self.cluster.namespace.clone());
        // The API server takes any text for the name of a pull Secret; here it becomes the path of a request.
        let read = if is_dns_subdomain(name) {
            self.cluster.ask(right, self.api.get(name)).await
        } else {
            Err(PluginError::NotFound(String::new()))
        };
        let (state, error) = match read {
            Ok(secret) => (known(ReadSecret(secret)), None),
            Err(PluginError::NotFound(_)) => (State::Missing, None),
            Err(error) => (State::Unknown, Some(error)),
        };
        (PullSecret { name: foreign_text(name, MAX_NAME_EXPLAINED), state }, error)
    }

    /// All pull Secrets of the namespace, where they may be listed.
    async fn list(&self) -> Vec<PullSecret> {
        let mut all = Vec::new();
        for type_ in PULL_TYPES {
            let right = Right::new("list", "secrets", self.cluster.namespace.clone());
            // Of a Secret with megabytes only what it gives is kept.
            let visit = |secret| {
                let secret = ReadSecret(secret);
                let name = secret.0.metadata.name.clone().unwrap_or_default();
                all.push(PullSecret { name, state: known(secret) });
            };
            let fetch = async |params: ListParams| self.api.list(&params).await;
            if self.cluster.pages(&right, of_type(type_), fetch, visit).await.is_err() {
                break;
            }
        }
        all
    }
}

/// The Secrets of a type, in pages that are small, as they come with their values.
fn of_type(type_: &str) -> ListParams {
    ListParams::default().fields(&format!("type={type_}")).limit(IMPORT_PAGE)
}

fn known(mut secret: ReadSecret) -> State {
    let type_ = secret.type_().to_owned();
    State::Known { given: given(&type_, &secret.take_data()), type_ }
}

/// The credentials for registries of all namespaces, else those of the Pod's, as far as they can be read.
async fn declarations(cluster: &Cluster) -> Vec<Declaration> {
    let resource = CredentialKind::RegistryCredential.resource();
    let listed = cluster.list_what_may_be_seen(&resource, "registrycredentials.claviger.dev").await;
    let read = |object: DynamicObject| {
        let mut data = object.data;
        Some(Declaration {
            namespace: object.metadata.namespace?,
            name: object.metadata.name?,
            spec: serde_json::from_value(data.get_mut("spec")?.take()).ok()?,
            status: data
                .get_mut("status")
                .and_then(|status| serde_json::from_value(status.take()).ok())
                .unwrap_or_default(),
        })
    };
    listed.into_iter().flat_map(|(listed, _)| listed).filter_map(read).collect()
}

async fn consent_inputs(cluster: &Cluster, declarations: &[Declaration]) -> ConsentInputs {
    let policies = Api::<DynamicObject>::all_with(
        cluster.client.clone(),
        &ApiResource::erase::<DistributionPolicy>(&()),
    );
    let right = Right::new("list", "distributionpolicies.claviger.dev", None);
    let policies = cluster.list(&right, &policies, ListParams::default()).await.ok();
    let policies = policies.map(|policies| {
        let spec =
            |mut policy: DynamicObject| serde_json::from_value(policy.data.get_mut("spec")?.take()).ok();
        policies.into_iter().filter_map(spec).collect()
    });
    let names: BTreeSet<&String> =
        declarations.iter().map(|declared| &declared.namespace).chain([&cluster.namespace]).collect();
    let api = Api::<KubeNamespace>::all(cluster.client.clone());
    let read = |name: &'_ String| {
        let (api, name) = (api.clone(), name.clone());
        async move {
            let right = Right::new("get", "namespaces", None);
            let read = cluster.ask(right, api.get_metadata(&name)).await.ok()?.metadata;
            let is_terminating = read.deletion_timestamp.is_some();
            Some((name.clone(), Namespace::new(&name, read.labels.unwrap_or_default(), is_terminating)))
        }
    };
    let namespaces: Vec<_> = join_all(names.into_iter().map(read)).await;
    // Without the labels of the namespace itself nobody can say which policy covers it.
    let namespaces: BTreeMap<String, Namespace> = namespaces.into_iter().flatten().collect();
    let policies = policies.filter(|_| namespaces.contains_key(&cluster.namespace));
    ConsentInputs { policies, namespaces }
}

fn in_words(explanation: &Explanation) -> String {
    let Explanation { namespace, pod, service_account, image_pull_secrets, images } = explanation;
    let secrets =
        if image_pull_secrets.is_empty() { "none".to_owned() } else { image_pull_secrets.join(", ") };
    let mut text = format!(
        "Pod:              {namespace}/{pod}\nServiceAccount:   {service_account}\nPull Secrets:     {secrets}\n"
    );
    for image in images {
        let used_by: Vec<String> = image.containers.iter().map(one_container).collect();
        let shown = &image.image;
        text += &format!(
            "\nImage:            {shown}\nContainers:       {}\nVerdict:          {}\n                  {}\n",
            used_by.join(", "),
            image.verdict.as_str(),
            image.message
        );
        let mut tried = 0;
        let row = |entry: &crate::domain::pull::EntryExplained| {
            tried += usize::from(entry.matches);
            vec![
                if entry.matches { tried.to_string() } else { "-".to_owned() },
                entry.secret.clone(),
                entry.key.clone().unwrap_or_else(|| "-".to_owned()),
                if entry.matches { "yes" } else { "no" }.to_owned(),
                format!("{}: {}", entry.reason, entry.message),
            ]
        };
        let rows: Vec<_> = image.entries.iter().map(row).collect();
        if !rows.is_empty() {
            text += "\n";
            text += &indented(&table(&["TRIED", "SECRET", "KEY", "MATCHES", "REASON"], &rows), 2);
        }
        if image.omitted > 0 {
            text += &format!("  and {}\n", counted(image.omitted, "more entry"));
        }
    }
    text
}

fn one_container(container: &Container) -> String {
    let type_ = if container.type_ == "container" { String::new() } else { format!("{} ", container.type_) };
    let waiting = container.waiting.as_ref().map(|waiting| {
        let colon = if waiting.message.is_empty() { "" } else { ": " };
        format!(" ({}{colon}{})", waiting.reason, waiting.message)
    });
    format!("{type_}{}{}", container.name, waiting.unwrap_or_default())
}

/// What kubelet's keyring gives for an image, as this program works it out; tests compare it with kubelet's own code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What keys are compared with; `None` for an image whose name is not valid.
    pub repository: Option<String>,
    /// Whether a Secret cannot be read, so that nothing can be pulled.
    pub unreadable: bool,
    /// In the order in which they are tried: the position of the Secret, what its entry is filed under, and a SHA-256 of user
    /// name, NUL and password. Entries of one Secret that are filed under the same are tried in any order.
    pub logins: Vec<(usize, Vec<u8>, String)>,
}

/// Looks an image up in the pull Secrets of a Pod.
#[must_use]
pub fn lookup(secrets: Vec<Secret>, image: &str) -> Lookup {
    let repository = repository(image);
    let read = |secret| {
        let mut secret = ReadSecret(secret);
        let data = secret.take_data();
        given(secret.type_(), &data)
    };
    let all: Vec<Given> = secrets.into_iter().map(read).collect();
    let unreadable = all.iter().any(|given| matches!(given, Given::Unreadable));
    let usable = if unreadable { &[][..] } else { &all };
    let judged = repository.as_deref().map(|repository| judge(usable, repository)).unwrap_or_default();
    let digest = |parts: [&[u8]; 3]| {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let logins = judged.iter().filter(|one| one.is_tried).map(|one| {
        let login = &one.entry.login;
        let digest = digest([login.username.expose(), b"\0", login.password.expose()]);
        (one.secret, one.index().to_vec(), digest)
    });
    let logins = logins.collect();
    Lookup { repository, unreadable, logins }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_secrets_are_small() {
        let params = of_type("a/b");
        assert!(params.limit == Some(IMPORT_PAGE) && IMPORT_PAGE <= 50);
        assert_eq!(params.field_selector.as_deref(), Some("type=a/b"));
    }
}
