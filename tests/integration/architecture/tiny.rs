//! Tiny sources, so that it is known what the rules find, and what they leave alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    graph::{circles, graph},
    modules::{Modules, Texts, Use},
    rules::{crosses_layers, goes_against_the_flow, missing_steps, touches_the_world},
};

fn modules(texts: &[(&str, &str)]) -> Modules {
    let texts: Texts = texts.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
    Modules::read(&texts).unwrap()
}

fn uses(texts: &[(&str, &str)]) -> BTreeSet<Use> {
    modules(texts).uses()
}

/// Files of ours that a file uses.
fn targets<'a>(uses: &'a BTreeSet<Use>, file: &str) -> Vec<&'a str> {
    let of = uses.iter().filter(|used| used.file == file && !used.reexport);
    of.filter_map(|used| used.target.as_deref()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn told(texts: &[(&str, &str)]) -> Vec<String> {
    circles(&graph(&uses(texts), |file| Some(file.to_owned())))
}

#[test]
fn paths_lead_to_the_file_that_defines_the_name() {
    for (text, wanted) in [
        ("use crate::a::one::One;", "a/one.rs"),
        ("use crate::a::One;", "a/one.rs"),
        ("use crate::a::Renamed;", "a/one.rs"),
        ("use crate::a::Far;", "a/b/deep.rs"),
        ("use super::a::{self, Own};", "a/mod.rs"),
        ("use super::a; fn f() -> a::One { todo!() }", "a/one.rs"),
        ("use crate::a as other; fn f(x: other::one::One) {}", "a/one.rs"),
        ("use crate::a::*; fn f(x: One) {}", "a/one.rs a/mod.rs"),
        ("use crate::a::b::*; fn f(x: Deep) {}", "a/b/deep.rs a/b/mod.rs"),
        ("fn f() { crate::a::one::One::new(); }", "a/one.rs"),
        ("fn f() { use crate::a::One; }", "a/one.rs"),
        ("fn f() { vec![crate::a::One::<u8>::new(1)]; }", "a/one.rs"),
        ("fn f() { let x: Vec<Option<crate::a::One>>; }", "a/one.rs"),
        ("fn f() { <u8 as crate::a::Trait>::g() }", "a/one.rs"),
        ("#[serde(with = \"crate::a::one\")] struct X;", ""),
        ("#[serde(default = \"crate::a::one::default\")] struct X;", "a/one.rs"),
        ("mod inner { use super::super::a::One; }", "a/one.rs"),
        ("mod inner { fn f() { self::g(); super::h() } } fn h() {}", ""),
        ("fn f() { match x { crate::a::Kind::This => 1 } }", "a/one.rs"),
        ("impl crate::a::Trait for u8 {}", "a/one.rs"),
        // Neither comments, texts, tests nor names of our own are uses.
        ("//! crate::a::One\n/// [`crate::a::One`]\nfn f() { \"crate::a::One\"; }", ""),
        ("#[cfg(test)] mod tests { use crate::a::One; }", ""),
        ("#[cfg(test)] use crate::a::One; fn f() {}", ""),
        ("impl X { #[cfg(test)] fn f() { crate::a::One::new(); } }", ""),
        ("struct One; fn f(one: One) {}", ""),
        ("pub use crate::a::One;", ""),
        ("pub use crate::a::One; fn f(x: One) {}", "a/one.rs"),
        ("pub(in crate::a) struct X;", ""),
        ("use std::fmt; fn f(x: fmt::Error, y: unknown::One) {}", ""),
    ] {
        let uses = uses(&[
            ("lib.rs", "mod a; mod here;"),
            (
                "a/mod.rs",
                "mod one; mod b; pub use one::{One, One as Renamed, Kind, Trait}; pub use b::*; pub struct Own;",
            ),
            ("a/one.rs", "pub struct One; pub enum Kind { This } pub trait Trait {} pub fn default() {}"),
            ("a/b/mod.rs", "mod deep; pub use self::deep::Deep; pub use deep::Deep as Far;"),
            ("a/b/deep.rs", "pub struct Deep;"),
            ("here.rs", text),
        ]);
        let wanted: BTreeSet<_> = wanted.split_whitespace().collect();
        assert_eq!(targets(&uses, "here.rs"), wanted.into_iter().collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn names_of_other_crates_are_followed_too() {
    let uses = uses(&[
        ("lib.rs", "mod time; mod here;"),
        ("time.rs", "pub use k8s_openapi::jiff::Timestamp; pub use std::time as clock;"),
        (
            "here.rs",
            "use crate::time::{clock, Timestamp as Moment}; use tokio as t; use tracing::{debug, field::{self, Empty}};
             fn f() { Moment::now(); t::spawn(x); clock::Instant::now(); debug!(\"\"); field::display(1); \
             assert!(rand::random()); x.elapsed(); }",
        ),
    ]);
    let found: BTreeSet<&str> = uses.iter().map(|used| used.path.as_str()).collect();
    for path in [
        "k8s_openapi::jiff::Timestamp::now",
        "tokio::spawn",
        "std::time::Instant::now",
        "tracing::debug",
        "tracing::field",
        "tracing::field::Empty",
        "tracing::field::display",
        "rand::random",
        ".elapsed()",
    ] {
        assert!(found.contains(path), "no {path} in {found:?}");
    }
    let line = uses.iter().find(|used| used.path == "rand::random").map(|used| used.line);
    assert_eq!(line, Some(2));
}

#[test]
fn every_file_is_found_and_a_missing_one_is_told() {
    let all = modules(&[
        (
            "lib.rs",
            "pub mod a; mod b { mod inner; } #[path = \"odd/name.rs\"] mod c; #[cfg(test)] mod tests;",
        ),
        ("a.rs", "mod below;"),
        ("a/below.rs", ""),
        ("b/inner/mod.rs", "mod more;"),
        ("b/inner/more.rs", ""),
        ("odd/name.rs", ""),
        ("main.rs", "fn main() { claviger::a::run() }"),
        ("tests.rs", "this is not even Rust"),
    ]);
    let files: Vec<&str> = all.code_lines().keys().map(String::as_str).collect();
    let wanted =
        ["a.rs", "a/below.rs", "b/inner/mod.rs", "b/inner/more.rs", "lib.rs", "main.rs", "odd/name.rs"];
    assert_eq!(files, wanted);
    assert_eq!(targets(&all.uses(), "main.rs"), ["a.rs"]);
    let missing = Modules::read(&BTreeMap::from([("lib.rs".to_owned(), "mod gone;".to_owned())]));
    assert!(missing.is_err_and(|error| error.contains("gone.rs")));
}

#[test]
fn circles_are_found_and_what_only_looks_like_one_is_not() {
    let two = told(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; fn f(x: crate::b::B) {}"),
        ("b.rs", "use super::a::A; pub struct B;"),
    ]);
    assert_eq!(two, ["a.rs -> b.rs\n    a.rs:1 uses crate::b::B\n    b.rs:1 uses crate::a::A"]);
    let three = told(&[
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::c::C; pub struct B;"),
        ("c.rs", "use crate::a::*; pub struct C;"),
    ]);
    assert_eq!(three.len(), 1, "{three:?}");
    assert!(three[0].starts_with("a.rs -> b.rs -> c.rs\n"), "{three:?}");
    // A child that uses what its mod.rs defines, which uses the child.
    let family = told(&[
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod child; pub struct Parent; fn f() { child::g() }"),
        ("a/child.rs", "use super::Parent; pub fn g() {}"),
    ]);
    assert_eq!(family.len(), 1, "{family:?}");
    // Through a name that was handed on.
    let handed = told(&[
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod one; pub use one::One;"),
        ("a/one.rs", "use crate::b::B; pub struct One;"),
        ("b.rs", "use crate::a::One; pub struct B;"),
    ]);
    assert!(handed.len() == 1 && handed[0].starts_with("a/one.rs -> b.rs\n"), "{handed:?}");
    // A mod.rs that only hands names on; siblings that use each other's through it; tests.
    let none = told(&[
        ("lib.rs", "mod a; pub use a::One;"),
        ("a/mod.rs", "mod one; mod two; pub use one::One; pub(crate) use two::Two;"),
        ("a/one.rs", "use super::Two; pub struct One; #[cfg(test)] mod tests { use super::*; }"),
        ("a/two.rs", "pub struct Two; #[cfg(test)] fn f() { super::One; crate::One; }"),
    ]);
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn lines_of_code_are_those_with_code() {
    let text = "//! About.\n\nuse std::fmt; // why\n\n/* not\n   this */ fn f() {\n    let text = \"two\n\nlines\";\n}\n\n\
                /// Doc.\n#[derive(Debug)]\nstruct X; /* more */\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
    let lines = |text| modules(&[("lib.rs", text)]).code_lines()["lib.rs"];
    // use; fn and its four lines; derive, struct.
    assert_eq!(lines(text), 8);
    assert_eq!(lines(""), 0);
    assert_eq!(lines("#[cfg(test)]\n#[allow(x)]\nmod tests;\nfn f() {}\n"), 1);
}

#[test]
fn each_rule_finds_its_fault() {
    let all = |here: &str, text: &str| {
        uses(&[
            ("lib.rs", "mod domain; mod api; mod cluster; mod controller; mod provider; mod queue;"),
            ("domain/mod.rs", if here == "domain" { text } else { "pub struct D;" }),
            ("api/mod.rs", "pub use crate::cluster::Connector;"),
            ("cluster/mod.rs", if here == "cluster" { text } else { "pub struct Connector;" }),
            ("provider/mod.rs", "pub fn of() {}"),
            ("controller/mod.rs", "pub mod router; pub mod sync; pub mod status_text; pub mod other;"),
            ("controller/router.rs", if here == "router" { text } else { "pub struct Router;" }),
            ("queue/mod.rs", if here == "queue" { text } else { "pub struct Queue;" }),
            ("controller/sync.rs", if here == "sync" { text } else { "pub struct Sync;" }),
            ("controller/status_text.rs", ""),
            ("controller/other.rs", "pub struct Other;"),
        ])
    };
    for text in [
        "use kube::Client;",
        "use kube::{api::{Api, ObjectMeta}};",
        "fn f(x: kube::Api<u8>) {}",
        "use std::time::{Duration, SystemTime};",
        "use std::time::Instant; fn f() { Instant::now(); }",
        "use std::time::Instant; fn f(x: Instant) { x.elapsed(); }",
        "fn f() { k8s_openapi::jiff::Timestamp::now(); }",
        "fn f() { tracing::info!(\"\"); }",
        "use std::fs;",
        "async fn f() { tokio::time::sleep(x).await }",
        "fn f() -> u8 { rand::random() }",
    ] {
        assert_eq!(touches_the_world(&all("domain", text)).len(), 1, "{text}");
    }
    let pure = "use kube::{CustomResource, api::ObjectMeta}; use std::time::{Duration, Instant}; fn f(now: Instant) {}";
    assert_eq!(touches_the_world(&all("domain", pure)), Vec::<String>::new());
    assert_eq!(touches_the_world(&all("cluster", "use tokio::sync;")), Vec::<String>::new());

    // The api hands on what is the cluster's: that is one fault, and to use it by way of the api another.
    let handed = crosses_layers(&all("", ""));
    assert_eq!(handed, ["api/mod.rs:1 uses crate::cluster::Connector"]);
    for text in [
        "use crate::cluster;",
        "use crate::api::Connector;",
        "use crate::provider::*;",
        "use super::provider as p; fn f() {}",
        "fn f() { crate::controller::other::anything!(); }",
    ] {
        assert_eq!(crosses_layers(&all("domain", text)).len(), 2, "{text}");
    }
    assert_eq!(crosses_layers(&all("cluster", "use crate::controller::sync::Sync;")).len(), 2);
    assert_eq!(crosses_layers(&all("cluster", "use crate::{domain::D, provider::of};")).len(), 1);

    for text in ["use crate::controller::sync::Sync;", "use kube::ResourceExt;", "use k8s_openapi::jiff;"] {
        assert_eq!(crosses_layers(&all("queue", text)).len(), 2, "{text}");
    }
    let neutral = "use std::time::Duration; use tokio::time::Instant; use crate::domain::D;";
    assert_eq!(crosses_layers(&all("queue", neutral)).len(), 1);
    assert_eq!(goes_against_the_flow(&all("sync", "use super::router::Router;")).len(), 1);
    for (here, text) in [
        ("router", "use super::{sync::Sync, other::Other};"),
        ("sync", "use super::other::Other; use crate::queue::Queue;"),
    ] {
        assert_eq!(goes_against_the_flow(&all(here, text)), Vec::<String>::new(), "{here}: {text}");
    }
    let files = ["controller/router.rs", "controller/synced.rs", "queue.rs"];
    let files: Vec<String> = files.map(str::to_owned).to_vec();
    assert_eq!(missing_steps(files.iter()), ["credential", "status", "member", "sweep", "policy"]);
}
