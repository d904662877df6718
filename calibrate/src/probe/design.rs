//! Which requests tell what an iteration costs.
//!
//! An iteration takes a fixed time, a time for each sequence it decodes, one for each KV token
//! those read, one for each prompt token it computes and one for each pair of a prompt token and
//! its context (see `sim::engine::StepTime`). Each is seen where it changes alone:
//!
//! | [`Purpose`] | cells | what they tell apart |
//! |---|---|---|
//! | `prefill` | every prompt length, one request at a time | TTFT rises with prompt tokens, and faster than in proportion with attention; TPOT at one short sequence is the fixed time |
//! | `sequences` | the shortest prompt, every concurrency | TPOT rises with the sequences while there is hardly any KV to read |
//! | `kv-reading` | the longest prompt, every concurrency | TPOT rises faster: the difference is KV reading |
//! | `cached` | prompts whose first part is in the prefix cache | TTFT of few new tokens on a long context: attention without the tokens |
//! | `interaction` | the rest of the grid | whether the parts simply add up |
//! | `anchor` | one cell again and again | whether the endpoint drifts while it is measured |
//!
//! Cells come in this order, and cheap ones first within each, so that a probe that is cut short
//! has seen every effect at least once before it repeats them together.
//!
//! Invariants: equal levels and limits give the same cells; planned requests and spend stay within
//! the limits; every combination of the grid is a cell or is named with the reason why not.
//!
//! Deliberately absent: the speed of the endpoint, which nobody knows before; `session` skips what
//! no longer fits into the time.

use super::limits::{Limits, Prices};
use serde::{Deserialize, Serialize};
use sim::units::{Money, Tokens};
use std::time::Duration;

/// Cells between two anchors.
const ANCHOR_EVERY: usize = 8;
/// Tokens a warm-up asks for: enough to see that the answer streams.
const WARM_UP_OUTPUT: u32 = 8;
/// What an endpoint is taken to need for a prompt token, until it was measured: a mid-sized model
/// on one GPU. It orders cells and fills the column "about" of a dry run, and nothing else.
const PREFILL: Duration = Duration::from_micros(100);
/// Likewise for the time between two tokens.
const DECODE: Duration = Duration::from_millis(20);

/// What a cell is there for; see the module text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Opens connections, teaches the length of words; not to be fitted.
    WarmUp,
    /// The same cell again and again.
    Anchor,
    /// Prompt lengths, one request at a time.
    Prefill,
    /// Concurrency at the shortest prompt.
    Sequences,
    /// Concurrency at the longest prompt.
    KvReading,
    /// A prefix that was sent before.
    Cached,
    /// All other combinations.
    Interaction,
}

impl Purpose {
    /// As files and tables write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Purpose::WarmUp => "warm-up",
            Purpose::Anchor => "anchor",
            Purpose::Prefill => "prefill",
            Purpose::Sequences => "sequences",
            Purpose::KvReading => "kv-reading",
            Purpose::Cached => "cached",
            Purpose::Interaction => "interaction",
        }
    }
}

/// One closed loop: lanes that each send a prompt, wait for the whole answer and send the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its place in the design, from 0.
    pub number: u32,
    /// What it is there for.
    pub purpose: Purpose,
    /// Prompt tokens wanted.
    pub input: u32,
    /// Answer tokens wanted.
    pub output: u32,
    /// Lanes.
    pub concurrency: u32,
    /// Share of the prompt that was sent before, in percent; 0 for a cold one.
    pub cached_percent: u32,
    /// Prompts each lane sends.
    pub waves: u32,
}

impl Cell {
    /// Requests it plans, the one that fills the prefix cache included; retries are not.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.answers() + u64::from(self.cached_percent > 0)
    }

    /// Requests that are measured.
    #[must_use]
    pub fn answers(&self) -> u64 {
        u64::from(self.concurrency) * u64::from(self.waves)
    }

    /// Prompt and answer tokens it plans.
    #[must_use]
    pub fn tokens(&self) -> (u64, u64) {
        (self.requests() * u64::from(self.input), self.answers() * u64::from(self.output))
    }

    /// Time to a first token and between two, before anything was measured: see [`PREFILL`].
    pub(super) fn assumed(&self) -> (Duration, Duration) {
        // The lanes start together, so the last prompt waits for all others.
        let together = self.concurrency.saturating_mul(self.input);
        (DECODE + PREFILL.saturating_mul(together), DECODE)
    }

    /// Time it takes if its first tokens and its gaps are as long as this.
    pub(super) fn takes(&self, ttft: Duration, tpot: Duration) -> Duration {
        let one = ttft + tpot.saturating_mul(self.output.saturating_sub(1));
        one.saturating_mul(self.waves + u32::from(self.cached_percent > 0))
    }

    /// Time it would take on the endpoint that is assumed before one was measured.
    #[must_use]
    pub fn assumed_time(&self) -> Duration {
        let (ttft, tpot) = self.assumed();
        self.takes(ttft, tpot)
    }
}

