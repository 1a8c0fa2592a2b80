//! Texts that end a text, found while it grows.

use super::LanguageModel;
use crate::Result;

/// Bytes that the text of a tail of tokens may differ by from the same part of the whole text: a character cut in two, a
/// space that decoders strip from a first word.
const SLACK: usize = 16;

/// Watches one growing text for stop strings. Only the text's tail is decoded at each token.
#[derive(Debug, Clone, Default)]
pub(super) struct Stops {
    /// Where the tail begins, in tokens …
    start: usize,
    /// … and where it will begin next, once as much text as any stop string needs follows.
    next: usize,
}

impl Stops {
    /// The text before the first stop string, if the text of `ids`, to which a token was just added, holds one.
    pub(super) fn cut(
        &mut self,
        model: &LanguageModel,
        ids: &[u32],
        stop: &[String],
    ) -> Result<Option<String>> {
        let Some(longest) = stop.iter().map(String::len).max() else {
            return Ok(None);
        };
        let tail = model.decode(&ids[self.start..])?;
        if stop.iter().any(|stop| tail.contains(stop.as_str())) {
            let mut text = model.decode(ids)?;
            if let Some(end) = stop.iter().filter_map(|stop| text.find(stop.as_str())).min() {
                text.truncate(end);
                return Ok(Some(text));
            }
        }
        let enough = longest + SLACK;
        if tail.len() > 2 * enough && model.decode(&ids[self.next..])?.len() > enough {
            self.start = std::mem::replace(&mut self.next, ids.len());
        }
        Ok(None)
    }
}
