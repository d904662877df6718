//! `servegen`: the client mixes of ServeGen, for synthetic traffic of many unlike clients.
//!
//! A mix is a tar archive (plain, gzip or Zstandard) or a folder of two files a client:
//!
//! * `chunk-<client>-trace.csv`, without a header: window start (s), rate (requests/s), coefficient
//!   of variation of the gaps, `Gamma`, `Weibull` or nothing (idle), shape, scale (s);
//! * `chunk-<client>-dataset.json`: `{window start (s): {field: "{value: probability, …}"}}`, the
//!   inner value being a Python dict inside a JSON string. `input_tokens` (or `text_tokens`) and
//!   `output_tokens` are read.
//!
//! Source: github.com/alibaba/ServeGen, `data/`; arXiv:2505.09999.
//!
//! A client's histograms are those of its length windows, each weighted by the requests expected in
//! it. Lengths of 0 are left out (the simulator's requests have tokens) and their share is told.
//!
//! Invariants: clients come in the order of their numbers; windows rise; a histogram's lengths rise
//! and its weights sum to 1, or it is empty when the client has no lengths.
//! Deliberately absent: image, audio and video tokens (published without their joint law with the
//! text), and reasoning shares (part of the output).

use super::cells::{MOST_TOKENS, offset_in, whole};
use super::open::{Limits, expand, fault_of};
use super::problem::{Fault, Problems, SHOWN, TraceFault, TraceProblem, shown};
use serde_json::value::RawValue;
use sim::units::Time;
use sim::workload::Gaps;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Bytes of one member file.
const MEMBER_BYTES: u64 = 64 << 20;
/// Files of one mix.
const MOST_MEMBERS: u64 = 100_000;
/// Bytes of all the member files of one mix.
const MIX_BYTES: u64 = 1 << 30;
/// The simulated clock holds 213 days.
const MOST_SECONDS: u64 = 213 * 86_400;

const WHAT_DICT: &str = "a dict like {39: 0.25, 40: 0.75}: whole tokens up to 10000000, \
                         probabilities from 0 to 1";

/// One client of a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// Its number in the mix, as text.
    pub name: String,
    /// Its rate over time.
    pub windows: Vec<Window>,
    /// Prompt lengths `(tokens, weight)`; empty when not published.
    pub input: Vec<(u32, f64)>,
    /// Output lengths `(tokens, weight)`; empty when not published.
    pub output: Vec<(u32, f64)>,
    /// Weight of prompts of 0 tokens that was left out of `input`.
    pub input_zero_share: f64,
    /// Weight of answers of 0 tokens that was left out of `output`.
    pub output_zero_share: f64,
}

/// A stretch of constant rate; it lasts until the next one starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Its start.
    pub start: Time,
    /// Requests per second.
    pub rate: f64,
    /// Coefficient of variation of the gaps; 0 when idle.
    pub cv: f64,
    /// The law of the gaps; `None` when idle.
    pub gaps: Option<Gaps>,
}

/// Reads a mix from an archive or a folder.
///
/// # Errors
/// Every problem, with the member file it is in.
pub fn read_path(path: &Path, limits: &Limits) -> Result<Vec<Client>, Vec<TraceProblem>> {
    let name = path.display().to_string();
    if path.is_dir() {
        return read_folder(path, &name, limits);
    }
    let file = super::open_file(path, &name)?;
    let length = file.metadata().ok().map(|data| data.len());
    read_archive(&name, Box::new(file), length, limits)
}

