//! Values stand in the data of Secrets and nowhere else, however much is logged and whatever goes wrong.

use std::time::Duration;

use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::{
    lab::Lab,
    looks::{
        assert_hidden, delete, foreign, good_source, merge, spec, spec_to, wait_copy, wait_no_credential,
    },
    support::{Result, random_name, wait_for},
};

#[tokio::test]
async fn a_value_is_nowhere_but_in_the_data_of_secrets() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let mut targets = test.targets(3).await?;
    // All that there is, of every library: what is asked for after an incident.
    let operator = lab.operator()?.arg("--log=trace").start().await?;
    let values: Vec<String> = (0..5).map(|n| random_name(&format!("canary{n}"))).collect();

    good_source(&test, "src", &values[0]).await?;
    test.credential("reg", spec(&test, "src")).await?;
    test.wait_ready("reg", 1).await?;
    assert_eq!(test.login(&targets[0], "reg").await?.map(|login| login.1).as_ref(), Some(&values[0]));
    // Through each way of writing: in place, after a conflict, whole, and after being deleted.
    foreign(&test, &targets[2], "other").await?;
    test.credential("other", spec_to("src", test.selector())).await?;
    test.wait_condition("other", "Ready", "False", "PartiallySynced").await?;
    merge(&test.secrets(&targets[0]), "reg", json!({"metadata": {"finalizers": ["example.com/wait"]}}))
        .await?;
    good_source(&test, "src", &values[1]).await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", &values[1]).await?;
    }
    test.secrets(&targets[1]).delete("reg", &DeleteParams::default()).await?;
    wait_copy(&test, &targets[1], "reg").await?;
    test.annotate("reg", "claviger.dev/sync-requested-at", "now").await?;
    // A value that cannot be decoded, and files that cannot be read.
    let mut bytes = vec![0xff];
    bytes.extend(values[2].as_bytes());
    let source = json!({"metadata": {"name": "src"}, "data": {"username": "bWU=", "password": k8s_openapi::ByteString(bytes)}});
    test.secrets(&test.home.name).delete("src", &DeleteParams::default()).await?;
    test.secrets(&test.home.name).create(&PostParams::default(), &serde_json::from_value(source)?).await?;
    test.wait_condition("reg", "Ready", "False", "InvalidFormat").await?;
    let config = json!({"auths": {"r.example.com": {"username": [values[3]], "password": values[3]}}});
    let file = json!({
        "metadata": {"name": "file"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config.to_string()},
    });
    test.secrets(&test.home.name).create(&PostParams::default(), &serde_json::from_value(file)?).await?;
    test.credential("file", spec(&test, "file")).await?;
    test.wait_condition("file", "Ready", "False", "InvalidFormat").await?;
    // A stranger's data under our mark, and a copy that kubectl has applied.
    merge(&test.secrets(&targets[0]), "reg", json!({"stringData": {"stray": values[4]}})).await?;
    good_source(&test, "src", &values[0]).await?;
    for namespace in &targets {
        test.wait_password(namespace, "reg", &values[0]).await?;
    }
    test.wait_ready("reg", 3).await?;
    wait_for(Duration::from_secs(20), "the answer to the sync", async || {
        test.status("reg").await.is_ok_and(|status| status.sync.is_some())
    })
    .await?;
    targets.push(test.home.name.clone());
    // The merge patches of this test have put some there themselves, as managed fields never hold values.
    for value in &values {
        assert_hidden(&test, &operator, &targets, value).await?;
    }
    delete(&test, "reg").await?;
    merge(&test.secrets(&targets[0]), "reg", json!({"metadata": {"finalizers": null}})).await?;
    wait_no_credential(&test, "reg").await?;
    for value in &values {
        assert_hidden(&test, &operator, &targets, value).await?;
    }
    let logs = operator.logs();
    assert!(
        logs.contains("\"TRACE\"") && logs.contains("\"DEBUG\""),
        "little was logged, so little was shown"
    );
    let arguments = std::fs::read(format!("/proc/{}/cmdline", operator.pid()))?;
    let environment = std::fs::read(format!("/proc/{}/environ", operator.pid()))?;
    for value in &values {
        for place in [&arguments, &environment] {
            assert!(!String::from_utf8_lossy(place).contains(value.as_str()));
        }
    }
    Ok(())
}
