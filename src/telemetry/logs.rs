//! Logs on stderr, as JSON or text.

use std::io::IsTerminal;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt, registry};

/// The target under which kube logs the whole body of an answer that it cannot decode.
const BODY_TARGET: &str = "kube_client::client";

/// Where kube logs each request that fails, as an error: a cluster that is down is told once by us, with its name.
const NOISE: &str = "kube_client::client::builder=off";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for collectors.
    #[default]
    Json,
    /// One readable line, for people; coloured on a terminal unless `NO_COLOR` is set.
    Text,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter is not in the syntax of `tracing_subscriber::EnvFilter`.
    #[error("log filter {filter:?} is not valid: {source}")]
    Filter {
        /// The text that was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Logging was set up before in this process.
    #[error("logging cannot be set up: {0}")]
    Init(#[from] TryInitError),
}

/// Sets up logging for the whole process, on stderr.
///
/// `filter` has the syntax of `RUST_LOG` (`info`, `claviger=debug,kube=warn`). Whatever it says,
/// `kube_client::client` is held at `error`: that target logs answers that fail to decode, with
/// every Secret in them.
///
/// # Errors
/// A filter that does not parse, or a second call in one process.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogsError> {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    subscriber(format, filter, colour, std::io::stderr)?.try_init()?;
    Ok(())
}

/// Checks a filter, for the command line.
///
/// # Errors
/// A filter that does not parse.
pub fn check(filter: &str) -> Result<String, LogsError> {
    parse(filter).map(|_| filter.to_owned())
}

fn parse(filter: &str) -> Result<EnvFilter, LogsError> {
    // What nothing at all means to `tracing_subscriber`; with a word of ours it would mean silence.
    let chosen = if filter.trim().is_empty() { "error" } else { filter };
    // First, so that the user's own word on it counts.
    EnvFilter::builder()
        .parse(format!("{NOISE},{chosen}"))
        .map_err(|source| LogsError::Filter { filter: filter.to_owned(), source })
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    colour: bool,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, LogsError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let chosen = parse(filter)?;
    let lines = match format {
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            // Each line of ours names what it is about. `parent: None` would not keep kube's span out here.
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(writer)
            .boxed(),
        LogFormat::Text => fmt::layer().with_ansi(colour).with_writer(writer).boxed(),
    };
    // Not a directive of the user's filter: a more specific one there would win over it.
    let no_bodies = filter_fn(|meta| meta.target() != BODY_TARGET || *meta.level() == Level::ERROR);
    Ok(registry().with(lines.with_filter(chosen.and(no_bodies))))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, emit: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let sink = buffer.clone();
        let subscriber = subscriber(format, filter, false, move || sink.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, emit);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn bodies_stay_out_of_the_log_whatever_the_filter_says() {
        for filter in [
            "info",
            "trace",
            "kube_client::client=trace",
            "kube_client=trace,kube_client::client=debug",
            "kube_client::client[request]=trace,trace",
            "kube_client::client[{body}]=trace,info",
        ] {
            let text = logged(LogFormat::Text, filter, || {
                let span = tracing::error_span!(target: "kube_client::client", "request");
                let _entered = span.enter();
                tracing::warn!(target: "kube_client::client", "body canary-hunter2");
                tracing::warn!(target: "kube_client::client", body = "canary-hunter2");
                tracing::debug!(target: "kube_client::client", "Unsuccessful: canary-hunter2");
                tracing::error!(target: "kube_client::client", "still seen");
                tracing::error!(target: "claviger", "ours");
            });
            assert!(!text.contains("canary"), "{filter}: {text}");
            assert!(text.contains("still seen"), "{filter}: {text}");
        }
    }

    #[test]
    fn the_user_may_silence_that_target_altogether() {
        let text = logged(LogFormat::Text, "info,kube_client::client=off", || {
            tracing::error!(target: "kube_client::client", "quiet");
            tracing::info!("ours");
        });
        assert!(text.contains("ours") && !text.contains("quiet"), "{text}");
    }

    #[test]
    fn failed_requests_are_kubes_to_tell_only_when_asked() {
        let emit = || tracing::error!(target: "kube_client::client::builder", "failed with error");
        for filter in ["info", "", "kube_client=debug", "debug"] {
            assert_eq!(logged(LogFormat::Text, filter, emit), "", "{filter}");
        }
        let asked = logged(LogFormat::Text, "info,kube_client::client::builder=error", emit);
        assert!(asked.contains("failed with error"));
    }

    #[test]
    fn json_is_one_object_a_line_and_text_has_no_colour_codes() {
        let json = logged(LogFormat::Json, "info", || {
            let _entered = tracing::info_span!("reconciling object", object.r#ref = "quay").entered();
            tracing::info!(cluster = "local", "synced");
            tracing::debug!("not at info");
        });
        let line: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(line.get("span"), None, "the span says again what the line says");
        assert_eq!(line["message"], "synced");
        assert_eq!(line["cluster"], "local");
        assert_eq!(line["level"], "INFO");
        let text = logged(LogFormat::Text, "info", || tracing::info!("synced"));
        assert!(text.contains("synced") && !text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn a_filter_that_does_not_parse_is_named() {
        let error = subscriber(LogFormat::Json, "claviger=loud", false, std::io::stderr).err();
        assert!(error.unwrap().to_string().contains("claviger=loud"));
    }
}
