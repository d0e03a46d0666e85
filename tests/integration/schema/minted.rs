//! How tokens are minted: one identity, and nothing next to it that would mean another one.

use serde_json::{Value, json};

use super::{ACCEPTED, Case, registry_credential};
use crate::support::Result;

const ONE: &[&str] = &["give exactly one of `secretRef`, `serviceAccountRef` and `operatorIdentity`"];
const NO_SECRET: &[&str] = &["spec.secretRef", "give `auth` in the provider's own block"];
const NO_FIELD: &[&str] = &["unknown field"];

/// A change of the identity.
fn with(provider: &str, auth: Value) -> Value {
    json!({provider: {"auth": auth}})
}

#[tokio::test]
async fn tokens_of_ecr_take_one_identity_and_perhaps_a_role() -> Result<()> {
    let auth = |auth: Value| with("ecr", auth);
    let role = "arn:aws:iam::123456789012:role/puller";
    let cases: Vec<Case<'_>> = vec![
        ("an access key", json!({}), ACCEPTED),
        (
            "keys of one's own",
            auth(
                json!({"secretRef": {"accessKeyIdKey": "id", "secretAccessKeyKey": "s", "sessionTokenKey": "t"}}),
            ),
            ACCEPTED,
        ),
        ("a role", auth(json!({"roleArn": role, "externalId": "ext-7"})), ACCEPTED),
        (
            "a ServiceAccount",
            auth(json!({"secretRef": null, "serviceAccountRef": {"name": "puller"}})),
            ACCEPTED,
        ),
        ("the operator", auth(json!({"secretRef": null, "operatorIdentity": {}})), ACCEPTED),
        ("nobody", auth(json!({"secretRef": null})), ONE),
        ("two", auth(json!({"serviceAccountRef": {"name": "puller"}})), ONE),
        ("all three", auth(json!({"serviceAccountRef": {"name": "p"}, "operatorIdentity": {}})), ONE),
        ("a Secret at the top, too", json!({"secretRef": {"name": "src"}}), NO_SECRET),
        ("a user", json!({"username": "AWS"}), &["spec.username", "may not be given with `auth`"]),
        (
            "an external id for no role",
            auth(json!({"externalId": "ext-7"})),
            &["`externalId` needs `roleArn`"],
        ),
        (
            "an external id of a ServiceAccount",
            auth(
                json!({"secretRef": null, "serviceAccountRef": {"name": "p"}, "roleArn": role, "externalId": "ext-7"}),
            ),
            &["externalId", "AWS does not accept one from a ServiceAccount"],
        ),
        (
            "a role that is none",
            auth(json!({"roleArn": "arn:aws:iam::123456789012:user/puller"})),
            &["roleArn"],
        ),
        ("another namespace's Secret", auth(json!({"secretRef": {"namespace": "kube-system"}})), NO_FIELD),
        (
            "another namespace's ServiceAccount",
            auth(json!({"secretRef": null, "serviceAccountRef": {"name": "p", "namespace": "kube-system"}})),
            NO_FIELD,
        ),
        (
            "a ServiceAccount with its namespace in its name",
            auth(json!({"secretRef": null, "serviceAccountRef": {"name": "kube-system/p"}})),
            &["must be a valid ServiceAccount name"],
        ),
        ("values in the object", auth(json!({"secretAccessKey": "wJalrXUtnFEMI"})), NO_FIELD),
        ("FIPS", json!({"server": "123456789012.dkr.ecr-fips.eu-central-1.amazonaws.com"}), ACCEPTED),
        (
            "the host of another account",
            json!({"server": "210987654321.dkr.ecr.eu-central-1.amazonaws.com"}),
            &["another host of the same account"],
        ),
    ];
    let ecr = json!({"accountId": "123456789012", "region": "eu-central-1", "auth": {"secretRef": {"name": "aws"}}});
    registry_credential(json!({"provider": "ECR", "ecr": ecr})).check(&cases).await
}

