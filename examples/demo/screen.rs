//! What a person sees: headings, commands, live lines, tables. Colour and redrawing on a terminal, plain lines
//! in a pipe.

use std::{
    env,
    io::{IsTerminal, Write, stdout},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BLUE: &str = "1;34";
const CYAN: &str = "36";

/// Longer lines are hard to read, however wide the terminal.
const WIDEST: usize = 110;
const BAR: usize = 30;
/// Where times stand, so that they form a column.
const TIME_COLUMN: usize = 78;
const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Between two steps, for the eye. Never part of a time that is shown.
const PAUSE: Duration = Duration::from_millis(1200);

/// How far something is, such as 14 of 20 namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    pub done: usize,
    pub total: usize,
}

impl Count {
    /// Reached once.
    pub fn once(is_so: bool) -> Self {
        Self { done: usize::from(is_so), total: 1 }
    }

    pub fn is_complete(self) -> bool {
        self.done >= self.total
    }
}

pub struct Screen {
    /// Whether lines can be drawn again.
    live: bool,
    colour: bool,
    width: usize,
    /// Whether a live line stands on the screen, which the next output replaces.
    drawn: Mutex<bool>,
    frame: AtomicUsize,
}

impl Screen {
    pub fn of_stdout() -> Self {
        let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let live = stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let columns = terminal_size::terminal_size().map_or(WIDEST, |(width, _)| usize::from(width.0));
        Self {
            live,
            colour: live && !is_set("NO_COLOR"),
            width: if live { columns.clamp(40, WIDEST) } else { WIDEST },
            drawn: Mutex::new(false),
            frame: AtomicUsize::new(0),
        }
    }

    pub fn is_live(&self) -> bool {
        self.live
    }

    pub fn title(&self, title: &str, text: &str) {
        self.line("");
        self.line(&self.paint(BOLD, title));
        self.paragraph(0, text);
    }

    /// The beginning of a step.
    pub fn heading(&self, number: usize, title: &str, text: &str) {
        self.line("");
        self.line(&self.paint(BLUE, &format!("{number:>2}  {title}")));
        self.paragraph(4, text);
    }

    /// What a person would type.
    pub fn command(&self, command: &str) {
        let mut lines = command.lines();
        let first = lines.next().unwrap_or_default();
        self.line(&format!("    {} {}", self.paint(DIM, "$"), self.paint(CYAN, first)));
        for line in lines {
            self.line(&format!("      {}", self.paint(CYAN, line)));
        }
    }

    /// The line that moves while something is going on. Nothing in a pipe.
    pub fn live(&self, text: &str) {
        if !self.live {
            return;
        }
        let at = self.frame.fetch_add(1, Ordering::Relaxed);
        let frame = FRAMES.get(at % FRAMES.len()).copied().unwrap_or_default();
        let shown: String = text.chars().take(self.width.saturating_sub(7)).collect();
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        *drawn = true;
        emit(&format!("\r\x1b[K    {} {shown}", self.paint(YELLOW, frame)));
    }

    /// The same, with a bar where there is more than one to wait for.
    pub fn live_bar(&self, count: Count, unit: &str, since: Instant) {
        if count.total <= 1 {
            return self.live(&format!("waiting for: {unit}  {}", time(since.elapsed())));
        }
        let filled = (BAR * count.done.min(count.total)).checked_div(count.total).unwrap_or(0);
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
        let Count { done, total } = count;
        self.live(&format!("{bar} {done}/{total} {unit}  {}", time(since.elapsed())));
    }

