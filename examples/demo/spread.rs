//! From one object to many Secrets.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{ResourceExt, api::DynamicObject};
use serde_json::json;

use crate::{
    kubectl,
    programme::Programme,
    screen::Count,
    sight::{self, Seen},
    stage::{self, HOME, KIND, LABEL, Stage},
    support::Result,
};

/// Those that `examples/platform-team.yaml` makes itself.
const OF_EXAMPLE: [&str; 2] = ["team-blue", "team-green"];
const AT_ONCE: usize = 16;

/// Namespaces that wait for a credential. Returns all that the platform team's credentials will go to.
pub async fn namespaces(programme: &mut Programme, stage: &Stage, count: usize) -> Result<Vec<String>> {
    let own = count.saturating_sub(OF_EXAMPLE.len());
    programme.begin(
        "Namespaces",
        "One namespace for each team of a company. A label says that the team may pull the company's images.",
    );
    let screen = programme.screen.clone();
    let digits = own.to_string().len();
    screen.command(&format!(
        "for i in $(seq -w {own}); do kubectl create namespace team-$i; done\n\
         for i in $(seq -w {own}); do kubectl label namespace team-$i {LABEL}=true; done"
    ));
    let names: Vec<String> = (1..=own).map(|number| format!("team-{number:0digits$}")).collect();
    let create = stream::iter(&names)
        .map(|name| stage.create_namespace(name, json!({LABEL: "true"})))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>();
    let (_, took) = programme.wait("creating namespaces", create).await?;
    screen.done(&format!("{own} namespaces, none has a pull Secret yet"), Some(took));
    programme.end(format!("{own} namespaces"), took).await;
    Ok(names.into_iter().chain(OF_EXAMPLE.map(str::to_owned)).collect())
}

/// All manifests of `examples/` for one cluster.
pub async fn examples(programme: &mut Programme, stage: &mut Stage, namespaces: &[String]) -> Result<()> {
    programme.begin(
        "Credentials",
        "The manifests in examples/ for one cluster. Each line counts what is in the cluster once all credentials of a file are Ready.",
    );
    let screen = programme.screen.clone();
    let (mut all, mut platform) = (0, 0);
    let mut spread = Duration::ZERO;
    for (file, yaml) in stage::examples()? {
        screen.command(&format!("kubectl apply -f {file}"));
        let (objects, since) = stage.apply(&yaml).await?;
        let credentials: Vec<_> = objects.into_iter().filter(is_credential).collect();
        if file.ends_with("platform-team.yaml") {
            let names: Vec<String> = credentials.iter().map(ResourceExt::name_any).collect();
            let total = names.len() * namespaces.len();
            platform = total;
            let look = |seen: &Seen| Count { done: names.iter().map(|name| copies(seen, name)).sum(), total };
            spread = stage.sight.until(&screen, "copies", since, look).await?;
            let text = format!("{total} Secrets: {} in each of {} namespaces", names.len(), namespaces.len());
            screen.done(&text, Some(spread));
        }
        let look = |seen: &Seen| Count {
            done: credentials.iter().filter(|object| seen_ready(seen, object)).count(),
            total: credentials.len(),
        };
        let took = stage.sight.until(&screen, "credentials ready", since, look).await?;
        let copies: usize = stage.sight.look(|seen| {
            credentials.iter().map(|c| seen.copies(&kind(c), &home(c), &c.name_any()).count()).sum()
        });
        all += copies;
        screen.done(
            &format!("{} ready, {}", plural(credentials.len(), "credential"), plural(copies, "Secret")),
            Some(took),
        );
    }
    let result =
        format!("{platform} Secrets in {} namespaces; {all} with the other examples", namespaces.len());
    programme.end(result, spread).await;
    Ok(())
}

/// What a person sees of it.
pub async fn table(programme: &mut Programme, stage: &Stage) -> Result<()> {
    programme.begin("Status", "What kubectl shows. `-o wide` adds reason, message and revision.");
    let screen = programme.screen.clone();
    let since = Instant::now();
    let mut shown = 0;
    for (command, kind, namespace, selector) in [
        ("kubectl get regcred -n platform", KIND, Some(HOME), ""),
        ("kubectl get regcred -A --field-selector spec.provider=Quay", KIND, None, "spec.provider=Quay"),
        ("kubectl get bacred -A", "BasicAuthCredential", None, ""),
        ("kubectl get tlscred -A", "TlsCredential", None, ""),
        ("kubectl get oscred -A", "ObjectStorageCredential", None, ""),
    ] {
        let Some(resource) = stage.kinds.iter().find(|known| known.kind == kind) else { continue };
        let rows = kubectl::get(&stage.client, resource, namespace, selector).await?;
        if !rows.is_empty() {
            screen.command(command);
            screen.table(&rows);
            shown += rows.len() - 1;
        }
    }
    programme.end(format!("{shown} rows"), since.elapsed()).await;
    Ok(())
}

/// A namespace that is made when all is in place.
pub async fn late_comer(
    programme: &mut Programme,
    stage: &mut Stage,
    namespaces: &mut Vec<String>,
) -> Result<()> {
    let name = "team-new";
    programme.begin(
        "A new namespace",
        "It is created after the credentials, and gets its Secrets without any further step.",
    );
    let screen = programme.screen.clone();
    screen.command(&format!(
        "kubectl create -f - <<EOF\n\
         {{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{LABEL}: \"true\"}}}}}}\nEOF"
    ));
    let since = Instant::now();
    stage.create_namespace(name, json!({LABEL: "true"})).await?;
    let wanted = ["quay", "scaleway", "docker-hub"];
    let look = |seen: &Seen| Count {
        done: wanted.iter().filter(|secret| seen.secret(name, secret).is_some()).count(),
        total: wanted.len(),
    };
    let took = stage.sight.until(&screen, "Secrets", since, look).await?;
    screen.done(&format!("{} in {name}", wanted.join(", ")), Some(took));
    namespaces.push(name.to_owned());
    programme.end(format!("{} Secrets in it", wanted.len()), took).await;
    Ok(())
}

/// Copies of one of the platform team's credentials.
pub fn copies(seen: &Seen, name: &str) -> usize {
    seen.copies(KIND, HOME, name).count()
}

pub fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn kind(object: &DynamicObject) -> String {
    object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default()
}

fn home(object: &DynamicObject) -> String {
    object.namespace().unwrap_or_default()
}

fn is_credential(object: &DynamicObject) -> bool {
    kind(object).ends_with("Credential")
}

fn seen_ready(seen: &Seen, object: &DynamicObject) -> bool {
    seen.credential(&kind(object), &home(object), &object.name_any()).is_some_and(sight::is_ready)
}
