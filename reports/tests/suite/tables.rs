//! docs/outputs.md has the columns of the tables, and no others.

use reports::tables::Table;
use std::fmt::Write;
use std::path::PathBuf;

fn page() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/outputs.md")
}

fn markdown(table: Table) -> String {
    let mut text = "| column | type | unit | meaning |\n|---|---|---|---|\n".to_owned();
    for field in table.fields() {
        let (name, kind, unit, meaning) =
            (field.name, field.kind.name(), field.unit, field.meaning);
        writeln!(text, "| `{name}` | {kind} | {unit} | {meaning} |").expect("a string takes it");
    }
    text
}

#[test]
fn the_documented_columns_are_those_of_the_tables() {
    let mut text = std::fs::read_to_string(page()).expect("the page");
    let documented = text.clone();
    for table in Table::ALL {
        let begin = format!("<!-- columns: {} -->\n", table.name());
        let (before, rest) = text.split_once(&begin).expect("where the columns begin");
        let (_, after) = rest.split_once("<!-- end -->").expect("where they end");
        text = format!("{before}{begin}{}<!-- end -->{after}", markdown(table));
    }
    if std::env::var_os("SURGELINE_UPDATE_GOLDEN").is_some() {
        std::fs::write(page(), &text).expect("written");
        return;
    }
    assert!(documented == text, "write it anew with SURGELINE_UPDATE_GOLDEN=1");
}

#[test]
fn columns_have_distinct_names_and_say_what_they_mean() {
    for table in Table::ALL {
        let fields = table.fields();
        for (at, field) in fields.iter().enumerate() {
            assert!(!field.meaning.is_empty() && !field.meaning.contains('|'), "{}", field.name);
            assert!(fields[..at].iter().all(|other| other.name != field.name), "{}", field.name);
            assert_eq!(field.name.ends_with("_s"), field.unit == "s", "{}", field.name);
        }
    }
}
