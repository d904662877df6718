//! The settings of a run, from its description, its metadata and its log.
//!
//! Invariants: what two files say differently is noted, and the log is right, since the engine
//! wrote it after it had resolved its settings.
//!
//! Deliberately absent: defaults of the engine for what no file states.

use super::super::flat_yaml;
use super::super::json::{Node, documents};
use super::super::problem::{Problems, quoted};
use super::super::vllm_log::{self, VllmLog};
use super::{EngineConfig, Folder, Role};
use sim::units::Tokens;

/// What the files beside the requests say.
#[derive(Default)]
pub(super) struct Setting {
    pub(super) config: EngineConfig,
    pub(super) log: Option<VllmLog>,
    /// Leading tokens that requests share, if a profile states them.
    pub(super) shared_prefix: Option<Tokens>,
    pub(super) notes: Vec<String>,
}

/// Reads every file that says something about settings.
pub(super) fn read(folder: &Folder<'_>, problems: &mut Problems) -> Setting {
    let mut setting = Setting::default();
    let mut with = |role, read: &dyn Fn(&str, &mut Setting, &mut Problems)| {
        if let Some(file) = folder.get(role) {
            let mut of_file = Problems::of(file.name);
            read(file.text, &mut setting, &mut of_file);
            problems.absorb(of_file);
        }
    };
    with(Role::Experiment, &experiment);
    with(Role::Profile, &profile);
    with(Role::Meta, &meta);
    with(Role::Hardware, &hardware);
    with(Role::Log, &log);
    setting
}

/// `exp-config.yaml`.
fn experiment(text: &str, setting: &mut Setting, problems: &mut Problems) {
    let config = &mut setting.config;
    for entry in flat_yaml::read(text, problems) {
        let mut whole = || {
            let parsed = entry.value.parse::<u32>().ok();
            if parsed.is_none() {
                let found = quoted(&entry.value);
                let message = format!("expected a whole number from 0, found {found}");
                problems.push(entry.line, entry.key.as_str(), message);
            }
            parsed
        };
        match entry.key.as_str() {
            "model" => config.model = Some(entry.value),
            "tensor_parallelism" => config.tensor_parallel = whole(),
            "max_model_len" => config.max_model_len = whole().map(Tokens),
            "max_num_batched_tokens" => config.max_num_batched_tokens = whole().map(Tokens),
            "max_num_seqs" => config.max_num_seqs = whole(),
            _ => {}
        }
    }
}

/// `profile.yaml` of GuideLLM: only the shared prefix says something that requests do not.
fn profile(text: &str, setting: &mut Setting, problems: &mut Problems) {
    for entry in flat_yaml::read(text, problems) {
        if entry.key != "data.prefix_tokens" {
            continue;
        }
        match entry.value.parse() {
            Ok(tokens) => setting.shared_prefix = Some(Tokens(tokens)),
            Err(_) => {
                let found = quoted(&entry.value);
                let message = format!("expected a whole number from 0, found {found}");
                problems.push(entry.line, entry.key, message);
            }
        }
    }
    if setting.shared_prefix.is_some_and(|prefix| prefix.0 > 0) {
        setting.notes.push(
            "The shared prefix is on top of the profile's prompt length and inside the requests' \
             prompt tokens; GuideLLM makes a new one for each phase."
                .to_owned(),
        );
    }
}

