//! Rules about Rust files: header, lengths, banned attributes and macros, order of `sim`'s modules.
//!
//! Lengths come from the syntax tree (`syn`); bans and the order come from its tokens, so that the
//! bodies of macros count and comments and strings do not.

use super::{Finding, Rule};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};

/// Longest file, tests not counted.
const FILE_LINES: usize = 500;
/// Longest function, from `fn` to the closing brace.
const FUNCTION_LINES: usize = 70;

/// Names of the modules a lib.rs declares, in its order.
pub(super) fn modules(library: &str) -> Vec<String> {
    let file = syn::parse_file(library).expect("a lib.rs that compiles also parses");
    let declared = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(module) if module.content.is_none() => Some(module.ident.to_string()),
        _ => None,
    });
    declared.collect()
}

/// Every rule about one Rust file; `modules` is the list of `sim`'s lib.rs.
pub(super) fn check(path: &str, text: &str, modules: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        let what = "opens without `//!`: say what the file is and what it keeps";
        findings.push(Finding::new(Rule::Header, path, 1, what));
    }
    let file = match syn::parse_file(text) {
        Ok(file) => file,
        Err(error) => {
            let line = error.span().start().line;
            findings.push(Finding::new(Rule::Parses, path, line, error.to_string()));
            return findings;
        }
    };
    banned(path, file.to_token_stream(), &mut findings);
    if !is_test(path) {
        lengths(path, text, &file, &mut findings);
    }
    if let Some(inside) = path.strip_prefix("sim/src/").filter(|_| !is_test(path)) {
        let place = module_path(inside);
        if !place.is_empty() {
            module_order(path, &place, &file, modules, &mut findings);
        }
    }
    findings
}

/// Whether a file holds tests or benchmarks only.
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.split('/').rev().skip(1).any(|folder| folder == "tests" || folder == "benches")
}

/// `engine/spec.rs` is the module `engine::spec`; the crate's root is the empty path.
fn module_path(inside: &str) -> Vec<String> {
    let name = inside.trim_end_matches(".rs").trim_end_matches("/mod");
    name.split('/').filter(|&part| part != "lib" && part != "main").map(str::to_string).collect()
}

/// Whether an item exists in tests only.
fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Path>().is_ok_and(|p| p.is_ident("test"))
    })
}

/// Collects functions that are too long, and the lines that tests take.
#[derive(Default)]
struct Lengths {
    long: Vec<(usize, String)>,
    test_lines: usize,
}

