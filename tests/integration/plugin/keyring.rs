//! What `explain-pull` says is tried is what kubelet's own code tries: over a table, and over thousands of made-up cases.

mod made_up;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use claviger::cli::plugin::{Lookup, lookup};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    storm::dice::Dice,
    support::{Error, Result, go_tool},
};

const CONFIG_JSON: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");
const DOCKERCFG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

/// How many cases are made up.
const CASES: usize = 6_000;

#[derive(Clone, Debug)]
struct Case {
    /// Type, key and value of each Secret, in the order of the Pod.
    secrets: Vec<(&'static str, &'static str, Vec<u8>)>,
    image: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Upstream {
    invalid_image: bool,
    unreadable: bool,
    repository: String,
    logins: Option<Vec<UpstreamLogin>>,
}

#[derive(Debug, Deserialize)]
struct UpstreamLogin {
    secret: String,
    digest: String,
}

impl Case {
    fn of(keys: &[&[&str]], image: &str) -> Self {
        let mut n = 0;
        let mut login = || {
            n += 1;
            json!({"username": "u", "password": n.to_string()})
        };
        let secret = |keys: &&[&str]| {
            let auths: serde_json::Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), login())).collect();
            (CONFIG_JSON.0, CONFIG_JSON.1, json!({ "auths": auths }).to_string().into_bytes())
        };
        Self { secrets: keys.iter().map(secret).collect(), image: image.to_owned() }
    }

    fn raw((type_, key): (&'static str, &'static str), text: impl AsRef<[u8]>, image: &str) -> Self {
        Self { secrets: vec![(type_, key, text.as_ref().to_vec())], image: image.to_owned() }
    }

    fn secrets(&self) -> Vec<Value> {
        let all = self.secrets.iter().enumerate();
        all.map(|(n, (type_, key, value))| {
            let data = json!({*key: STANDARD.encode(value)});
            json!({"name": n.to_string(), "metadata": {"name": n.to_string()}, "type": type_, "data": data})
        })
        .collect()
    }

    fn ours(&self) -> Result<Lookup> {
        let secrets = self.secrets().into_iter().map(serde_json::from_value).collect::<Result<_, _>>()?;
        Ok(lookup(secrets, &self.image))
    }
}