    /// What has come true, and how long it took.
    pub fn done(&self, text: &str, took: Option<Duration>) {
        let mark = if self.live { "✓" } else { "ok" };
        let pad = TIME_COLUMN.min(self.width.saturating_sub(10));
        let Some(took) = took else {
            return self.hanging(
                &format!("    {} ", self.paint(GREEN, mark)),
                5 + mark.chars().count(),
                text,
            );
        };
        let indent = 5 + mark.chars().count();
        let lines = wrap(text, pad.saturating_sub(indent));
        for (number, line) in lines.iter().enumerate() {
            let lead = match number {
                0 => format!("    {} ", self.paint(GREEN, mark)),
                _ => " ".repeat(indent),
            };
            let gap = pad.saturating_sub(indent + line.chars().count());
            if number + 1 == lines.len() {
                let shown = format!("{:>8}", time(took));
                self.line(&format!("{lead}{line}{}{}", " ".repeat(gap), self.paint(BOLD, &shown)));
            } else {
                self.line(&format!("{lead}{line}"));
            }
        }
    }

    pub fn failed(&self, text: &str) {
        let mark = if self.live { "✗" } else { "FAILED" };
        self.hanging(&format!("    {} ", self.paint(RED, mark)), 5 + mark.chars().count(), text);
    }

    /// What the cluster says, word for word.
    pub fn quote(&self, who: &str, text: &str) {
        self.hanging(&format!("      {} ", self.paint(YELLOW, who)), 7 + who.chars().count(), text);
    }

    pub fn paragraph(&self, indent: usize, text: &str) {
        for line in wrap(text, self.width - indent) {
            self.line(&format!("{}{}", " ".repeat(indent), self.paint(DIM, &line)));
        }
    }

    /// Columns as kubectl sets them; the first row is the header.
    pub fn table(&self, rows: &[Vec<String>]) {
        for (number, line) in columns(rows).iter().enumerate() {
            let style = if number == 0 { BOLD } else { "" };
            self.line(&format!("      {}", self.paint(style, line)));
        }
    }

    /// Rows of a word and a sentence.
    pub fn list(&self, rows: &[(String, bool, String)]) {
        let wide = rows.iter().map(|(word, ..)| word.chars().count()).max().unwrap_or(0);
        for (word, warning, text) in rows {
            let padded = format!("{word:wide$}");
            let style = if *warning { YELLOW } else { GREEN };
            self.hanging(&format!("      {}  ", self.paint(style, &padded)), 8 + wide, text);
        }
    }

    /// The steps and their times.
    pub fn summary(&self, rows: &[(String, String, Duration)], total: Duration) {
        let wide = rows.iter().map(|(title, ..)| title.chars().count()).max().unwrap_or(0);
        self.line("");
        self.line(&self.paint(BLUE, "Summary"));
        for (title, result, took) in rows {
            let mark = if self.live { "✓ " } else { "" };
            let lead = format!("  {}{title:wide$}  ", self.paint(GREEN, mark));
            let shown = self.paint(BOLD, &format!("{:>8}", time(*took)));
            self.line(&format!("{lead}{shown}  {}", self.paint(DIM, result)));
        }
        self.line("");
        self.line(&self.paint(GREEN, &format!("All {} steps succeeded, in {}.", rows.len(), time(total))));
    }

    pub async fn pause(&self) {
        if self.live {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A whole line, in the place of the live one.
    pub fn line(&self, text: &str) {
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if std::mem::take(&mut *drawn) { "\r\x1b[K" } else { "" };
        emit(&format!("{clear}{text}\n"));
    }

    fn hanging(&self, lead: &str, indent: usize, text: &str) {
        for (number, line) in wrap(text, self.width.saturating_sub(indent)).iter().enumerate() {
            let lead = if number == 0 { lead.to_owned() } else { " ".repeat(indent) };
            self.line(&format!("{lead}{line}"));
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.colour && !style.is_empty() && !text.is_empty() {
            format!("\x1b[{style}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A reader who has gone away is no reason to stop: the exit code still tells.
fn emit(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Two or three digits that matter.
pub fn time(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match seconds {
        s if s >= 100.0 => format!("{} min {:.0} s", (s / 60.0) as u64, s % 60.0),
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 0.01 => format!("{:.0} ms", s * 1e3),
        s => format!("{:.1} ms", s * 1e3),
    }
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { continue };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|at| width(at).unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<_> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            cells.join("   ").trim_end().to_owned()
        })
        .collect()
}
