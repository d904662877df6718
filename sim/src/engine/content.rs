//! What a block holds: the identity of its tokens, chained from the start of the prompt.
//!
//! Token `i` of a segment is the pair (segment id, i), and the answer is one more segment that
//! only its request knows. Two blocks hold the same exactly when everything up to their end is
//! equal. That is said twice here, for the fast engine ([`Outline`]) and the reference engine
//! ([`Chain`]): as *runs* of blocks inside one segment, a handful for a prompt however long it is,
//! and as one hash for each block. A test holds one against the other.
//!
//! Identities are 64-bit hashes: a look-up among a million resident blocks errs with a probability
//! below 10⁻¹³.

use crate::workload::Segment;
use smallvec::SmallVec;

/// Consecutive blocks of a sequence: whole ones inside one segment, or a single one in which
/// segments meet. It goes on to the first block of the run behind it.
///
/// Where runs begin follows from the tokens alone, so sequences that begin with the same tokens
/// begin with the same runs, of which the last may differ in length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// Hash of everything before it and of the place in its segment where it begins.
    key: u64,
    /// Place of its first block in the sequence.
    first: u32,
}

impl Run {
    /// Identity of what the block at `index` of its sequence, one of this run, holds.
    pub(super) fn hash(self, index: u32) -> u64 {
        combine(self.key, 0, self.first, index - self.first)
    }
}

/// The runs from that of the block at `index` on. The first run must begin at or before it.
pub(super) fn runs_from(runs: &[Run], index: u32) -> &[Run] {
    let behind = runs.iter().position(|run| run.first > index).unwrap_or(runs.len());
    &runs[behind - 1..]
}

/// Where the content of two sequences parts: the first block from `index` on that differs, at
/// most `most`.
pub(super) fn common_until(one: &[Run], other: &[Run], index: u32, most: u32) -> u32 {
    let (mut one, mut other) = (runs_from(one, index), runs_from(other, index));
    let end = |runs: &[Run]| runs.get(1).map_or(u32::MAX, |next| next.first);
    let mut reached = index;
    while reached < most && one[0].key == other[0].key {
        let ends = (end(one), end(other));
        reached = ends.0.min(ends.1).min(most);
        one = &one[usize::from(ends.0 == reached)..];
        other = &other[usize::from(ends.1 == reached)..];
    }
    reached
}

/// The runs of one sequence; the last, of its answer, has no end.
#[derive(Clone, Debug, Default)]
pub(super) struct Outline(SmallVec<[Run; 4]>);

impl Outline {
    /// Describes the prompt `segments` followed by the answer `output`.
    pub(super) fn set(&mut self, segments: &[Segment], output: u64, block_size: u32) {
        self.0.clear();
        let answer = Segment { id: output, tokens: ENDLESS };
        let mut index = 0;
        // Hash of the block before, or of the pieces so far of a block that lacks tokens.
        let mut hash = 0;
        let mut missing = 0;
        for &Segment { id, tokens } in segments.iter().chain([&answer]) {
            let start = tokens.min(missing);
            if start > 0 {
                hash = combine(hash, id, 0, start);
                missing -= start;
                if missing == 0 {
                    let run = Run { key: hash, first: index };
                    self.0.push(run);
                    hash = run.hash(index);
                    index += 1;
                }
            }
            let whole = (tokens - start) / block_size;
            if whole > 0 {
                let run = Run { key: combine(hash, id, start, block_size), first: index };
                self.0.push(run);
                index += whole;
                hash = run.hash(index - 1);
            }
            let rest = (tokens - start) % block_size;
            if rest > 0 {
                hash = combine(hash, id, tokens - rest, rest);
                missing = block_size - rest;
            }
        }
    }

    /// All of them, from the first block on.
    pub(super) fn runs(&self) -> &[Run] {
        &self.0
    }
}

/// Tokens of an answer whose end is not known: more than any context holds.
const ENDLESS: u32 = 1 << 30;

/// Extends a chain of block hashes, one block at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// Hashes of the blocks so far.
    hashes: Vec<u64>,
    /// Segment that holds the next token.
    segment: usize,
    /// Tokens of that segment already hashed.
    offset: u32,
}

impl Chain {
    /// Hash of block `index`; extends the chain as far as needed. The tokens behind the last
    /// segment belong to the answer `output`.
    pub(super) fn hash(
        &mut self,
        index: usize,
        block_size: u32,
        segments: &[Segment],
        output: u64,
    ) -> u64 {
        while self.hashes.len() <= index {
            let before = self.hashes.last().copied().unwrap_or(0);
            let next = self.next(before, block_size, segments, output);
            self.hashes.push(next);
        }
        self.hashes[index]
    }

