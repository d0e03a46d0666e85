//! Wrong calls, and contents of those who want the terminal, the time or the secrets of whoever looks.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;

use super::{Place, Plugin};
use crate::support::{ControlPlane, Result, workdir::Workdir};

#[tokio::test]
async fn wrong_calls_are_told_by_their_exit_codes() -> Result<()> {
    let place = Place::new().await?;
    for (args, code, says) in [
        (&["explain-pull", "nobody"][..], 5, "pods \"nobody\" not found (NotFound)"),
        (&["explain-pull", "x", "--context", "no\u{1b}[2Jwhere"], 1, "InvalidKubeconfig"),
        (&["explain-pull", "x", "--user", "nobody"], 1, "InvalidKubeconfig"),
        (&["explain-pull", "x", "--kubeconfig", "/nowhere/config"], 1, "InvalidKubeconfig"),
        (&["explain-pull"], 2, "<POD>"),
        (&["explain-pull", "deploy/x"], 2, "'deploy/x' is not the name of a Pod"),
        (&["explain-pull", "../secrets/x"], 2, "is not the name of a Pod"),
        (&["explode"], 2, "unrecognized subcommand"),
        (&["explain-pull", "x", "-o", "table"], 2, "possible values"),
        (&["explain-pull", "x", "--request-timeout", "soon"], 2, "request-timeout"),
        (&["explain-pull", "x", "--as-group", "g"], 2, "--as"),
    ] {
        let answer = place.plugin.call(args).await?;
        assert_eq!(answer.code, code, "{args:?}: {answer:?}");
        assert!(answer.err.contains(says) && answer.out.is_empty(), "{args:?}: {answer:?}");
        assert!(!answer.err.contains('\u{1b}'), "{answer:?}");
    }
    let nowhere = Plugin::new(None, None).await?.call(&["explain-pull", "x"]).await?;
    assert!(nowhere.code == 1 && nowhere.err.contains("InvalidKubeconfig"), "{nowhere:?}");
    Ok(())
}

#[tokio::test]
async fn who_is_not_known_or_gets_no_answer_is_told_so() -> Result<()> {
    let control_plane = ControlPlane::shared().await?;
    let unknown = control_plane.kubeconfig_with(control_plane.server_url(), "canary-token")?;
    let answer = Plugin::new(Some(unknown), None).await?.call(&["explain-pull", "x"]).await?;
    assert!(
        answer.code == 4 && answer.err.contains("Unauthorized") && !answer.err.contains("canary"),
        "{answer:?}"
    );

    // Takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://{}", silent.local_addr()?);
    let nobody = control_plane.kubeconfig_with(url, control_plane.admin_token()?)?;
    let answer =
        Plugin::new(Some(nobody), None).await?.call(&["explain-pull", "x", "--request-timeout=1s"]).await?;
    assert!(answer.code == 6, "{answer:?}");
    drop(silent);
    Ok(())
}

#[tokio::test]
async fn kubectl_and_shells_are_told_what_there_is() -> Result<()> {
    let plugin = Plugin::new(None, None).await?;
    let words = plugin.call_as("kubectl_complete-claviger", &["exp"], "").await?;
    assert!(
        words.code == 0 && words.out.starts_with("explain-pull\t") && words.out.ends_with(":4\n"),
        "{words:?}"
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = plugin.call(&["completion", shell]).await?;
        assert!(script.code == 0 && script.out.contains("explain-pull"), "{shell}");
    }
    // The same program, by its own name.
    let dir = Workdir::new("claviger-plugin-")?;
    let binary = tokio::task::spawn_blocking(crate::support::operator_binary).await??;
    let done = std::process::Command::new(binary)
        .args(["kubectl", "completion", "bash"])
        .current_dir(dir.path())
        .output()?;
    assert!(done.status.success());
    let version = plugin.call(&["--version"]).await?;
    assert!(version.out.starts_with("kubectl-claviger "), "{version:?}");
    Ok(())
}

#[tokio::test]
async fn a_secret_of_a_mebibyte_is_answered_shortly_and_shows_nothing() -> Result<()> {
    let place = Place::new().await?;
    let login = json!({"username": "canary-user", "password": "canary-password"});
    let entry = |n: usize| format!("\"https://canary-user:canary-password@h{n}.\\u001b[31m.io\":{login}");
    let size = entry(10_000).len() + 1;
    let entries: Vec<_> = (0..1_000_000 / size).map(entry).collect();
    let text = format!("{{\"auths\":{{{},\"quay.io\":{login}}}}}", entries.join(","));
    place.secret("large", "kubernetes.io/dockerconfigjson", ".dockerconfigjson", &text).await?;
    // Any text goes in the data of other types, and their names.
    let escape = json!({"metadata": {"name": "escape"}, "type": "\u{1b}]0;owned\u{7}", "stringData": {"a": "canary-password"}});
    let secrets: Api<Secret> = place.namespace.api();
    secrets.create(&kube::api::PostParams::default(), &serde_json::from_value(escape)?).await?;
    let images: Vec<String> = (0..20).map(|n| format!("quay.io/acme/{n}")).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).chain(["\u{1b}[2Jnginx"]).collect();
    let pod = place.pod(&images, &["large", "escape", "../secrets/large", "\u{1b}[2J"]).await?;
    let before = std::time::Instant::now();
    for format in ["json", "yaml"] {
        let answer = place.plugin.call(&["explain-pull", &pod, "-o", format]).await?;
        assert!(answer.code == 3 && answer.out.len() < 400_000, "{} bytes", answer.out.len());
        assert!(!answer.out.contains("canary") && !answer.out.contains('\u{1b}'), "{}", answer.out);
    }
    let answer = place.plugin.call(&["explain-pull", &pod]).await?;
    assert!(answer.out.contains("more entries"), "{}", answer.out);
    assert!(!answer.out.contains("canary") && !answer.out.contains(['\u{1b}', '\u{7}']), "{}", answer.out);
    assert!(answer.out.contains("invalid image"), "{}", answer.out);
    assert!(before.elapsed() < std::time::Duration::from_secs(30), "{:?}", before.elapsed());
    Ok(())
}
