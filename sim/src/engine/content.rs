//! What a block holds: the identity of its tokens, chained from the start of the prompt.
//!
//! Token `i` of a segment is the pair (segment id, i), and the answer is one more segment that
//! only its request knows. The hash of block `b` covers the hash of block `b − 1` and the pieces
//! of segments inside `b`, so two blocks have one hash exactly when everything up to their end is
//! equal (up to a 64-bit collision: below 10⁻¹³ per lookup for a million resident blocks).

use crate::workload::Segment;

/// Extends a chain of block hashes, one block at a time.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// Hashes of the blocks so far; never 0.
    hashes: Vec<u64>,
    /// Segment that holds the next token.
    segment: usize,
    /// Tokens of that segment already hashed.
    offset: u32,
}

impl Chain {
    /// Forgets everything but the memory it holds.
    pub(super) fn clear(&mut self) {
        self.hashes.clear();
        self.segment = 0;
        self.offset = 0;
    }

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
            let hash = self.next_block(before, block_size, segments, output);
            self.hashes.push(hash);
        }
        self.hashes[index]
    }

    /// Hashes of the blocks `from..to`, which were asked for before.
    pub(super) fn known(&self, from: usize, to: usize) -> &[u64] {
        &self.hashes[from..to]
    }

    fn next_block(&mut self, before: u64, size: u32, segments: &[Segment], output: u64) -> u64 {
        // The usual case: the whole block lies inside one segment.
        if let Some(segment) = segments.get(self.segment).filter(|s| s.tokens - self.offset > size)
        {
            let hash = combine(before, segment.id, self.offset, size);
            self.offset += size;
            return hash.max(1);
        }
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
        // Zero marks a block without identity.
        hash.max(1)
    }
}

/// Mixes a piece of a segment into a hash: one 64×64→128 multiplication, folded.
fn combine(hash: u64, id: u64, offset: u32, tokens: u32) -> u64 {
    const FIRST: u64 = 0x9E37_79B9_7F4A_7C15;
    const SECOND: u64 = 0xD6E8_FEB8_6659_FD93;
    let place = (u64::from(offset) << 32 | u64::from(tokens)).wrapping_mul(SECOND);
    let left = hash.rotate_left(29) ^ FIRST;
    let right = id.wrapping_add(place) ^ SECOND;
    let product = u128::from(left ^ right.rotate_left(32)).wrapping_mul(u128::from(right | 1));
    let folded = (product as u64) ^ ((product >> 64) as u64);
    (folded ^ left).wrapping_mul(FIRST).rotate_left(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(segments: &[(u64, u32)], output: u64, blocks: usize) -> Vec<u64> {
        let segments: Vec<_> =
            segments.iter().map(|&(id, tokens)| Segment { id, tokens }).collect();
        let mut chain = Chain::default();
        (0..blocks).map(|b| chain.hash(b, 16, &segments, output)).collect()
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
}