/// Reads a mix from an archive in memory.
///
/// # Errors
/// As [`read_path`].
pub fn read_bytes(
    name: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Vec<Client>, Vec<TraceProblem>> {
    read_archive(name, Box::new(bytes), u64::try_from(bytes.len()).ok(), limits)
}

/// The texts of one client's two files, with the names that problems give them.
#[derive(Debug, Default)]
struct Files {
    trace: Option<(String, String)>,
    dataset: Option<(String, String)>,
}

/// The texts of all clients. They are held at once, so they count against a limit together.
struct Mix {
    clients: BTreeMap<u64, Files>,
    /// Bytes and members that may still come.
    bytes_left: u64,
    members_left: u64,
}

impl Mix {
    fn new(limits: &Limits) -> Mix {
        let bytes_left = limits.expanded_bytes.min(MIX_BYTES);
        Mix { clients: BTreeMap::new(), bytes_left, members_left: MOST_MEMBERS }
    }

    /// Counts a member, whether it is read or not.
    fn count(&mut self, name: &str) -> Result<(), Vec<TraceProblem>> {
        let left = self.members_left.checked_sub(1);
        let full = TraceFault::TooManyRows { limit: MOST_MEMBERS };
        self.members_left = left.ok_or_else(|| refuse(name, full))?;
        Ok(())
    }
}

fn refuse(name: &str, fault: TraceFault) -> Vec<TraceProblem> {
    vec![TraceProblem::at_start(name, fault)]
}

/// The client's number and whether it is the trace; other files are passed over.
fn role(file: &str) -> Option<(u64, bool)> {
    let (number, kind) = file.strip_prefix("chunk-")?.split_once('-')?;
    let number = whole(number, u64::from(u32::MAX))?;
    match kind {
        "trace.csv" => Some((number, true)),
        "dataset.json" => Some((number, false)),
        _ => None,
    }
}

/// Takes one member's text into the mix.
fn take(
    mix: &mut Mix,
    name: String,
    file: &str,
    source: &mut dyn Read,
) -> Result<(), Vec<TraceProblem>> {
    let Some((number, is_trace)) = role(file) else { return Ok(()) };
    let mut bytes = Vec::new();
    let limit = mix.bytes_left.min(MEMBER_BYTES);
    let read = source.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|e| refuse(&name, fault_of(&e)))?;
    let too_large = TraceFault::TooLarge { limit };
    let left = mix.bytes_left.checked_sub(bytes.len() as u64);
    mix.bytes_left = match left {
        Some(left) if bytes.len() as u64 <= limit => left,
        _ => return Err(refuse(&name, too_large)),
    };
    let Ok(text) = String::from_utf8(bytes) else {
        return Err(refuse(&name, TraceFault::NotUtf8));
    };
    let files = mix.clients.entry(number).or_default();
    let slot = if is_trace { &mut files.trace } else { &mut files.dataset };
    if slot.is_some() {
        return Err(refuse(&name, TraceFault::Twice));
    }
    *slot = Some((name, text));
    Ok(())
}

fn read_folder(path: &Path, name: &str, limits: &Limits) -> Result<Vec<Client>, Vec<TraceProblem>> {
    let unreadable =
        |e: std::io::Error| refuse(name, TraceFault::Unreadable { why: e.to_string() });
    let mut mix = Mix::new(limits);
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        mix.count(name)?;
        // Not followed: a link could lead out of the folder that the caller has allowed.
        let data = entry.path().symlink_metadata().map_err(unreadable)?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if !data.is_file() || role(&file).is_none() {
            continue;
        }
        let inner = entry.path().display().to_string();
        let mut opened = super::open_file(&entry.path(), &inner)?;
        take(&mut mix, inner, &file, &mut opened)?;
    }
    clients(name, mix)
}

fn read_archive(
    name: &str,
    source: Box<dyn Read + '_>,
    length: Option<u64>,
    limits: &Limits,
) -> Result<Vec<Client>, Vec<TraceProblem>> {
    let expanded = expand(source, length, limits).map_err(|fault| refuse(name, fault))?;
    let mut archive = tar::Archive::new(expanded);
    let failed = |e: std::io::Error| match fault_of(&e) {
        // A tar header that makes no sense is an error of the library without our fault in it.
        TraceFault::Unreadable { why } => refuse(name, TraceFault::Damaged { why }),
        fault => refuse(name, fault),
    };
    let mut mix = Mix::new(limits);
    // Raw: extended headers would be kept in memory at whatever length they claim.
    for entry in archive.entries().map_err(failed)?.raw(true) {
        let mut entry = entry.map_err(failed)?;
        mix.count(name)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8_lossy(&path).into_owned();
        let file = path.rsplit('/').next().unwrap_or_default().to_owned();
        take(&mut mix, format!("{name}!{path}"), &file, &mut entry)?;
    }
    clients(name, mix)
}

