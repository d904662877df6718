//! Opens text that may be compressed and hands out its lines, within limits.
//!
//! Invariants: the compression is told by the first bytes, never by the name; no more than
//! [`Limits`] allows is ever expanded or kept, so memory is bounded by one line and the
//! decompressor's window; a line that is handed out is UTF-8 without NUL, without its line ending
//! and, on the first line, without a byte order mark.
//!
//! Deliberately absent: guessing an encoding, and archives (see `servegen`).

use super::problem::{Fault, Problems, TraceFault};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, BufReader, Read};

/// How much a file may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of text after decompression.
    pub expanded_bytes: u64,
    /// Expanded bytes per compressed byte; judged once 64 MiB have been expanded.
    pub expansion: u64,
    /// Bytes of one line.
    pub line_bytes: u64,
    /// Lines, and with them rows.
    pub rows: u64,
    /// Prompt segments of all rows together; at most `u32::MAX`.
    pub segments: u64,
}

impl Default for Limits {
    /// 4 GiB of text, expanded at most 200-fold, lines of 1 MiB, 50 million rows, 2²⁸ segments.
    fn default() -> Limits {
        Limits {
            expanded_bytes: 4 << 30,
            expansion: 200,
            line_bytes: 1 << 20,
            rows: 50_000_000,
            segments: 1 << 28,
        }
    }
}

/// Expansion below which the ratio is not judged: short files of repeated rows compress well.
const RATIO_FREE_BYTES: u64 = 64 << 20;

/// A reader of the expanded text, within the limits; a limit reached is an [`io::Error`] that
/// carries a [`TraceFault`].
pub(super) fn expand<'a>(
    source: Box<dyn Read + 'a>,
    length: Option<u64>,
    limits: &Limits,
) -> Result<Box<dyn Read + 'a>, TraceFault> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let magic = peek(&mut source, 6).map_err(|e| fault_of(&e))?;
    let (inner, compressed): (Box<dyn Read + 'a>, bool) = match magic.as_slice() {
        [0x1f, 0x8b, ..] => (Box::new(MultiGzDecoder::new(source)), true),
        // Zstandard frames, or a skippable frame before them (RFC 8878, section 3.1).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            (Box::new(Frames { source, decoder: FrameDecoder::new(), inside: false }), true)
        }
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            return Err(TraceFault::OtherContainer { what: "xz" });
        }
        [b'B', b'Z', b'h', ..] => return Err(TraceFault::OtherContainer { what: "bzip2" }),
        [b'P', b'K', 3, 4, ..] => return Err(TraceFault::OtherContainer { what: "zip" }),
        [b'P', b'A', b'R', b'1', ..] => return Err(TraceFault::OtherContainer { what: "Parquet" }),
        _ => (Box::new(source), false),
    };
    let ratio_cap = length
        .filter(|_| compressed)
        .map_or(u64::MAX, |bytes| bytes.saturating_mul(limits.expansion).max(RATIO_FREE_BYTES));
    let (cap, ratio) = (limits.expanded_bytes, limits.expansion);
    Ok(Box::new(Capped { inner, compressed, seen: 0, cap, ratio_cap, ratio }))
}

/// The first `count` bytes (fewer at the end of the file); they are not consumed.
fn peek(source: &mut BufReader<Box<dyn Read + '_>>, count: usize) -> io::Result<Vec<u8>> {
    // A regular file or a slice fills the buffer at once; only its very end is shorter.
    let bytes = source.fill_buf()?;
    Ok(bytes[..bytes.len().min(count)].to_vec())
}

/// The trace fault that an I/O error carries, or the error itself as one.
pub(super) fn fault_of(error: &io::Error) -> TraceFault {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TraceFault>()) {
        Some(fault) => fault.clone(),
        None => TraceFault::Unreadable { why: error.to_string() },
    }
}

/// Counts expanded bytes and stops at the caps.
struct Capped<'a> {
    inner: Box<dyn Read + 'a>,
    compressed: bool,
    seen: u64,
    cap: u64,
    ratio_cap: u64,
    ratio: u64,
}

impl Read for Capped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|e| {
            if self.compressed && e.kind() != io::ErrorKind::Interrupted {
                io::Error::other(TraceFault::Damaged { why: e.to_string() })
            } else {
                e
            }
        })?;
        self.seen = self.seen.saturating_add(count as u64);
        if self.seen > self.cap {
            return Err(io::Error::other(TraceFault::TooLarge { limit: self.cap }));
        }
        if self.seen > self.ratio_cap {
            return Err(io::Error::other(TraceFault::Bomb { ratio: self.ratio }));
        }
        Ok(count)
    }
}

