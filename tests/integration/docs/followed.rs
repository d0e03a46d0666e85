//! Pages are followed, word by word.

use std::collections::BTreeSet;

use super::{
    page::{Page, pages},
    terminal::{Terminal, Words, check_syntax},
};
use crate::{
    release::install::Cluster,
    support::{Error, Result, random_name, wait::DEADLINE, wait_for},
};

/// Pages whose commands other tests run, and which.
const ELSEWHERE: [(&str, &str); 1] = [("install.md", "release::")];

#[test]
fn a_shell_can_read_all_that_stands_there() -> Result<()> {
    let pages = pages()?;
    assert!(pages.len() > 20);
    let scripts = pages.iter().flat_map(|page| page.scripts().into_iter().map(move |script| (page, script)));
    let mut wrong = Vec::new();
    for (page, script) in scripts {
        wrong.extend(check_syntax(&script).err().map(|error| format!("docs/{}: {error}", page.path)));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Error::new(wrong.join("\n"))) }
}

/// What a page names stands for something of its own.
fn words(namespace: &str) -> Words {
    Words::from([
        // Pages that share a cluster write into the same namespaces, too.
        ("NAME", random_name("quay")),
        ("NAMESPACE", namespace.to_owned()),
        ("KIND", "registrycredential".to_owned()),
        ("CLUSTER", random_name("east")),
        ("POD", "api".to_owned()),
    ])
}

/// Whether a page is to be followed: all, or the one that `CLAVIGER_DOCS_PAGE` names, for who writes it.
fn is_asked_for(page: &Page) -> bool {
    std::env::var("CLAVIGER_DOCS_PAGE").map_or(true, |asked| asked == page.path)
}

fn all_done(done: Vec<Result<()>>) -> Result<()> {
    let wrong: Vec<String> =
        done.into_iter().filter_map(|done| done.err().map(|error| error.to_string())).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Error::new(wrong.join("\n\n"))) }
}

/// A cluster with the operator, as the chart installs it, and the namespaces of a company.
async fn installed() -> Result<(Cluster, crate::support::Operator)> {
    let cluster = Cluster::new().await?;
    cluster
        .types(
            "helm install claviger charts/claviger --namespace claviger-system --create-namespace\n\
             kubectl create namespace platform\n\
             for name in web shop; do kubectl create namespace $name; kubectl label namespace $name team=billing; done\n",
        )
        .await?;
    let operator = cluster.operator("claviger-1").await?;
    // kubectl keeps what it has found out of an API server, which learns of new kinds some moments after their definitions.
    wait_for(DEADLINE, "our kinds", async || {
        cluster
            .types("rm -rf \"$HOME/.kube/cache\"; kubectl get credentials,memberclusters --all-namespaces")
            .await
            .map(drop)
    })
    .await?;
    Ok((cluster, operator))
}

/// Each in a namespace of its own.
#[tokio::test]
async fn what_is_to_be_done_about_each_reason_can_be_done() -> Result<()> {
    let (cluster, operator) = installed().await?;
    let pages = pages()?;
    let about_reasons =
        pages.iter().filter(|page| page.path.starts_with("troubleshooting/") && is_asked_for(page));
    // One after the other, as other tests run beside this one.
    let mut done = Vec::new();
    for page in about_reasons {
        let namespace = random_name("docs");
        cluster.types(&format!("kubectl create namespace {namespace}")).await?;
        done.push(Terminal::new(&cluster, words(&namespace)).await?.follows(page).await);
    }
    all_done(done)?;
    operator.check_running()
}

/// Each on a cluster of its own, as they name what everybody has.
#[tokio::test]
async fn each_guide_can_be_followed_word_by_word() -> Result<()> {
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(page, _)| *page).collect();
    let pages = pages()?;
    let guides = pages.iter().filter(|page| {
        let is_shown = page.path.starts_with("troubleshooting/") || elsewhere.contains(page.path.as_str());
        !is_shown && !page.blocks.is_empty() && is_asked_for(page)
    });
    let mut done = Vec::new();
    for page in guides {
        // The operator ends after the page: some pages remove it.
        let (cluster, _operator) = installed().await?;
        done.push(Terminal::new(&cluster, words("platform")).await?.follows(page).await);
    }
    all_done(done)
}
