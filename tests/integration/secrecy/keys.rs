//! Private keys of certificates.

use kube::api::DeleteParams;
use serde_json::json;

use super::{ALL, assert_secret};
use crate::{
    canary::Canary,
    checks::{foreign, merge, wait_no_secret},
    lab::Lab,
    support::{Result, pki::Authority, random_name, wait::DEADLINE, wait_for},
    tls::{api, credential, source, wait_ready, wait_told},
};

#[tokio::test]
async fn private_keys_are_nowhere_but_in_the_data_of_secrets() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    test.policy().await?;
    let targets = test.targets(2).await?;
    let operator = lab.operator()?.arg(ALL).start().await?;
    let authority = Authority::new("authority")?;
    let [first, second, other] = [(); 3].map(|()| authority.server(&["a.example.com"]));
    let (first, second, other) = (first?, second?, other?);
    let value = random_name("canary");
    let mut canaries = vec![Canary::new("the value", &value)];
    for (what, identity) in [("the first key", &first), ("the second key", &second), ("another key", &other)]
    {
        canaries.extend(Canary::private_key(what, &identity.key)?);
    }

    source(&test, &first.certificate, &first.key).await?;
    credential(&test, "web", json!({"secretRef": {"name": "src"}, "target": test.selector()})).await?;
    wait_ready(&test, "web", 1).await?;
    canaries[1].assert_seen(&test.secrets(&targets[0]).get("web").await?);
    source(&test, &second.certificate, &second.key).await?;
    wait_ready(&test, "web", 2).await?;
    canaries[3].assert_seen(&test.secrets(&targets[0]).get("web").await?);

    // A copy that was edited, and a name that is taken.
    merge(&test.secrets(&targets[1]), "web", json!({"stringData": {"tls.key": other.key}})).await?;
    wait_for(DEADLINE, "the copy to be put right", async || {
        let copy = test.secrets(&targets[1]).get("web").await.ok()?;
        let key = copy.data?.remove("tls.key")?;
        (key.0 == second.key.as_bytes()).then_some(())
    })
    .await?;
    foreign(&test, &targets[0], "taken").await?;
    credential(&test, "taken", json!({"secretRef": {"name": "src"}, "target": test.selector()})).await?;
    wait_told(&test, "taken", "Ready=False (PartiallySynced)").await?;

    // Pairs that cannot be used: each is read as far as it goes.
    let garbage = format!("-----BEGIN PRIVATE KEY-----\n{value}\n-----END PRIVATE KEY-----\n");
    let both = format!("{}{}", second.certificate, other.key);
    let cut: String = other.key.lines().take(3).map(|line| format!("{line}\n")).collect();
    let locked = other.key.replace("PRIVATE", "ENCRYPTED PRIVATE");
    for (certificate, key, reason) in [
        (&*second.certificate, &*other.key, "KeyMismatch"),
        (&second.certificate, &garbage, "InvalidFormat"),
        (&second.certificate, &value, "InvalidFormat"),
        (&value, &other.key, "InvalidFormat"),
        (&garbage, &other.key, "PrivateKeyInCertificate"),
        (&both, &other.key, "PrivateKeyInCertificate"),
        (&second.certificate, &locked, "EncryptedKey"),
        (&second.certificate, &cut, "InvalidFormat"),
    ] {
        source(&test, certificate, key).await?;
        wait_told(&test, "web", &format!("SourceResolved=False ({reason})")).await?;
        source(&test, &second.certificate, &second.key).await?;
        wait_told(&test, "web", "SourceResolved=True (Resolved)").await?;
    }
    source(&test, &first.certificate, &first.key).await?;
    wait_ready(&test, "web", 3).await?;
    assert_secret(&lab, &test, &operator, &canaries).await?;

    for name in ["web", "taken"] {
        api(&test).delete(name, &DeleteParams::default()).await?;
    }
    wait_no_secret(&test, &targets[0], "web").await?;
    assert_secret(&lab, &test, &operator, &canaries).await
}