/// The clients of all texts, or all problems of all files.
fn clients(name: &str, mix: Mix) -> Result<Vec<Client>, Vec<TraceProblem>> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (number, files) in mix.clients {
        // Lengths without a rate would never be drawn.
        let Some((trace_name, trace)) = files.trace else { continue };
        let windows = windows(&trace_name, &trace);
        let lengths = match (&files.dataset, &windows) {
            (Some((name, text)), Ok(windows)) => dataset(name, text, windows),
            _ => Ok(Default::default()),
        };
        match (windows, lengths) {
            (Ok(windows), Ok([(input, input_zero_share), (output, output_zero_share)])) => {
                let name = number.to_string();
                found.push(Client {
                    name,
                    windows,
                    input,
                    output,
                    input_zero_share,
                    output_zero_share,
                });
            }
            (windows, lengths) => {
                problems.extend(windows.err().into_iter().chain(lengths.err()).flatten());
            }
        }
        if problems.len() > SHOWN {
            break;
        }
    }
    if problems.is_empty() && found.is_empty() {
        return Err(refuse(name, TraceFault::NoRows));
    }
    if problems.len() > SHOWN {
        // Clients after this one were not looked at: at least so many more.
        let rest = problems.split_off(SHOWN);
        let count = rest.len() as u64;
        problems.extend(rest.into_iter().next().map(|next| TraceProblem {
            field: None,
            fault: TraceFault::More { count },
            ..next
        }));
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// The windows of a `…-trace.csv`.
fn windows(name: &str, text: &str) -> Result<Vec<Window>, Vec<TraceProblem>> {
    let mut problems = Problems::new(name);
    let mut windows: Vec<Window> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        match window(line) {
            Ok(next) if windows.last().is_some_and(|before| before.start >= next.start) => {
                let expected = "a window start later than the line before".into();
                let found = shown(line.split(',').next().unwrap_or_default());
                let kind = TraceFault::Value { found, expected };
                problems.push(number, line.as_bytes(), Fault { offset: 0, field: None, kind });
            }
            Ok(next) => windows.push(next),
            Err(fault) => problems.push(number, line.as_bytes(), fault),
        }
    }
    if problems.is_empty() { Ok(windows) } else { Err(problems.into_vec()) }
}

fn window(line: &str) -> Result<Window, Fault> {
    let fields: Vec<&str> = line.split(',').collect();
    let &[start, rate, cv, pattern, shape, scale] = fields.as_slice() else {
        let kind = TraceFault::FieldCount { found: fields.len(), expected: 6 };
        return Err(Fault { offset: 0, field: None, kind });
    };
    let wrong = |text: &str, field: &'static str, expected: &'static str| Fault {
        offset: offset_in(line, text),
        field: Some(field.into()),
        kind: TraceFault::Value { found: shown(text), expected: expected.into() },
    };
    let at = whole(start, MOST_SECONDS)
        .ok_or_else(|| wrong(start, "start", "whole seconds from 0 to 213 days"))?;
    let number = |text: &str, field: &'static str| {
        const WHAT: &str = "a number from 0 to 1000000000";
        real(text).filter(|x| *x <= 1e9).ok_or_else(|| wrong(text, field, WHAT))
    };
    let (rate, cv) = (number(rate, "rate")?, number(cv, "cv")?);
    let shape_value = number(shape, "shape")?;
    number(scale, "scale")?;
    let gaps = match pattern {
        "" => None,
        "Gamma" if cv > 0.0 => Some(Gaps::Gamma { cv }),
        "Weibull" if shape_value > 0.0 => Some(Gaps::Weibull { shape: shape_value }),
        "Gamma" => return Err(wrong(fields[2], "cv", "a number above 0 for Gamma gaps")),
        "Weibull" => return Err(wrong(shape, "shape", "a number above 0 for Weibull gaps")),
        _ => return Err(wrong(pattern, "pattern", "Gamma, Weibull or nothing")),
    };
    if gaps.is_none() && rate > 0.0 {
        return Err(wrong(pattern, "pattern", "Gamma or Weibull where the rate is above 0"));
    }
    Ok(Window { start: Time(at * sim::units::PS_PER_SEC), rate, cv, gaps })
}

/// A finite number that is not negative, written in digits.
fn real(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit());
    text.parse::<f64>().ok().filter(|x| plain && x.is_finite() && *x >= 0.0)
}

/// A histogram and the share of zeros that was left out of it.
type Histogram = (Vec<(u32, f64)>, f64);