/// All frames of a Zstandard stream, one after another, with their checksums verified.
struct Frames<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    /// Whether the decoder is inside a frame.
    inside: bool,
}

impl<R: BufRead> Frames<R> {
    /// Opens the next frame, past skippable ones; false at the end of the input.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let mut skipped = self.source.by_ref().take(length);
                    if io::copy(&mut skipped, &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(io::Error::other(e.to_string())),
            }
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                self.inside = self.next_frame()?;
                if !self.inside {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|e| io::Error::other(e.to_string()))?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.inside = false;
            let stored = self.decoder.get_checksum_from_data();
            if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
                return Err(io::Error::other("the checksum does not match"));
            }
        }
    }
}

/// One line of text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'l> {
    /// From 1.
    pub(super) number: u64,
    /// Without its ending.
    pub(super) text: &'l str,
}

/// The lines of a text, within the limits.
pub(super) struct Lines<'a> {
    source: BufReader<Box<dyn Read + 'a>>,
    buffer: Vec<u8>,
    number: u64,
    line_bytes: u64,
    lines: u64,
}

impl<'a> Lines<'a> {
    /// Opens a stream; `None` when a problem was found at once.
    pub(super) fn open(
        source: Box<dyn Read + 'a>,
        length: Option<u64>,
        limits: &Limits,
        problems: &mut Problems,
    ) -> Option<Lines<'a>> {
        match expand(source, length, limits) {
            Ok(inner) => Some(Lines {
                source: BufReader::with_capacity(1 << 16, inner),
                buffer: Vec::new(),
                number: 0,
                line_bytes: limits.line_bytes,
                lines: limits.rows,
            }),
            Err(fault) => {
                problems.fatal(1, fault);
                None
            }
        }
    }

    /// The next line that is not blank; `None` at the end or at a problem that ends the reading.
    /// A line that is not clean text is reported and passed over.
    pub(super) fn next(&mut self, problems: &mut Problems) -> Option<Line<'_>> {
        loop {
            if !self.fill(problems) {
                return None;
            }
            if self.buffer.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let bad = match (self.buffer.iter().position(|b| *b == 0), str::from_utf8(&self.buffer))
            {
                (Some(offset), _) => (offset, TraceFault::NulByte),
                (None, Err(e)) => (e.valid_up_to(), TraceFault::NotUtf8),
                (None, Ok(_)) => break,
            };
            let fault = Fault { offset: bad.0, field: None, kind: bad.1 };
            problems.push(self.number, &self.buffer, fault);
        }
        // Checked just above; the borrow of a loop's turn cannot leave the loop.
        let text = str::from_utf8(&self.buffer).unwrap_or_default();
        Some(Line { number: self.number, text })
    }

    /// Reads one line into the buffer; false at the end or at a problem that ends the reading.
    fn fill(&mut self, problems: &mut Problems) -> bool {
        self.buffer.clear();
        self.number += 1;
        // One byte more than allowed, and the line ending, tell a line that is too long.
        let mut limited = self.source.by_ref().take(self.line_bytes.saturating_add(2));
        let ended = limited.read_until(b'\n', &mut self.buffer);
        let at_end = matches!(ended, Ok(0));
        let kind = match ended {
            Err(e) => Some(fault_of(&e)),
            Ok(_) => {
                self.trim();
                if self.buffer.len() as u64 > self.line_bytes {
                    Some(TraceFault::LineTooLong { limit: self.line_bytes })
                } else if self.number > self.lines.saturating_add(1) && !at_end {
                    // The header line is not a row.
                    Some(TraceFault::TooManyRows { limit: self.lines })
                } else {
                    None
                }
            }
        };
        match kind {
            Some(TraceFault::LineTooLong { limit }) => {
                problems.fatal(self.number, TraceFault::LineTooLong { limit });
                false
            }
            Some(kind) => {
                let fault = Fault { offset: self.buffer.len(), field: None, kind };
                problems.push(self.number, &self.buffer, fault);
                false
            }
            None => !at_end,
        }
    }

    /// Drops the line ending, and on the first line the byte order mark.
    fn trim(&mut self) {
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        }
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        if self.number == 1 && self.buffer.starts_with(&[0xef, 0xbb, 0xbf]) {
            self.buffer.drain(..3);
        }
    }
}
