//! Cutting a stream of documents into blocks (MiniPLM sheet, section 2.2).

use crate::artifact::{Boundary, Segment};
use std::collections::VecDeque;

/// More blocks than this are not made of one document when sentences are kept whole (the authors' cap).
const MOST_BLOCKS: usize = 2000;

/// Which tokens end a sentence.
#[derive(Debug, Clone)]
pub struct Ends {
    /// Ends a sentence if a space follows.
    sentence: Vec<bool>,
    /// Ends a sentence whatever follows.
    newline: Vec<bool>,
    /// Its text has a space in it.
    space: Vec<bool>,
}

impl Ends {
    /// From the text of every id: a token that ends in `.`, `!`, `?`, `;` or a newline may end a sentence.
    pub fn of(texts: &[String]) -> Self {
        let sentence: Vec<_> = texts
            .iter()
            .map(|text| text.ends_with(['.', '!', '?', ';', '\n']))
            .collect();
        let both = |flags: &[bool], sign: char| -> Vec<bool> {
            let texts = texts.iter().zip(flags);
            texts.map(|(text, flag)| *flag && text.contains(sign)).collect()
        };
        Self {
            newline: both(&sentence, '\n'),
            space: both(&vec![true; texts.len()], ' '),
            sentence,
        }
    }

    /// Whether a sentence may end with `token`, depending on what follows.
    pub fn may_end(&self, token: u32) -> bool {
        self.sentence.get(token as usize).copied().unwrap_or(false)
    }

    /// Whether a sentence ends at `token`, before `next`: after a newline always, else if the two read together have a
    /// space in them or nothing follows.
    fn end(&self, token: u32, next: Option<u32>) -> bool {
        let is = |flags: &[bool], id: u32| flags.get(id as usize).copied().unwrap_or(false);
        is(&self.newline, token)
            || self.may_end(token) && next.is_none_or(|next| is(&self.space, token) || is(&self.space, next))
    }
}

/// How blocks are cut.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Where a block may end.
    pub boundary: Boundary,
    /// Tokens of a full block: the context and one more.
    pub length: usize,
    /// The token that ends a document.
    pub eos: u32,
    /// The token every block begins with.
    pub bos: Option<u32>,
    /// Which tokens end a sentence; looked at only for [`Boundary::Sentence`].
    pub ends: &'a Ends,
}

/// A block and the documents it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Its ids.
    pub ids: Vec<u32>,
    /// Its documents in order; a leading bos belongs to none.
    pub segments: Vec<Segment>,
}

/// One buffer of tokens, from which blocks are cut. Documents of several groups need a packer each.
#[derive(Debug)]
pub struct Packer<'a> {
    rules: Rules<'a>,
    buffer: VecDeque<u32>,
    owners: VecDeque<Segment>,
    dropped: u64,
    pushed_back: u64,
}

impl<'a> Packer<'a> {
    /// An empty buffer.
    pub fn new(rules: Rules<'a>) -> Self {
        Self {
            rules,
            buffer: VecDeque::new(),
            owners: VecDeque::new(),
            dropped: 0,
            pushed_back: 0,
        }
    }

    /// Adds a document (`ids` without eos, which is put behind it) and gives the blocks that are full now.
    pub fn add(&mut self, document: u64, ids: &[u32]) -> Vec<Packed> {
        self.buffer.extend(ids);
        self.buffer.push_back(self.rules.eos);
        self.owners.push_back(Segment {
            document,
            tokens: ids.len() as u32 + 1,
        });
        let whole = self.rules.boundary == Boundary::Document;
        let mut blocks = Vec::new();
        while self.buffer.len() >= self.room() || (whole && !self.buffer.is_empty()) {
            let block = self.cut();
            // One token alone has no label.
            if block.ids.len() <= 1 {
                self.dropped += 1;
                continue;
            }
            if self.rules.boundary == Boundary::Sentence && blocks.len() == MOST_BLOCKS {
                self.dropped += block.segments.iter().map(|s| u64::from(s.tokens)).sum::<u64>();
                self.dropped += self.buffer.len() as u64;
                self.buffer.clear();
                self.owners.clear();
                break;
            }
            blocks.push(block);
        }
        blocks
    }

