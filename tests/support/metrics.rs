//! Reading the Prometheus text format, as far as tests need it.

/// One value by its name and labels, `name` or `name{a="b",c="d"}`. Labels may come in any order; every one
/// that is given must be there, others may be there too, and then all that match are summed up.
pub fn value(text: &str, selector: &str) -> Option<f64> {
    let (name, wanted) = split(selector)?;
    let mut sum = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, rest)) = line.rsplit_once('}').map_or_else(
            || line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest)),
            |(head, rest)| Some((format!("{head}}}"), rest)),
        ) else {
            continue;
        };
        let Some((series_name, labels)) = split(&series) else {
            continue;
        };
        if series_name == name
            && wanted.iter().all(|label| labels.contains(label))
            && let Some(number) = rest.split_whitespace().next().and_then(|text| text.parse::<f64>().ok())
        {
            sum = Some(sum.unwrap_or(0.0) + number);
        }
    }
    sum
}

fn split(series: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let Some((name, labels)) = series.trim().split_once('{') else {
        return Some((series.trim(), Vec::new()));
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut pairs = Vec::new();
    while let Some((key, after)) = rest.split_once("=\"") {
        let end = closing_quote(after)?;
        pairs.push((key.trim_start_matches(',').trim(), &after[..end]));
        rest = &after[end + 1..];
    }
    Some((name, pairs))
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, character) in text.char_indices() {
        match character {
            '"' if !escaped => return Some(index),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::value;

    const TEXT: &str = "# HELP writes_total Writes.\n# TYPE writes_total counter\n\
        writes_total{cluster=\"local\",verb=\"create\"} 3\n\
        writes_total{cluster=\"local\",verb=\"a } \\\"b\"} 4\nup 1\n";

    #[test]
    fn reads_values_by_name_and_labels() {
        assert_eq!(value(TEXT, "up"), Some(1.0));
        assert_eq!(value(TEXT, "writes_total{verb=\"create\"}"), Some(3.0));
        assert_eq!(value(TEXT, "writes_total{verb=\"a } \\\"b\"}"), Some(4.0));
        assert_eq!(value(TEXT, "writes_total"), Some(7.0));
        assert_eq!(value(TEXT, "writes_total{verb=\"delete\"}"), None);
    }
}