    fn next(&mut self, before: u64, size: u32, segments: &[Segment], output: u64) -> u64 {
        let mut hash = before;
        let mut missing = size;
        while missing > 0 {
            let (id, left) = match segments.get(self.segment) {
                Some(segment) => (segment.id, segment.tokens - self.offset),
                None => (output, u32::MAX),
            };
            let take = left.min(missing);
            if take > 0 {
                hash = combine(hash, id, self.offset, take);
            }
            self.offset += take;
            missing -= take;
            if take == left {
                self.segment += 1;
                self.offset = 0;
            }
        }
        hash
    }
}

/// Mixes a piece of a segment into a hash.
fn combine(hash: u64, id: u64, offset: u32, tokens: u32) -> u64 {
    const FIRST: u64 = 0x9E37_79B9_7F4A_7C15;
    const SECOND: u64 = 0xD6E8_FEB8_6659_FD93;
    let place = u64::from(offset) << 32 | u64::from(tokens);
    let piece = fold(id ^ FIRST, place ^ SECOND).wrapping_mul(FIRST) | 1;
    fold(hash ^ SECOND, piece) ^ piece
}

/// Both halves of a 64×64→128 multiplication.
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(of: &[(u64, u32)]) -> Vec<Segment> {
        of.iter().map(|&(id, tokens)| Segment { id, tokens }).collect()
    }

    fn chain(of: &[(u64, u32)], output: u64, blocks: usize) -> Vec<u64> {
        let mut chain = Chain::default();
        (0..blocks).map(|index| chain.hash(index, 16, &segments(of), output)).collect()
    }

    #[test]
    fn equal_prefixes_have_equal_hashes_and_differ_from_the_first_difference_on() {
        let long = chain(&[(7, 100), (1, 60)], 900, 8);
        let short = chain(&[(7, 100), (2, 60)], 901, 8);
        assert_eq!(long[..6], short[..6]);
        assert!((6..8).all(|b| long[b] != short[b]));
    }

    #[test]
    fn an_answer_repeated_in_the_next_prompt_keeps_its_identity() {
        let first = chain(&[(7, 20), (8, 0)], 900, 5);
        let next = chain(&[(7, 20), (900, 60), (9, 30)], 901, 5);
        assert_eq!(first, next);
    }

    #[test]
    fn a_segment_starts_over_when_it_is_repeated() {
        assert_ne!(chain(&[(7, 32)], 1, 2), chain(&[(7, 16), (7, 16)], 1, 2));
    }

    #[test]
    fn runs_tell_blocks_apart_exactly_as_a_hash_for_each_block_does() {
        // Segments of two names and of all lengths around a block, three at a time.
        let lengths = [0, 1, 15, 16, 17, 32, 40];
        let prompts: Vec<_> = (0..7 * 7 * 7 * 4)
            .map(|i| {
                let length = |at: usize| lengths[i / at % 7];
                let prompt = [(7, length(1)), (8 - i as u64 / 343 % 2, length(7)), (7, length(49))];
                (prompt, 8 + i as u64 / 686)
            })
            .collect();
        let blocks = 9;
        let both = |(prompt, output): &([(u64, u32); 3], u64)| {
            let mut outline = Outline::default();
            outline.set(&segments(prompt), *output, 16);
            (outline, chain(prompt, *output, blocks))
        };
        let known: Vec<_> = prompts.iter().map(both).collect();
        for (i, (outline, hashes)) in known.iter().enumerate() {
            let hash = |outline: &Outline, index| runs_from(outline.runs(), index)[0].hash(index);
            for (other, others) in known.iter().skip(i % 13).step_by(13) {
                let parting = hashes.iter().zip(others).take_while(|(a, b)| a == b).count();
                for from in 0..=parting.min(blocks - 1) {
                    let most = blocks as u32;
                    let until = common_until(outline.runs(), other.runs(), from as u32, most);
                    assert_eq!(until as usize, parting, "{:?}", prompts[i]);
                }
                for index in 0..blocks {
                    let equal = hash(outline, index as u32) == hash(other, index as u32);
                    assert_eq!(equal, index < parting, "{:?}", prompts[i]);
                }
            }
        }
    }
}
