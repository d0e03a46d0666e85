//! What `kubectl claviger import` reads: Secrets page by page, of which no value is kept, and what stands already.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use kube::{
    Api,
    api::{DynamicObject, ListParams},
};
use serde_json::Value;

use super::{
    connect::Cluster,
    credentials::plural,
    error::{PluginError, Right},
};
use crate::{
    api::{CredentialKind, DistributionPolicy, LABEL_OPT_OUT, crds},
    domain::{
        content::{ReadSecret, SourceSecret},
        fingerprint::FingerprintKey,
        foreign_text::foreign_text,
        identity::{CredentialId, NamespacedName},
        import::{Chosen, Existing, Former, Groups, IMPORTED, Left, Listed, Move, Standing, groups},
        labels::{is_dns_label, is_dns_subdomain},
        schedule::{IMPORT_PAGE, MAX_MESSAGE},
    },
};

/// Which Secrets are taken over.
#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// Only copies of these names
    #[arg(value_name = "SECRET")]
    names: Vec<String>,

    /// Namespace whose Secret is the source, if it has one with that content; can be given several times, in order of
    /// preference
    #[arg(long, value_name = "NAMESPACE")]
    source_namespace: Vec<String>,

    /// Make the credentials defaults of the ServiceAccounts that name their Secrets now
    #[arg(long)]
    defaults: bool,

    /// Leave copies in this namespace as they are; can be given several times
    #[arg(long, value_name = "NAMESPACE")]
    exclude: Vec<String>,
}

/// All that an import is made from.
pub(super) struct Read {
    pub moves: Vec<Move>,
    pub groups: Groups,
    pub existing: Existing,
    /// A right that is missing, where the rest can be told without it.
    pub refused: Option<PluginError>,
    pub notes: Vec<String>,
}

pub(super) async fn read(
    args: &ImportArgs,
    namespace: Option<&str>,
    cluster: &Cluster,
) -> Result<Read, PluginError> {
    for name in args.source_namespace.iter().chain(&args.exclude).map(String::as_str).chain(namespace) {
        if !is_dns_label(name) {
            let name = foreign_text(name, 63);
            return Err(PluginError::Usage(format!("'{name}' is not a valid name of a namespace")));
        }
    }
    let mut reader = Reader {
        cluster,
        key: FingerprintKey::new(rand::random()),
        listed: Vec::new(),
        refused: None,
        notes: Vec::new(),
    };
    let closed = reader.namespaces().await?;
    reader.secrets(namespace, closed.as_ref()).await?;
    let chosen = Chosen {
        sources: args.source_namespace.clone(),
        namespace: namespace.map(str::to_owned),
        names: args.names.iter().cloned().collect(),
        exclude: args.exclude.iter().cloned().collect(),
        closed: closed.into_iter().flatten().filter_map(|(name, why)| Some((name, why?))).collect(),
    };
    let mut groups = groups(std::mem::take(&mut reader.listed), &chosen);
    let moves = reader.moves(&mut groups).await?;
    let mut existing = reader.existing(&moves).await?;
    existing.defaults = args.defaults;
    Ok(Read { moves, groups, existing, refused: reader.refused, notes: reader.notes })
}

struct Reader<'a> {
    cluster: &'a Cluster,
    key: FingerprintKey,
    listed: Vec<Listed>,
    refused: Option<PluginError>,
    notes: Vec<String>,
}

/// All namespaces, and why some of them take no copies.
type Namespaces = BTreeMap<String, Option<&'static str>>;