/// The levels of the grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// Prompt lengths in tokens.
    pub inputs: Vec<u32>,
    /// Answer lengths in tokens.
    pub outputs: Vec<u32>,
    /// Requests at a time.
    pub concurrencies: Vec<u32>,
    /// Share of the prompt that cached cells have sent before, in percent; 0 for no such cells.
    pub cached_percent: u32,
}

/// Levels that make no grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelsError {
    /// One of the three has no level.
    #[error("{0}: at least one level is needed")]
    Empty(&'static str),
    /// A level nobody could run.
    #[error("{name}: {level} is not between 1 and {most}")]
    OutOfRange {
        /// Which of the three.
        name: &'static str,
        /// The level.
        level: u32,
        /// The largest there may be.
        most: u32,
    },
    /// A share that leaves nothing new.
    #[error("the cached share is {0} %: it may be 0 to 95")]
    CachedShare(u32),
}

impl Levels {
    /// Levels in rising order, each once.
    ///
    /// # Errors
    /// [`LevelsError`] for an empty list or a level out of range: prompts and answers to a million
    /// tokens, concurrency to 1,024 (a thread each).
    pub fn new(
        inputs: Vec<u32>,
        outputs: Vec<u32>,
        concurrencies: Vec<u32>,
        cached_percent: u32,
    ) -> Result<Levels, LevelsError> {
        if cached_percent > 95 {
            return Err(LevelsError::CachedShare(cached_percent));
        }
        Ok(Levels {
            inputs: sorted("prompt lengths", inputs, 1_000_000)?,
            outputs: sorted("answer lengths", outputs, 1_000_000)?,
            concurrencies: sorted("concurrency", concurrencies, 1_024)?,
            cached_percent,
        })
    }
}

fn sorted(name: &'static str, mut levels: Vec<u32>, most: u32) -> Result<Vec<u32>, LevelsError> {
    if levels.is_empty() {
        return Err(LevelsError::Empty(name));
    }
    if let Some(&level) = levels.iter().find(|&&level| level == 0 || level > most) {
        return Err(LevelsError::OutOfRange { name, level, most });
    }
    levels.sort_unstable();
    levels.dedup();
    Ok(levels)
}

/// What is going to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Design {
    /// In the order in which they run.
    pub cells: Vec<Cell>,
    /// Combinations of the grid that are no cell, each with the reason.
    pub dropped: Vec<String>,
}

impl Design {
    /// Requests, prompt tokens and answer tokens of all cells.
    #[must_use]
    pub fn totals(&self) -> (u64, u64, u64) {
        let mut sum = (0, 0, 0);
        for cell in &self.cells {
            let (input, output) = cell.tokens();
            sum = (sum.0 + cell.requests(), sum.1 + input, sum.2 + output);
        }
        sum
    }

    /// Time of all cells on the endpoint that is assumed before one was measured.
    #[must_use]
    pub fn assumed_time(&self) -> Duration {
        self.cells.iter().map(Cell::assumed_time).sum()
    }

    /// What the planned tokens cost.
    #[must_use]
    pub fn spend(&self, prices: Prices) -> Money {
        let (_, input, output) = self.totals();
        prices.cost(input, output)
    }
}

/// The cells of a grid within the limits of requests and spend. `longest` is the model's limit on
/// prompt and answer together, where it is known.
#[must_use]
pub fn design(levels: &Levels, limits: &Limits, longest: Option<Tokens>) -> Design {
    let mut made = Maker { limits, longest, requests: 0, spend: Money::ZERO, out: empty() };
    let levels = fitting(levels, longest, &mut made.out.dropped);
    let Some(anchor) = anchor(&levels) else { return made.out };
    for &input in warm_up_inputs(&levels) {
        let output = WARM_UP_OUTPUT.min(levels.outputs[0]);
        made.add(cell(Purpose::WarmUp, input, output, 1, 0));
    }
    made.add(anchor);
    let mut since = 0;
    for cell in in_order(&levels) {
        since += usize::from(made.add(cell));
        if since == ANCHOR_EVERY {
            made.add(anchor);
            since = 0;
        }
    }
    if since > 0 {
        made.add(anchor);
    }
    made.out
}

fn empty() -> Design {
    Design { cells: Vec::new(), dropped: Vec::new() }
}

