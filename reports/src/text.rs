//! The summary for a terminal.
//!
//! Invariants: no line is wider than asked for, down to [`LEAST_WIDTH`] columns, but those of commands,
//! which are to be copied; colour carries nothing that the words do not say; names from files cannot
//! move the cursor or turn the direction of writing (such characters are replaced).
//!
//! Deliberately absent: whether there is a terminal, how wide it is and what `NO_COLOR` says,
//! which the caller knows.

use crate::format::steers;
use crate::report::Report;
use crate::sections::{Headline, Judgement, Row, Sections, Table};
use anstyle::{AnsiColor, Style};
use textwrap::core::display_width;
use textwrap::{Options, WordSplitter};

/// Narrower than this nothing is laid out.
pub const LEAST_WIDTH: usize = 40;

const BOLD: Style = Style::new().bold();
const ALARM: Style = AnsiColor::Red.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const OPEN: Style = AnsiColor::Yellow.on_default();

/// Columns between two cells.
const GAP: usize = 2;

/// The summary, at most `width` columns wide, with ANSI colours if `color`.
#[must_use]
pub fn render(report: &Report<'_>, color: bool, width: usize) -> String {
    page(&Sections::of(report), color, width)
}

/// Sections as a terminal shows them, at most `width` columns wide, with ANSI colours if `color`.
pub(crate) fn page(sections: &Sections, color: bool, width: usize) -> String {
    let mut page = Page { out: String::new(), color, width: width.max(LEAST_WIDTH) };
    page.opening(sections);
    page.objectives(&sections.objectives);
    sections.open.iter().for_each(|table| page.table(table));
    if let Some(stability) = &sections.stability {
        page.title("Stability");
        page.wrapped("  ", stability);
    }
    sections.tables.iter().for_each(|table| page.table(table));
    page.advice(sections);
    page.commands(&sections.commands);
    page.line("");
    sections.origin.iter().for_each(|line| page.wrapped("", line));
    page.out
}

/// What is written so far, and how.
struct Page {
    out: String,
    color: bool,
    width: usize,
}

impl Page {
    /// One line, without the space at its end.
    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn painted(&self, text: &str, style: Style) -> String {
        if self.color { format!("{style}{text}{style:#}") } else { text.into() }
    }

    /// A paragraph; lines after the first are indented as far as `first` is wide.
    fn wrapped(&mut self, first: &str, text: &str) {
        self.styled(first, text, Style::new());
    }

    fn styled(&mut self, first: &str, text: &str, style: Style) {
        let indent = " ".repeat(display_width(first));
        // A prefix wider than half the page would leave no room: the text goes below it.
        let (first, indent) = if indent.len() > self.width / 2 {
            self.line(first);
            ("    ", "    ")
        } else {
            (first, indent.as_str())
        };
        // Names and overrides are to be copied as they are.
        let options = Options::new(self.width)
            .word_splitter(WordSplitter::NoHyphenation)
            .initial_indent(first)
            .subsequent_indent(indent);
        for line in textwrap::wrap(&clean(text), options) {
            let painted =
                if style == Style::new() { line.into() } else { self.painted(&line, style) };
            self.line(&painted);
        }
    }

    fn title(&mut self, title: &str) {
        let title = self.painted(title, BOLD);
        self.line("");
        self.line(&title);
    }

    fn opening(&mut self, sections: &Sections) {
        self.styled("", &sections.name, BOLD);
        if let Some(question) = &sections.question {
            self.wrapped("", question);
        }
        self.line("");
        sections.banners.iter().for_each(|banner| self.styled("", banner, ALARM));
        self.wrapped("", &sections.sentence);
        if !sections.headlines.is_empty() {
            self.line("");
        }
        sections.headlines.iter().for_each(|headline| self.headline(headline));
        if !sections.calibration.is_empty() {
            self.line("");
        }
        for statement in &sections.calibration {
            self.styled("Calibration: ", statement, OPEN);
        }
    }

    fn headline(&mut self, headline: &Headline) {
        let label = format!("  {:<26}", headline.label);
        let mut text = headline.cell.inline();
        if let Some(of) = &headline.of {
            text += &format!("  {of}");
        }
        self.styled(&label, &text, BOLD);
        if let Some(note) = &headline.note {
            self.wrapped(&" ".repeat(label.len()), &format!("({note})"));
        }
    }

    fn objectives(&mut self, objectives: &[Judgement]) {
        if objectives.is_empty() {
            return;
        }
        self.title("Objectives");
        for judged in objectives {
            let style = match judged.met {
                Some(true) => GOOD,
                Some(false) => BAD,
                None => OPEN,
            };
            let mut text = format!("{}: {}", judged.promise, judged.found);
            if let Some(note) = &judged.note {
                text += &format!(" ({note})");
            }
            self.styled(&format!("  {} ", judged.mark()), &text, style);
        }
    }

