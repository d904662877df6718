//! From the hash of a block's content to the block.
//!
//! A bucket is one cache line of eight entries, so that a visit costs at most one miss. Evicting a
//! block leaves its entry behind: entries are hints, the caller verifies the full hash, and a full
//! bucket drops the entries whose block is gone before anything spills into the side table.
//! Entries keep the order in which they came: of several blocks with equal content the oldest is
//! found, as in vLLM.
//!
//! Deliberately absent: the blocks themselves; the caller says which entries are stale.

use std::collections::BTreeMap;

/// Where a block is: the node that holds it and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockRef(u64);

const INDEX_BITS: u32 = 20;
const NODE_BITS: u32 = 24;
const REF_BITS: u32 = INDEX_BITS + NODE_BITS;
const GENERATION_BITS: u32 = 8;
const TAG_SHIFT: u32 = REF_BITS + GENERATION_BITS;
const LANES: usize = 8;
const SPILLED: u8 = 16;

impl BlockRef {
    pub(super) fn new(node: u32, index: u32) -> BlockRef {
        let fits = node < (1 << NODE_BITS) - 1 && index < 1 << INDEX_BITS;
        assert!(fits, "a cache has fewer than 2^24 blocks and a sequence fewer than 2^20");
        // Counting nodes from 1 keeps 0 free to mark an empty lane.
        BlockRef(u64::from(node + 1) << INDEX_BITS | u64::from(index))
    }
    pub(super) fn node(self) -> u32 {
        (self.0 >> INDEX_BITS) as u32 - 1
    }
    pub(super) fn index(self) -> u32 {
        self.0 as u32 & ((1 << INDEX_BITS) - 1)
    }
}

/// `tag | generation | block` from high to low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry(u64);

impl Entry {
    fn new(hash: u64, generation: u8, block: BlockRef) -> Entry {
        Entry((hash >> TAG_SHIFT) << TAG_SHIFT | u64::from(generation) << REF_BITS | block.0)
    }
    fn block(self) -> BlockRef {
        BlockRef(self.0 & ((1 << REF_BITS) - 1))
    }
    fn generation(self) -> u8 {
        (self.0 >> REF_BITS) as u8
    }
}

/// Filled from the front; an empty lane is 0.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket([Entry; LANES]);

/// Block by content.
#[derive(Clone, Debug)]
pub(super) struct BlockMap {
    buckets: Vec<Bucket>,
    /// Filled lanes per bucket, plus [`SPILLED`] where entries had to spill; kept apart so that
    /// inserting need not wait for the bucket's line.
    filled: Vec<u8>,
    mask: u64,
    /// Entries whose bucket was full of live ones.
    spill: BTreeMap<u64, Vec<Entry>>,
    spilled: usize,
    /// Spilled entries at which the stale ones are dropped.
    spill_limit: usize,
}

impl BlockMap {
    /// A map for up to `blocks` live entries: about four to a bucket.
    pub(super) fn new(blocks: u32) -> BlockMap {
        let buckets = (blocks as usize / 4).next_power_of_two();
        BlockMap {
            buckets: vec![Bucket::default(); buckets],
            filled: vec![0; buckets],
            mask: buckets as u64 - 1,
            spill: BTreeMap::new(),
            spilled: 0,
            spill_limit: buckets / 8 + 64,
        }
    }

    /// The oldest block under `hash` for which `same(block, generation)` holds: it compares the
    /// full hash and refuses stale entries.
    pub(super) fn find(&self, hash: u64, same: impl Fn(BlockRef, u8) -> bool) -> Option<BlockRef> {
        let home = (hash & self.mask) as usize;
        let filled = self.filled[home];
        let same = |entry: &&Entry| same(entry.block(), entry.generation());
        let mut lanes = self.buckets[home].0[..usize::from(filled % SPILLED)].iter();
        if let Some(entry) = lanes.find(|e| e.0 >> TAG_SHIFT == hash >> TAG_SHIFT && same(e)) {
            return Some(entry.block());
        }
        if filled < SPILLED {
            return None;
        }
        self.spill.get(&hash)?.iter().find(same).map(|entry| entry.block())
    }

    /// Asks for the cache lines that entering these hashes will need, all at once: the insertions
    /// that follow would otherwise wait for one after the other.
    pub(super) fn touch(&self, hashes: &[u64]) {
        let line = |hash: &u64| self.buckets[(hash & self.mask) as usize].0[0].0;
        std::hint::black_box(hashes.iter().fold(0, |seen, hash| seen ^ line(hash)));
    }

    /// Adds an entry. `stale(block, generation)` tells which older entries may be dropped.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        block: BlockRef,
        generation: u8,
        stale: impl Fn(BlockRef, u8) -> bool,
    ) {
        let home = (hash & self.mask) as usize;
        let entry = Entry::new(hash, generation, block);
        if usize::from(self.filled[home] % SPILLED) == LANES {
            self.tidy(home, &stale);
        }
        let filled = usize::from(self.filled[home] % SPILLED);
        // Behind an older block of the same content that had to spill, a younger one spills too.
        let follows_a_spilled = self.filled[home] >= SPILLED && self.spill.contains_key(&hash);
        if filled < LANES && !follows_a_spilled {
            self.buckets[home].0[filled] = entry;
            self.filled[home] += 1;
            return;
        }
        self.filled[home] |= SPILLED;
        self.spill.entry(hash).or_default().push(entry);
        self.spilled += 1;
        if self.spilled > self.spill_limit {
            self.tidy_spill(&stale);
        }
    }

    /// Drops the stale entries of a bucket; the others keep their order.
    fn tidy(&mut self, home: usize, stale: &impl Fn(BlockRef, u8) -> bool) {
        let lanes = &mut self.buckets[home].0;
        let mut kept = 0;
        for lane in 0..LANES {
            let entry = lanes[lane];
            lanes[kept] = entry;
            kept += usize::from(!stale(entry.block(), entry.generation()));
        }
        self.filled[home] = self.filled[home] & SPILLED | kept as u8;
    }

    fn tidy_spill(&mut self, stale: &impl Fn(BlockRef, u8) -> bool) {
        self.spill.retain(|_, entries| {
            entries.retain(|entry| !stale(entry.block(), entry.generation()));
            !entries.is_empty()
        });
        self.spilled = self.spill.values().map(Vec::len).sum();
        self.filled.iter_mut().for_each(|filled| *filled %= SPILLED);
        for hash in self.spill.keys() {
            self.filled[(hash & self.mask) as usize] |= SPILLED;
        }
        // Live entries may fill half of it; tidying then pays for itself.
        self.spill_limit = self.spill_limit.max(2 * self.spilled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_live_block_of_equal_content_is_found_through_spills() {
        let mut map = BlockMap::new(16);
        // One home bucket for all: most spill.
        let hashes: Vec<u64> = (0..400).map(|i| 3 + (i % 3) * (1 << 60)).collect();
        let alive = |dead: usize, at: BlockRef| at.node() as usize >= dead;
        for step in 0..400usize {
            // The forty youngest are alive.
            let dead = step.saturating_sub(40);
            let block = BlockRef::new(step as u32, 7);
            map.insert(hashes[step], block, 1, |at, _| !alive(dead, at));
            for hash in &hashes[..3] {
                let oldest = (dead..=step).find(|&j| hashes[j] == *hash);
                let same =
                    |at: BlockRef, _: u8| alive(dead, at) && hashes[at.node() as usize] == *hash;
                assert_eq!(map.find(*hash, same).map(|at| at.node() as usize), oldest);
            }
        }
        assert!(map.spilled <= map.spill_limit);
    }
}
