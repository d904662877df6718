//! What a vLLM server says about itself when it starts, and every ten seconds after.
//!
//! Two layouts are read, by what a line says and not by what stands before it: the one with a full
//! date and module (`2026-01-20 06:10:30,585 INFO vllm.v1.core.kv_cache_utils: …`) and vLLM's own
//! (`(EngineCore_DP0 pid=40) INFO 03-03 16:30:22 [kv_cache_utils.py:1229] …`). The sentences are
//! those of vLLM 0.6 to 0.33 (`vllm/v1/core/kv_cache_utils.py`, `vllm/v1/metrics/loggers.py`).
//!
//! A log may hold several attempts to start, of which only the last reached serving: a new API
//! server resets what was read before it, so the result is that of the last attempt, and
//! [`VllmLog::attempts`] tells how many there were.
//!
//! Invariants: a sentence that is not known is skipped, since most lines are of no interest; a
//! known sentence with a number that is none is a problem.
//!
//! Deliberately absent: the clock. Its zone is not in the log.

use super::problem::{ImportErrors, Problems, quoted};
use super::{File, value};
use sim::units::Tokens;

/// One of the lines that the server writes every ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadLine {
    /// Line in the log.
    pub line: u64,
    /// Prompt tokens a second since the last such line. Tokens found in the cache count.
    pub prompt_rate: f64,
    /// Generated tokens a second since the last such line.
    pub generation_rate: f64,
    /// Requests in the batch.
    pub running: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// Preemptions since the last such line; 0 where the line has none (it is left out then).
    pub preemptions: u32,
    /// Share of KV blocks in use, 0 to 1.
    pub kv_usage: Option<f64>,
    /// Share of prompt tokens found in the prefix cache, 0 to 1: over the last 1,000 requests, not
    /// since the last line.
    pub prefix_hit_rate: Option<f64>,
}

/// What the last attempt to start said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VllmLog {
    /// Version of the engine, such as `0.11.0`.
    pub version: Option<String>,
    /// Attempts to start of which the log tells; those before the last left nothing behind.
    pub attempts: u32,
    /// Model, by the name under which it is served.
    pub model: Option<String>,
    /// Longest prompt and answer together.
    pub max_model_len: Option<Tokens>,
    /// Other values of `max_model_len` in earlier attempts, each once.
    pub earlier_max_model_lens: Vec<Tokens>,
    /// Tokens of one iteration.
    pub max_num_batched_tokens: Option<Tokens>,
    /// Requests of one iteration; only where it was set by hand.
    pub max_num_seqs: Option<u32>,
    /// Whether prompts may be cut into several iterations.
    pub chunked_prefill: Option<bool>,
    /// Whether prefixes are kept.
    pub prefix_caching: Option<bool>,
    /// GPUs of a replica.
    pub tensor_parallel: Option<u32>,
    /// Type of the weights, such as `bfloat16`.
    pub dtype: Option<String>,
    /// Type of the KV cache, such as `auto`.
    pub kv_cache_dtype: Option<String>,
    /// Share of the GPU's memory; only where it was set by hand.
    pub gpu_memory_utilization: Option<f64>,
    /// Weights on one GPU in GiB, the largest of its workers.
    pub weights_gib: Option<f64>,
    /// Memory left for the KV cache on one GPU in GiB, the smallest of its workers.
    pub kv_memory_gib: Option<f64>,
    /// KV capacity in tokens.
    pub kv_tokens: Option<u64>,
    /// KV capacity in blocks.
    pub kv_blocks: Option<u64>,
    /// Requests of `max_model_len` tokens that fit at once.
    pub max_concurrency: Option<f64>,
    /// The lines written every ten seconds.
    pub load: Vec<LoadLine>,
}

impl VllmLog {
    /// Tokens in one block, where the log's tokens divide evenly among its blocks. Newer versions
    /// write concurrency × `max_model_len` for the tokens, which is less than blocks × block size
    /// if that length is no multiple of a block, and something else for models with several kinds
    /// of attention; there it is `None` or no block size of use.
    #[must_use]
    pub fn block_size(&self) -> Option<u64> {
        let (tokens, blocks) = (self.kv_tokens?, self.kv_blocks?);
        (blocks > 0 && tokens % blocks == 0).then(|| tokens / blocks)
    }

