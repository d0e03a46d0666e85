//! What an administrator does to an etcd, over the JSON gateway on its client port.

use serde_json::{Value, json};

use super::{
    error::{Context, Error, Result},
    http,
};

/// The alarms that are raised, such as `NOSPACE`.
pub async fn alarms(address: &str) -> Result<Vec<String>> {
    let found = raised(address).await?;
    Ok(found.iter().filter_map(|alarm| alarm["alarm"].as_str()).map(str::to_owned).collect())
}

/// What its documentation says to do when the quota was reached and things were deleted: forget old revisions, give
/// the space back, disarm the alarm. Until the last of these no write is taken.
pub async fn make_room(address: &str) -> Result<()> {
    let status = call(address, "maintenance/status", json!({})).await?;
    let revision = &status["header"]["revision"];
    call(address, "kv/compaction", json!({"revision": revision, "physical": true})).await?;
    call(address, "maintenance/defragment", json!({})).await?;
    for alarm in raised(address).await? {
        let (member, alarm) = (&alarm["memberID"], &alarm["alarm"]);
        call(
            address,
            "maintenance/alarm",
            json!({"action": "DEACTIVATE", "memberID": member, "alarm": alarm}),
        )
        .await?;
    }
    Ok(())
}

async fn raised(address: &str) -> Result<Vec<Value>> {
    let answer = call(address, "maintenance/alarm", json!({"action": "GET"})).await?;
    Ok(answer["alarms"].as_array().cloned().unwrap_or_default())
}

async fn call(address: &str, method: &str, body: Value) -> Result<Value> {
    let answer = http::post_json(address, &format!("/v3/{method}"), &body.to_string()).await?;
    if answer.status != 200 {
        return Err(Error::new(format!("etcd: {method} answered {} {}", answer.status, answer.body)));
    }
    serde_json::from_str(&answer.body).context(format!("etcd: {method}"))
}
