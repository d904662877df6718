//! The blocks one sequence computed: what they hold, who holds them.
//!
//! Blocks of a node that share one fate are one *piece*: held by as many sequences, or let go of at
//! once. A node that nobody else used is a single piece, whatever its length; a prefix that many
//! share is one more.
//!
//! Invariants: pieces are in order, neighbours differ, and the last is not gone; blocks that were
//! not given their content yet are held by the node's own sequence alone.
//!
//! Deliberately absent: which blocks are evicted, and when (see `kv_cache`).

use super::content::{Run, common_until, runs_from};
use smallvec::SmallVec;

/// Blocks `from..to` of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) node: u32,
    pub(super) from: u32,
    pub(super) to: u32,
}

impl Blocks {
    pub(super) fn len(self) -> u32 {
        self.to - self.from
    }
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// So many sequences hold it.
    Held(u32),
    /// It is cached; nobody has held it since this release.
    Free(u32),
    /// It was evicted.
    Gone,
}

/// Blocks up to `to`, from the end of the piece before.
#[derive(Clone, Copy, Debug)]
struct Piece {
    to: u32,
    state: State,
}

/// The blocks one sequence computed, in order.
///
/// A node is rarely in a near cache when it is needed again. What releasing and evicting read fills
/// one cache line, what only finding and registering read the next.
#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Node {
    pieces: SmallVec<[Piece; 2]>,
    /// Place of its first block in its sequence.
    start: u32,
    /// Leading blocks that were given their content.
    known: u32,
    /// Leading blocks whose content no other cached block had when they got it.
    pub(super) sole: u32,
    /// Whether a sequence has it, running or ended.
    taken: bool,
    /// Whether another sequence used any of its blocks.
    pub(super) shared: bool,
    /// Whether another sequence computed a sole block's content once more.
    pub(super) doubled: bool,
    /// Sequences the node belonged to before, modulo 256: tells stale entries of the map.
    pub(super) generation: u8,
    /// What its blocks hold, from the run of the first on.
    runs: SmallVec<[Run; 3]>,
}

impl Node {
    /// Gives it to a sequence that computes blocks from `start` on.
    pub(super) fn begin(&mut self, runs: &[Run], start: u32) {
        self.runs.extend_from_slice(runs_from(runs, start));
        self.start = start;
        self.taken = true;
    }

    /// Nothing of it is left: another sequence may use it.
    pub(super) fn vacate(&mut self) {
        self.runs.clear();
        self.pieces.clear();
        (self.known, self.sole) = (0, 0);
        (self.taken, self.shared, self.doubled) = (false, false, false);
        self.generation = self.generation.wrapping_add(1);
    }

    /// Whether it is taken though all its blocks are gone.
    pub(super) fn is_spent(&self) -> bool {
        self.taken && self.pieces.is_empty()
    }

    /// End of its last block that is not gone.
    pub(super) fn len(&self) -> u32 {
        self.pieces.last().map_or(0, |piece| piece.to)
    }

    /// Blocks that were given their content.
    pub(super) fn known(&self) -> u32 {
        self.known
    }

    /// Its own sequence holds `to` blocks now; the new ones lack content.
    pub(super) fn grow(&mut self, to: u32) {
        match self.pieces.last_mut() {
            Some(last) if last.state == State::Held(1) => last.to = to,
            _ => self.pieces.push(Piece { to, state: State::Held(1) }),
        }
    }

    /// Its first `to` blocks have content now.
    pub(super) fn learn(&mut self, to: u32) {
        debug_assert!(self.known <= to && to <= self.len(), "blocks get their content in order");
        self.known = to;
    }

    /// Hash of what block `index` holds, if it is there and has content.
    pub(super) fn content(&self, index: u32) -> Option<u64> {
        self.has_content(index).then(|| self.hash(index))
    }

    /// Hash of what block `index` holds or will hold.
    pub(super) fn hash(&self, index: u32) -> u64 {
        let place = self.start + index;
        runs_from(&self.runs, place)[0].hash(place)
    }

    fn has_content(&self, index: u32) -> bool {
        let piece = self.pieces.iter().find(|piece| piece.to > index);
        index < self.known && piece.is_some_and(|piece| piece.state != State::Gone)
    }

