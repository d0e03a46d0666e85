//! Durations on the command line: `90s`, `10m`, `1h 30m`.

use std::time::Duration;

use jiff::SignedDuration;

const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A duration of at least `shortest`, and of at most a week.
pub(super) fn at_least(
    shortest: Duration,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync {
    move |text| {
        let duration = parse(text)?;
        if duration < shortest {
            return Err(format!("must be at least {shortest:?}"));
        }
        if duration > LONGEST {
            return Err("must be at most a week, 168h".to_owned());
        }
        Ok(duration)
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    let parsed = text.trim().parse::<SignedDuration>().ok();
    let duration = parsed.and_then(|parsed| Duration::try_from(parsed).ok());
    duration.ok_or_else(|| "write a duration such as 90s, 10m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, seconds) in
            [("90s", 90), ("10m", 600), ("1h", 3600), ("1h30m", 5400), ("1h 30m", 5400), (" 5s ", 5)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn refuses_what_could_be_misread() {
        for text in ["", "90", "-5s", "5s ago", "10 bananas", "1mo", "s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_its_limits() {
        let parser = at_least(Duration::from_secs(5));
        assert_eq!(parser("4s"), Err("must be at least 5s".to_owned()));
        assert_eq!(parser("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parser("169h"), Err("must be at most a week, 168h".to_owned()));
        assert_eq!(at_least(Duration::from_millis(100))("0s").unwrap_err(), "must be at least 100ms");
    }
}
