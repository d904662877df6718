//! The numbers of a picture that is markup, as a CSV file to be kept.
//!
//! Lines are not here: the script has their numbers, and writes them itself.

use crate::picture::{Drawing, Heat, Measure, Picture, Ranges, Stacks};

/// The rows of a file.
type Rows = Vec<Vec<String>>;

/// The file as JSON text that cannot end its element; `None` for lines.
pub(super) fn csv(picture: &Picture) -> Option<String> {
    let rows = match &picture.drawing {
        Drawing::Lines(_) => return None,
        Drawing::Stacks(all) => stacks(all),
        Drawing::Ranges(all) => ranges(all),
        Drawing::Heat(grid) => heat(&picture.title, grid),
    };
    let mut out = csv::Writer::from_writer(Vec::new());
    for row in rows {
        out.write_record(row).ok()?;
    }
    let text = String::from_utf8(out.into_inner().ok()?).ok()?;
    Some(serde_json::to_string(&text).ok()?.replace('<', "\\u003c"))
}

fn stacks(stacks: &Stacks) -> Rows {
    let mut header = vec!["part".to_owned()];
    header.extend(stacks.rows.iter().map(|(whole, _)| headed(whole, stacks.measure)));
    let row = |(at, part): (usize, &String)| {
        let sizes = stacks.rows.iter().map(|(_, sizes)| number(sizes.get(at).copied()));
        std::iter::once(name(part)).chain(sizes).collect()
    };
    std::iter::once(header).chain(stacks.parts.iter().enumerate().map(row)).collect()
}

fn ranges(ranges: &Ranges) -> Rows {
    let measure = ranges.axis.measure;
    let value = headed(&ranges.axis.label, measure);
    let header = ["name", &value, "low", "high", "tolerated", "verdict"].map(str::to_owned);
    let row = |range: &crate::picture::Range| {
        let ends = [Some(range.value), Some(range.ends.0), Some(range.ends.1), range.limit];
        let mut row = vec![name(&range.name)];
        row.extend(ends.map(number));
        row.push(name(&range.verdict));
        row
    };
    std::iter::once(header.to_vec()).chain(ranges.rows.iter().map(row)).collect()
}

/// A row for each cell.
fn heat(title: &str, heat: &Heat) -> Rows {
    let header = vec![name(&heat.rows.0), name(&heat.columns.0), headed(title, heat.measure)];
    let of_row = |(row, values): (&String, &Vec<Result<f64, String>>)| -> Rows {
        let cell = |(column, value): (&String, &Result<f64, String>)| {
            vec![name(row), name(column), number(value.as_ref().ok().copied())]
        };
        heat.columns.1.iter().zip(values).map(cell).collect()
    };
    std::iter::once(header).chain(heat.rows.1.iter().zip(&heat.values).flat_map(of_row)).collect()
}

fn headed(of: &str, measure: Measure) -> String {
    let unit = match measure {
        Measure::Clock | Measure::Seconds => "s",
        Measure::Dollars => "USD",
        Measure::Share => "ratio",
        Measure::PerSecond => "1/s",
        Measure::Count => "count",
    };
    format!("{} ({unit})", name(of))
}

/// A spreadsheet takes what begins like this for a formula.
fn name(text: &str) -> String {
    let text = crate::format::plain(text);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_whole_and_names_are_harmless() {
        let stacks = Stacks {
            measure: Measure::Dollars,
            parts: vec!["=1+1".into(), "</script>, \"x\"".into()],
            rows: vec![("a day".into(), vec![0.1234567, 2.0])],
        };
        let picture = Picture::of("n", "t", "c", Drawing::Stacks(stacks)).expect("it has marks");
        let json = csv(&picture).expect("a file");
        assert!(!json.contains('<'));
        let text: String = serde_json::from_str(&json).expect("JSON");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["part,a day (USD)", "'=1+1,0.1234567", "\"</script>, \"\"x\"\"\",2"]);
    }
}
