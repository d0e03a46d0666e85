//! A wrong password, and a registry that is asked.

use std::time::Instant;

use serde_json::json;

use crate::{
    programme::Programme,
    screen::Count,
    sight::{Seen, condition, is_ready, password},
    stage::{HOME, KIND, LABEL, Stage},
    support::{
        Error, Result,
        registry::{Auth, Registry},
    },
};

const CREDENTIAL: &str = "company";
const SOURCE: &str = "company-registry";
const USER: &str = "robot";
const GOOD: &str = "the-password-of-today";
const TYPO: &str = "the-pasword-of-tomorrow";
const NEXT: &str = "the-password-of-tomorrow";

/// A value that the registry refuses goes nowhere.
pub async fn wrong_password(
    programme: &mut Programme,
    stage: &mut Stage,
    namespaces: &[String],
) -> Result<()> {
    programme.begin(
        "A wrong password",
        "The operator asks a real registry, on this machine, whether it accepts the login (mode Enforce). A new password \
         with a typo is not distributed. (Here the operator asks registries on loopback only.)",
    );
    let screen = programme.screen.clone();
    let start = Registry::start(Auth::Htpasswd(&[(USER, GOOD)]), None);
    let (registry, took) = programme.wait("starting the registry", start).await?;
    let server = registry.address().to_owned();
    screen.done(&format!("a registry at {server}, with user {USER}"), Some(took));

    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SOURCE, "namespace": HOME},
        "stringData": {"username": USER, "password": GOOD},
    });
    let credential = json!({
        "apiVersion": "claviger.dev/v1alpha1", "kind": KIND, "metadata": {"name": CREDENTIAL, "namespace": HOME},
        "spec": {
            "provider": "Custom", "server": server, "secretRef": {"name": SOURCE},
            "verification": {"mode": "Enforce"},
            "target": {"namespaces": {"selector": {"matchLabels": {LABEL: "true"}}}},
        },
    });
    screen.command(&format!(
        "kubectl create secret generic {SOURCE} -n {HOME} --from-literal=username={USER} --from-literal=password={GOOD}\n\
         kubectl apply -f - <<EOF\n\
         apiVersion: claviger.dev/v1alpha1\n\
         kind: {KIND}\n\
         metadata: {{name: {CREDENTIAL}, namespace: {HOME}}}\n\
         spec:\n  provider: Custom\n  server: {server}\n  secretRef: {{name: {SOURCE}}}\n  verification: {{mode: Enforce}}\n  \
         target: {{namespaces: {{selector: {{matchLabels: {{{LABEL}: \"true\"}}}}}}}}\nEOF"
    ));
    let (_, since) = stage.apply(&format!("{secret}\n---\n{credential}")).await?;
    let all = namespaces.len();
    let took = stage.sight.until(&screen, "namespaces", since, |seen| having(seen, GOOD, all)).await?;
    screen.done(&format!("the registry accepts it, and {all} namespaces have it"), Some(took));
    let look = |seen: &Seen| Count::once(verified(seen).is_some_and(|(status, _)| status == "True"));
    stage.sight.until(&screen, "Verified=True", since, look).await?;

    let since = rotate(programme, stage, TYPO).await?;
    let refused = |seen: &Seen| verified(seen).filter(|(status, _)| status == "False");
    let look = |seen: &Seen| Count::once(refused(seen).is_some());
    let told = stage.sight.until(&screen, "Verified=False", since, look).await?;
    let (_, message) = stage.sight.look(refused).unwrap_or_default();
    screen.done("the status reports AuthenticationFailed", Some(told));
    screen.command(&format!("kubectl get regcred {CREDENTIAL} -n {HOME}"));
    screen.table(&stage.row(HOME, CREDENTIAL).await?);
    screen.quote("Verified=False", &message);
    let kept = stage.sight.look(|seen| having(seen, GOOD, all));
    if !kept.is_complete() {
        return Err(Error::new(format!("only {} of {all} copies are what they were", kept.done)));
    }
    screen.done(&format!("{all}/{all} Secrets are unchanged"), None);

    screen.command(&format!("htpasswd -bB htpasswd {USER} {NEXT}   # at the registry"));
    registry.set_users(&[(USER, NEXT)])?;
    let since = rotate(programme, stage, NEXT).await?;
    let took = stage.sight.until(&screen, "namespaces", since, |seen| having(seen, NEXT, all)).await?;
    screen.done(&format!("the right password is in {all} namespaces"), Some(took));
    let look = |seen: &Seen| {
        let credential = seen.credential(KIND, HOME, CREDENTIAL).filter(|credential| is_ready(credential));
        Count::once(credential.and_then(|c| c.data.pointer("/status/revision")?.as_i64()) == Some(2))
    };
    let ready = stage.sight.until(&screen, "Ready=True", since, look).await?;
    screen.done("verified and ready: revision 2, as the wrong password was never distributed", Some(ready));
    programme.end("refused by the registry, so it was not distributed", told).await;
    stage.registry = Some(registry);
    Ok(())
}

/// Gives the source another password, and says when.
async fn rotate(programme: &Programme, stage: &Stage, password: &str) -> Result<Instant> {
    programme.screen.command(&format!(
        "kubectl patch secret {SOURCE} -n {HOME} -p '{{\"stringData\": {{\"password\": \"{password}\"}}}}'"
    ));
    let since = Instant::now();
    stage.patch("Secret", HOME, SOURCE, json!({"stringData": {"password": password}})).await?;
    Ok(since)
}

/// How many copies have this password.
fn having(seen: &Seen, wanted: &str, total: usize) -> Count {
    let copies = seen.copies(KIND, HOME, CREDENTIAL);
    Count { done: copies.filter(|copy| password(copy).as_deref() == Some(wanted)).count(), total }
}

/// Status and message of the condition.
fn verified(seen: &Seen) -> Option<(String, String)> {
    let (status, _, message) = condition(seen.credential(KIND, HOME, CREDENTIAL)?, "Verified")?;
    Some((status.to_owned(), message.to_owned()))
}
