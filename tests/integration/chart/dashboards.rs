//! The dashboards: their files, and that a real Prometheus, which scrapes a real operator, answers each of their queries.

mod scene;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::scene::{MEMBER, Scene};
use super::helm::{chart, only, template, values};
use crate::reference_docs::metrics;
use crate::support::{Error, Result, prometheus::Prometheus, wait::DEADLINE, wait_for};

/// Of the job by which the test's Prometheus scrapes.
const JOB: &str = "claviger";

/// By the name of their files.
fn dashboards() -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(chart().join("files/dashboards"))? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        all.insert(name, serde_json::from_str(&std::fs::read_to_string(path)?)?);
    }
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["credential", "member", "overview"]);
    Ok(all)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// All targets of a dashboard, with the panels that they belong to.
fn targets(dashboard: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    list(&dashboard["panels"]).flat_map(|panel| list(&panel["targets"]).map(move |target| (panel, target)))
}

#[test]
fn files_are_as_grafana_wants_them() -> Result<()> {
    let all = dashboards()?;
    let uids: BTreeSet<&str> = all.values().map(|board| text(&board["uid"])).collect();
    assert_eq!(uids, BTreeSet::from(["claviger-credential", "claviger-member", "claviger-overview"]));
    for (name, board) in &all {
        assert!(text(&board["title"]).starts_with("Claviger / ") && board["id"].is_null(), "{name}");
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in list(&board["panels"]) {
            let title = text(&panel["title"]);
            assert!(ids.insert(panel["id"].as_u64()), "{name}: {title} has an id twice");
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_default();
            assert!(at("w") > 0 && at("h") > 0 && at("x") + at("w") <= 24, "{name}: {title}");
            for x in at("x")..at("x") + at("w") {
                for y in at("y")..at("y") + at("h") {
                    assert!(taken.insert((x, y)), "{name}: {title} is on another panel");
                }
            }
        }
        for (panel, target) in targets(board) {
            let (title, expr) = (text(&panel["title"]), text(&target["expr"]));
            for source in [&panel["datasource"], &target["datasource"]] {
                assert_eq!(*source, json!({"type": "prometheus", "uid": "${datasource}"}), "{name}: {title}");
            }
            // Several operators can share a Prometheus.
            assert_eq!(expr.matches('{').count(), expr.matches(r#"{job=~"$job""#).count(), "{name}: {expr}");
        }
        // Links lead to dashboards that are there, with their variables.
        let whole = board.to_string();
        for link in whole.split("\"/d/").skip(1).filter_map(|rest| rest.split('"').next()) {
            let (uid, query) = link.split_once('?').unwrap_or((link, ""));
            let there = all.values().find(|other| other["uid"] == uid);
            let known = there.map(|there| list(&there["templating"]["list"]).map(|one| text(&one["name"])));
            let known: Vec<&str> = known.ok_or_else(|| Error::new(link))?.collect();
            for variable in query.split("var-").skip(1).filter_map(|part| part.split('=').next()) {
                assert!(known.contains(&variable), "{name}: {link}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn they_come_as_config_maps_that_a_sidecar_finds() -> Result<()> {
    let maps = async |args: &[&str]| -> Result<Vec<Value>> {
        let mut objects = template(args).await?;
        objects.retain(|object| object["kind"] == "ConfigMap");
        Ok(objects)
    };
    assert_eq!(maps(&[]).await?, [] as [Value; 0]);
    let found = maps(&["--set=grafanaDashboard.enabled=true"]).await?;
    let mut shown = BTreeMap::new();
    for map in &found {
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        assert_eq!(map["metadata"]["namespace"], "keys-system");
        for (key, file) in map["data"].as_object().into_iter().flatten() {
            let name = key.strip_prefix("claviger-").and_then(|name| name.strip_suffix(".json"));
            let name = name.ok_or_else(|| Error::new(key))?.to_owned();
            assert_eq!(map["metadata"]["name"], format!("keys-claviger-dashboard-{name}"));
            shown.insert(name, serde_json::from_str::<Value>(text(file))?);
        }
    }
    assert_eq!(shown, dashboards()?);
    let full = maps(&["--values", &values("full"), "--set", "extraObjects=null"]).await?;
    assert_eq!(full.len(), found.len());
    for map in full {
        let (labels, notes) = (&map["metadata"]["labels"], &map["metadata"]["annotations"]);
        assert_eq!((&labels["dashboards"], &labels["seen-by"]), (&json!("yes"), &json!("platform")));
        assert_eq!(
            (&notes["grafana_folder"], &map["metadata"]["namespace"]),
            (&json!("Claviger"), &json!("monitoring"))
        );
    }
    Ok(())
}

/// A query with values for the variables of its dashboard, and for Grafana's own.
fn filled(query: &str, chosen: &BTreeMap<&str, String>) -> String {
    let mut filled = query.replace("$__rate_interval", "8s");
    // The other way round, as one name begins with another.
    for (name, value) in chosen.iter().rev() {
        filled = filled.replace(&format!("${name}"), value);
    }
    assert!(!filled.contains('$'), "{filled} has a variable that is not known");
    filled
}

/// What a query gave, for all that can be chosen.
struct Given<'a> {
    panel: &'a Value,
    target: &'a Value,
    query: String,
    has_data: bool,
    labels: BTreeSet<String>,
}

/// Labels that a panel shows and none of its series has.
fn labels_missing(Given { panel, target, labels, .. }: &Given<'_>) -> Vec<String> {
    let title = text(&panel["title"]);
    let mut missing = Vec::new();
    for label in text(&target["legendFormat"]).split("{{").skip(1).filter_map(|rest| rest.split("}}").next())
    {
        if !labels.contains(label) {
            missing.push(format!("{title}: no label {label} in {labels:?}"));
        }
    }
    let organized = list(&panel["transformations"]).find(|one| one["id"] == "organize");
    let columns = organized.and_then(|one| one["options"]["indexByName"].as_object());
    for column in columns.into_iter().flat_map(|columns| columns.keys()) {
        let single = list(&panel["targets"]).count() == 1;
        let is_value = if single { column == "Value" } else { column.starts_with("Value #") };
        if !is_value && !labels.contains(column) {
            missing.push(format!("{title}: no column {column} in {labels:?}"));
        }
    }
    missing
}

/// Chooses a value in each variable of a dashboard; what is not offered goes into `missing`.
async fn choose<'a>(
    prometheus: &Prometheus,
    board: &'a Value,
    choice: &BTreeMap<&str, String>,
    missing: &mut Vec<String>,
) -> Result<BTreeMap<&'a str, String>> {
    let mut chosen = BTreeMap::from([("job", JOB.to_owned())]);
    for variable in list(&board["templating"]["list"]).filter(|one| one["type"] == "query") {
        let (name, query) = (text(&variable["name"]), text(&variable["query"]["query"]));
        let inside = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
        let (series, label) =
            inside.and_then(|query| query.rsplit_once(", ")).ok_or_else(|| Error::new(query))?;
        let offered = prometheus.label_values(label, &filled(series, &chosen)).await?;
        let value = choice.get(name).cloned().unwrap_or_else(|| JOB.to_owned());
        if !offered.contains(&value) {
            missing.push(format!("{value} is not offered by {query}"));
        }
        chosen.insert(name, value);
    }
    // What `job` stands for when nothing is chosen there.
    chosen.insert("job", ".*".to_owned());
    Ok(chosen)
}

/// Asks everything that the dashboards ask, and returns what is missing: values of variables, and data.
async fn look(prometheus: &Prometheus, scene: &Scene) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for (name, board) in dashboards()? {
        let mut all: BTreeMap<(Option<u64>, &str), Given<'_>> = BTreeMap::new();
        for choice in scene.choices(&name) {
            let chosen = choose(prometheus, &board, &choice, &mut missing).await?;
            for (panel, target) in targets(&board) {
                let query = filled(text(&target["expr"]), &chosen);
                let answer = match target["instant"] == true {
                    true => prometheus.query(&query).await,
                    false => prometheus.query_range(&query).await,
                };
                let series = answer.map_err(|error| error.context(&query))?;
                let given = all.entry((panel["id"].as_u64(), text(&target["refId"]))).or_insert(Given {
                    panel,
                    target,
                    query,
                    has_data: false,
                    labels: BTreeSet::new(),
                });
                given.has_data |= !series.is_empty();
                let labels = series.iter().filter_map(|one| one["metric"].as_object());
                given.labels.extend(labels.flat_map(|labels| labels.keys().cloned()));
            }
        }
        assert!(all.len() > 10, "{name}: only {} queries", all.len());
        for given in all.values() {
            match given.has_data {
                true => missing.extend(labels_missing(given)),
                false => missing.push(format!("{name} / {}: {}", text(&given.panel["title"]), given.query)),
            }
        }
    }
    Ok(missing)
}

#[tokio::test]
async fn a_real_prometheus_answers_each_query() -> Result<()> {
    let scene = Scene::start().await?;
    let args = ["--set=prometheusRule.enabled=true,prometheusRule.notReadyFor=1s"];
    let groups = only(&template(&args).await?, "PrometheusRule")["spec"]["groups"].clone();
    let prometheus = Prometheus::start(JOB, &[scene.operator().address()], &groups).await?;
    scene.work().await?;
    wait_for(2 * DEADLINE, "data for every query", async || {
        let missing = look(&prometheus, &scene).await?;
        if missing.is_empty() { Ok(()) } else { Err(Error::new(missing.join("\n"))) }
    })
    .await?;

    // Everything that the operator tells is on some dashboard.
    let boards = dashboards()?;
    let queries: String =
        boards.values().flat_map(targets).map(|(_, target)| format!(" {} ", text(&target["expr"]))).collect();
    let told = scene.operator().metrics().await?;
    let families = told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let mut looked = 0;
    for (family, kind) in families {
        let suffix = match kind {
            "counter" => "_total",
            "histogram" => "_bucket",
            "info" => "_info",
            _ => "",
        };
        assert!(queries.contains(&format!("{family}{suffix}{{")), "{family}{suffix} is on no dashboard");
        looked += 1;
    }
    assert!(looked > 15, "{told}");
    metrics::assert_told(&told)?;

    // And the alerts find what they look for.
    wait_for(DEADLINE, "the alert about a credential that is not ready", async || {
        let alerts = prometheus.alerts().await?;
        let found = alerts.iter().any(|alert| {
            let labels = &alert["labels"];
            labels["alertname"] == "ClavigerCredentialNotReady"
                && (&labels["kind"], &labels["name"]) == (&json!("RegistryCredential"), &json!("broken"))
                && labels["namespace"] == scene.home()
        });
        if found { Ok(()) } else { Err(Error::new(json!(alerts).to_string())) }
    })
    .await?;
    let alerts = prometheus.alerts().await?;
    // One that is pending may be about a single late answer.
    let of_member = |alert: &&Value| alert["labels"]["cluster"] == MEMBER && alert["state"] == "firing";
    assert_eq!(alerts.iter().filter(of_member).count(), 0, "{alerts:?}");
    Ok(())
}