impl Reader<'_> {
    /// `None` when they may not be listed.
    async fn namespaces(&mut self) -> Result<Option<Namespaces>, PluginError> {
        let api = Api::<Namespace>::all(self.cluster.client.clone());
        let right = Right::new("list", "namespaces", None);
        match self.cluster.list(&right, &api, ListParams::default()).await {
            Ok(all) => Ok(Some(all.into_iter().map(closed).collect())),
            Err(error) if error.is_forbidden() => {
                self.notes.push(format!("It is not known which namespaces take no copies: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads all Secrets of the cluster, else those of the namespaces in which they may be listed.
    async fn secrets(
        &mut self,
        chosen: Option<&str>,
        namespaces: Option<&Namespaces>,
    ) -> Result<(), PluginError> {
        match self.secrets_in(None).await {
            Err(error) if error.is_forbidden() => self.refused = Some(error),
            done => return done,
        }
        let own = [chosen.unwrap_or(&self.cluster.namespace).to_owned()];
        let places: Vec<&String> =
            namespaces.map_or_else(|| own.iter().collect(), |all| all.keys().collect());
        let mut unseen = Vec::new();
        for namespace in places {
            match self.secrets_in(Some(namespace)).await {
                Err(error) if error.is_forbidden() => unseen.push(namespace.as_str()),
                done => done?,
            }
        }
        let seen = if unseen.is_empty() { String::new() } else { format!("; not in {}", unseen.join(", ")) };
        self.notes.push(format!("Secrets were listed only where you may list them{seen}"));
        Ok(())
    }

    async fn secrets_in(&mut self, namespace: Option<&str>) -> Result<(), PluginError> {
        let api: Api<Secret> = self.cluster.api(namespace);
        let right = Right::new("list", "secrets", namespace.map(str::to_owned));
        for (kind, type_) in IMPORTED {
            // Releases of Helm and tokens are not even sent.
            let params = ListParams::default().limit(IMPORT_PAGE).fields(&format!("type={type_}"));
            let (key, listed) = (&self.key, &mut self.listed);
            let visit = |secret| listed.extend(Listed::new(kind, ReadSecret(secret), key));
            self.cluster
                .pages(&right, params, async |params: ListParams| api.list(&params).await, visit)
                .await?;
        }
        Ok(())
    }

    /// Reads each source again, and finds the credential for it.
    async fn moves(&mut self, found: &mut Groups) -> Result<Vec<Move>, PluginError> {
        let mut moves = Vec::new();
        let schemas = CredentialKind::ALL.iter().map(|kind| (*kind, schema(kind.name())));
        let mut former = Former::new(schemas.collect());
        for group in std::mem::take(&mut found.groups) {
            let NamespacedName { namespace, name } = &group.source.place;
            let right = Right::new("get", "secrets", namespace.to_string());
            let api = Api::<Secret>::namespaced(self.cluster.client.clone(), namespace);
            let read = match self.cluster.ask(right, api.get(name)).await {
                Ok(secret) => self.source(&group.source, ReadSecret(secret)),
                Err(PluginError::NotFound(_)) => None,
                Err(error) => return Err(error),
            };
            let kind = group.source.kind;
            let changed = || "its source changed while it was read; run the import again".to_owned();
            let formed = read
                .ok_or_else(changed)
                .and_then(|source| former.form(kind, namespace, &source, Timestamp::now()));
            let form = match formed {
                Ok(form) => form,
                Err(why) => {
                    for copy in &group.copies {
                        found.leave(copy, Left::Refused(why.clone()));
                    }
                    continue;
                }
            };
            let (fixed, copies): (Vec<_>, Vec<_>) =
                group.copies.into_iter().partition(|copy| copy.immutable && !form.is_equal);
            for copy in &fixed {
                found.leave(copy, Left::Immutable);
            }
            if !copies.is_empty() {
                moves.push(Move { source: group.source, form, copies });
            }
        }
        Ok(moves)
    }

    fn source(&self, listed: &Listed, mut secret: ReadSecret) -> Option<SourceSecret> {
        let (data, type_) = (secret.take_data(), secret.type_().to_owned());
        (self.key.of(&type_, &data) == listed.content).then(|| SourceSecret {
            name: listed.place.name.to_string(),
            type_,
            data,
            version: None,
        })
    }

    /// Reads what the manifests may not take away from.
    async fn existing(&mut self, moves: &[Move]) -> Result<Existing, PluginError> {
        let mut existing = Existing::default();
        let client = || self.cluster.client.clone();
        let places: BTreeSet<_> =
            moves.iter().map(|one| (one.source.kind, one.source.place.namespace.clone())).collect();
        for (kind, namespace) in places {
            let api: Api<DynamicObject> = Api::namespaced_with(client(), &namespace, &kind.resource());
            let right = Right::new("list", plural(kind), namespace.to_string());
            for object in self.installed(self.cluster.list(&right, &api, ListParams::default()).await)? {
                let name = object.metadata.name.clone().unwrap_or_default().into();
                let id = CredentialId { kind, namespace: namespace.clone(), name };
                existing.credentials.insert(id, standing(&object));
            }
        }
        if moves.is_empty() {
            return Ok(existing);
        }
        let right = Right::new("list", "distributionpolicies.claviger.dev", None);
        let resource = kube::core::ApiResource::erase::<DistributionPolicy>(&());
        let policies: Api<DynamicObject> = Api::all_with(client(), &resource);
        for object in self.installed(self.cluster.list(&right, &policies, ListParams::default()).await)? {
            let name = object.metadata.name.clone().unwrap_or_default();
            existing.policies.insert(name, standing(&object));
        }
        existing.accounts = self.accounts().await?;
        Ok(existing)
    }

    /// None where the definitions are not there yet.
    fn installed<T>(&mut self, listed: Result<Vec<T>, PluginError>) -> Result<Vec<T>, PluginError> {
        match listed {
            Err(PluginError::NotFound(_)) => {
                let note =
                    "The CustomResourceDefinitions of Claviger are not installed: install the chart first";
                if !self.notes.iter().any(|told| told == note) {
                    self.notes.push(note.to_owned());
                }
                Ok(Vec::new())
            }
            listed => listed,
        }
    }

    /// The ServiceAccounts that name a Secret, by the place of the Secret.
    async fn accounts(&mut self) -> Result<BTreeMap<NamespacedName, BTreeSet<String>>, PluginError> {
        let api = Api::<ServiceAccount>::all(self.cluster.client.clone());
        let right = Right::new("list", "serviceaccounts", None);
        let mut named: BTreeMap<NamespacedName, BTreeSet<String>> = BTreeMap::new();
        let visit = |account: ServiceAccount| {
            let (Some(namespace), Some(name)) = (account.metadata.namespace, account.metadata.name) else {
                return;
            };
            for secret in
                account.image_pull_secrets.into_iter().flatten().filter(|one| is_dns_subdomain(&one.name))
            {
                let place = NamespacedName::new(namespace.as_str(), secret.name.as_str());
                named.entry(place).or_default().insert(name.clone());
            }
        };
        let read = self.cluster.pages(
            &right,
            ListParams::default(),
            async |params: ListParams| api.list(&params).await,
            visit,
        );
        match read.await {
            Err(error) if error.is_forbidden() => {
                let why = foreign_text(&error.to_string(), MAX_MESSAGE);
                self.notes.push(format!("It is not known which ServiceAccounts name the Secrets: {why}"));
            }
            done => done?,
        }
        Ok(named)
    }
}

fn standing(object: &DynamicObject) -> Standing {
    Standing::new(&object.metadata, object.data.get("spec").cloned().unwrap_or_default())
}

/// A namespace, and why it takes no copies.
fn closed(namespace: Namespace) -> (String, Option<&'static str>) {
    let meta = namespace.metadata;
    let labels = meta.labels.unwrap_or_default();
    let why = if meta.deletion_timestamp.is_some() {
        Some("is being deleted")
    } else if labels.get(LABEL_OPT_OUT).is_some_and(|value| value == "true") {
        Some("is labelled claviger.dev/opt-out")
    } else {
        None
    };
    (meta.name.unwrap_or_default(), why)
}

/// The schema of a kind.
fn schema(kind: &str) -> Value {
    let definition = crds().into_iter().find(|definition| definition.spec.names.kind == kind);
    let version = definition.and_then(|definition| definition.spec.versions.into_iter().next());
    let schema = version.and_then(|version| version.schema?.open_api_v3_schema);
    schema.and_then(|schema| serde_json::to_value(schema).ok()).unwrap_or_default()
}
