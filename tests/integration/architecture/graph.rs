//! Circles in what files use of each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::modules::Use;

/// Who uses whom, and one use that shows it.
pub type Graph<'a> = BTreeMap<String, BTreeMap<String, &'a Use>>;

/// The graph of files, or of what `group` puts them into; what it answers `None` for is left out.
pub fn graph<'a>(uses: &'a BTreeSet<Use>, group: impl Fn(&str) -> Option<String>) -> Graph<'a> {
    let mut graph = Graph::new();
    for used in uses.iter().filter(|used| !used.reexport) {
        let Some((from, to)) = group(&used.file).zip(used.target.as_deref().and_then(&group)) else {
            continue;
        };
        if from != to {
            graph.entry(from).or_default().entry(to).or_insert(used);
        }
    }
    graph
}

/// A shortest circle through each node that is in one, each circle once, in words.
pub fn circles(graph: &Graph<'_>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut told = Vec::new();
    for start in graph.keys() {
        let Some(circle) = shortest(graph, start) else { continue };
        if seen.insert(circle.iter().cloned().collect::<BTreeSet<_>>()) {
            let steps = circle.iter().zip(circle.iter().cycle().skip(1)).map(|(from, to)| {
                let used = graph[from][to];
                format!("{}:{} uses {}", used.file, used.line, used.path)
            });
            told.push(format!("{}\n    {}", circle.join(" -> "), steps.collect::<Vec<_>>().join("\n    ")));
        }
    }
    told
}

fn shortest(graph: &Graph<'_>, start: &String) -> Option<Vec<String>> {
    let mut came: BTreeMap<&String, &String> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in graph.get(at).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                let mut back = vec![at.clone()];
                let mut step = at;
                while step != start {
                    step = came[step];
                    back.push(step.clone());
                }
                back.reverse();
                return Some(back);
            }
            if !came.contains_key(next) {
                came.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}
