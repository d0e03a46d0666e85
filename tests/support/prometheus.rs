//! A real Prometheus on loopback, that scrapes what it is given.

use std::{path::Path, process::Command, time::Duration};

use serde_json::{Value, json};

use super::{
    binaries::go_tool,
    error::{Error, Result},
    http, ports,
    process::Process,
    wait::wait_for,
    workdir::Workdir,
};

const START_DEADLINE: Duration = Duration::from_secs(60);

/// How far back queries of a range look.
const RANGE: i64 = 15;

pub struct Prometheus {
    // Before the directory that it writes into.
    process: Process,
    address: String,
    _workdir: Workdir,
}

impl Prometheus {
    /// Scrapes these addresses each second, as a job, and evaluates these groups of rules.
    pub async fn start(job: &str, targets: &[&str], groups: &Value) -> Result<Self> {
        let program = tokio::task::spawn_blocking(|| go_tool("prometheus", "prometheus")).await??;
        ports::until_free(async || Self::launch(&program, job, targets, groups).await).await
    }

    async fn launch(program: &Path, job: &str, targets: &[&str], groups: &Value) -> Result<Self> {
        let workdir = Workdir::new("claviger-prometheus-")?;
        let address = format!("127.0.0.1:{}", ports::free_port()?);
        // JSON is YAML too.
        let rules = workdir.write("rules.yaml", json!({"groups": groups}).to_string())?;
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            // As the chart's monitors have it.
            "scrape_configs": [{"job_name": job, "honor_labels": true, "static_configs": [{"targets": targets}]}],
        });
        let mut command = Command::new(program);
        command
            .current_dir(workdir.path())
            .arg(format!("--config.file={}", workdir.write("prometheus.yaml", config.to_string())?.display()))
            .arg(format!("--storage.tsdb.path={}", workdir.join("data").display()))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("prometheus", &command, &workdir.join("prometheus.log"))?;
        let mut prometheus = Self { process, address, _workdir: workdir };
        let ready = wait_for(START_DEADLINE, "Prometheus to be ready", async || {
            if let Err(ended) = prometheus.process.check_running() {
                return Ok(Err(ended));
            }
            match http::get(&prometheus.address, "/-/ready").await {
                Ok(answer) if answer.status == 200 => Ok(Ok(())),
                Ok(answer) => Err(answer.body),
                Err(error) => Err(error.to_string()),
            }
        });
        ready.await.and_then(|ready| ready)?;
        Ok(prometheus)
    }

    /// What a query gives now. What Prometheus has to remark about it is an error.
    pub async fn query(&self, expr: &str) -> Result<Vec<Value>> {
        self.results("query", &[("query", expr)]).await
    }

    /// What it has given for the last seconds.
    pub async fn query_range(&self, expr: &str) -> Result<Vec<Value>> {
        let now = jiff::Timestamp::now().as_second();
        let (start, end) = ((now - RANGE).to_string(), now.to_string());
        self.results("query_range", &[("query", expr), ("start", &start), ("end", &end), ("step", "1")]).await
    }

    /// The values that a label has in these series.
    pub async fn label_values(&self, label: &str, series: &str) -> Result<Vec<String>> {
        let data = self.ask(&format!("label/{label}/values"), &[("match[]", series)]).await?;
        Ok(serde_json::from_value(data)?)
    }

    /// Alerts that are pending or firing.
    pub async fn alerts(&self) -> Result<Vec<Value>> {
        let data = self.ask("alerts", &[]).await?;
        Ok(data["alerts"].as_array().cloned().unwrap_or_default())
    }

    async fn results(&self, path: &str, fields: &[(&str, &str)]) -> Result<Vec<Value>> {
        let data = self.ask(path, fields).await?;
        data["result"].as_array().cloned().ok_or_else(|| Error::new(format!("no result: {data}")))
    }

    async fn ask(&self, path: &str, fields: &[(&str, &str)]) -> Result<Value> {
        let fields = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let answer = http::get(&self.address, &format!("/api/v1/{path}?{fields}")).await?;
        let told: Value = serde_json::from_str(&answer.body)?;
        let remarks = ["warnings", "infos"].iter().any(|key| told.get(*key).is_some());
        if told["status"] != "success" || remarks {
            let mut told = told;
            told["data"].take();
            return Err(Error::new(told.to_string()));
        }
        Ok(told["data"].clone())
    }
}
