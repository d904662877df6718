//! Answers and results that were there before: what they cost, how long they live, whose they
//! were, and what of a conversation is remembered.

use super::*;
use crate::cache::{Eviction, ExactCacheSpec, QuerySpec, SemanticCacheSpec};
use crate::routing::Rule;
use crate::tasks::CallLengths;
use crate::workload::{MemorySpec, SessionSpec};

/// So many topics, all neighbours, each put in one way.
fn about(topics: u32) -> Option<QuerySpec> {
    Some(QuerySpec {
        topics,
        zipf: 0.0,
        phrasings: 1,
        neighbours: topics,
        similarity: 0.9,
        neighbour_similarity: 0.8,
        spread: 0.0,
    })
}

/// A step whose answers may come from the caches.
fn asking(after: &[u32], topics: u32) -> Step {
    let mut step = step(after, None);
    if let Work::ModelCall(call) = &mut step.work {
        (call.query, call.cacheable) = (about(topics), true);
    }
    step
}

/// A cache in which answers live for a second.
const EXACT: ExactCacheSpec = ExactCacheSpec {
    ttl: Span::from_secs(1),
    capacity: 9,
    eviction: Eviction::Fifo,
    lookup: Span::ZERO,
};

/// Likewise, from this similarity on.
fn similar(similarity_threshold: f64) -> Option<SemanticCacheSpec> {
    let ExactCacheSpec { ttl, capacity, eviction, lookup } = EXACT;
    Some(SemanticCacheSpec { similarity_threshold, ttl, capacity, eviction, lookup })
}

/// Asked three times, answered once by the model: that leaves room for exactly one more call.
#[test]
fn what_a_cache_answers_uses_nothing_of_a_budget() {
    let mut task = of_steps(vec![asking(&[], 1), step(&[0], None)]);
    task.graph.steps[0].repeat = Repeat::Loop(exactly(3));
    let budget = &mut task.budget;
    (budget.max_model_calls, budget.max_input_tokens, budget.max_output_tokens) =
        (Some(2), Some(20), Some(10));
    for exact in [true, false] {
        let mut scenario = scenario(vec![task.clone()]);
        scenario.exact_cache = exact.then_some(EXACT);
        scenario.semantic_cache = similar(1.0);
        let task = &run(&scenario).tasks[0];
        assert_eq!((task.succeeded, task.calls, task.spend), (1, 2, Money(14)));
        let hits = if exact { (2, 0) } else { (0, 2) };
        assert_eq!((task.exact_hits, task.semantic_hits), hits);
    }
}

/// The answer of 100 ms is there until 1100, however often it is used, and not at that instant.
#[test]
fn an_answer_lives_from_when_it_was_stored() {
    for exact in [true, false] {
        let mut scenario = scenario(vec![of_steps(vec![asking(&[], 1)])]);
        scenario.sources[0].arrivals = arriving(&[0, 600, 1_099, 1_100]);
        if exact {
            scenario.exact_cache = Some(EXACT);
        } else {
            scenario.semantic_cache = similar(1.0);
        }
        let task = &run(&scenario).tasks[0];
        assert_eq!((task.exact_hits + task.semantic_hits, task.calls), (2, 2));
    }
}

/// Twenty questions about two topics that the cache takes for one: the first answer is served for
/// both. A hit is wrong when it belongs to the other topic, whatever the answer was worth.
#[test]
fn a_hit_is_wrong_when_it_was_given_to_another_question() {
    let told = |success: f64| {
        let mut scenario = scenario(vec![of_steps(vec![asking(&[], 2)])]);
        scenario.sources[0].arrivals = arriving(&(0..20).map(|n| 200 * n).collect::<Vec<_>>());
        right_in(&mut scenario, success);
        scenario.semantic_cache = similar(0.7);
        scenario.semantic_cache.as_mut().expect("set").ttl = Span::from_secs(100);
        let task = run(&scenario).tasks[0].clone();
        assert_eq!((task.calls, task.semantic_hits, task.exact_hits), (1, 19, 0));
        (task.wrong_hits, task.endings.wrong)
    };
    let (wrong_hits, wrong) = told(1.0);
    assert!((1..19).contains(&wrong_hits), "both topics are asked about: {wrong_hits}");
    assert_eq!(wrong, wrong_hits);
    assert_eq!(told(0.0), (wrong_hits, 20));
}