    /// End of its sole blocks from `index` on that hold what a sequence of these `runs` holds
    /// there, up to the sequence's block `most`.
    pub(super) fn same_until(&self, index: u32, runs: &[Run], most: u32) -> u32 {
        let mut cached = index;
        let behind = self.pieces.iter().skip_while(|piece| piece.to <= index);
        for piece in behind.take_while(|piece| piece.state != State::Gone) {
            cached = piece.to;
        }
        let most = (self.start + cached.min(self.sole)).min(most);
        common_until(&self.runs, runs, self.start + index, most) - self.start
    }

    /// How many of the blocks nobody holds.
    pub(super) fn free_among(&self, blocks: Blocks) -> u32 {
        let overlap = |from: u32, to: u32| to.min(blocks.to).saturating_sub(from.max(blocks.from));
        let free = self.spans().filter(|span| matches!(span.2, State::Free(_)));
        free.map(|(from, to, _)| overlap(from, to)).sum()
    }

    /// `(from, to, state)` of the pieces.
    fn spans(&self) -> impl Iterator<Item = (u32, u32, State)> + '_ {
        let mut from = 0;
        self.pieces.iter().map(move |piece| {
            let span = (from, piece.to, piece.state);
            from = piece.to;
            span
        })
    }

    /// One holder more; returns how many of the blocks were free.
    pub(super) fn hold(&mut self, blocks: Blocks) -> u32 {
        self.shared = true;
        let (first, last) = (self.cut(blocks.from), self.cut(blocks.to));
        let mut from = blocks.from;
        let mut taken = 0;
        for piece in &mut self.pieces[first..last] {
            piece.state = match piece.state {
                State::Held(holders) => State::Held(holders + 1),
                State::Free(_) => {
                    taken += piece.to - from;
                    State::Held(1)
                }
                State::Gone => State::Gone,
            };
            from = piece.to;
        }
        self.merge();
        taken
    }

    /// One holder less. Hands on the stretches `(from, to)` that became free, last first.
    pub(super) fn let_go(&mut self, blocks: Blocks, stamp: u32, mut freed: impl FnMut(u32, u32)) {
        let (first, last) = (self.cut(blocks.from), self.cut(blocks.to));
        for at in (first..last).rev() {
            let from = self.start_of(at);
            let piece = &mut self.pieces[at];
            match piece.state {
                State::Held(1) => {
                    piece.state = State::Free(stamp);
                    freed(from, piece.to);
                }
                State::Held(holders) => piece.state = State::Held(holders - 1),
                State::Free(_) | State::Gone => {
                    debug_assert!(false, "only held blocks are let go of");
                }
            }
        }
        self.merge();
    }

    /// Drops the blocks without content, which its own sequence gives back; returns how many.
    pub(super) fn drop_unknown(&mut self) -> u32 {
        let unknown = self.len() - self.known;
        if unknown > 0 {
            self.shorten(unknown);
        }
        unknown
    }

    /// Takes blocks off the end; all are of the last piece.
    fn shorten(&mut self, count: u32) {
        let from = self.start_of(self.pieces.len() - 1);
        if let Some(last) = self.pieces.last_mut() {
            last.to -= count;
            if last.to == from {
                self.pieces.pop();
                self.merge();
            }
        }
    }

    /// Evicts, last first, up to `most` of the blocks that have been free since the release
    /// `stamp`, and takes off the end of `blocks` what needs no second look; returns how many.
    pub(super) fn evict(&mut self, blocks: &mut Blocks, stamp: u32, most: u32) -> u32 {
        let mut evicted = 0;
        // A node that another sequence used since may be shorter.
        blocks.to = blocks.to.min(self.len()).max(blocks.from);
        while evicted < most && blocks.from < blocks.to {
            let Some(at) = self.pieces.iter().position(|piece| piece.to >= blocks.to) else {
                break;
            };
            let from = self.start_of(at).max(blocks.from);
            if self.pieces[at].state != State::Free(stamp) {
                blocks.to = from;
                continue;
            }
            let count = (blocks.to - from).min(most - evicted);
            if blocks.to == self.len() {
                self.shorten(count);
            } else {
                let (first, last) = (self.cut(blocks.to - count), self.cut(blocks.to));
                self.pieces[first..last].iter_mut().for_each(|piece| piece.state = State::Gone);
                self.merge();
            }
            blocks.to -= count;
            evicted += count;
        }
        evicted
    }

    /// Whether any of these blocks has been let go of by this release, and by none since.
    pub(super) fn is_let_go(&self, blocks: Blocks, stamp: u32) -> bool {
        let mut from = 0;
        self.pieces.iter().any(|piece| {
            let start = std::mem::replace(&mut from, piece.to);
            piece.state == State::Free(stamp) && start < blocks.to && piece.to > blocks.from
        })
    }

    fn start_of(&self, piece: usize) -> u32 {
        piece.checked_sub(1).map_or(0, |before| self.pieces[before].to)
    }

    /// Makes a piece begin at `index`; returns its number.
    fn cut(&mut self, index: u32) -> usize {
        let behind = self.pieces.iter().position(|piece| piece.to > index);
        let Some(at) = behind else { return self.pieces.len() };
        if self.start_of(at) == index {
            return at;
        }
        let state = self.pieces[at].state;
        self.pieces.insert(at, Piece { to: index, state });
        at + 1
    }

    /// Makes neighbours of one fate one piece and drops those at the end that are gone.
    fn merge(&mut self) {
        self.pieces.dedup_by(|next, piece| {
            let same = next.state == piece.state;
            if same {
                piece.to = next.to;
            }
            same
        });
        while self.pieces.last().is_some_and(|last| last.state == State::Gone) {
            self.pieces.pop();
        }
    }

    /// Blocks that are cached and free; checks what must hold of a node.
    pub(super) fn check(&self) -> u32 {
        assert!(self.pieces.windows(2).all(|pair| pair[0].to < pair[1].to), "{self:?}");
        assert!(self.pieces.windows(2).all(|pair| pair[0].state != pair[1].state), "{self:?}");
        assert!(self.pieces.last().is_none_or(|last| last.state != State::Gone), "{self:?}");
        assert!(!self.is_spent(), "{self:?}");
        let free = self.spans().filter(|span| matches!(span.2, State::Free(_)));
        free.map(|(from, to, _)| {
            assert!(to <= self.known, "free blocks without content are not kept: {self:?}");
            to - from
        })
        .sum()
    }
}

