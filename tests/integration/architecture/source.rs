//! One file of source: its code without tests, and every path that it writes down.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::{
    File, Item, ItemMod, ItemUse, LitStr, Macro, Path, UseTree, VisRestricted, Visibility,
    visit::{self, Visit},
};

/// A path as it is written: its segments and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub segments: Vec<String>,
    pub line: usize,
}

/// What one module says, be it a file or a `mod {}` in one.
#[derive(Debug, Default)]
pub struct Scope {
    /// Names that it defines.
    pub items: BTreeSet<String>,
    /// Names that a `use` brings, and what they stand for.
    pub names: BTreeMap<String, Vec<Vec<String>>>,
    /// `use path::*`.
    pub globs: Vec<Written>,
    /// Each leaf of a `use` that is not a re-export.
    pub imports: Vec<Written>,
    /// Each leaf of a re-export: `pub use`, `pub(crate) use`.
    pub reexports: Vec<Written>,
    /// Every other path, in macros and attributes too.
    pub paths: Vec<Written>,
    /// Methods that are called.
    pub methods: Vec<Written>,
    /// `mod name;`, with the file of a `#[path]`.
    pub files: Vec<(String, Option<String>)>,
    /// `mod name {}`.
    pub inline: Vec<(String, Scope)>,
}

/// A file's code: everything but comments and what is for tests only.
pub fn code(text: &str) -> Result<TokenStream, String> {
    text.parse::<TokenStream>().map(without_tests).map_err(|error| error.to_string())
}

/// How many lines have code: no blanks, no comments, no tests.
pub fn code_lines(code: &TokenStream) -> usize {
    let mut lines = BTreeSet::new();
    mark_lines(code, &mut lines);
    lines.len()
}

fn mark_lines(code: &TokenStream, lines: &mut BTreeSet<usize>) {
    let mut tokens = code.clone().into_iter().peekable();
    while let Some(token) = tokens.next() {
        // A doc comment is `#[doc = ".."]` by now.
        if is_punct(&token, '#') {
            if tokens.peek().is_some_and(|next| is_punct(next, '!')) {
                tokens.next();
            }
            if tokens.next_if(|next| attribute(next).is_some_and(|inside| is_doc(&inside))).is_some() {
                continue;
            }
        }
        match &token {
            TokenTree::Group(group) => {
                lines.extend([group.span_open().start().line, group.span_close().end().line]);
                mark_lines(&group.stream(), lines);
            }
            other => lines.extend(other.span().start().line..=other.span().end().line),
        }
    }
}

/// Takes every `#[cfg(test)]` away, with what it stands on.
fn without_tests(code: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    let mut tokens = code.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_test = is_punct(&token, '#')
            && tokens
                .peek()
                .and_then(attribute)
                .is_some_and(|inside| inside.to_string().replace(' ', "") == "cfg(test)");
        if !is_test {
            kept.push(match token {
                TokenTree::Group(group) => {
                    let mut inner = Group::new(group.delimiter(), without_tests(group.stream()));
                    inner.set_span(group.span());
                    TokenTree::Group(inner)
                }
                other => other,
            });
            continue;
        }
        // An item ends with its body, or with a semicolon.
        for rest in tokens.by_ref() {
            let is_body = matches!(&rest, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            if is_body || is_punct(&rest, ';') {
                break;
            }
        }
    }
    kept.into_iter().collect()
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

/// What stands in the brackets of an attribute.
fn attribute(token: &TokenTree) -> Option<TokenStream> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => Some(group.stream()),
        _ => None,
    }
}

fn is_doc(inside: &TokenStream) -> bool {
    let mut tokens = inside.clone().into_iter();
    matches!(tokens.next(), Some(TokenTree::Ident(ident)) if ident == "doc")
        && tokens.next().is_some_and(|token| is_punct(&token, '='))
}

/// Reads code.
pub fn read(code: TokenStream) -> Result<Scope, String> {
    let file: File =
        syn::parse2(code).map_err(|error| format!("line {}: {error}", error.span().start().line))?;
    let mut scope = Scope::default();
    scope.read(&file.items);
    Ok(scope)
}

impl Scope {
    fn read(&mut self, items: &[Item]) {
        for item in items {
            self.items.extend(defined(item));
            self.visit_item(item);
        }
    }