/// One answer is in the cache. Twenty tasks that may not call a model take it from the ladder, and
/// about half of them asked something else.
#[test]
fn the_ladder_s_cached_answer_may_belong_to_another_question() {
    let mut scenario = scenario(vec![of_steps(vec![asking(&[], 2)]); 2]);
    let budget = &mut scenario.tasks[1].budget;
    budget.max_model_calls = Some(0);
    budget.on_exceeded = vec![Rung::CachedAnswer { similarity: 0.7 }];
    scenario.semantic_cache = similar(1.1);
    let source = another_source(&mut scenario, &[500; 20]);
    scenario.sources[source].task = TaskId(1);
    let outcome = run(&scenario);
    let task = &outcome.tasks[1];
    assert_eq!((task.calls, task.rungs, outcome.models[0].calls), (0, [0, 0, 20, 0, 0], 1));
    assert!((1..20).contains(&task.succeeded), "{}", task.succeeded);
    assert_eq!((task.endings.wrong, task.semantic_hits), (20 - task.succeeded, 0));
}

#[test]
fn acting_on_a_cached_answer_does_the_same_harm() {
    let act = ToolUse { tool: ToolId(0), query: None, cache: None, acts: true };
    let steps = vec![asking(&[], 1), step(&[0], Some(Work::Tool(act)))];
    let mut scenario = scenario(vec![of_steps(steps)]);
    scenario.tools = vec![tool()];
    right_in(&mut scenario, 1.0);
    scenario.models[0].quality[0].unsafe_rate = 1.0;
    scenario.exact_cache = Some(EXACT);
    scenario.sources[0].arrivals = arriving(&[0, 500]);
    let task = &run(&scenario).tasks[0];
    assert_eq!((task.exact_hits, task.endings.harmful), (1, 2));
}

/// The first use breaks, so there is nothing to remember; the second is remembered.
#[test]
fn a_tool_s_failure_is_not_remembered() {
    let cache = Some(ExactCacheSpec { ttl: Span::from_secs(9), ..EXACT });
    let search = ToolUse { tool: ToolId(0), query: about(1), cache, acts: false };
    let mut scenario = scenario(vec![of_steps(vec![step(&[], Some(Work::Tool(search)))])]);
    scenario.tools = vec![tool()];
    scenario.tools[0].incidents = vec![outage(0, 10, 1)];
    scenario.sources[0].arrivals = arriving(&[0, 2_000, 4_000]);
    let outcome = run(&scenario);
    assert_eq!((outcome.tools[0].uses, outcome.tools[0].cache_hits), (2, 1));
    assert_eq!((outcome.tasks[0].failed, outcome.tasks[0].succeeded), (1, 2));
}

/// Conversations of three turns, condensed to half after every second. The prompts are of 10, of
/// 10 + 5 + 10, and of 15 + 10 tokens, 15 being half of what was said until the second answer:
/// the 30 tokens that the summary's call reads. A step in between writes something else, which is
/// no part of the conversation.
#[test]
fn a_memory_reads_what_was_said_and_the_next_turn_reads_the_summary() {
    for cached in [false, true] {
        let mut steps = vec![step(&[], None), step(&[0], None), step(&[1], None)];
        if cached {
            steps[0] = asking(&[], 1);
        }
        let aside = LengthsSpec { input: exactly(3), output: exactly(7), correlation: 0.0 };
        for (at, lengths) in [(1, CallLengths::Drawn(aside)), (2, CallLengths::Memory)] {
            if let Work::ModelCall(call) = &mut steps[at].work {
                (call.model, call.lengths) = (Some(ModelId(at as u32)), lengths);
            }
        }
        let mut scenario = scenario(vec![of_steps(steps)]);
        let others = [1, 2].map(|_| another_model(&mut scenario));
        assert_eq!(others, [1, 2]);
        let think = DurationDist::Fixed(MS(100));
        let memory = Some(MemorySpec { after_tokens: None, every: Some(2), ratio: 0.5 });
        scenario.sources[0].session = Some(SessionSpec { turns: exactly(3), think, memory });
        scenario.sources[0].arrivals =
            Arrivals::ClosedLoop { users: 4, think: DurationDist::Fixed(Span::from_secs(60)) };
        if cached {
            scenario.exact_cache = Some(ExactCacheSpec { ttl: Span::from_secs(90), ..EXACT });
        }
        let outcome = run(&scenario);
        assert_eq!(outcome.tasks[0].succeeded, 12);
        let read = |model: usize| {
            let model = &outcome.models[model];
            (model.calls, model.input_tokens, model.output_tokens)
        };
        // The four users ask for the first time at one instant, before anything is cached.
        let chat = if cached { (4, 4 * 10, 4 * 5) } else { (12, 4 * (10 + 25 + 25), 12 * 5) };
        assert_eq!([0, 1, 2].map(read), [chat, (12, 12 * 3, 12 * 7), (4, 4 * 30, 4 * 15)]);
    }
}