    /// The last prefix hit rate of the log.
    #[must_use]
    pub fn prefix_hit_rate(&self) -> Option<f64> {
        self.load.iter().rev().find_map(|line| line.prefix_hit_rate)
    }
}

/// Reads the log of one server.
///
/// # Errors
/// [`ImportErrors`] where a known sentence holds no number, and if no line is known at all.
pub fn vllm_log(file: File<'_>) -> Result<VllmLog, ImportErrors> {
    let mut problems = Problems::of(file.name);
    let log = read(file.text, &mut problems);
    problems.finish(log)
}

pub(super) fn read(text: &str, problems: &mut Problems) -> VllmLog {
    let mut log = VllmLog::default();
    let mut known = false;
    for (number, content) in (1..).zip(text.lines()) {
        let mut line = Line { number, content, known: false, problems };
        line.starts(&mut log);
        line.arguments(&mut log);
        line.engine(&mut log);
        line.memory(&mut log);
        line.load(&mut log);
        known |= line.known;
    }
    if !known {
        problems.push(0, "", "no line that a vLLM server writes; is this its log?");
    }
    log
}

/// One line, and where to report what is wrong with it.
struct Line<'t, 'p> {
    number: u64,
    content: &'t str,
    known: bool,
    problems: &'p mut Problems,
}