impl Lengths {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.fn_token.span.start().line;
        let lines = block.brace_token.span.close().end().line + 1 - first;
        if lines > FUNCTION_LINES {
            let what =
                format!("{} has {lines} lines, {FUNCTION_LINES} are allowed", signature.ident);
            self.long.push((first, what));
        }
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        match &module.content {
            Some((braces, _)) if is_test_only(&module.attrs) => {
                let first = module.mod_token.span.start().line;
                self.test_lines += braces.span.close().end().line + 1 - first;
            }
            _ => visit::visit_item_mod(self, module),
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_test_only(&function.attrs) {
            self.measure(&function.sig, &function.block);
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn lengths(path: &str, text: &str, file: &syn::File, findings: &mut Vec<Finding>) {
    let mut lengths = Lengths::default();
    lengths.visit_file(file);
    let lines = text.lines().count().saturating_sub(lengths.test_lines);
    if lines > FILE_LINES {
        let what =
            format!("{lines} lines, {FILE_LINES} are allowed: split by what changes together");
        findings.push(Finding::new(Rule::FileLength, path, FILE_LINES + 1, what));
    }
    for (line, what) in lengths.long {
        findings.push(Finding::new(Rule::FunctionLength, path, line, what));
    }
}

/// Attributes and macros nobody may use, at any depth.
fn banned(path: &str, tokens: TokenStream, findings: &mut Vec<Finding>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let line = token.span().start().line;
        if let Some(name) = is_punct(Some(token), '#').then(|| banned_attribute(&tokens[at + 1..]))
        {
            findings.extend(name.map(|name| {
                let what = format!("`#[{name}]`: write `#[expect(…, reason = \"…\")]`, or fix it");
                Finding::new(Rule::Attribute, path, line, what)
            }));
        }
        if let TokenTree::Ident(name) = token {
            let call = is_punct(tokens.get(at + 1), '!')
                && matches!(tokens.get(at + 2), Some(TokenTree::Group(_)));
            if call && ["todo", "unimplemented", "dbg"].iter().any(|banned| name == banned) {
                let what = format!("`{name}!`: finish it or leave it out");
                findings.push(Finding::new(Rule::Unfinished, path, line, what));
            }
        }
        if let TokenTree::Group(group) = token {
            banned(path, group.stream(), findings);
        }
    }
}

/// The banned name in the attribute whose `#` comes just before `tokens`, also behind `cfg_attr`.
fn banned_attribute(tokens: &[TokenTree]) -> Option<&'static str> {
    let at = usize::from(is_punct(tokens.first(), '!'));
    let Some(TokenTree::Group(group)) = tokens.get(at) else { return None };
    if group.delimiter() != Delimiter::Bracket {
        return None;
    }
    let mut idents = Vec::new();
    all_idents(group.stream(), &mut idents);
    let looked_at = if idents.first()? == "cfg_attr" { idents.len() } else { 1 };
    ["allow", "ignore"].into_iter().find(|name| idents[..looked_at].iter().any(|i| i == name))
}

fn all_idents(tokens: TokenStream, into: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => into.push(ident.to_string()),
            TokenTree::Group(group) => all_idents(group.stream(), into),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Findings for every use of a module that does not stand above this file's own.
fn module_order(
    path: &str,
    place: &[String],
    file: &syn::File,
    modules: &[String],
    findings: &mut Vec<Finding>,
) {
    let position = |name: &str| modules.iter().position(|module| module == name);
    let Some(own) = position(&place[0]) else {
        let what = format!("lib.rs does not declare the module `{}`", place[0]);
        findings.push(Finding::new(Rule::ModuleOrder, path, 1, what));
        return;
    };
    let mut uses = Vec::new();
    uses_of_items(&file.items, place, &mut uses);
    for (line, name) in uses {
        let what = match position(&name) {
            Some(used) if used <= own => continue,
            Some(_) => format!("`{}` uses `{name}`, which stands below it in lib.rs", place[0]),
            None => format!("`crate::{name}` is no module: name the module it lives in"),
        };
        findings.push(Finding::new(Rule::ModuleOrder, path, line, what));
    }
}

/// `(line, name)` of everything that these items take from the crate's root, tests left out.
fn uses_of_items(items: &[syn::Item], place: &[String], uses: &mut Vec<(usize, String)>) {
    for item in items {
        match item {
            syn::Item::Mod(module) if is_test_only(&module.attrs) => {}
            syn::Item::Mod(syn::ItemMod { ident, content: Some((_, items)), .. }) => {
                let inner = [place, &[ident.to_string()]].concat();
                uses_of_items(items, &inner, uses);
            }
            syn::Item::Fn(function) if is_test_only(&function.attrs) => {}
            _ => uses_of_tokens(item.to_token_stream(), place.len(), uses),
        }
    }
}

/// Follows `crate::` and, from a module `depth` levels deep, as many `super::` as reach the root.
fn uses_of_tokens(tokens: TokenStream, depth: usize, uses: &mut Vec<(usize, String)>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut supers = 0;
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            uses_of_tokens(group.stream(), depth, uses);
        }
        let TokenTree::Ident(ident) = token else { continue };
        if !(is_punct(tokens.get(at + 1), ':') && is_punct(tokens.get(at + 2), ':')) {
            supers = 0;
            continue;
        }
        supers = if ident == "super" { supers + 1 } else { 0 };
        if ident == "crate" || supers == depth {
            heads(tokens.get(at + 3), uses);
            supers = 0;
        }
    }
}

/// The first names after a `::`: one, or one for each branch of `{…}`.
fn heads(token: Option<&TokenTree>, uses: &mut Vec<(usize, String)>) {
    match token {
        Some(TokenTree::Group(group)) => {
            let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
            for branch in tokens.split(|token| is_punct(Some(token), ',')) {
                heads(branch.first(), uses);
            }
        }
        Some(token) => uses.push((token.span().start().line, token.to_string())),
        None => {}
    }
}

#[cfg(test)]
mod samples {
    use super::super::assert_found;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<Finding> {
        let modules = ["units", "ids", "engine"].map(String::from);
        check(path, text, &modules)
    }

