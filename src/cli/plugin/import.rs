//! `kubectl claviger import`: manifests by which credentials take over the Secrets that a cluster has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    connect::Cluster,
    error::PluginError,
    import_reader::{ImportArgs, Read, read},
    news::{News, tell},
    output::{Format, OutputArgs, indented, show, table},
};
use crate::{
    cli::yaml::to_yaml,
    domain::{
        counted::counted,
        foreign_text::foreign_text,
        import::{LeftOut, Manifests, Planned, advice, manifests},
        schedule::{MAX_MESSAGE, MAX_NAMES_IMPORTED},
    },
};

pub(super) async fn run(
    args: &ImportArgs,
    namespace: Option<&str>,
    cluster: &Cluster,
    output: OutputArgs,
) -> Result<News, PluginError> {
    let Read { moves, groups, existing, refused, notes } = read(args, namespace, cluster).await?;
    let made = manifests(&moves, &existing);
    show(&match output.output {
        Some(Format::Json) => {
            format!("{:#}\n", json!({"apiVersion": "v1", "kind": "List", "items": made.objects}))
        }
        None | Some(Format::Yaml) => documents(&made.objects)?,
    })?;
    tell(&in_words(&made, &groups.left, groups.alone));
    for note in notes {
        tell(&note);
    }
    match refused {
        Some(error) => Err(error),
        None => Ok(News::good(groups.left.is_empty() && made.annotate.is_empty())),
    }
}

fn documents(objects: &[Value]) -> Result<String, PluginError> {
    let documents = objects.iter().map(|object| to_yaml("the manifests", object));
    Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
}

/// What would change, for people.
fn in_words(made: &Manifests, left: &[LeftOut], alone: usize) -> String {
    let handed: usize = made.credentials.iter().map(|planned| planned.copies.len()).sum();
    let take = if made.credentials.len() == 1 { "takes" } else { "take" };
    let mut text = format!(
        "{} {take} over {} in place; Secrets of {} are left as they are. Secrets whose content no other Secret has: {alone}.\n",
        counted(made.credentials.len(), "credential"),
        counted(handed, "Secret"),
        counted(left.len(), "name")
    );
    let head =
        ["CREDENTIAL", "SOURCE", "FOR", "SECRET", "NAMESPACES", "MADE BY", "CONTENT", "SERVICEACCOUNTS"];
    if !made.credentials.is_empty() {
        text += &format!("\n{}", table(&head, &made.credentials.iter().map(row).collect::<Vec<_>>()));
    }
    for planned in &made.credentials {
        for note in &planned.notes {
            text += &format!("  {}: {}\n", planned.id, foreign_text(note, MAX_MESSAGE));
        }
    }
    for (from, to) in &made.consent {
        text += &format!(
            "\nConsent: everyone who may write credentials in namespace '{from}' can push them into {}.\n",
            some(to.iter())
        );
    }
    if !left.is_empty() {
        let row = |left: &LeftOut| {
            let message = foreign_text(&left.why.message(), MAX_MESSAGE);
            vec![left.name.clone(), some(left.namespaces.iter()), left.why.reason().to_owned(), message]
        };
        let rows: Vec<Vec<String>> = left.iter().map(row).collect();
        text += &format!(
            "\nLeft as they are:\n{}",
            indented(&table(&["SECRET", "NAMESPACES", "REASON", "MESSAGE"], &rows), 2)
        );
    }
    let advice = advice(&made.credentials);
    text += &steps("Before you apply the manifests:", &advice.before);
    if !made.annotate.is_empty() {
        text += "\nThese Secrets were created with `kubectl apply`, which would remove their values if it applied them without values. Hand them over by hand, and do not apply them any more:\n";
        for (place, id) in &made.annotate {
            text += &format!(
                "  kubectl annotate secret --namespace {} {} claviger.dev/adopt={id}\n",
                place.namespace, place.name
            );
        }
    }
    text + &steps("When the credentials are Ready:", &advice.after)
}

fn row(planned: &Planned) -> Vec<String> {
    let mut makers: BTreeMap<&str, usize> = BTreeMap::new();
    for copy in &planned.copies {
        *makers.entry(copy.made_by()).or_default() += 1;
    }
    let makers: Vec<String> = makers.into_iter().map(|(tool, count)| format!("{tool} ({count})")).collect();
    let kept = if planned.exists { " (exists)" } else { "" };
    vec![
        format!("{}{kept}", planned.id),
        planned.source.to_string(),
        if planned.registries.is_empty() { "-".to_owned() } else { some(planned.registries.iter()) },
        planned.secret.clone(),
        some(planned.copies.iter().map(|copy| &copy.place.namespace)),
        makers.join(", "),
        if planned.is_equal { "equal" } else { "written differently" }.to_owned(),
        if planned.accounts.is_empty() { "-".to_owned() } else { some(planned.accounts.iter()) },
    ]
}

/// Some names, and how many there are.
fn some<T: ToString>(names: impl ExactSizeIterator<Item = T>) -> String {
    let total = names.len();
    let shown: Vec<String> = names.take(MAX_NAMES_IMPORTED).map(|name| name.to_string()).collect();
    let more = total - shown.len();
    let shown = shown.join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn steps(head: &str, steps: &[String]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let lines = steps.iter().enumerate().map(|(n, step)| format!("  {}. {step}\n", n + 1));
    format!("\n{head}\n{}", lines.collect::<String>())
}
