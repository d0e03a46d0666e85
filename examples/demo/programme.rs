//! The steps: which one is on, what came of those before.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    screen::{self, Screen},
    support::{Result, progress},
};

const REDRAW: Duration = Duration::from_millis(80);

pub struct Programme {
    pub screen: Arc<Screen>,
    started: Instant,
    title: String,
    results: Vec<(String, String, Duration)>,
}

impl Programme {
    pub fn new(screen: Arc<Screen>) -> Self {
        Self { screen, started: Instant::now(), title: String::new(), results: Vec::new() }
    }

    pub fn begin(&mut self, title: &str, text: &str) {
        self.title = title.to_owned();
        self.screen.heading(self.results.len() + 1, title, text);
    }

    /// Ends the step with its line in the summary.
    pub async fn end(&mut self, result: impl Into<String>, took: Duration) {
        self.results.push((std::mem::take(&mut self.title), result.into(), took));
        self.screen.pause().await;
    }

    pub fn summary(&self) {
        self.screen.summary(&self.results, self.started.elapsed());
    }

    /// Waits for something that is not seen in the cluster, with a line that moves.
    pub async fn wait<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<(T, Duration)> {
        let text = Arc::new(Mutex::new(what.to_owned()));
        if self.screen.is_live() {
            let text = text.clone();
            progress::report_to(move |line| {
                line.clone_into(&mut text.lock().unwrap_or_else(PoisonError::into_inner));
            });
        }
        let since = Instant::now();
        let mut tick = tokio::time::interval(REDRAW);
        tokio::pin!(work);
        loop {
            tokio::select! {
                made = &mut work => return Ok((made?, since.elapsed())),
                _ = tick.tick() => {
                    let text = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    self.screen.live(&format!("{text}  {}", screen::time(since.elapsed())));
                }
            }
        }
    }
}
