//! Server-sent events, as they come off the wire.
//!
//! Follows the event stream format of the HTML standard (§9.2.6): lines end with LF, CR or CRLF;
//! a line that starts with `:` is a comment; the `data` lines of an event are joined by a line
//! feed; an empty line ends the event. Other fields carry nothing that is measured.
//!
//! Invariants: how the bytes are cut into pieces changes nothing; an event longer than a mebibyte is
//! refused, so no server can fill the memory.
//!
//! Deliberately absent: reconnecting, and what the data mean (see `answer`).

/// Bytes an event may have; a token's chunk has a few hundred.
const LONGEST: usize = 1 << 20;

/// An event grew beyond a mebibyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {LONGEST} bytes")]
pub(super) struct TooLong;

/// The state between two pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    /// The line so far, without its end.
    line: Vec<u8>,
    /// The data lines of the event so far, each with a line feed behind it.
    data: Vec<u8>,
    /// The byte before was a CR: an LF now belongs to it.
    after_cr: bool,
    /// A first line was seen, so a byte order mark can no longer come.
    begun: bool,
}

impl SseParser {
    /// Takes the next bytes; the data of every event they end is appended to `events`. Bytes that
    /// are not UTF-8 are replaced, as the standard says.
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut Vec<String>) -> Result<(), TooLong> {
        for &byte in bytes {
            let belongs = std::mem::take(&mut self.after_cr) && byte == b'\n';
            match byte {
                b'\n' if belongs => {}
                b'\n' => self.end_line(events),
                b'\r' => {
                    self.after_cr = true;
                    self.end_line(events);
                }
                _ if self.line.len() + self.data.len() >= LONGEST => return Err(TooLong),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    /// The stream ended. The standard discards an event without its empty line; some servers
    /// leave it out behind the last one, so that one is taken as it is.
    pub(super) fn finish(&mut self, events: &mut Vec<String>) {
        if !self.line.is_empty() {
            self.end_line(events);
        }
        self.end_line(events);
    }

    fn end_line(&mut self, events: &mut Vec<String>) {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            if self.data.pop().is_some() {
                events.push(String::from_utf8_lossy(&self.data).into_owned());
            }
            self.data.clear();
        } else if line == b"data" {
            self.data.push(b'\n');
        } else if let Some(value) = line.strip_prefix(b"data:") {
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.data.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a stream that comes in pieces of `size` bytes.
    fn events(stream: &str, size: usize) -> Vec<String> {
        let (mut parser, mut found) = (SseParser::default(), Vec::new());
        for piece in stream.as_bytes().chunks(size) {
            parser.push(piece, &mut found).expect("short");
        }
        parser.finish(&mut found);
        found
    }

    #[test]
    fn lines_comments_and_endings_are_those_of_the_standard() {
        let cases: [(&str, &[&str]); 9] = [
            ("data: one\n\ndata: two\n\n", &["one", "two"]),
            ("data: one\r\n\r\ndata: two\r\n\r\n", &["one", "two"]),
            ("data: one\r\rdata: two\r\r", &["one", "two"]),
            (": ping\n\ndata: one\n: ping\n\n", &["one"]),
            ("data: a\ndata:b\ndata:  c\n\n", &["a\nb\n c"]),
            ("event: x\nid: 7\nretry: 1\ndata: one\n\n", &["one"]),
            ("\u{feff}data: one\n\n", &["one"]),
            ("data\n\n", &[""]),
            ("data: no empty line behind", &["no empty line behind"]),
        ];
        for (stream, expected) in cases {
            assert_eq!(events(stream, usize::MAX), expected, "{stream:?}");
        }
    }

    #[test]
    fn pieces_change_nothing() {
        let stream = ": hi\r\n\r\ndata: {\"text\": \"é\"}\r\ndata: b\r\n\r\ndata: [DONE]\r\n\r\n";
        let whole = events(stream, usize::MAX);
        assert_eq!(whole, ["{\"text\": \"é\"}\nb", "[DONE]"]);
        for size in 1..20 {
            assert_eq!(events(stream, size), whole, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let (mut parser, mut found) = (SseParser::default(), Vec::new());
        let piece = [b'x'; 1 << 16];
        let refused = (0..17).any(|_| parser.push(&piece, &mut found).is_err());
        assert!(refused && found.is_empty());
    }
}