    fn written(&mut self, tree: &UseTree, before: &[String], public: bool) {
        let with = |ident: &proc_macro2::Ident| {
            let mut all = before.to_vec();
            all.push(name(ident));
            (all, ident.span().start().line)
        };
        let leaf = |scope: &mut Self, ident: &proc_macro2::Ident, called: &proc_macro2::Ident| {
            let (mut segments, line) = with(ident);
            if ident == "self" {
                segments.pop();
            }
            let called = if called == "self" { segments.last().cloned() } else { Some(name(called)) };
            if let Some(called) = called.filter(|called| called != "_") {
                scope.names.entry(called).or_default().push(segments.clone());
            }
            let leaves = if public { &mut scope.reexports } else { &mut scope.imports };
            leaves.push(Written { segments, line });
        };
        match tree {
            UseTree::Path(path) => self.written(&path.tree, &with(&path.ident).0, public),
            UseTree::Name(used) => leaf(self, &used.ident, &used.ident),
            UseTree::Rename(used) => leaf(self, &used.ident, &used.rename),
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.globs.push(Written { segments: before.to_vec(), line });
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.written(tree, before, public)),
        }
    }

    /// Paths in what only a macro understands.
    fn scan(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut path: Option<Written> = None;
        // After `..::<T>`, a field or a method comes what is no path of its own.
        let mut tail = false;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    if tail {
                        tail = false;
                        continue;
                    }
                    let written = path.get_or_insert_with(|| Written { segments: Vec::new(), line });
                    written.segments.push(name(&ident));
                    let more = tokens.peek().is_some_and(|next| is_punct(next, ':')) && {
                        let mut ahead = tokens.clone();
                        ahead.next();
                        ahead.next().is_some_and(|second| is_punct(&second, ':'))
                    };
                    if more {
                        tokens.next();
                        tokens.next();
                    }
                    if !(more && matches!(tokens.peek(), Some(TokenTree::Ident(_)))) {
                        self.paths.extend(path.take());
                    }
                }
                TokenTree::Group(group) => self.scan(group.stream()),
                TokenTree::Punct(punct) => tail = punct.as_char() == '.',
                TokenTree::Literal(_) => tail = false,
            }
        }
    }

    /// Paths that stand as text in an attribute, such as `#[serde(with = "crate::seconds")]`.
    fn quoted(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.quoted(group.stream()),
                TokenTree::Literal(literal) => {
                    let line = literal.span().start().line;
                    let Ok(text) = syn::parse2::<LitStr>(TokenTree::Literal(literal).into()) else {
                        continue;
                    };
                    let Ok(path) = text.parse::<Path>() else { continue };
                    if path.segments.len() > 1 {
                        self.paths.push(Written { segments: segments(&path), line });
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Scope {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        self.written(&item.tree, &[], public);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let called = name(&item.ident);
        match &item.content {
            Some((_, items)) => {
                let mut inner = Self::default();
                inner.read(items);
                self.inline.push((called, inner));
            }
            None => self.files.push((called, item.attrs.iter().find_map(path_of))),
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let line = path.segments.first().map_or(0, |segment| segment.ident.span().start().line);
        self.paths.push(Written { segments: segments(path), line });
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.visit_path(&item.path);
        self.scan(item.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        match &attribute.meta {
            syn::Meta::List(list) => {
                self.visit_path(&list.path);
                self.scan(list.tokens.clone());
                self.quoted(list.tokens.clone());
            }
            // A doc comment among them.
            syn::Meta::Path(_) | syn::Meta::NameValue(_) => {}
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let line = call.method.span().start().line;
        self.methods.push(Written { segments: vec![name(&call.method)], line });
        visit::visit_expr_method_call(self, call);
    }

    /// `pub(in path)` says who may use, not what is used.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}
}

fn name(ident: &proc_macro2::Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

fn segments(path: &Path) -> Vec<String> {
    path.segments.iter().map(|segment| name(&segment.ident)).collect()
}

fn path_of(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(value) = &pair.value else { return None };
    match &value.lit {
        syn::Lit::Str(file) if pair.path.is_ident("path") => Some(file.value()),
        _ => None,
    }
}

fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name(ident))
}
