//! Secret access keys and session tokens.

use serde_json::json;

use super::{credential, faulty, refusal, wait_ready, wait_told, with};
use crate::{
    canary::Canary,
    checks::wait_copy,
    lab::Lab,
    secrecy::{ALL, assert_secret},
    support::{
        Result, random_name,
        registry::{Answer, FaultyRegistry},
    },
};

#[tokio::test]
async fn a_key_that_is_tried_is_nowhere_but_in_the_data_of_secrets() -> Result<()> {
    let lab = Lab::start().await?;
    let test = lab.scenario().await?;
    let operator = lab.operator()?.arg(ALL).start().await?;
    let [secret, token] = ["secret", "token"].map(random_name);
    let canaries = [Canary::new("the secret access key", &secret), Canary::new("the session token", &token)];
    let data =
        json!({"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token});
    test.source("src", data).await?;
    let (yes, no) = (FaultyRegistry::start(None).await?, FaultyRegistry::start(None).await?);
    yes.rule(|_| Answer::status(200).body("<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>"));
    // It has the secret from elsewhere, and tells everybody.
    let known = format!("<Message>{secret} {token}</Message><Region>{secret}</Region>");
    no.rule(move |_| refusal(403, "SignatureDoesNotMatch", &known));
    for (server, name, told) in
        [(&yes, "yes", "True (Authenticated)"), (&no, "no", "False (SignatureMismatch)")]
    {
        for format in ["Env", "AwsCredentialsFile", "CloudNativePG"] {
            let name = format!("{name}-{}", format.to_lowercase());
            credential(&test, &name, with(faulty(server, "src", "Warn"), json!({"format": format}))).await?;
            wait_told(&test, &name, &format!("Verified={told}"), &[]).await?;
            wait_ready(&test, &name, 1).await?;
            let copy = wait_copy(&test, &test.home.name, &name).await?;
            canaries.iter().for_each(|canary| canary.assert_seen(&copy));
        }
    }
    assert!(!yes.authorizations().is_empty());
    assert_secret(&lab, &test, &operator, &canaries).await?;

    // What cannot be used is not told either: a value with a space in it.
    let data = json!({"AWS_ACCESS_KEY_ID": "AKIA1", "AWS_SECRET_ACCESS_KEY": format!("{secret} {token}")});
    test.source("src", data).await?;
    wait_told(&test, "yes-env", "Ready=False (InvalidFormat)", &[]).await?;
    assert_secret(&lab, &test, &operator, &canaries).await
}