/// Levels without the prompts that leave no room for the shortest answer.
fn fitting(levels: &Levels, longest: Option<Tokens>, dropped: &mut Vec<String>) -> Levels {
    let mut levels = levels.clone();
    let (Some(longest), Some(&shortest)) = (longest, levels.outputs.first()) else {
        return levels;
    };
    levels.inputs.retain(|&input| {
        let fits = input.saturating_add(shortest) <= longest.0;
        if !fits {
            dropped
                .push(format!("prompts of {input}: the model takes {} tokens in all", longest.0));
        }
        fits
    });
    levels
}

/// Two lengths, so that the tokens around the words and those per word can be told apart.
fn warm_up_inputs(levels: &Levels) -> &[u32] {
    &levels.inputs[..levels.inputs.len().min(2)]
}

/// The middle of the grid: nothing about it is extreme, so it shows drift of every kind.
fn anchor(levels: &Levels) -> Option<Cell> {
    let middle = |levels: &[u32]| levels.get(levels.len().saturating_sub(1) / 2).copied();
    let (input, output) = (middle(&levels.inputs)?, middle(&levels.outputs)?);
    Some(cell(Purpose::Anchor, input, output, middle(&levels.concurrencies)?, 0))
}

fn cell(purpose: Purpose, input: u32, output: u32, concurrency: u32, cached: u32) -> Cell {
    // One lane alone needs several answers to average over; many lanes are many answers, but the
    // first of each start together, and the second show what follows.
    let waves = match concurrency {
        1 => 4,
        2..8 => 3,
        _ => 2,
    };
    Cell { number: 0, purpose, input, output, concurrency, cached_percent: cached, waves }
}

/// Every combination once, under the first purpose it serves, and the cached cells.
fn in_order(levels: &Levels) -> Vec<Cell> {
    let (shortest, longest) = (levels.inputs[0], levels.inputs[levels.inputs.len() - 1]);
    let (fewest, alone) = (levels.outputs[0], levels.concurrencies[0]);
    let most = levels.outputs[levels.outputs.len() - 1];
    let purpose = |input: u32, output: u32, concurrency: u32| {
        if output == fewest && concurrency == alone {
            Purpose::Prefill
        } else if output == most && input == shortest {
            Purpose::Sequences
        } else if output == most && input == longest {
            Purpose::KvReading
        } else {
            Purpose::Interaction
        }
    };
    let mut cells = Vec::new();
    for &input in &levels.inputs {
        for &output in &levels.outputs {
            for &concurrency in &levels.concurrencies {
                cells.push(cell(
                    purpose(input, output, concurrency),
                    input,
                    output,
                    concurrency,
                    0,
                ));
            }
        }
        if levels.cached_percent > 0 {
            let middle = levels.concurrencies[(levels.concurrencies.len() - 1) / 2];
            for concurrency in if middle == alone { vec![alone] } else { vec![alone, middle] } {
                let share = levels.cached_percent;
                cells.push(cell(Purpose::Cached, input, fewest, concurrency, share));
            }
        }
    }
    cells.sort_by_key(|cell| (rank(cell.purpose), cell.assumed_time()));
    cells
}

fn rank(purpose: Purpose) -> u32 {
    match purpose {
        Purpose::WarmUp | Purpose::Anchor => 0,
        Purpose::Prefill => 1,
        Purpose::Sequences => 2,
        Purpose::KvReading => 3,
        Purpose::Cached => 4,
        Purpose::Interaction => 5,
    }
}

/// Puts cells one behind another while they fit.
struct Maker<'a> {
    limits: &'a Limits,
    longest: Option<Tokens>,
    requests: u64,
    spend: Money,
    out: Design,
}

