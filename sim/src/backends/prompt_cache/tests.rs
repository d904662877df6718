//! The cache of prefixes against small cases worked out by hand, and against a cache that keeps
//! whole prefixes in a list.

use super::*;
use crate::dice::Dice;
use crate::units::Span;

const TTL: Span = Span(100);

fn cache(min_tokens: u32, granularity: u32, capacity: u32) -> Prefixes {
    Prefixes::new(PromptCache { ttl: TTL, min_tokens, granularity, capacity })
}

fn prompt(segments: &[(u64, u32)]) -> (Vec<Segment>, u32) {
    let prompt: Vec<_> = segments.iter().map(|&(id, tokens)| Segment { id, tokens }).collect();
    let input = prompt.iter().map(|s| s.tokens).sum();
    (prompt, input)
}

/// Sends a prompt whose first token comes at once; returns what was cached and what it wrote.
fn send(cache: &mut Prefixes, now: u64, segments: &[(u64, u32)]) -> (u32, u32) {
    let (prompt, input) = prompt(segments);
    let found = cache.look_up(Time(now), &prompt, input);
    (found, cache.store(Time(now), Time(now)))
}

#[test]
fn a_repeated_prompt_is_found_up_to_the_granularity() {
    let mut cache = cache(1_024, 128, 100);
    assert_eq!(send(&mut cache, 0, &[(7, 1_023)]), (0, 0), "too short to be cached");
    assert_eq!(send(&mut cache, 0, &[(7, 1_500)]), (0, 1_408));
    assert_eq!(send(&mut cache, 1, &[(7, 1_500)]), (1_408, 0));
    assert_eq!(send(&mut cache, 2, &[(7, 1_300)]), (1_280, 0), "a shorter prompt, cut likewise");
    assert_eq!(send(&mut cache, 3, &[(7, 2_048)]), (1_408, 640), "a longer one adds the rest");
    assert_eq!(send(&mut cache, 4, &[(7, 2_048)]), (2_048, 0), "to the last token");
}

#[test]
fn a_conversation_finds_what_its_turn_before_wrote() {
    let mut cache = cache(0, 10, 100);
    assert_eq!(send(&mut cache, 0, &[(1, 100), (2, 25)]), (0, 120));
    // Of the last segment 20 tokens were kept; the match ends there.
    assert_eq!(send(&mut cache, 1, &[(1, 100), (2, 25), (3, 40), (4, 5)]), (120, 50));
    assert_eq!(send(&mut cache, 2, &[(1, 100), (2, 25), (3, 40), (4, 5)]), (170, 0));
    // Another user shares the first segment alone.
    assert_eq!(send(&mut cache, 3, &[(1, 100), (9, 25)]), (100, 20));
    // A segment that follows other tokens is other content.
    assert_eq!(send(&mut cache, 4, &[(1, 90), (2, 25)]), (90, 20));
    assert_eq!(send(&mut cache, 5, &[(2, 25)]), (0, 20));
}

#[test]
fn a_match_that_is_too_short_is_none() {
    let mut cache = cache(100, 10, 100);
    assert_eq!(send(&mut cache, 0, &[(1, 90), (2, 60)]), (0, 150));
    assert_eq!(send(&mut cache, 1, &[(1, 90), (3, 60)]), (0, 150));
    assert_eq!(send(&mut cache, 2, &[(1, 90), (2, 60)]), (150, 0));
    assert_eq!(send(&mut cache, 3, &[(4, 100)]), (0, 100), "the least length is long enough");
    assert_eq!(send(&mut cache, 4, &[(4, 100)]), (100, 0));
}

#[test]
fn tokens_behind_the_segments_or_beyond_the_input_are_not_cached() {
    let mut cache = cache(0, 1, 10);
    let (segments, _) = prompt(&[(1, 50)]);
    for (now, input, expected) in [(0, 80, (0, 50)), (1, 80, (50, 0)), (2, 30, (30, 0))] {
        let found = cache.look_up(Time(now), &segments, input);
        assert_eq!((found, cache.store(Time(now), Time(now))), expected);
    }
    assert_eq!(send(&mut cache, 3, &[]), (0, 0));
    assert_eq!(send(&mut cache, 3, &[(5, 0), (1, 50)]), (50, 0), "empty segments do not count");
}

#[test]
fn it_is_read_from_the_writer_s_first_token_on() {
    let mut cache = cache(0, 1, 10);
    let (segments, input) = prompt(&[(1, 40)]);
    assert_eq!(cache.look_up(Time(0), &segments, input), 0);
    assert_eq!(cache.store(Time(0), Time(20)), 40);
    assert_eq!(cache.look_up(Time(19), &segments, input), 0);
    // A second writer, ready later, does not delay it.
    assert_eq!(cache.store(Time(19), Time(60)), 40);
    assert_eq!(cache.look_up(Time(20), &segments, input), 40);
    assert_eq!(cache.store(Time(20), Time(30)), 0);
    // A longer prompt at work does not hide the shorter one that is there.
    let (longer, input) = prompt(&[(1, 70)]);
    assert_eq!(cache.look_up(Time(21), &longer, input), 40);
    assert_eq!(cache.store(Time(21), Time(50)), 30);
    assert_eq!(cache.look_up(Time(49), &longer, input), 40);
    assert_eq!(cache.look_up(Time(50), &longer, input), 70);
}

