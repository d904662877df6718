//! What one chunk of a streamed answer says.
//!
//! Reads the chunks of OpenAI's `/completions` and `/chat/completions`, as vLLM, SGLang and
//! TensorRT-LLM write them too. A chunk *bears tokens* if it has text, the text of a reasoning
//! model's thoughts included. An empty text counts as well unless it announces the role or ends the
//! answer: engines send it for a token whose text is not complete yet, or which has none.
//!
//! Invariant: a chunk that is no JSON object of this kind is an error, never skipped.
//!
//! Deliberately absent: the text itself. Only its length is kept.

use serde::Deserialize;

/// What is known of an answer's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Usage {
    /// Of the prompt, whatever the server puts around it included.
    pub(super) prompt_tokens: u32,
    /// Of the answer so far.
    #[serde(default)]
    pub(super) completion_tokens: u32,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<u32>,
}

impl Usage {
    /// Prompt tokens that were found in a prefix cache, if the server says.
    pub(super) fn cached_tokens(&self) -> Option<u32> {
        let cached = self.prompt_tokens_details.and_then(|details| details.cached_tokens)?;
        // Nobody finds more of a prompt than there is.
        (cached <= self.prompt_tokens).then_some(cached)
    }
}

/// One chunk, read.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Chunk {
    /// Characters of text, if it bears tokens.
    pub(super) characters: Option<u32>,
    /// Why the answer ends here, if it does.
    pub(super) finish: Option<String>,
    /// Tokens, if it says.
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    reasoning_content: Option<String>,
    #[serde(default)]
    reasoning: Option<String>,
}

/// More tokens than any context holds.
const MOST_TOKENS: u32 = 100_000_000;

/// Why a chunk is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadChunk {
    /// No JSON object of the right kind.
    Malformed(String),
    /// The server reports an error inside the stream.
    Server(String),
}

/// Reads the data of one event.
pub(super) fn read(data: &str) -> Result<Chunk, BadChunk> {
    let wire: Wire =
        serde_json::from_str(data).map_err(|error| BadChunk::Malformed(error.to_string()))?;
    if let Some(error) = wire.error {
        let message = error.get("message").and_then(serde_json::Value::as_str);
        return Err(BadChunk::Server(message.map_or_else(|| error.to_string(), str::to_owned)));
    }
    if wire.choices.is_none() && wire.usage.is_none() {
        return Err(BadChunk::Malformed("neither `choices` nor `usage` in it".to_owned()));
    }
    if let Some(usage) = wire.usage
        && usage.prompt_tokens.max(usage.completion_tokens) > MOST_TOKENS
    {
        return Err(BadChunk::Malformed(format!("`usage` counts more than {MOST_TOKENS} tokens")));
    }
    // One answer is asked for, so there is at most one choice.
    let choice = wire.choices.unwrap_or_default().into_iter().next();
    let (characters, finish) = choice.map_or((None, None), |choice| {
        let finish = choice.finish_reason.clone();
        (text_of(choice), finish)
    });
    Ok(Chunk { characters, finish, usage: wire.usage })
}

/// Characters of a choice that bears tokens.
fn text_of(choice: Choice) -> Option<u32> {
    let mut parts = vec![choice.text];
    let mut announces = choice.finish_reason.is_some();
    if let Some(delta) = choice.delta {
        announces |= delta.role.is_some();
        parts.extend([delta.content, delta.reasoning_content, delta.reasoning]);
    }
    let lengths: Vec<usize> = parts.iter().flatten().map(|text| text.chars().count()).collect();
    let characters: usize = lengths.iter().sum();
    let bears = characters > 0 || !lengths.is_empty() && !announces;
    bears.then_some(u32::try_from(characters).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_of_both_interfaces_are_read() {
        let cases = [
            (r#"{"choices":[{"text":" word","finish_reason":null}]}"#, Some(5), None),
            (r#"{"choices":[{"text":""}]}"#, Some(0), None),
            (r#"{"choices":[{"text":"","finish_reason":"length"}]}"#, None, Some("length")),
            (r#"{"choices":[{"text":"x","finish_reason":"length"}]}"#, Some(1), Some("length")),
            (r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, None, None),
            (r#"{"choices":[{"delta":{"role":"assistant","content":"é"}}]}"#, Some(1), None),
            (r#"{"choices":[{"delta":{"content":""}}]}"#, Some(0), None),
            (r#"{"choices":[{"delta":{"content":null,"reasoning_content":"hm"}}]}"#, Some(2), None),
            (r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#, Some(2), None),
            (r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, None, Some("stop")),
            (r#"{"choices":[],"usage":{"prompt_tokens":7}}"#, None, None),
        ];
        for (data, characters, finish) in cases {
            let chunk = read(data).expect(data);
            assert_eq!(chunk.characters, characters, "{data}");
            assert_eq!(chunk.finish.as_deref(), finish, "{data}");
        }
    }

    #[test]
    fn usage_says_what_was_cached_only_if_the_server_does() {
        let usage = |data| read(data).expect(data).usage.expect("usage");
        let told = usage(
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,
                "prompt_tokens_details":{"cached_tokens":4}}}"#,
        );
        assert_eq!((told.prompt_tokens, told.completion_tokens), (7, 3));
        assert_eq!(told.cached_tokens(), Some(4));
        let silent = usage(r#"{"usage":{"prompt_tokens":7,"prompt_tokens_details":null}}"#);
        assert_eq!(silent.cached_tokens(), None);
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        let endless =
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":4294967295}}"#;
        let wrong = ["", "{", "[]", "7", "{}", r#"{"choices":7}"#, r#"{"choices":[{"text":7}]}"#];
        for data in wrong.into_iter().chain([endless]) {
            assert!(matches!(read(data), Err(BadChunk::Malformed(_))), "{data}");
        }
        let server = read(r#"{"error":{"message":"out of memory","code":500}}"#);
        assert_eq!(server, Err(BadChunk::Server("out of memory".to_owned())));
    }
}