/// Asks kubelet's code about all cases at once.
fn upstream(cases: &[Case]) -> Result<Vec<Upstream>> {
    let mut command = Command::new(go_tool("keyring", "keyring")?);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let table: Vec<_> =
        cases.iter().map(|case| json!({"secrets": case.secrets(), "image": case.image})).collect();
    let table = serde_json::to_vec(&table)?;
    let mut stdin = child.stdin.take().ok_or_else(|| Error::new("no stdin"))?;
    let writing = std::thread::spawn(move || stdin.write_all(&table));
    let output = child.wait_with_output()?;
    writing.join().map_err(|_| Error::new("the writer panicked"))??;
    // It complains of each bad key there.
    if !output.status.success() {
        return Err(Error::new(format!("keyring: {}", String::from_utf8_lossy(&output.stderr))));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Where the two differ.
fn difference(ours: &Lookup, theirs: &Upstream) -> Option<String> {
    if ours.repository.is_none() != theirs.invalid_image {
        return Some("whether the image is valid".to_owned());
    }
    let Some(repository) = &ours.repository else { return None };
    if *repository != theirs.repository {
        return Some("the repository".to_owned());
    }
    if ours.unreadable != theirs.unreadable {
        return Some("whether all Secrets can be read".to_owned());
    }
    let logins = theirs.logins.as_deref().unwrap_or_default();
    if ours.logins.len() != logins.len() {
        return Some(format!("{} logins and {}", ours.logins.len(), logins.len()));
    }
    let mut rest = logins;
    // Of one Secret, those that are filed under the same come in any order.
    for group in ours.logins.chunk_by(|a, b| (a.0, &a.1) == (b.0, &b.1)) {
        let (these, after) = rest.split_at(group.len());
        rest = after;
        let mut ours: Vec<_> =
            group.iter().map(|(secret, _, digest)| (secret.to_string(), digest.clone())).collect();
        let mut theirs: Vec<_> = these.iter().map(|one| (one.secret.clone(), one.digest.clone())).collect();
        ours.sort();
        theirs.sort();
        if ours != theirs {
            return Some("which logins, or their order".to_owned());
        }
    }
    None
}

fn compare(cases: &[Case]) -> Result<Vec<Lookup>> {
    let theirs = upstream(cases)?;
    assert_eq!(theirs.len(), cases.len());
    let mut all = Vec::new();
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = case.ours()?;
        if let Some(difference) = difference(&ours, theirs) {
            let secrets: Vec<_> =
                case.secrets.iter().map(|one| (one.0, String::from_utf8_lossy(&one.2))).collect();
            panic!("{difference}: {} with {secrets:#?}\nours: {ours:#?}\nupstream: {theirs:#?}", case.image);
        }
        all.push(ours);
    }
    Ok(all)
}

/// Keys of one Secret, an image, and how many logins are tried.
const TABLE: &[(&[&str], &str, usize)] = &[
    (&["https://index.docker.io/v1/"], "nginx", 1),
    (&["index.docker.io"], "me/app", 1),
    (&["http://index.docker.io/v2/"], "docker.io/me/app:1", 1),
    (&["https://index.docker.io/v1"], "nginx", 0),
    (&["docker.io", "docker.io/me"], "me/app", 2),
    (&["docker.io", "index.docker.io"], "me/app", 1),
    (&["registry-1.docker.io", "hub.docker.com"], "me/app", 0),
    (&["*.kubernetes.io"], "prefix.kubernetes.io/x", 1),
    (&["*.kubernetes.io"], "kubernetes.io/x", 0),
    (&["*.kubernetes.io"], "a.b.kubernetes.io/x", 0),
    (&["*-good.kubernetes.io"], "prefix-good.kubernetes.io/x", 1),
    (&["prefix.*.io/foo"], "prefix.kubernetes.io/foo/bar", 1),
    (&["*kubernetes.io"], "kubernetes.io/x", 1),
    (&["*kubernetes.io"], "a.kubernetes.io/x", 0),
    (&["reg.io:5000"], "reg.io/x", 0),
    (&["reg.io:5000"], "reg.io:443/x", 0),
    (&["reg.io:5000/team"], "reg.io:5000/team-b/x", 1),
    (&["reg.io:"], "reg.io/x", 1),
    (&["reg.io:5000:5000"], "reg.io:5000/x", 0),
    (
        &["quay.io", "quay.io/org", "quay.io/org/", "quay.io/orga"],
        "quay.io/org/x@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        3,
    ),
    (&["rg.fr-par.scw.cloud/ns"], "rg.nl-ams.scw.cloud/ns/x", 0),
    (&["https://quay.io", "http://quay.io/", "quay.io/v1/", "quay.io?x", "me:pw@quay.io#y"], "quay.io/x", 5),
    (
        &["HTTPS://quay.io", "ftp://quay.io", "Quay.io", "quay .io", "quay.io/%zz", "quay.io/\u{1}"],
        "quay.io/x",
        0,
    ),
    (&["quay.io/a%2Fb", "quay.io/%61", "quay.io/a%3Fb", "quay.io/a%25b", "%71uay.io"], "quay.io/a/b", 3),
    (&["[fd00::1]:5000", "[fd00::1]"], "[fd00::1]:5000/x", 1),
    (&["[fd00::1]"], "D/x", 0),
    (&["[FD00::1]", "[::ffff:1.2.3.4]"], "D/x", 1),
    (&["index.docker.io", "localhost"], "localhost/x", 1),
    (&["index.docker.io"], "[1]/x", 0),
    (&["index.docker.io/v1/", "https://index.docker.io/v2/", "http://index.docker.io"], "nginx:1.29", 3),
    (&["index.docker.io/v2", "https://index.docker.io/v1//", "https://index.docker.io/"], "nginx", 1),
    (&["docker.io/library/nginx", "docker.io/library", "docker.io/nginx"], "nginx", 2),
    (&["docker.io"], "index.docker.io/me/app", 1),
    (&["*.dkr.ecr.*.amazonaws.com"], "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a/b:1", 1),
    (
        &[
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/",
        ],
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        3,
    ),
    (&["*.example.com", "*.*.example.com", "a.*.com"], "a.example.com:443/x", 0),
    (&["*.example.com:443", "*.example.com:*", "*:443"], "a.example.com:443/x", 1),
    (
        &["a.example.com/", "a.example.com//", "a.example.com/v1/", "a.example.com/v1"],
        "a.example.com/v1/x",
        3,
    ),
    (&["a.example.com/x/*", "a.example.com/*"], "a.example.com/x/y", 0),
    (&["quay.io/a/b/c", "quay.io/a/b", "quay.io/a", "quay.io"], "quay.io/a/b", 3),
    (&["", "*", "*.*", "/x"], "quay.io/x", 1),
    (&["quay.io"], "quay.io/Upper", 0),
    (&["docker.io"], "", 0),
];

#[test]
fn a_table_of_keys_is_answered_as_by_kubelet() -> Result<()> {
    let cases: Vec<_> = TABLE.iter().map(|(keys, image, _)| Case::of(&[keys], image)).collect();
    for (answer, (keys, image, tried)) in compare(&cases)?.iter().zip(TABLE) {
        assert_eq!(answer.logins.len(), *tried, "{keys:?} for {image}");
    }
    let several = [
        Case::of(&[&["quay.io", "*.io"], &["quay.io/org", "quay.io"]], "quay.io/org/x"),
        Case::of(
            &[&["index.docker.io"], &["docker.io/a"], &["https://index.docker.io/v1/"]],
            "docker.io/a/x",
        ),
        Case::of(&[&["index.docker.io"], &["ghcr.io"], &["https://index.docker.io/v1/"]], "docker.io/a/x"),
        Case { secrets: Vec::new(), image: "nginx".to_owned() },
        // The same key in several Secrets, and paths of several depths.
        Case::of(&[&["quay.io"], &["quay.io", "https://quay.io/"], &["http://quay.io"]], "quay.io/a"),
        Case::of(&[&["quay.io/a"], &["quay.io/a/b/c", "quay.io"], &["quay.io/a/b"]], "quay.io/a/b/c/d"),
    ];
    let tried: Vec<Vec<usize>> =
        compare(&several)?.iter().map(|one| one.logins.iter().map(|login| login.0).collect()).collect();
    assert_eq!(tried, [vec![1, 0, 1, 0], vec![1], vec![0, 2], vec![], vec![0, 1, 1, 2], vec![1, 2, 0, 1]]);
    Ok(())
}

#[test]
fn a_table_of_contents_is_read_as_by_kubelet() -> Result<()> {
    let auths = |entry: &str| format!(r#"{{"auths":{{"quay.io":{entry}}}}}"#);
    let mut cases = vec![
        Case::raw(DOCKERCFG, r#"{"quay.io":{"auth":"dTpw"}}"#, "quay.io/x"),
        Case::raw(DOCKERCFG, r#"{"auths":{"quay.io":{"auth":"dTpw"}}}"#, "quay.io/x"),
        Case::raw((DOCKERCFG.0, CONFIG_JSON.1), auths(r#"{"auth":"dTpw"}"#), "quay.io/x"),
        Case::raw(("Opaque", CONFIG_JSON.1), auths(r#"{"auth":"dTpw"}"#), "quay.io/x"),
        Case::raw(CONFIG_JSON, "", "quay.io/x"),
        Case::raw(CONFIG_JSON, b"\xff", "quay.io/x"),
        Case::raw(
            CONFIG_JSON,
            b"{\"auths\":{\"quay.io\":{\"username\":\"\xe2\x82x\xed\xa0\x80\"}}}",
            "quay.io/x",
        ),
        Case::raw(CONFIG_JSON, b"{\"auths\":{\"quay.io\":{\"username\":\"\xff\xfe\"}}}", "quay.io/x"),
    ];
    for entry in [
        r#"{"auth":"dTpwOnE="}"#,
        r#"{"auth":"dTpwOnE"}"#,
        r#"{"auth":"dTpwOnE=="}"#,
        r#"{"auth":"dTpwOnF="}"#,
        r#"{"auth":"dT\npw"}"#,
        r#"{"auth":"dTpw "}"#,
        r#"{"auth":"dTpwOnE= "}"#,
        r#"{"auth":"bm8gY29sb24="}"#,
        r#"{"auth":"%"}"#,
        r#"{"auth":""}"#,
        r#"{"auth":"Og=="}"#,
        r#"{"auth":"="}"#,
        r#"{"auth":null,"username":"u"}"#,
        r#"{"auth":1}"#,
        r#"{"AUTH":"dTpw"}"#,
        r#"{"username":"u","password":"p","auth":"eDp5"}"#,
        r#"{"auth":"eDp5","auth":"dTpw"}"#,
        r#"{"auth":"dTpw","auth":null}"#,
        r#"{"uſername":"u","paſſword":"p"}"#,
        r#"{"username":["u"]}"#,
        r#"{"email":1}"#,
        r#"{"email":null}"#,
        r#"{"identitytoken":1}"#,
        "null",
        "{}",
        "[]",
        r#""dTpw""#,
        "true",
        r#"{"username":"\ud800"}"#,
        r#"{"username":"\ud800\udbffx\udfff"}"#,
        r#"{"username":"\ud83d\ude00"}"#,
        "{",
        r#"{"auth":"/+++"}"#,
        r#"{"auth":"-___"}"#,
        r#"{"username":1e999}"#,
        r#"{"x":1e999}"#,
    ] {
        cases.push(Case::raw(CONFIG_JSON, auths(entry), "quay.io/x"));
    }
    for text in [
        "null",
        "{}",
        "[]",
        "1",
        r#"{"auths":null}"#,
        r#"{"auths":[]}"#,
        r#"{"AUTHS":{"quay.io":{}}}"#,
        r#"{"authſ":{"quay.io":{}}}"#,
        r#"{"auths":{"quay.io":{}},"auths":{"*.io":{}}}"#,
        r#"{"auths":{"quay.io":{}},"auths":null}"#,
        r#"{"auths":{"quay.io":{"username":"a"},"quay.io":{"password":"b"}}}"#,
        r#"{"auths":{"quay.io":{}},"HttpHeaders":{"a":"b"}}"#,
        r#"{"auths":{"quay.io":{}},"httpheaders":{"a":1}}"#,
        r#"{"auths":{"quay.io":{}},"HttpHeaders":{"a":null}}"#,
        r#"{"auths":{"quay.io":{}},"HttpHeaders":null}"#,
        r#"{"auths":{"quay.io":{}},"credHelpers":[1]}"#,
        r#"{"auths":{"quay.io":{}}} "#,
        r#"{"auths":{"quay.io":{}}} x"#,
        "{\"auths\":{\"quay.io\":{\"username\":\"a\nb\"}}}",
        r#"{"auths":{"\ud800.io":{}}}"#,
    ] {
        cases.push(Case::raw(CONFIG_JSON, text, "quay.io/x"));
    }
    let answers = compare(&cases)?;
    assert!(
        answers.iter().any(|answer| answer.unreadable)
            && answers.iter().any(|answer| !answer.logins.is_empty())
    );
    Ok(())
}

#[test]
fn made_up_cases_are_answered_as_by_kubelet() -> Result<()> {
    let seed = std::env::var("CLAVIGER_KEYRING_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    // Told when the test fails.
    println!("CLAVIGER_KEYRING_SEED={seed}");
    let mut dice = Dice::new(seed, 0);
    let cases: Vec<Case> = (0..CASES).map(|_| made_up::case(&mut dice)).collect();
    let answers = compare(&cases)?;
    let matching = answers.iter().filter(|answer| !answer.logins.is_empty()).count();
    let several = answers.iter().filter(|answer| answer.logins.len() > 1).count();
    let unreadable = answers.iter().filter(|answer| answer.unreadable).count();
    assert!(
        matching > CASES / 8 && several > CASES / 50 && unreadable > CASES / 50,
        "{matching} {several} {unreadable}"
    );
    Ok(())
}