/// A turn of 10 + 5 tokens is longer than 14 and not longer than 15.
#[test]
fn a_conversation_is_condensed_when_it_is_longer_than_it_may_be() {
    for (most, calls) in [(14, 2), (15, 1)] {
        let mut steps = vec![step(&[], None), step(&[0], None)];
        if let Work::ModelCall(call) = &mut steps[1].work {
            call.lengths = CallLengths::Memory;
        }
        let mut scenario = scenario(vec![of_steps(steps)]);
        let memory = Some(MemorySpec { after_tokens: Some(most), every: None, ratio: 0.5 });
        let think = DurationDist::Fixed(MS(100));
        scenario.sources[0].session = Some(SessionSpec { turns: exactly(1), think, memory });
        scenario.sources[0].arrivals =
            Arrivals::ClosedLoop { users: 1, think: DurationDist::Fixed(Span::from_secs(60)) };
        assert_eq!(run(&scenario).models[0].calls, calls);
    }
}

/// 10 ms in one cache, 20 in the next: a miss takes both, a hit what came before it and its own.
#[test]
fn a_look_up_takes_its_time_whether_it_finds_something_or_not() {
    let takes = |exact: bool| {
        let mut scenario = scenario(vec![of_steps(vec![asking(&[], 1)])]);
        scenario.sources[0].arrivals = arriving(&[0, 500]);
        scenario.exact_cache = exact.then_some(ExactCacheSpec { lookup: MS(10), ..EXACT });
        scenario.semantic_cache = similar(1.0);
        scenario.semantic_cache.as_mut().expect("set").lookup = MS(20);
        let task = &run(&scenario).tasks[0];
        let (miss, hit) = (task.latency.max(), task.latency.min());
        (miss, hit, waited(task, Driver::Tools), waited(task, Driver::Retries))
    };
    assert_eq!(takes(true), (Some(MS(130)), Some(MS(10)), MS(30 + 10), Span::ZERO));
    assert_eq!(takes(false), (Some(MS(120)), Some(MS(20)), MS(20 + 20), Span::ZERO));
}

#[test]
fn a_remembered_result_takes_its_look_up() {
    let cache = Some(ExactCacheSpec { ttl: Span::from_secs(9), lookup: MS(10), ..EXACT });
    let search = ToolUse { tool: ToolId(0), query: about(1), cache, acts: false };
    let mut scenario = scenario(vec![of_steps(vec![step(&[], Some(Work::Tool(search)))])]);
    scenario.tools = vec![tool()];
    scenario.sources[0].arrivals = arriving(&[0, 2_000]);
    let task = &run(&scenario).tasks[0];
    assert_eq!((task.latency.max(), task.latency.min()), (Some(MS(1_000)), Some(MS(10))));
}

/// The first model's answer of 100 ms is wrong and not used, so it is not kept for who asks at 150;
/// what is kept at 200 is the better model's.
#[test]
fn the_answer_that_is_used_is_the_one_that_is_kept() {
    let mut scenario = scenario(vec![of_steps(vec![asking(&[], 1)])]);
    right_in(&mut scenario, 0.0);
    let better = another_model(&mut scenario);
    scenario.models[better].quality[0].success = 1.0;
    scenario.routing.escalations = vec![Rule { when: always(true), model: ModelId(better as u32) }];
    scenario.exact_cache = Some(EXACT);
    scenario.sources[0].arrivals = arriving(&[0, 150, 500]);
    let task = &run(&scenario).tasks[0];
    assert_eq!((task.succeeded, task.exact_hits, task.escalations), (3, 1, 2));
}

/// The better model is out until 130 ms, so the answer of 100 ms is used after all, and kept then:
/// not yet for who asks at 120, but for who asks at 150.
#[test]
fn an_answer_that_stands_is_kept_when_it_is_used() {
    let mut scenario = scenario(vec![of_steps(vec![asking(&[], 1)])]);
    let better = another_model(&mut scenario);
    scenario.routing.escalations = vec![Rule { when: always(true), model: ModelId(better as u32) }];
    scenario.remotes[better].incidents = vec![outage(0, 10_000, 30)];
    scenario.exact_cache = Some(EXACT);
    scenario.sources[0].arrivals = arriving(&[0, 120, 150]);
    let task = &run(&scenario).tasks[0];
    assert_eq!((task.succeeded, task.exact_hits, task.kept_answers), (3, 1, 2));
}
