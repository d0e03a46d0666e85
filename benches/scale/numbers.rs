//! The numbers that the design promises: budget, measured value, and whether it holds.

/// One line of the table.
pub struct Number {
    what: String,
    budget: String,
    measured: String,
    /// None: no budget, or not measured.
    is_met: Option<bool>,
}

impl Number {
    /// A value that must not be above its budget. `measured` is how it is shown.
    pub fn at_most(what: impl Into<String>, budget: (f64, &str), value: f64, measured: String) -> Self {
        let (limit, unit) = budget;
        Self {
            what: what.into(),
            budget: format!("<= {limit} {unit}").trim_end().to_owned(),
            measured,
            // Not a number is not met.
            is_met: Some(value <= limit),
        }
    }

    /// A value that must be below its budget.
    pub fn below(what: impl Into<String>, budget: (f64, &str), value: f64, measured: String) -> Self {
        let (limit, unit) = budget;
        Self {
            what: what.into(),
            budget: format!("< {limit} {unit}").trim_end().to_owned(),
            measured,
            is_met: Some(value < limit),
        }
    }

    /// Something that must be so.
    pub fn must(what: impl Into<String>, budget: &str, is_met: bool, measured: String) -> Self {
        Self { what: what.into(), budget: budget.to_owned(), measured, is_met: Some(is_met) }
    }

    /// A value that is shown, without a budget of its own.
    pub fn shown(what: impl Into<String>, measured: String) -> Self {
        Self { what: what.into(), budget: String::new(), measured, is_met: None }
    }

    /// What only a longer run measures.
    pub fn skipped(what: &str, budget: &str) -> Self {
        Self {
            what: what.to_owned(),
            budget: budget.to_owned(),
            measured: "with --long".to_owned(),
            is_met: None,
        }
    }
}

pub fn render(numbers: &[Number]) -> String {
    let mut text = String::from("| what | budget | measured | |\n| --- | --- | --- | --- |\n");
    for Number { what, budget, measured, is_met } in numbers {
        let verdict = match is_met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        text.push_str(&format!("| {what} | {budget} | {measured} | {verdict} |\n"));
    }
    let count = |wanted| numbers.iter().filter(|number| number.is_met == Some(wanted)).count();
    text.push_str(&format!("\n{} met, {} missed\n", count(true), count(false)));
    text
}