impl Maker<'_> {
    /// Whether the cell fitted.
    fn add(&mut self, mut cell: Cell) -> bool {
        let (input, output) = cell.tokens();
        let cost = self.limits.cost(input, output);
        let reason = if self
            .longest
            .is_some_and(|longest| cell.input.saturating_add(cell.output) > longest.0)
        {
            "longer than the model takes"
        } else if self.requests + cell.requests() > self.limits.requests {
            "beyond the limit on requests"
        } else if self.limits.spend.is_some_and(|most| self.spend + cost > most) {
            "beyond the limit on spend"
        } else {
            cell.number = u32::try_from(self.out.cells.len()).unwrap_or(u32::MAX);
            self.requests += cell.requests();
            self.spend += cost;
            self.out.cells.push(cell);
            return true;
        };
        let Cell { input, output, concurrency, .. } = cell;
        let what = cell.purpose.name();
        let line = format!("{what} {input} + {output} tokens × {concurrency}: {reason}");
        if !self.out.dropped.contains(&line) {
            self.out.dropped.push(line);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn levels() -> Levels {
        Levels::new(vec![2_048, 128, 512], vec![128, 16], vec![1, 16, 4], 75).expect("valid")
    }

    fn generous() -> Limits {
        Limits { budget: Duration::from_secs(600), requests: 100_000, prices: None, spend: None }
    }

    #[test]
    fn the_grid_is_complete_and_every_effect_comes_before_they_are_combined() {
        let design = design(&levels(), &generous(), None);
        let of = |purpose| design.cells.iter().filter(move |cell| cell.purpose == purpose);
        let grid: BTreeSet<(u32, u32, u32)> = design
            .cells
            .iter()
            .filter(|cell| cell.cached_percent == 0)
            .filter(|cell| !matches!(cell.purpose, Purpose::WarmUp | Purpose::Anchor))
            .map(|cell| (cell.input, cell.output, cell.concurrency))
            .collect();
        assert_eq!(grid.len(), 3 * 2 * 3, "each combination once");
        assert_eq!(of(Purpose::Prefill).count(), 3);
        assert_eq!(of(Purpose::Sequences).count(), 3);
        assert_eq!(of(Purpose::KvReading).count(), 3);
        assert_eq!(of(Purpose::Cached).count(), 6);
        let interaction = of(Purpose::Interaction).map(|cell| cell.number).min();
        for purpose in [Purpose::Prefill, Purpose::Sequences, Purpose::KvReading, Purpose::Cached] {
            assert!(of(purpose).map(|cell| cell.number).max() < interaction, "{purpose:?}");
            let times: Vec<Duration> = of(purpose).map(Cell::assumed_time).collect();
            assert!(times.is_sorted(), "cheap ones first: {times:?}");
        }
        assert!(design.dropped.is_empty(), "{:?}", design.dropped);
        assert!(design.cells.iter().enumerate().all(|(at, cell)| cell.number as usize == at));
    }

    #[test]
    fn anchors_are_equal_and_frame_the_rest() {
        let design = design(&levels(), &generous(), None);
        let at: Vec<usize> = (0..design.cells.len())
            .filter(|&at| design.cells[at].purpose == Purpose::Anchor)
            .collect();
        assert_eq!(at.first(), Some(&2), "behind two warm-ups");
        assert_eq!(at.last(), Some(&(design.cells.len() - 1)));
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] <= ANCHOR_EVERY + 1));
        let shapes: BTreeSet<(u32, u32, u32)> = at
            .iter()
            .map(|&at| &design.cells[at])
            .map(|cell| (cell.input, cell.output, cell.concurrency))
            .collect();
        assert_eq!(shapes, BTreeSet::from([(512, 16, 4)]));
    }

    #[test]
    fn limits_drop_cells_by_name() {
        let prices = Prices { input: Money(1_000_000_000_000), output: Money(2_000_000_000_000) };
        let limits = Limits { requests: 60, prices: Some(prices), ..generous() };
        let few = design(&levels(), &limits, None);
        assert!(few.totals().0 <= 60 && few.cells.len() > 5);
        assert!(few.dropped.iter().any(|line| line.contains("limit on requests")));
        let cent = Money(Money::PICO_PER_DOLLAR / 100);
        let cheap = design(&levels(), &Limits { spend: Some(cent), ..limits }, None);
        assert!(cheap.spend(prices) <= cent && !cheap.cells.is_empty());
        assert!(cheap.dropped.iter().any(|line| line.contains("limit on spend")));
        let short = design(&levels(), &generous(), Some(Tokens(600)));
        assert!(short.cells.iter().all(|cell| cell.input + cell.output <= 600));
        assert!(short.dropped[0].contains("prompts of 2048"), "{:?}", short.dropped);
        assert!(design(&levels(), &generous(), Some(Tokens(10))).cells.is_empty());
    }

    #[test]
    fn levels_are_checked() {
        let with = |inputs: Vec<u32>, cached| Levels::new(inputs, vec![1], vec![1], cached);
        assert!(with(vec![], 0).is_err() && with(vec![0], 0).is_err());
        assert!(with(vec![2_000_000], 0).is_err() && with(vec![1], 96).is_err());
        assert_eq!(with(vec![3, 1, 3], 0).expect("valid").inputs, [1, 3]);
    }

    #[test]
    fn one_level_of_each_is_a_design_too() {
        let single = Levels::new(vec![10], vec![5], vec![1], 0).expect("valid");
        let cells = design(&single, &generous(), None).cells;
        let purposes: Vec<&str> = cells.iter().map(|cell| cell.purpose.name()).collect();
        assert_eq!(purposes, ["warm-up", "anchor", "prefill", "anchor"]);
    }
}
