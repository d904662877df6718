//! Prompts of a wanted length that no prefix cache has seen.
//!
//! A prompt is a list of short English words drawn at random from a keyed stream, so its length in
//! tokens is nearly proportional to its length in words for every tokenizer. How nearly is learned:
//! [`Ratio`] fits `tokens = around + per_word · words` to what the server counted, where `around` is
//! what a chat template or a start token adds.
//!
//! Invariants: an equal key gives equal words; different keys differ in the first sixteen words but
//! with a chance of 2⁻⁹⁶ a pair, so that a prompt is cold unless a prefix is shared on purpose.
//!
//! Deliberately absent: a tokenizer, and prompts that mean something. Speed does not depend on the
//! meaning, except where a mixture of experts or speculation does: see docs/calibration/probe.md.

use sim::dice::Dice;

/// Common words that most vocabularies hold as one token behind a space. Sixty-four of them: six
/// bits a word.
const WORDS: [&str; 64] = [
    "time", "year", "people", "way", "day", "man", "thing", "woman", "life", "child", "world",
    "school", "state", "family", "student", "group", "country", "problem", "hand", "part", "place",
    "case", "week", "company", "system", "program", "question", "work", "number", "night", "point",
    "home", "water", "room", "mother", "area", "money", "story", "fact", "month", "lot", "right",
    "study", "book", "eye", "job", "word", "business", "issue", "side", "kind", "head", "house",
    "service", "friend", "father", "power", "hour", "game", "line", "end", "member", "law", "car",
];

/// `count` words of the stream of `key`, a space between them.
pub(super) fn words(key: u64, count: u32) -> String {
    let mut dice = Dice::stream(key);
    let mut text = String::with_capacity(count as usize * 6);
    for at in 0..count {
        if at > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[(dice.bits() >> 58) as usize]);
    }
    text
}

/// How many tokens a number of words comes to, learned from answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Ratio {
    answers: f64,
    words: f64,
    tokens: f64,
    words_squared: f64,
    words_tokens: f64,
}

impl Ratio {
    /// A prompt of `words` words was counted as `tokens` tokens.
    pub(super) fn learn(&mut self, words: u32, tokens: u32) {
        let (words, tokens) = (f64::from(words), f64::from(tokens));
        self.answers += 1.0;
        self.words += words;
        self.tokens += tokens;
        self.words_squared += words * words;
        self.words_tokens += words * tokens;
    }

    /// Words whose prompt is nearest to `tokens` tokens, at least 1. Before the first answer a word
    /// is taken for a token.
    pub(super) fn words_for(&self, tokens: u32) -> u32 {
        let (around, per_word) = self.line();
        let words = (f64::from(tokens) - around) / per_word;
        // A float beyond the range saturates, and NaN gives 0.
        (words.round() as u32).max(1)
    }

    /// Tokens around the words, and tokens per word: least squares where prompts of several lengths
    /// were counted, plain proportion where only one was.
    fn line(&self) -> (f64, f64) {
        if self.answers == 0.0 || self.words == 0.0 {
            return (0.0, 1.0);
        }
        let proportion = (self.tokens / self.words).max(0.01);
        let spread = self.words_squared - self.words * self.words / self.answers;
        // Lengths closer than a word or so say nothing about the slope.
        if spread < self.answers {
            return (0.0, proportion);
        }
        let slope = (self.words_tokens - self.words * self.tokens / self.answers) / spread;
        let around = (self.tokens - slope * self.words) / self.answers;
        if slope > 0.01 { (around, slope) } else { (0.0, proportion) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn equal_keys_give_equal_words_and_others_differ_at_once() {
        assert_eq!(words(7, 50), words(7, 50));
        assert_eq!(words(7, 50).split(' ').count(), 50);
        let begins: BTreeSet<String> = (0..10_000).map(|key| words(key, 16)).collect();
        assert_eq!(begins.len(), 10_000);
        assert_eq!(WORDS.iter().collect::<BTreeSet<_>>().len(), WORDS.len());
    }

    #[test]
    fn the_ratio_is_learned_with_what_is_around_the_words() {
        let mut ratio = Ratio::default();
        assert_eq!(ratio.words_for(100), 100);
        ratio.learn(100, 130);
        assert_eq!(ratio.words_for(130), 100);
        // A template of 20 tokens, 1.1 tokens a word.
        ratio.learn(1_000, 1_120);
        assert_eq!(ratio.words_for(2_220), 2_000);
        assert_eq!(ratio.words_for(1), 1, "never an empty prompt");
    }

    #[test]
    fn absurd_counts_do_no_harm() {
        let mut ratio = Ratio::default();
        ratio.learn(1, 0);
        ratio.learn(1_000, 0);
        assert!(ratio.words_for(1_000) >= 1);
        ratio.learn(u32::MAX, u32::MAX);
        assert!(ratio.words_for(u32::MAX) >= 1);
    }
}