#[tokio::test]
async fn tokens_of_azure_and_google_take_one_identity() -> Result<()> {
    let client = "5f6a2c8e-0c3b-4f43-9a2e-1d2c3b4a5f60";
    let auth = |auth: Value| with("acr", auth);
    let account =
        json!({"secretRef": null, "tenantId": null, "clientId": null, "serviceAccountRef": {"name": "p"}});
    let operator = json!({"secretRef": null, "tenantId": null, "clientId": null, "operatorIdentity": {}});
    let cases: Vec<Case<'_>> = vec![
        ("a client secret", json!({}), ACCEPTED),
        ("a ServiceAccount", auth(account), ACCEPTED),
        ("the operator", auth(operator), ACCEPTED),
        ("two", auth(json!({"serviceAccountRef": {"name": "p"}})), ONE),
        ("nobody", auth(json!({"secretRef": null})), ONE),
        ("a secret of no application", auth(json!({"clientId": null})), &["needs `tenantId` and `clientId`"]),
        ("a secret of no directory", auth(json!({"tenantId": null})), &["needs `tenantId` and `clientId`"]),
        ("a directory elsewhere", auth(json!({"tenantId": "../evil"})), &["tenantId"]),
        ("a path", auth(json!({"tenantId": "common/oauth2?x"})), &["tenantId"]),
        (
            "the operator as somebody",
            auth(json!({"secretRef": null, "operatorIdentity": {}})),
            &["which has its own"],
        ),
        ("a Secret at the top, too", json!({"secretRef": {"name": "src"}}), NO_SECRET),
    ];
    let acr = json!({"tenantId": "409520d4-8100-4d1d-ad47-72432ddcc120", "clientId": client, "secretRef": {"name": "azure"}});
    let acr = json!({"provider": "ACR", "acr": {"registry": "acmeimages", "auth": acr}});
    registry_credential(acr).check(&cases).await?;

    let auth = |auth: Value| with("googleArtifactRegistry", auth);
    let provider = "projects/1/locations/global/workloadIdentityPools/clusters/providers/main";
    let email = "puller@acme-images.iam.gserviceaccount.com";
    let account = |provider: Value| json!({"secretRef": null, "serviceAccountRef": {"name": "p"}, "workloadIdentityProvider": provider});
    let cases: Vec<Case<'_>> = vec![
        ("a key", json!({}), ACCEPTED),
        ("a key that becomes another", auth(json!({"impersonate": email})), ACCEPTED),
        ("a ServiceAccount", auth(account(json!(provider))), ACCEPTED),
        ("the operator", auth(json!({"secretRef": null, "operatorIdentity": {}})), ACCEPTED),
        ("two", auth(json!({"operatorIdentity": {}})), ONE),
        ("a ServiceAccount that nobody trusts", auth(account(Value::Null)), &["together, or neither"]),
        (
            "a provider of nobody",
            auth(json!({"workloadIdentityProvider": provider})),
            &["together, or neither"],
        ),
        (
            "a provider elsewhere",
            auth(account(json!("//evil.example.com/projects/1"))),
            &["workloadIdentityProvider"],
        ),
        ("somebody elsewhere", auth(json!({"impersonate": "puller@evil.example.com"})), &["impersonate"]),
        ("a path", auth(json!({"impersonate": "../x@p.iam.gserviceaccount.com"})), &["impersonate"]),
        ("a Secret at the top, too", json!({"secretRef": {"name": "src"}}), NO_SECRET),
        ("gcr.io", json!({"server": "eu.gcr.io", "googleArtifactRegistry": {"location": null}}), ACCEPTED),
        ("two places", json!({"server": "eu.gcr.io"}), &["needs either `googleArtifactRegistry.location`"]),
        (
            "nowhere",
            json!({"googleArtifactRegistry": {"location": null}}),
            &["needs either `googleArtifactRegistry.location`"],
        ),
        (
            "nothing but a place",
            json!({"server": "eu.gcr.io", "secretRef": {"name": "src"}, "googleArtifactRegistry": {"location": null, "auth": null}}),
            &["may be given next to `server` only with `auth`"],
        ),
    ];
    let google = json!({"location": "europe-west3", "auth": {"secretRef": {"name": "google"}}});
    let google = json!({"provider": "GoogleArtifactRegistry", "googleArtifactRegistry": google});
    registry_credential(google).check(&cases).await
}

