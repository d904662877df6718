//! What can be wrong with a trace, and where.
//!
//! Invariants: a problem names its file, a line and a column, both counted from 1 (a column counts
//! characters); at most [`SHOWN`] problems of one file are kept, the rest is counted in a last one.
//!
//! Deliberately absent: warnings. What is unusual but readable is in the report of the trace.

use std::borrow::Cow;

/// Problems kept before the rest is only counted.
pub(super) const SHOWN: usize = 20;

/// One problem of a trace file, printed as `file:line:column: what is wrong and what is right`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {}{fault}", .field.as_ref().map(|f| format!("`{f}`: ")).unwrap_or_default())]
pub struct TraceProblem {
    /// The file, as the reader was told its name; with `!` and the member's path inside an archive.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
    /// Character in the line where the field starts, from 1.
    pub column: u64,
    /// The column or key concerned, where there is one.
    pub field: Option<Cow<'static, str>>,
    /// What is wrong.
    pub fault: TraceFault,
}

/// The kinds of problems.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TraceFault {
    /// The operating system refused.
    #[error("cannot be read: {why}")]
    Unreadable {
        /// In the system's words.
        why: String,
    },
    /// Compressed data that do not decompress.
    #[error("the compressed data are damaged or cut off ({why}); copy the file again")]
    Damaged {
        /// In the decompressor's words.
        why: String,
    },
    /// A compression or container that is not read.
    #[error("this is a {what} file; give plain text, gzip (.gz) or Zstandard (.zst)")]
    OtherContainer {
        /// Its usual name.
        what: &'static str,
    },
    /// More text than allowed, after decompression.
    #[error("holds more than {limit} bytes of text; cut the trace or raise the limit")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// Compressed data that expand like a decompression bomb.
    #[error(
        "expands to more than {ratio} times its size, as no trace does; decompress it yourself if you trust it"
    )]
    Bomb {
        /// The largest ratio allowed.
        ratio: u64,
    },
    /// A line longer than allowed.
    #[error("the line is longer than {limit} bytes; is this a text file with one request a line?")]
    LineTooLong {
        /// The limit in bytes.
        limit: u64,
    },
    /// More lines than allowed.
    #[error("more than {limit} lines; cut the trace or raise the limit")]
    TooManyRows {
        /// The limit.
        limit: u64,
    },
    /// More prompt segments than allowed.
    #[error("more than {limit} prompt segments; cut the trace or raise the limit")]
    TooManySegments {
        /// The limit.
        limit: u64,
    },
    /// A NUL byte.
    #[error("a NUL byte; this is no text file, or it was damaged")]
    NulByte,
    /// Bytes that are not UTF-8.
    #[error("not UTF-8 text; convert the file to UTF-8")]
    NotUtf8,
    /// A first line that does not name the columns needed.
    #[error(
        "the first line must name the column `{column}`{}; expected the columns {expected}",
        .slip.as_ref().map(|slip| format!(" (is it `{slip}`?)")).unwrap_or_default()
    )]
    NoColumn {
        /// The column that is missing.
        column: &'static str,
        /// A column of the file that may be meant for it.
        slip: Option<String>,
        /// All columns needed.
        expected: String,
    },
    /// A column or key that means nothing here.
    #[error(
        "unknown name `{found}`{}; known are {known}",
        .meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default()
    )]
    UnknownName {
        /// As written, shortened.
        found: String,
        /// The known name most like it.
        meant: Option<&'static str>,
        /// The names known.
        known: String,
    },
    /// A column or key that comes twice.
    #[error("comes twice; give it once")]
    Twice,
    /// A row with too few or too many fields.
    #[error("{found} fields where the first line has {expected}")]
    FieldCount {
        /// Fields of this row.
        found: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// A quoted field that does not end on its line.
    #[error("the quotation mark opened here is not closed on this line")]
    OpenQuote,
    /// A line that is not a JSON object.
    #[error("not a JSON object on one line: {why}")]
    Json {
        /// In the parser's words.
        why: String,
    },
    /// A key that a row must have.
    #[error(
        "missing{}; expected {expected}",
        .slip.as_ref().map(|slip| format!(" (is it `{slip}`?)")).unwrap_or_default()
    )]
    Missing {
        /// A key of the row that may be meant for it.
        slip: Option<String>,
        /// What would be right.
        expected: Cow<'static, str>,
    },
    /// A value that is not what it must be.
    #[error("found `{found}`, expected {expected}")]
    Value {
        /// As written, shortened.
        found: String,
        /// What would be right.
        expected: Cow<'static, str>,
    },
    /// A total that its parts do not make.
    #[error("{found} tokens in the parts, but {total} in `{total_field}`; the two must be equal")]
    Sum {
        /// Sum of the parts.
        found: u64,
        /// The total given.
        total: u64,
        /// Where the total is given.
        total_field: &'static str,
    },
    /// A number of prefix blocks that does not fit the prompt.
    #[error("{found} block ids for {input} input tokens; blocks of {block} tokens need {expected}")]
    Blocks {
        /// Ids given.
        found: usize,
        /// Ids needed.
        expected: u64,
        /// Prompt tokens.
        input: u32,
        /// Tokens of one block.
        block: u32,
    },
    /// A part of a prompt whose length is not in its file.
    #[error("part {id} has no length in {file}")]
    UnknownPart {
        /// The part's number.
        id: u64,
        /// The file that should have it.
        file: String,
    },
    /// RAGPulse without the lengths of the parts.
    #[error(
        "needs the files with the lengths of the prompts' parts; read it with `ragpulse::read_bytes` or from a folder that has them"
    )]
    PartsNeeded,
    /// Nothing to replay.
    #[error("no rows to replay; expected at least one request")]
    NoRows,
    /// A recording longer than the simulator's clock.
    #[error(
        "the rows span {days} days; the simulated clock holds 213: are the times in the unit of this format?"
    )]
    TooLong {
        /// Days between the first and the last row.
        days: u64,
    },
    /// The rest of the problems.
    #[error("… and {count} more")]
    More {
        /// How many problems are not shown.
        count: u64,
    },
}