    /// Tokens waiting for more. What waits at the end is never written.
    pub fn rest(&self) -> impl Iterator<Item = u32> + '_ {
        self.buffer.iter().copied()
    }

    /// Tokens of documents that came into no block so far, without those that wait.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Tokens that were cut off blocks' ends and moved into the next.
    pub fn pushed_back(&self) -> u64 {
        self.pushed_back
    }

    /// Tokens of documents in a full block.
    fn room(&self) -> usize {
        self.rules.length - usize::from(self.rules.bos.is_some())
    }

    /// Takes the next block off the buffer.
    fn cut(&mut self) -> Packed {
        let full = self.room().min(self.buffer.len());
        let end = if self.rules.boundary == Boundary::Sentence {
            let stop = (0..full).rev().find(|&i| {
                self.buffer[i] == self.rules.eos
                    || self
                        .rules
                        .ends
                        .end(self.buffer[i], self.buffer.get(i + 1).copied())
            });
            stop.map_or(full, |i| i + 1)
        } else {
            full
        };
        self.pushed_back += (full - end) as u64;
        let mut ids: Vec<u32> = self.rules.bos.into_iter().collect();
        ids.extend(self.buffer.drain(..end));
        Packed {
            ids,
            segments: self.own(end as u32),
        }
    }

    /// Whose the first `count` tokens of the buffer are.
    fn own(&mut self, mut count: u32) -> Vec<Segment> {
        let mut segments = Vec::new();
        while count > 0 {
            let first = self.owners.front_mut().expect("every token has an owner");
            let tokens = first.tokens.min(count);
            segments.push(Segment {
                document: first.document,
                tokens,
            });
            first.tokens -= tokens;
            count -= tokens;
            if first.tokens == 0 {
                self.owners.pop_front();
            }
        }
        segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        let texts = ["<eos>", " a", " b", "c", ".", "\n"].map(str::to_owned);
        Ends::of(&texts)
    }

    fn rules(boundary: Boundary, length: usize, ends: &Ends) -> Rules<'_> {
        Rules {
            boundary,
            length,
            eos: 0,
            bos: None,
            ends,
        }
    }

    fn ids(blocks: Vec<Packed>) -> Vec<Vec<u32>> {
        blocks.into_iter().map(|block| block.ids).collect()
    }

    #[test]
    fn concatenated_blocks_are_full_and_cross_documents() {
        let ends = ends();
        let mut packer = Packer::new(rules(Boundary::Concat, 4, &ends));
        assert!(packer.add(7, &[1, 4]).is_empty());
        let blocks = packer.add(8, &[2, 2, 3, 3]);
        assert_eq!(blocks[0].ids, [1, 4, 0, 2]);
        assert_eq!(
            blocks[0].segments,
            [
                Segment {
                    document: 7,
                    tokens: 3
                },
                Segment {
                    document: 8,
                    tokens: 1
                }
            ]
        );
        assert_eq!(ids(blocks), [vec![1, 4, 0, 2], vec![2, 3, 3, 0]]);
        assert_eq!(packer.rest().count(), 0);
    }

    #[test]
    fn blocks_of_documents_never_cross_them_and_short_ones_stay() {
        let ends = ends();
        let mut packer = Packer::new(rules(Boundary::Document, 4, &ends));
        assert_eq!(
            ids(packer.add(0, &[1, 2, 3, 1, 2])),
            [vec![1, 2, 3, 1], vec![2, 0]]
        );
        assert_eq!(ids(packer.add(1, &[1])), [vec![1, 0]]);
        // Four tokens and eos: the eos would be alone.
        assert_eq!(ids(packer.add(2, &[1, 1, 1, 1])), [vec![1; 4]]);
        assert_eq!(ids(packer.add(3, &[])), Vec::<Vec<u32>>::new());
        assert_eq!((packer.dropped(), packer.rest().count()), (2, 0));
    }

    #[test]
    fn a_document_fills_at_most_2000_blocks_when_sentences_are_kept() {
        let ends = ends();
        let mut packer = Packer::new(rules(Boundary::Sentence, 3, &ends));
        let blocks = packer.add(0, &[1, 5].repeat(2500));
        assert_eq!(blocks.len(), MOST_BLOCKS);
        assert_eq!(packer.rest().count(), 0);
        assert_eq!(packer.dropped(), 5001 - 4000);
        assert!(packer.add(1, &[1]).is_empty());
        assert_eq!(packer.rest().count(), 2);
    }

    #[test]
    fn an_end_is_true_before_a_space_and_after_a_newline() {
        let ends = ends();
        assert!(ends.end(4, Some(1)));
        assert!(!ends.end(4, Some(3)), "as in 3.14");
        assert!(ends.end(4, None));
        assert!(ends.end(5, Some(3)));
        assert!(!ends.end(1, Some(1)));
    }
}