#[tokio::test]
async fn tokens_of_the_others_take_what_they_need() -> Result<()> {
    let github = json!({"appId": 1, "installationId": 2, "secretRef": {"name": "app"}});
    let cases: Vec<Case<'_>> = vec![
        ("an app", json!({}), ACCEPTED),
        ("a key of one's own", with("gitHub", json!({"secretRef": {"key": "pem"}})), ACCEPTED),
        ("no app", with("gitHub", json!({"appId": null})), &["appId", "Required"]),
        ("app zero", with("gitHub", json!({"appId": 0})), &["appId"]),
        ("no installation", with("gitHub", json!({"installationId": null})), &["installationId", "Required"]),
        ("no key", with("gitHub", json!({"secretRef": null})), &["secretRef", "Required"]),
        ("a Secret at the top, too", json!({"secretRef": {"name": "src"}}), NO_SECRET),
        (
            "nothing to pull",
            json!({"verification": null}),
            &["`gitHub.auth` needs `verification.repository`"],
        ),
        ("nothing is asked", json!({"verification": {"mode": "Off", "repository": null}}), ACCEPTED),
        (
            "an enterprise's API alone",
            json!({"gitHub": {"apiServer": "github.example.com"}}),
            &["give `gitHub.apiServer` and `server` together"],
        ),
        (
            "an enterprise's registry alone",
            json!({"server": "containers.github.example.com"}),
            &["give `gitHub.apiServer` and `server` together"],
        ),
        ("no host", json!({"gitHub": {"apiServer": "git..example.com"}}), &["apiServer"]),
    ];
    let app =
        json!({"provider": "GitHub", "gitHub": {"auth": github}, "verification": {"repository": "acme/app"}});
    registry_credential(app).check(&cases).await?;

    let robot = &["must be the robot that trusts the ServiceAccount"];
    let cases: Vec<Case<'_>> = vec![
        ("a robot", json!({}), ACCEPTED),
        ("nobody", json!({"username": null}), robot),
        ("no robot", json!({"username": "acme"}), robot),
        ("another's robot", json!({"username": "other+ci"}), &["must be a robot of the namespace"]),
        ("a Secret at the top, too", json!({"secretRef": {"name": "src"}}), NO_SECRET),
    ];
    let quay = json!({"namespace": "acme", "auth": {"serviceAccountRef": {"name": "robot"}}});
    registry_credential(json!({"provider": "Quay", "username": "acme+ci", "quay": quay}))
        .check(&cases)
        .await?;

    let cases: Vec<Case<'_>> = vec![
        ("a token", json!({}), ACCEPTED),
        ("a key of one's own", with("digitalOcean", json!({"secretRef": {"key": "api"}})), ACCEPTED),
        ("a Secret at the top, too", json!({"secretRef": {"name": "src"}}), NO_SECRET),
        ("no Secret", with("digitalOcean", Value::Null), &["`secretRef` is required"]),
    ];
    let ocean = json!({"registry": "acme", "auth": {"secretRef": {"name": "ocean"}}});
    registry_credential(json!({"provider": "DigitalOcean", "digitalOcean": ocean})).check(&cases).await?;

    let public = json!({"provider": "ECRPublic", "ecrPublic": {"auth": {"secretRef": {"name": "aws"}}}});
    let cases: Vec<Case<'_>> = vec![
        ("an access key", json!({}), ACCEPTED),
        (
            "another's block",
            json!({"provider": "ECR"}),
            &["spec.ecrPublic", "only be given with provider ECRPublic"],
        ),
        ("a Secret at the top, too", json!({"secretRef": {"name": "src"}}), NO_SECRET),
    ];
    registry_credential(public).check(&cases).await
}