/// Two cache lines, as promised above.
const _: () = assert!(size_of::<Node>() == 128);

#[cfg(test)]
mod tests {
    use super::super::content::Outline;
    use super::*;

    fn node(blocks: u32) -> Node {
        let mut outline = Outline::default();
        outline.set(&[], 1, 16);
        let mut node = Node::default();
        node.begin(outline.runs(), 0);
        node.grow(blocks);
        node.learn(blocks);
        node
    }

    fn at(from: u32, to: u32) -> Blocks {
        Blocks { node: 0, from, to }
    }

    #[test]
    fn blocks_let_go_of_at_different_times_are_evicted_each_in_its_turn() {
        let mut node = node(10);
        assert_eq!(node.hold(at(0, 6)), 0);
        let mut freed = Vec::new();
        node.let_go(at(0, 10), 1, |from, to| freed.push((from, to)));
        node.let_go(at(0, 6), 2, |from, to| freed.push((from, to)));
        assert_eq!(freed, [(6, 10), (0, 6)]);
        assert_eq!(node.check(), 10);
        let mut later = at(6, 10);
        assert_eq!(node.evict(&mut later, 1, 3), 3);
        assert_eq!(later, at(6, 7));
        assert_eq!(node.hold(at(4, 7)), 3);
        // What was taken again is not evicted at its old place.
        assert_eq!(node.evict(&mut later, 1, 5), 0);
        assert_eq!(node.evict(&mut at(0, 6), 2, 9), 4);
        let present: Vec<u32> = (0..10).filter(|&index| node.content(index).is_some()).collect();
        assert_eq!(present, [4, 5, 6]);
    }

    #[test]
    fn pieces_grow_together_again() {
        let mut node = node(8);
        for _ in 0..3 {
            node.hold(at(2, 5));
        }
        assert_eq!(node.pieces.len(), 3);
        for stamp in 0..3 {
            node.let_go(at(2, 5), stamp, |_, _| panic!("its own sequence holds them"));
        }
        assert_eq!(node.pieces.len(), 1);
    }
}