/// The prompt and output histograms of a `…-dataset.json`.
fn dataset(
    name: &str,
    text: &str,
    windows: &[Window],
) -> Result<[Histogram; 2], Vec<TraceProblem>> {
    let mut problems = Problems::new(name);
    let mut sums: [BTreeMap<u32, f64>; 2] = Default::default();
    let document: BTreeMap<u64, BTreeMap<String, &RawValue>> = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            let why = super::cells::json_words(&error);
            let line = error.line().max(1);
            let text = text.lines().nth(line - 1).unwrap_or_default();
            let offset = error.column().saturating_sub(1);
            let kind = TraceFault::Json { why };
            problems.push(line as u64, text.as_bytes(), Fault { offset, field: None, kind });
            return Err(problems.into_vec());
        }
    };
    let starts: Vec<u64> = document.keys().copied().collect();
    let weights = requests_by_window(&starts, windows);
    for (fields, weight) in document.values().zip(weights) {
        for (field, raw) in fields {
            let which = match field.as_str() {
                "input_tokens" | "text_tokens" => 0,
                "output_tokens" => 1,
                _ => continue,
            };
            match python_dict(raw.get()) {
                Ok(pairs) => {
                    let total: f64 = pairs.iter().map(|(_, share)| share).sum();
                    if total > 0.0 {
                        for (tokens, share) in pairs {
                            *sums[which].entry(tokens).or_default() += weight * share / total;
                        }
                    }
                }
                Err(within) => {
                    problem_at(&mut problems, text, offset_in(text, raw.get()) + within, field)
                }
            }
        }
    }
    if problems.is_empty() { Ok(sums.map(normalised)) } else { Err(problems.into_vec()) }
}

/// Records a dict that cannot be read at a byte of the whole text.
fn problem_at(problems: &mut Problems, text: &str, offset: usize, field: &str) {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let number = before.matches('\n').count() as u64 + 1;
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let found = shown(text.get(offset..).unwrap_or_default());
    let kind = TraceFault::Value { found, expected: WHAT_DICT.into() };
    let fault =
        Fault { offset: offset - start.min(offset), field: Some(field.to_owned().into()), kind };
    problems.push(number, line.as_bytes(), fault);
}

/// Requests expected in each length window (up to the next one); all alike if there are none.
fn requests_by_window(starts: &[u64], windows: &[Window]) -> Vec<f64> {
    let mut weights = vec![0.0; starts.len()];
    for (i, window) in windows.iter().enumerate() {
        let Some(next) = windows.get(i + 1).or(windows.get(i.wrapping_sub(1))) else { continue };
        // The last window is as long as the one before it.
        let seconds = window.start.since(next.start).as_secs_f64()
            + next.start.since(window.start).as_secs_f64();
        let second = window.start.0 / sim::units::PS_PER_SEC;
        let slot = starts.partition_point(|start| *start <= second).checked_sub(1);
        if let Some(weight) = slot.and_then(|slot| weights.get_mut(slot)) {
            *weight += window.rate * seconds;
        }
    }
    if weights.iter().all(|weight| *weight <= 0.0) {
        weights.fill(1.0);
    }
    weights
}

fn normalised(sums: BTreeMap<u32, f64>) -> Histogram {
    let all: f64 = sums.values().sum();
    let zero = sums.get(&0).copied().unwrap_or(0.0);
    let kept: f64 = sums.iter().filter(|(tokens, _)| **tokens > 0).map(|(_, w)| w).sum();
    let lengths = sums.into_iter().filter(|(tokens, weight)| *tokens > 0 && *weight > 0.0);
    let lengths = lengths.map(|(tokens, weight)| (tokens, weight / kept)).collect();
    (lengths, if all > 0.0 { zero / all } else { 0.0 })
}

/// The pairs of `"{39: 0.25, 40: 0.75}"`, or the byte where it stops being one.
fn python_dict(raw: &str) -> Result<Vec<(u32, f64)>, usize> {
    let inner = raw.strip_prefix("\"{").and_then(|rest| rest.strip_suffix("}\"")).ok_or(0_usize)?;
    let mut pairs = Vec::new();
    if inner.is_empty() {
        return Ok(pairs);
    }
    for pair in inner.split(", ") {
        let at = offset_in(raw, pair);
        let (tokens, share) = pair.split_once(": ").ok_or(at)?;
        let tokens = whole(tokens, MOST_TOKENS).and_then(|n| u32::try_from(n).ok()).ok_or(at)?;
        let share = real(share).filter(|p| *p <= 1.0).ok_or(at)?;
        pairs.push((tokens, share));
    }
    Ok(pairs)
}
