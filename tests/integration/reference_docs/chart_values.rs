//! The values of the chart, as `values.yaml` has them.

use super::assert_generated;
use crate::{chart::documented::values_table, support::Result};

#[test]
fn the_values_of_the_chart_are_those_of_values_yaml() -> Result<()> {
    let page = format!(
        "# Values of the chart\n\nGenerated from `charts/claviger/values.yaml`; `helm show values` prints the same. What belongs together is told in\n\
         [Helm](../how-to/helm.md) and in the README of the chart.\n\n{}",
        values_table()?
    );
    assert_generated("chart-values.md", &page)
}