/// `meta.json`: keyword arguments of the engine.
fn meta(text: &str, setting: &mut Setting, problems: &mut Problems) {
    let Some((line, document)) = documents(text, problems).into_iter().next() else { return };
    let root = Node::root(line, &document);
    let config = &mut setting.config;
    config.vllm = root.get("vllm_version").and_then(|node| node.text(problems)).map(str::to_owned);
    let Some(arguments) = root.need("engine_kwargs", problems) else { return };
    let mut text = |key| {
        let node = arguments.get(key)?;
        node.text(problems).map(str::to_owned)
    };
    config.model = text("model");
    config.dtype = text("dtype");
    config.kv_cache_dtype = text("kv_cache_dtype");
    let mut count = |key| arguments.get(key)?.count(problems);
    config.tensor_parallel = count("tensor_parallel_size");
    config.max_num_seqs = count("max_num_seqs");
    config.max_model_len = count("max_model_len").map(Tokens);
    config.max_num_batched_tokens = count("max_num_batched_tokens").map(Tokens);
    config.block_size = count("block_size").map(u64::from);
    let mut switch = |key| {
        let node = arguments.get(key)?;
        let value = node.value.as_bool();
        if value.is_none() {
            node.wrong(problems, "expected true or false");
        }
        value
    };
    config.prefix_caching = switch("enable_prefix_caching");
    config.chunked_prefill = switch("enable_chunked_prefill");
    let share = arguments.get("gpu_memory_utilization");
    config.gpu_memory_utilization = share.and_then(|node| node.number(problems));
}

/// `config.json` of LLMServingSim: the GPU of the first instance.
fn hardware(text: &str, setting: &mut Setting, problems: &mut Problems) {
    let Some((line, document)) = documents(text, problems).into_iter().next() else { return };
    let root = Node::root(line, &document);
    let Some(nodes) = root.need("nodes", problems) else { return };
    for node in nodes.items(problems) {
        let Some(instances) = node.need("instances", problems) else { return };
        for instance in instances.items(problems) {
            let config = &mut setting.config;
            if config.gpu.is_none() {
                let gpu = instance.get("hardware").and_then(|node| node.text(problems));
                config.gpu = gpu.map(str::to_owned);
            }
            if config.gpu_memory_utilization.is_none()
                && let Some(memory) = instance.get("npu_mem")
            {
                let share = memory.get("mem_util");
                config.gpu_memory_utilization = share.and_then(|node| node.number(problems));
            }
        }
    }
}

/// `vllm.log`: what the engine made of its settings.
fn log(text: &str, setting: &mut Setting, problems: &mut Problems) {
    let log = vllm_log::read(text, problems);
    let config = &mut setting.config;
    let described = config.max_model_len;
    config.vllm = log.version.clone().or(config.vllm.take());
    config.block_size = log.block_size().or(config.block_size);
    config.dtype = log.dtype.clone().or(config.dtype.take());
    config.kv_cache_dtype = log.kv_cache_dtype.clone().or(config.kv_cache_dtype.take());
    config.max_model_len = log.max_model_len.or(described);
    config.max_num_batched_tokens = log.max_num_batched_tokens.or(config.max_num_batched_tokens);
    config.max_num_seqs = log.max_num_seqs.or(config.max_num_seqs);
    config.tensor_parallel = log.tensor_parallel.or(config.tensor_parallel);
    config.chunked_prefill = log.chunked_prefill.or(config.chunked_prefill);
    config.prefix_caching = log.prefix_caching.or(config.prefix_caching);
    config.gpu_memory_utilization = log.gpu_memory_utilization.or(config.gpu_memory_utilization);
    if let (Some(Tokens(described)), Some(Tokens(used))) = (described, log.max_model_len)
        && described != used
    {
        setting.notes.push(format!(
            "The run's description says max_model_len {described}, the engine's log {used}; the \
             log is used."
        ));
    }
    if log.attempts > 1 {
        let lengths: Vec<String> = log
            .earlier_max_model_lens
            .iter()
            .filter(|length| Some(**length) != log.max_model_len)
            .map(|length| length.0.to_string())
            .collect();
        let with = match lengths.as_slice() {
            [] => String::new(),
            lengths => format!(" (earlier ones with max_model_len {})", lengths.join(", ")),
        };
        setting.notes.push(format!(
            "The log holds {} attempts to start{with}; only the last counts.",
            log.attempts
        ));
    }
    setting.log = Some(log);
}
