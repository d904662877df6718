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

    /// Extends the chain to `blocks` blocks. The tokens behind the last segment belong to the
    /// answer `output`.
    pub(super) fn extend(
        &mut self,
        blocks: usize,
        block_size: u32,
        segments: &[Segment],
        output: u64,
    ) {
        let mut hash = self.hashes.last().copied().unwrap_or(0);
        while let missing @ 1.. = blocks.saturating_sub(self.hashes.len()) {
            // The usual case: whole blocks inside one segment.
            let left = segments.get(self.segment).map_or(0, |s| s.tokens - self.offset);
            let whole = (left / block_size).min(missing as u32);
            if let Some(segment) = segments.get(self.segment).filter(|_| whole > 0) {
                let starts = (0..whole).map(|block| self.offset + block * block_size);
                self.hashes.extend(starts.map(|start| {
                    hash = combine(hash, segment.id, start, block_size).max(1);
                    hash
                }));
                self.offset += whole * block_size;
            } else {
                hash = self.pieces(hash, block_size, segments, output);
                self.hashes.push(hash);
            }
        }
    }

    /// Hash of block `index`; extends the chain as far as needed.
    pub(super) fn hash(
        &mut self,
        index: usize,
        block_size: u32,
        segments: &[Segment],
        output: u64,
    ) -> u64 {
        self.extend(index + 1, block_size, segments, output);
        self.hashes[index]
    }

    /// Hashes of the blocks `from..to`, which were asked for before.
    pub(super) fn known(&self, from: usize, to: usize) -> &[u64] {
        &self.hashes[from..to]
    }

    /// Hash of the next block where segments meet inside it or the answer has begun.
    fn pieces(&mut self, before: u64, size: u32, segments: &[Segment], output: u64) -> u64 {
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

/// Mixes a piece of a segment into a hash. What depends on the piece alone is computed first, so
/// that in a chain each block waits for one multiplication of the block before.
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

    fn chain(segments: &[(u64, u32)], output: u64, blocks: usize) -> Vec<u64> {
        let segments: Vec<_> =
            segments.iter().map(|&(id, tokens)| Segment { id, tokens }).collect();
        let mut chain = Chain::default();
        chain.extend(blocks, 16, &segments, output);
        chain.hashes
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
