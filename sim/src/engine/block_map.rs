//! From the hash of a block's content to the block.
//!
//! A bucket is one cache line of eight entries, so that a visit costs at most one miss. Evicting a
//! block leaves its entry behind: entries are hints, the caller says what a block holds now, and a
//! full bucket drops the entries whose block is gone before anything spills into the side table.
//! Entries of equal content keep the order in which they came: the oldest block is found, as in
//! vLLM.
//!
//! Deliberately absent: the blocks themselves.

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
    const NONE: Entry = Entry(0);

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
///
/// `content(block, generation)` is what a block holds, `None` for an entry that is stale.
#[derive(Clone, Debug)]
pub(super) struct BlockMap {
    buckets: Vec<Bucket>,
    /// Entries whose bucket was full of live ones.
    spill: BTreeMap<u64, Vec<Entry>>,
    spilled: usize,
    /// Spilled entries at which the map is built anew.
    spill_limit: usize,
}

impl Default for BlockMap {
    fn default() -> BlockMap {
        BlockMap::with_buckets(64)
    }
}

impl BlockMap {
    fn with_buckets(buckets: usize) -> BlockMap {
        BlockMap {
            buckets: vec![Bucket::default(); buckets],
            spill: BTreeMap::new(),
            spilled: 0,
            spill_limit: 16,
        }
    }

    /// The oldest block with this content.
    pub(super) fn find(
        &self,
        hash: u64,
        content: impl Fn(BlockRef, u8) -> Option<u64>,
    ) -> Option<BlockRef> {
        let same = |entry: &&Entry| content(entry.block(), entry.generation()) == Some(hash);
        let mut lanes = self.buckets[self.home(hash)].0.iter();
        let tagged =
            |entry: &&Entry| **entry != Entry::NONE && entry.0 >> TAG_SHIFT == hash >> TAG_SHIFT;
        if let Some(entry) = lanes.find(|entry| tagged(entry) && same(entry)) {
            return Some(entry.block());
        }
        self.spill.get(&hash)?.iter().find(same).map(|entry| entry.block())
    }

    /// Adds an entry.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        block: BlockRef,
        generation: u8,
        content: impl Fn(BlockRef, u8) -> Option<u64>,
    ) {
        self.place(hash, Entry::new(hash, generation, block), &content);
        if self.spilled > self.spill_limit {
            self.rebuild(&content);
        }
    }

    fn home(&self, hash: u64) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    fn place(&mut self, hash: u64, entry: Entry, content: &impl Fn(BlockRef, u8) -> Option<u64>) {
        let home = self.home(hash);
        let lanes = &mut self.buckets[home].0;
        // Behind an older block of the same content that had to spill, a younger one spills too.
        if self.spill.is_empty() || !self.spill.contains_key(&hash) {
            if lanes[LANES - 1] != Entry::NONE {
                tidy(lanes, content);
            }
            if let Some(lane) = lanes.iter_mut().find(|lane| **lane == Entry::NONE) {
                *lane = entry;
                return;
            }
        }
        self.spill.entry(hash).or_default().push(entry);
        self.spilled += 1;
    }

    /// Keeps the live entries, one to two in a bucket.
    fn rebuild(&mut self, content: &impl Fn(BlockRef, u8) -> Option<u64>) {
        let lanes = self.buckets.iter().flat_map(|bucket| bucket.0);
        // Of equal content, those in the bucket are the older ones.
        let live: Vec<_> = lanes
            .filter(|&entry| entry != Entry::NONE)
            .chain(self.spill.values().flatten().copied())
            .filter_map(|entry| Some((content(entry.block(), entry.generation())?, entry)))
            .collect();
        *self = BlockMap::with_buckets((live.len() / 2).next_power_of_two().max(64));
        for (hash, entry) in live {
            self.place(hash, entry, content);
        }
        // Contents with many copies stay spilled; rebuilding must pay for itself.
        self.spill_limit = self.spill_limit.max(2 * self.spilled);
    }
}

/// Drops the stale entries of a bucket; the others keep their order.
fn tidy(lanes: &mut [Entry; LANES], content: &impl Fn(BlockRef, u8) -> Option<u64>) {
    let mut kept = 0;
    for lane in 0..LANES {
        let entry = std::mem::replace(&mut lanes[lane], Entry::NONE);
        if content(entry.block(), entry.generation()).is_some() {
            lanes[kept] = entry;
            kept += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_live_block_of_equal_content_is_found_through_spills() {
        let mut map = BlockMap::default();
        // One home bucket for all, whatever the size: most spill.
        let hashes: Vec<u64> = (0..400).map(|i| 3 + (i % 3) * (1 << 60)).collect();
        let forty_youngest = |step: usize| {
            let hashes = &hashes;
            move |at: BlockRef, _: u8| {
                let node = at.node() as usize;
                (node + 40 > step).then(|| hashes[node])
            }
        };
        for step in 0..400usize {
            let block = BlockRef::new(step as u32, 7);
            map.insert(hashes[step], block, 1, forty_youngest(step));
            for hash in &hashes[..3] {
                let oldest = (step.saturating_sub(39)..=step).find(|&j| hashes[j] == *hash);
                let found = map.find(*hash, forty_youngest(step));
                assert_eq!(found.map(|at| at.node() as usize), oldest);
            }
        }
        assert!(map.spilled <= map.spill_limit);
    }

    #[test]
    fn a_growing_map_loses_nothing() {
        let mut map = BlockMap::default();
        let hash = |node: u32| u64::from(node + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let content = |at: BlockRef, _: u8| Some(hash(at.node()));
        for node in 0..20_000 {
            map.insert(hash(node), BlockRef::new(node, 0), 0, content);
        }
        let found = |node: u32| map.find(hash(node), content).map(|at| at.node());
        assert!((0..20_000).all(|node| found(node) == Some(node)));
        assert!(map.buckets.len() > 2_000);
    }
}
