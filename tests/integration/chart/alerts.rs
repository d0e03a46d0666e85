//! The alerts: each is tested by Prometheus' own tool, and leads to a page that says what to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use super::helm::{only, template};
use crate::support::{Error, Result, go_tool};

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The groups of the rendered PrometheusRule.
async fn groups(args: &[&str]) -> Result<Value> {
    let objects = template(&[&["--set=prometheusRule.enabled=true"], args].concat()).await?;
    Ok(only(&objects, "PrometheusRule")["spec"]["groups"].clone())
}

/// Each alert, by its name.
async fn alerts() -> Result<BTreeMap<String, Value>> {
    let groups = groups(&[]).await?;
    let rules = groups.as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array()).flatten();
    let named = rules.map(|rule| (rule["alert"].as_str().unwrap_or_default().to_owned(), rule.clone()));
    let all: BTreeMap<_, _> = named.collect();
    assert!(all.len() > 5 && !all.contains_key(""), "{all:?}");
    Ok(all)
}

/// Runs promtool in a folder that holds these rules.
async fn promtool(folder: &Path, groups: &Value, args: &'static [&'static str]) -> Result<String> {
    // JSON is YAML too.
    fs::write(folder.join("rules.yaml"), json!({"groups": groups}).to_string())?;
    let program = tokio::task::spawn_blocking(|| go_tool("prometheus", "promtool")).await??;
    let mut command = Command::new(program);
    command.current_dir(folder).args(args);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(Error::new(said)) }
}

#[tokio::test]
async fn promtool_finds_each_alert_as_its_tests_say() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::copy(repository().join("tests/prometheus/alerts.yaml"), folder.path().join("alerts.yaml"))?;
    let groups = groups(&[]).await?;
    promtool(folder.path(), &groups, &["check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"]).await?;
    promtool(folder.path(), &groups, &["test", "rules", "alerts.yaml"]).await?;
    // The tests can tell: an alert that waits longer is not found.
    let patient = self::groups(&["--set=prometheusRule.notReadyFor=2h"]).await?;
    let failed = promtool(folder.path(), &patient, &["test", "rules", "alerts.yaml"]).await;
    let failed = failed.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(
        failed.contains("ClavigerCredentialNotReady") && !failed.contains("ClavigerNoLeader"),
        "{failed}"
    );
    Ok(())
}

#[tokio::test]
async fn there_are_tests_of_each_alert_when_it_fires_and_when_it_does_not() -> Result<()> {
    let text = fs::read_to_string(repository().join("tests/prometheus/alerts.yaml"))?;
    let file: Value = serde_saphyr::from_str(&text)?;
    let mut tested: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
    let tests = file["tests"].as_array().into_iter().flatten();
    for case in tests.flat_map(|test| test["alert_rule_test"].as_array()).flatten() {
        let fires = case["exp_alerts"].as_array().is_some_and(|alerts| !alerts.is_empty());
        tested.entry(case["alertname"].as_str().unwrap_or_default().to_owned()).or_default().insert(fires);
    }
    let both = BTreeSet::from([true, false]);
    let wanted: BTreeMap<_, _> = alerts().await?.into_keys().map(|name| (name, both.clone())).collect();
    assert_eq!(tested, wanted);
    Ok(())
}

#[tokio::test]
async fn each_alert_leads_to_a_section_that_says_what_to_do() -> Result<()> {
    let page = fs::read_to_string(repository().join("docs/alerts.md"))?;
    let sections: BTreeMap<String, &str> = page
        .split("\n## ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .map(|(title, text)| (title.to_owned(), text))
        .collect();
    let alerts = alerts().await?;
    let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(sections.keys().collect()), names(alerts.keys().collect()), "docs/alerts.md");
    for (name, alert) in &alerts {
        let text = sections[name];
        for part in ["**Means:** ", "**Look:**\n", "**Do", "```sh\nkubectl"] {
            assert!(text.contains(part), "{name}: no {part:?}");
        }
        let anchor = name.to_lowercase();
        let url = format!("https://github.com/claviger/claviger/blob/main/docs/alerts.md#{anchor}");
        assert_eq!(alert["annotations"]["runbook_url"], url.as_str(), "{name}");
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        let row = format!("| [{name}](#{anchor}) | {severity} | ");
        assert!(page.contains(&row), "docs/alerts.md has no row {row}");
    }
    // Links to other sections and pages.
    for link in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = match file {
            "" => page.clone(),
            file => fs::read_to_string(repository().join("docs").join(file)).map_err(|_| Error::new(link))?,
        };
        let slug = |title: &str| {
            let kept = title.to_lowercase().replace(' ', "-");
            kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
        };
        let titles = target.lines().filter_map(|line| line.strip_prefix('#'));
        let found =
            titles.map(|title| slug(title.trim_start_matches('#').trim())).any(|title| title == anchor);
        assert!(anchor.is_empty() || found, "{link}");
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_is_stale_by_how_long_it_lasts() -> Result<()> {
    for (sets, seconds) in [
        ("operator.watchTimeout=null", 150),
        ("operator.watchTimeout=1m30s", 225),
        ("operator.watchTimeout=5m", 750),
        ("operator.watchTimeout=5m,prometheusRule.watchStaleSeconds=700", 700),
    ] {
        let groups = groups(&["--set", sets]).await?;
        let rules = groups[0]["rules"].as_array().into_iter().flatten();
        let stale = rules.filter(|rule| rule["alert"] == "ClavigerWatchStale").map(|rule| &rule["expr"]);
        let expr = stale.filter_map(Value::as_str).collect::<String>();
        assert!(expr.contains(&format!("(claviger_watch_age_seconds) > {seconds} ")), "{sets}: {expr}");
    }
    Ok(())
}

#[tokio::test]
async fn runbooks_can_be_elsewhere() -> Result<()> {
    let groups = groups(&["--set=prometheusRule.runbookUrl=https://wiki.internal/claviger"]).await?;
    let rules = groups[0]["rules"].as_array().cloned().unwrap_or_default();
    assert!(!rules.is_empty());
    for rule in rules {
        let name = rule["alert"].as_str().unwrap_or_default().to_lowercase();
        let url = format!("https://wiki.internal/claviger#{name}");
        assert_eq!(rule["annotations"]["runbook_url"], url.as_str());
    }
    Ok(())
}