    fn advice(&mut self, sections: &Sections) {
        if sections.advice.is_empty() {
            return;
        }
        self.title("Know before use");
        for (at, entry) in sections.advice.iter().enumerate() {
            let number = format!("  {}. ", at + 1);
            self.wrapped(&number, &entry.message);
            if let Some(advice) = &entry.advice {
                self.wrapped(&" ".repeat(number.len()), &format!("→ {advice}"));
            }
        }
    }

    /// Each on one line, however long.
    fn commands(&mut self, commands: &[(String, String)]) {
        if commands.is_empty() {
            return;
        }
        self.title("To repeat it");
        for (what, command) in commands {
            self.wrapped("  ", &format!("{what}:"));
            self.line(&format!("  {}", clean(command)));
        }
    }

    fn table(&mut self, table: &Table) {
        let table = &harmless(table);
        let widths: Vec<usize> =
            (0..table.headers.len()).map(|at| cells_width(table, at) + GAP).collect();
        let numbers: usize = widths.iter().sum();
        if numbers + 4 > self.width {
            self.list(table);
            return;
        }
        // Names wider than what the numbers leave stand on a line of their own.
        let room = self.width - numbers;
        let names = table.rows.iter().map(|row| display_width(&named(row)));
        let name_width = names.filter(|&width| width <= room).max().unwrap_or(0);
        let name_width = name_width.max(display_width(&table.title).min(room));
        let header = aligned(table.headers.iter().map(AsRef::as_ref), &widths);
        self.line("");
        let title = self.painted(&padded(&table.title, name_width), BOLD);
        if display_width(&table.title) > name_width {
            self.line(&title);
            self.line(&format!("{}{header}", " ".repeat(name_width)));
        } else {
            self.line(&format!("{title}{header}"));
        }
        for row in &table.rows {
            self.row(row, name_width, &widths);
        }
        table.notes.iter().for_each(|note| self.wrapped("  ", note));
    }

    fn row(&mut self, row: &Row, name_width: usize, widths: &[usize]) {
        let values = aligned(row.cells.iter().map(|cell| cell.value.as_str()), widths);
        let name = named(row);
        if display_width(&name) > name_width {
            self.wrapped("  ", &row.name);
            self.line(&format!("{}{values}", " ".repeat(name_width)));
        } else {
            self.line(&format!("{}{values}", padded(&name, name_width)));
        }
        if row.cells.iter().any(|cell| cell.interval.is_some()) {
            let ends = row.cells.iter().map(|cell| cell.interval.as_deref().unwrap_or(""));
            self.line(&format!("{}{}", " ".repeat(name_width), aligned(ends, widths)));
        }
    }

    /// The table of a page too narrow for columns.
    fn list(&mut self, table: &Table) {
        self.title(&table.title);
        for row in &table.rows {
            self.wrapped("  ", &row.name);
            for (header, cell) in table.headers.iter().zip(&row.cells) {
                if !cell.value.is_empty() {
                    self.wrapped(&format!("    {header} "), &cell.inline());
                }
            }
        }
        table.notes.iter().for_each(|note| self.wrapped("  ", note));
    }
}

/// A row's name as it is shown.
fn named(row: &Row) -> String {
    format!("  {}", clean(&row.name))
}

/// Width of the widest cell of a column, its header included.
fn cells_width(table: &Table, at: usize) -> usize {
    let cells = table.rows.iter().filter_map(|row| row.cells.get(at));
    let widths = cells.flat_map(|cell| {
        [display_width(&cell.value), cell.interval.as_deref().map_or(0, display_width)]
    });
    widths.chain([display_width(&table.headers[at])]).max().unwrap_or(0)
}

/// Cells side by side, each at the right edge of its column.
fn aligned<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let cell = |(text, &width): (&str, &usize)| {
        format!("{}{text}", " ".repeat(width.saturating_sub(display_width(text))))
    };
    cells.zip(widths).map(cell).collect()
}

/// Text at the left edge of its column.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(display_width(text))))
}

/// A table whose texts are [`clean`].
fn harmless(table: &Table) -> Table {
    let mut table = table.clone();
    table.title = clean(&table.title);
    for cell in table.rows.iter_mut().flat_map(|row| &mut row.cells) {
        cell.value = clean(&cell.value);
        cell.interval = cell.interval.as_deref().map(clean);
    }
    table
}

/// The text on one line, with nothing in it that a terminal would act on.
pub(crate) fn clean(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => ' ',
        c if steers(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(harmless).collect()
}
