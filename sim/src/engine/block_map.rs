//! From the hash of a block's content to the block.
//!
//! A bucket is one cache line of eight entries, so that most visits cost one miss. Entries of a
//! bucket keep the order in which they came: of several blocks with equal content the oldest is
//! found, as in vLLM. The few entries that find their bucket full go to a sorted side table.
//!
//! Deliberately absent: verification of the content: the caller compares the full hash.

use std::collections::BTreeMap;

/// Where a block is: the node that holds it and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockRef(u64);

const INDEX_BITS: u32 = 20;
const NODE_BITS: u32 = 24;
const REF_BITS: u32 = INDEX_BITS + NODE_BITS;
const LANES: usize = 8;

impl BlockRef {
    pub(super) fn new(node: u32, index: u32) -> BlockRef {
        assert!(
            node < (1 << NODE_BITS) - 1 && index < 1 << INDEX_BITS,
            "16 million tokens a sequence"
        );
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

/// `tag << 44 | block` per lane, 0 = empty; filled from the front.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Bucket([u64; LANES]);

/// Block by content.
#[derive(Clone, Debug)]
pub(super) struct BlockMap {
    buckets: Vec<Bucket>,
    /// Filled lanes per bucket, kept apart so that inserting need not wait for the bucket's line.
    filled: Vec<u8>,
    mask: u64,
    /// Entries per home bucket that did not fit.
    spilled: Vec<u32>,
    spill: BTreeMap<u64, Vec<BlockRef>>,
    len: usize,
}

fn entry(hash: u64, block: BlockRef) -> u64 {
    (hash >> REF_BITS) << REF_BITS | block.0
}

impl BlockMap {
    /// A map for up to `blocks` entries: about four to a bucket.
    pub(super) fn new(blocks: u32) -> BlockMap {
        let buckets = (blocks as usize / 4).next_power_of_two();
        BlockMap {
            buckets: vec![Bucket::default(); buckets],
            filled: vec![0; buckets],
            mask: buckets as u64 - 1,
            spilled: vec![0; buckets],
            spill: BTreeMap::new(),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn home(&self, hash: u64) -> usize {
        (hash & self.mask) as usize
    }

    /// The oldest block under `hash` for which `same` holds (it compares the full hash).
    pub(super) fn find(&self, hash: u64, same: impl Fn(BlockRef) -> bool) -> Option<BlockRef> {
        let home = self.home(hash);
        for &lane in &self.buckets[home].0 {
            let block = BlockRef(lane & ((1 << REF_BITS) - 1));
            if lane >> REF_BITS == hash >> REF_BITS && lane != 0 && same(block) {
                return Some(block);
            }
        }
        if self.spilled[home] == 0 {
            return None;
        }
        self.spill.get(&hash).and_then(|blocks| blocks.first().copied())
    }

    pub(super) fn insert(&mut self, hash: u64, block: BlockRef) {
        let home = self.home(hash);
        self.len += 1;
        let filled = self.filled[home] as usize;
        // Behind an older block of the same content that had to spill, a younger one spills too.
        let follows_a_spilled = self.spilled[home] > 0 && self.spill.contains_key(&hash);
        if filled < LANES && !follows_a_spilled {
            self.buckets[home].0[filled] = entry(hash, block);
            self.filled[home] = filled as u8 + 1;
        } else {
            self.spilled[home] += 1;
            self.spill.entry(hash).or_default().push(block);
        }
    }

    /// Begins to fetch the lines that removing these hashes will need, all at once: the removals
    /// that follow would otherwise wait for one line after the other.
    pub(super) fn touch(&self, hashes: impl Iterator<Item = u64>) {
        let seen = hashes.fold(0, |seen, hash| seen ^ self.buckets[self.home(hash)].0[0]);
        std::hint::black_box(seen);
    }

    pub(super) fn remove(&mut self, hash: u64, block: BlockRef) {
        let home = self.home(hash);
        self.len -= 1;
        let wanted = entry(hash, block);
        let lanes = &mut self.buckets[home].0;
        // Without branches on the contents: they are unpredictable. Lanes before the entry stay,
        // the ones behind it move up.
        let mut found = false;
        let mut shifted = [0; LANES];
        for lane in 0..LANES {
            found |= lanes[lane] == wanted;
            let next = if lane + 1 < LANES { lanes[lane + 1] } else { 0 };
            shifted[lane] = if found { next } else { lanes[lane] };
        }
        if found {
            *lanes = shifted;
            self.filled[home] -= 1;
            return;
        }
        self.spilled[home] -= 1;
        if let Some(blocks) = self.spill.get_mut(&hash) {
            blocks.retain(|&other| other != block);
            if blocks.is_empty() {
                self.spill.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_hashes_keep_their_order_through_spills_and_removals() {
        let mut map = BlockMap::new(16);
        // One home bucket for all: most spill.
        let hashes: Vec<u64> = (0..40).map(|i| 3 + (i % 3) * (1 << 50)).collect();
        for (i, &hash) in hashes.iter().enumerate() {
            map.insert(hash, BlockRef::new(i as u32, 7));
        }
        for i in 0..40 {
            let oldest = (i..40).find(|&j| hashes[j] == hashes[i]);
            let found = map.find(hashes[i], |b| hashes[b.node() as usize] == hashes[i]);
            assert_eq!(found.map(|b| b.node() as usize), oldest);
            map.remove(hashes[i], BlockRef::new(i as u32, 7));
        }
        assert_eq!(map.len(), 0);
        assert!(map.spill.is_empty() && map.spilled.iter().all(|&n| n == 0));
        assert!(map.buckets.iter().all(|bucket| bucket.0 == [0; LANES]));
    }
}