impl<'t> Line<'t, '_> {
    /// What follows a phrase.
    fn after(&mut self, phrase: &str) -> Option<&'t str> {
        let rest = self.content.split_once(phrase).map(|(_, rest)| rest)?;
        self.known = true;
        Some(rest)
    }

    /// The number that follows a phrase; thousands may be marked by commas.
    fn number_after(&mut self, phrase: &str) -> Option<f64> {
        let rest = self.after(phrase)?.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit() && !".,".contains(c));
        let digits = rest[..end.unwrap_or(rest.len())].trim_end_matches([',', '.']);
        let number = digits.replace(',', "").parse().ok().filter(|number: &f64| number.is_finite());
        if number.is_none() {
            let message =
                format!("expected a number after {}, found {}", quoted(phrase), { quoted(rest) });
            self.problems.push(self.number, "", message);
        }
        number
    }

    fn whole_after(&mut self, phrase: &str) -> Option<u64> {
        let number = self.number_after(phrase)?;
        if number.fract() != 0.0 || number >= 2f64.powi(53) {
            let message = format!("expected a whole number after {}", quoted(phrase));
            self.problems.push(self.number, "", message);
            return None;
        }
        Some(number as u64)
    }

    fn count_after(&mut self, phrase: &str) -> Option<u32> {
        self.tokens_after(phrase).map(|tokens| tokens.0)
    }

    fn tokens_after(&mut self, phrase: &str) -> Option<Tokens> {
        let number = self.number_after(phrase)?;
        match value::tokens(number) {
            Ok(tokens) => Some(tokens),
            Err(message) => {
                self.problems.push(self.number, phrase, message);
                None
            }
        }
    }

    /// The word that follows a phrase, up to `end`.
    fn word_after(&mut self, phrase: &str, end: &[char]) -> Option<String> {
        let rest = self.after(phrase)?;
        let word = rest.split(end).next().unwrap_or_default().trim();
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// An API server starts: whatever an earlier one said is no longer so.
    fn starts(&mut self, log: &mut VllmLog) {
        let Some(version) = self.word_after("vLLM API server version ", &[' ']) else { return };
        let mut earlier = std::mem::take(&mut log.earlier_max_model_lens);
        earlier.extend(log.max_model_len.filter(|length| !earlier.contains(length)));
        *log = VllmLog {
            version: Some(version),
            attempts: log.attempts + 1,
            earlier_max_model_lens: earlier,
            ..VllmLog::default()
        };
    }

    /// What was set by hand: a Python dictionary.
    fn arguments(&mut self, log: &mut VllmLog) {
        if !self.content.contains("non-default args: {") {
            return;
        }
        set(&mut log.max_model_len, self.argument("max_model_len", Self::tokens_after));
        let budget = self.argument("max_num_batched_tokens", Self::tokens_after);
        set(&mut log.max_num_batched_tokens, budget);
        set(&mut log.max_num_seqs, self.argument("max_num_seqs", Self::count_after));
        let share = self.argument("gpu_memory_utilization", Self::number_after);
        set(&mut log.gpu_memory_utilization, share);
    }

    /// The value of an argument, if it was set to a number.
    fn argument<T>(
        &mut self,
        name: &str,
        read: impl Fn(&mut Self, &str) -> Option<T>,
    ) -> Option<T> {
        let phrase = format!("'{name}': ");
        let (_, rest) = self.content.split_once(&phrase)?;
        // `None` and texts such as '32K' are no numbers; the engine's own lines tell what came of
        // them.
        rest.starts_with(|c: char| c.is_ascii_digit()).then(|| read(self, &phrase))?
    }

    /// The engine's settings, as it resolved them.
    fn engine(&mut self, log: &mut VllmLog) {
        set(&mut log.max_model_len, self.tokens_after("Using max model len "));
        if self.content.contains("Chunked prefill is enabled") {
            log.chunked_prefill = Some(true);
            set(
                &mut log.max_num_batched_tokens,
                self.tokens_after("Chunked prefill is enabled with max_num_batched_tokens="),
            );
        }
        let engine = self.content.contains("Initializing a V") && self.content.contains("config:");
        if !engine {
            return;
        }
        set(&mut log.version, self.word_after("LLM engine (v", &[')']));
        set(&mut log.model, self.word_after(" model='", &['\'']));
        set(&mut log.model, self.word_after("served_model_name=", &[',']));
        set(&mut log.dtype, self.word_after(", dtype=torch.", &[',']));
        set(&mut log.kv_cache_dtype, self.word_after("kv_cache_dtype=", &[',']));
        set(&mut log.max_model_len, self.tokens_after("max_seq_len="));
        set(&mut log.tensor_parallel, self.count_after("tensor_parallel_size="));
        set(&mut log.prefix_caching, self.switch("enable_prefix_caching="));
        set(&mut log.chunked_prefill, self.switch("chunked_prefill_enabled="));
    }

    /// A Python truth value; `None` is left open.
    fn switch(&mut self, phrase: &str) -> Option<bool> {
        match self.word_after(phrase, &[',', ' '])?.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        }
    }

    /// Weights, memory and KV capacity.
    fn memory(&mut self, log: &mut VllmLog) {
        if let Some(gib) = self.number_after("Model loading took ") {
            log.weights_gib = Some(log.weights_gib.map_or(gib, |other| other.max(gib)));
        }
        if let Some(gib) = self.number_after("Available KV cache memory: ") {
            log.kv_memory_gib = Some(log.kv_memory_gib.map_or(gib, |other| other.min(gib)));
        }
        // Tensor-parallel workers of older versions each write their own; the engine uses the least.
        if let Some(tokens) = self.whole_after("GPU KV cache size: ") {
            log.kv_tokens = Some(log.kv_tokens.map_or(tokens, |other| other.min(tokens)));
        }
        for phrase in ["num_gpu_blocks is: ", "# GPU blocks: ", "# cuda blocks: "] {
            set(&mut log.kv_blocks, self.whole_after(phrase));
        }
        if let Some(rest) = self.after("Maximum concurrency for ")
            && rest.contains(" tokens per request: ")
        {
            set(&mut log.max_concurrency, self.number_after(" tokens per request: "));
        }
    }

    /// The line written every ten seconds.
    fn load(&mut self, log: &mut VllmLog) {
        if !self.content.contains("Avg prompt throughput: ") {
            return;
        }
        let number = self.number;
        let (Some(prompt_rate), Some(generation_rate), Some(running), Some(waiting)) = (
            self.number_after("Avg prompt throughput: "),
            self.number_after("Avg generation throughput: "),
            self.count_after("Running: "),
            self.count_after("Waiting: "),
        ) else {
            return;
        };
        let usage = self.number_after("KV cache usage: ");
        let hits = self.number_after("Prefix cache hit rate: ");
        let preemptions = self.count_after("Preemptions: ").unwrap_or_default();
        log.load.push(LoadLine {
            line: number,
            prompt_rate,
            generation_rate,
            running,
            waiting,
            preemptions,
            kv_usage: usage.map(|percent| percent / 100.0),
            prefix_hit_rate: hits.map(|percent| percent / 100.0),
        });
    }
}