impl TraceProblem {
    /// A problem of the whole file.
    pub(super) fn at_start(file: &str, fault: TraceFault) -> TraceProblem {
        TraceProblem { file: file.to_owned(), line: 1, column: 1, field: None, fault }
    }
}

/// A problem within a line: where it starts, in bytes.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Bytes of the line before it.
    pub(super) offset: usize,
    /// The column or key.
    pub(super) field: Option<Cow<'static, str>>,
    /// What is wrong.
    pub(super) kind: TraceFault,
}

/// The problems of one file, collected in order.
#[derive(Debug)]
pub(super) struct Problems {
    file: String,
    found: Vec<TraceProblem>,
    /// Position of the first problem that was not kept, and how many there are.
    more: Option<(u64, u64, u64)>,
}

impl Problems {
    pub(super) fn new(file: &str) -> Problems {
        Problems { file: file.to_owned(), found: Vec::new(), more: None }
    }

    /// A problem inside `text`, the line of that number.
    pub(super) fn push(&mut self, line: u64, text: &[u8], fault: Fault) {
        let before = text.get(..fault.offset).unwrap_or(text);
        let column = String::from_utf8_lossy(before).chars().count() as u64 + 1;
        self.put(line, column, fault.field, fault.kind);
    }

    /// A problem of a line, or of the file as far as that line.
    pub(super) fn fatal(&mut self, line: u64, fault: TraceFault) {
        self.put(line, 1, None, fault);
    }

    fn put(&mut self, line: u64, column: u64, field: Option<Cow<'static, str>>, fault: TraceFault) {
        if self.found.len() < SHOWN {
            let file = self.file.clone();
            self.found.push(TraceProblem { file, line, column, field, fault });
        } else {
            let more = self.more.get_or_insert((line, column, 0));
            more.2 = more.2.saturating_add(1);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them; the last one says how many were left out.
    pub(super) fn into_vec(mut self) -> Vec<TraceProblem> {
        if let Some((line, column, count)) = self.more {
            let fault = TraceFault::More { count };
            self.found.push(TraceProblem { file: self.file, line, column, field: None, fault });
        }
        self.found
    }
}

/// What was written, short enough for a message.
pub(super) fn shown(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