#[test]
fn a_look_up_alone_neither_writes_nor_refreshes() {
    let mut cache = cache(0, 1, 10);
    send(&mut cache, 0, &[(1, 40)]);
    let (segments, input) = prompt(&[(1, 40), (2, 40)]);
    for now in [50, 90, 100] {
        assert_eq!(cache.look_up(Time(now), &segments, input), 40);
    }
    assert_eq!(cache.look_up(Time(101), &segments, input), 0);
}

#[test]
fn a_use_refreshes_the_whole_prefix_and_nothing_behind_it() {
    let mut cache = cache(0, 1, 10);
    assert_eq!(send(&mut cache, 0, &[(1, 40), (2, 10)]), (0, 50));
    assert_eq!(send(&mut cache, 80, &[(1, 40), (3, 10)]), (40, 10));
    assert_eq!(send(&mut cache, 180, &[(1, 40)]), (40, 0), "the end of its life belongs to it");
    // Segment 2 was last used at 0, segment 3 at 80.
    assert_eq!(send(&mut cache, 181, &[(1, 40), (3, 10)]), (40, 10));
    assert_eq!(send(&mut cache, 181, &[(1, 40), (2, 10)]), (40, 10));
    assert_eq!(send(&mut cache, 500, &[(1, 40), (2, 10)]), (0, 50));
}

#[test]
fn the_least_recently_used_goes_first_and_of_one_prompt_its_end() {
    let mut cache = cache(0, 1, 3);
    send(&mut cache, 0, &[(1, 10), (2, 10)]);
    send(&mut cache, 1, &[(5, 10)]);
    send(&mut cache, 2, &[(6, 10)]);
    // Full at 5; 6 took the place of 2, which stood behind 1.
    assert_eq!(send(&mut cache, 3, &[(1, 10)]), (10, 0));
    assert_eq!(send(&mut cache, 4, &[(1, 10), (2, 10)]), (10, 10));
    // That took the place of 5.
    assert_eq!(send(&mut cache, 5, &[(6, 10)]), (10, 0));
    assert_eq!(send(&mut cache, 6, &[(5, 10)]), (0, 10));
    // And that the place of 2 again.
    assert_eq!(send(&mut cache, 7, &[(1, 10), (2, 10)]), (10, 10));
}

#[test]
fn a_prompt_of_more_segments_than_the_cache_holds_keeps_its_beginning() {
    let mut cache = cache(0, 10, 2);
    let segments = [(1, 15), (2, 15), (3, 15)];
    assert_eq!(send(&mut cache, 0, &segments), (0, 30));
    assert_eq!(send(&mut cache, 1, &segments), (30, 0));
}

/// A cache without nodes: every prefix is a list of tokens with its last use.
#[derive(Default)]
struct Lists(Vec<(Vec<(u64, u32)>, Time)>);

impl Lists {
    fn send(&mut self, now: Time, segments: &[(u64, u32)]) -> u32 {
        let tokens: Vec<_> =
            segments.iter().flat_map(|&(id, n)| (0..n).map(move |at| (id, at))).collect();
        self.0.retain(|entry| now.since(entry.1) <= TTL);
        let common = |entry: &[(u64, u32)]| {
            entry.iter().zip(&tokens).take_while(|(ours, theirs)| ours == theirs).count() as u32
        };
        let found = self.0.iter().map(|entry| common(&entry.0)).max().unwrap_or(0);
        // A use of a prompt is a use of each of its prefixes that ends with a segment.
        let mut end = 0;
        for &(_, n) in segments {
            end += n as usize;
            self.0.retain(|entry| entry.0 != tokens[..end]);
            self.0.push((tokens[..end].to_vec(), now));
        }
        found
    }
}

/// With whole segments and room for all, nodes find what a search through all prefixes finds.
#[test]
fn it_finds_what_a_search_through_all_prefixes_finds() {
    let mut dice = Dice::stream(5);
    let (mut nodes, mut lists) = (cache(0, 1, 4_000), Lists::default());
    let (mut now, mut hits) = (0, 0);
    for _ in 0..3_000 {
        now += dice.bits() % 12;
        let depth = 1 + dice.bits() % 4;
        // The length belongs to the id, so that no segment is used in part.
        let segments: Vec<_> =
            (0..depth).map(|_| dice.bits() % 3).map(|id| (id, 3 + id as u32)).collect();
        let expected = lists.send(Time(now), &segments);
        assert_eq!(send(&mut nodes, now, &segments).0, expected, "at {now}: {segments:?}");
        hits += u32::from(expected > 0);
    }
    assert!(hits > 2_000, "{hits} hits are a test");
}

#[test]
fn the_list_and_the_table_agree_however_much_is_evicted() {
    let mut dice = Dice::stream(6);
    for capacity in [1, 2, 7, 64] {
        let mut cache = cache(0, 1, capacity);
        for now in 0..4_000 {
            let depth = 1 + dice.bits() % 5;
            let segments: Vec<_> = (0..depth).map(|_| (dice.bits() % 6, 4)).collect();
            send(&mut cache, now, &segments);
            let mut listed = 0;
            let mut at = cache.newest;
            while at != NONE {
                let node = cache.nodes[at as usize];
                assert_eq!(cache.find(node.key), at);
                if node.older != NONE {
                    let older = cache.nodes[node.older as usize];
                    assert_eq!((older.newer, older.used <= node.used), (at, true));
                }
                (at, listed) = (node.older, listed + 1);
            }
            assert_eq!(listed, cache.nodes.len());
            assert!(listed <= capacity as usize);
            assert_eq!(cache.table.iter().filter(|&&n| n != NONE).count(), listed);
        }
    }
}