    fn function_of(lines: usize) -> String {
        format!("//! A file.\nfn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        let text = "//! A file.\n// todo!() and #[allow(x)] in a comment.\n\
            use crate::units::Time;\nfn f() -> &'static str { \"#[ignore] dbg!(x)\" }\n";
        assert_found(&found("sim/src/engine.rs", text), &[]);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_found(&found("a/src/x.rs", "// A file.\nfn f() {}\n"), &[(Rule::Header, 1)]);
        assert_found(&found("a/src/x.rs", "\n//! Late.\n"), &[(Rule::Header, 1)]);
    }

    #[test]
    fn a_file_that_does_not_parse_is_found() {
        assert_found(&found("a/src/x.rs", "//! A file.\nfn f( {}\n"), &[(Rule::Parses, 2)]);
    }

    #[test]
    fn the_longest_file_passes_and_one_more_line_does_not() {
        let file =
            |lines: usize| format!("//! A file.\n{}", "const X: u8 = 1;\n".repeat(lines - 1));
        assert_found(&found("a/src/x.rs", &file(500)), &[]);
        assert_found(&found("a/src/x.rs", &file(501)), &[(Rule::FileLength, 501)]);
        assert_found(&found("tests/suite/x.rs", &file(501)), &[]);
    }

    #[test]
    fn the_tests_in_a_file_do_not_count() {
        let code = "const X: u8 = 1;\n".repeat(490);
        let tests = |attribute: &str| {
            format!(
                "//! A file.\n{code}{attribute}\nmod tests {{\n{}}}\n",
                "fn f() {}\n".repeat(99)
            )
        };
        assert_found(&found("a/src/x.rs", &tests("#[cfg(test)]")), &[]);
        assert_found(&found("a/src/x.rs", &tests("#[cfg(unix)]")), &[(Rule::FileLength, 501)]);
    }

    #[test]
    fn the_longest_function_passes_and_one_more_line_does_not() {
        assert_found(&found("a/src/x.rs", &function_of(70)), &[]);
        assert_found(&found("a/src/x.rs", &function_of(71)), &[(Rule::FunctionLength, 2)]);
        assert_found(&found("tests/suite/x.rs", &function_of(71)), &[]);
    }

    #[test]
    fn long_methods_are_found_too() {
        let body = "    g();\n".repeat(70);
        for outer in ["impl X", "trait X"] {
            let text = format!("//! A file.\n{outer} {{\nfn f() {{\n{body}}}\n}}\n");
            assert_found(&found("a/src/x.rs", &text), &[(Rule::FunctionLength, 3)]);
        }
    }

    #[test]
    fn silenced_lints_and_tests_are_found() {
        let text = "//! A file.\n#![allow(x)]\n#[allow(x)]\nfn f() {}\n#[test]\n#[ignore]\nfn g() {}\n\
            #[cfg_attr(unix, allow(x))]\n#[expect(x, reason = \"y\")]\nfn h() { m! { #[ignore] } }\n";
        let lines = [2, 3, 6, 8, 10].map(|line| (Rule::Attribute, line));
        assert_found(&found("tests/suite/x.rs", text), &lines);
    }

    #[test]
    fn unfinished_code_is_found() {
        let text = "//! A file.\nfn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\n\
            fn h(todo: bool) -> bool { vec![dbg!(1)]; todo != true }\n";
        let lines = [2, 3, 4].map(|line| (Rule::Unfinished, line));
        assert_found(&found("a/src/x.rs", text), &lines);
    }

    #[test]
    fn uses_of_modules_below_are_found() {
        let below = [
            "use crate::engine::Engine;",
            "use crate::{units::Time, engine};",
            "use super::engine;",
            "fn f() { crate::engine::run() }",
            "fn f() { assert!(crate::engine::ok()) }",
            "mod inner { use super::super::engine; }",
            "use crate::Engine;",
            "use crate::*;",
        ];
        for line in below {
            let text = format!("//! A file.\n{line}\n");
            assert_found(&found("sim/src/ids.rs", &text), &[(Rule::ModuleOrder, 2)]);
        }
    }

    #[test]
    fn uses_of_modules_above_and_inside_are_fine() {
        let fine = [
            "use crate::units::Time;",
            "use crate::engine::spec::Spec;",
            "use super::spec::Spec;",
            "use super::super::ids;",
            "mod inner { use super::engine; }",
            "#[cfg(test)] mod tests { use crate::workload::Trace; }",
            "pub(crate) fn f() {}",
        ];
        for line in fine {
            let text = format!("//! A file.\n{line}\n");
            assert_found(&found("sim/src/engine/scheduler.rs", &text), &[]);
        }
        assert_found(&found("scenarios/src/x.rs", "//! A file.\nuse crate::engine::E;\n"), &[]);
    }

    #[test]
    fn a_file_that_no_one_declares_is_found() {
        assert_found(&found("sim/src/lost.rs", "//! A file.\n"), &[(Rule::ModuleOrder, 1)]);
    }

    #[test]
    fn modules_are_read_in_the_order_of_the_file() {
        let library = "//! A crate.\npub mod b;\nmod a;\npub use a::X;\n#[cfg(test)]\nmod t {}\n";
        assert_eq!(modules(library), ["b", "a"]);
    }
}