/// Replaces a value if there is a new one.
fn set<T>(slot: &mut Option<T>, found: Option<T>) {
    if found.is_some() {
        *slot = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> VllmLog {
        vllm_log(File { name: "vllm.log", text }).expect("a log")
    }

    #[test]
    fn the_layout_of_newer_servers_is_read_too() {
        let log = parsed(
            "(APIServer pid=1) INFO 03-03 16:29:40 [api_server.py:1272] vLLM API server version 0.19.0\n\
             (Worker_TP0 pid=41) INFO 03-03 16:30:10 [gpu_model_runner.py:4879] Model loading took 12.66 GiB memory and 31.65 seconds\n\
             (Worker_TP1 pid=42) INFO 03-03 16:30:11 [gpu_model_runner.py:4879] Model loading took 12.70 GiB memory and 31.70 seconds\n\
             (Worker_TP0 pid=41) INFO 03-03 16:30:21 [gpu_worker.py:359] Available KV cache memory: 37.42 GiB\n\
             (Worker_TP1 pid=42) INFO 03-03 16:30:21 [gpu_worker.py:359] Available KV cache memory: 37.40 GiB\n\
             (EngineCore_DP0 pid=40) INFO 03-03 16:30:22 [kv_cache_utils.py:1229] GPU KV cache size: 350,304 tokens, Maximum concurrency for 16,000 tokens per request: 21.89x\n\
             INFO 03-03 16:40:22 [loggers.py:257] Engine 000: Avg prompt throughput: 10.0 tokens/s, Avg generation throughput: 20.5 tokens/s, Running: 7 reqs, Waiting: 2 reqs, Preemptions: 3, GPU KV cache usage: 99.5%, Prefix cache hit rate: 12.5%, External prefix cache hit rate: 80.0%\n",
        );
        assert_eq!((log.version.as_deref(), log.attempts), (Some("0.19.0"), 1));
        assert_eq!((log.weights_gib, log.kv_memory_gib), (Some(12.70), Some(37.40)));
        assert_eq!((log.kv_tokens, log.max_concurrency), (Some(350_304), Some(21.89)));
        assert_eq!((log.kv_blocks, log.block_size()), (None, None));
        let line = log.load[0];
        assert_eq!((line.line, line.running, line.waiting, line.preemptions), (7, 7, 2, 3));
        assert_eq!((line.kv_usage, line.prefix_hit_rate), (Some(0.995), Some(0.125)));
    }

    #[test]
    fn blocks_of_an_older_server_are_read() {
        let log = parsed(
            "INFO 01-30 03:19:14 kv_cache_utils.py:395] # GPU blocks: 1381\n\
             INFO 01-30 03:19:14 kv_cache_utils.py:398] Maximum concurrency for 2048 tokens per request: 10.79x\n",
        );
        assert_eq!((log.kv_blocks, log.max_concurrency), (Some(1_381), Some(10.79)));
    }

    #[test]
    fn a_known_sentence_without_its_number_is_a_problem() {
        let text = "GPU KV cache size: lots\nAvailable KV cache memory: 1.2.3 GiB\n";
        let error = vllm_log(File { name: "x.log", text }).expect_err("two").to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
        assert!(error.starts_with("x.log:1: expected a number after `GPU KV cache size: `"));
        assert!(vllm_log(File { name: "x.log", text: "hello\n" }).is_err());
    }
}
