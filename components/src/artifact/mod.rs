//! Artifacts: typed, immutable folders of plain files.
//!
//! Every artifact folder holds `artifact.json`, the [`Header`]. A loader reads it first and refuses a folder of another
//! kind or format.

mod base;
mod corpus;
mod embeddings;
mod generations;
mod heat;
mod lines;
mod pairs;
mod score_rows;
mod scores;
mod selection;
mod table;
mod teacher_cache;
mod teacher_cache_writer;
mod token_scores;
mod tokenizer;
mod tokens;
mod view;

pub use base::{Artifact, HEADER, Header, Kind, Source, write_header};
pub use corpus::{Cell, CorpusDetails, CorpusWriter, Document};
pub use embeddings::{Embeddings, EmbeddingsDetails, EmbeddingsWriter};
pub use generations::{Generation, GenerationsDetails, read_generations, write_generations};
pub use heat::HeatAxes;
pub use lines::Axes;
pub use pairs::{InstructionPair, PairsDetails, PairsWriter};
pub use score_rows::{ScorePiece, ScoreRows};
pub use scores::{Item, Scores, ScoresDetails};
pub use selection::{Order, Selection, SelectionDetails, SelectionWriter};
pub use table::{Place, Table, read_histogram, read_instances, read_table};
pub use teacher_cache::{CacheRow, CacheType, TeacherCache, TeacherCacheDetails};
pub use token_scores::TokenScores;
pub use tokenizer::{TokenizerDetails, read_tokenizer, write_tokenizer};
pub use tokens::{Boundary, PairCounts, Segment, TokenType, TokensDetails, TokensWriter};
pub use view::View;

pub(crate) use corpus::FILE as DOCUMENTS_FILE;
pub(crate) use generations::{read_rows, write_rows};
pub(crate) use pairs::{FILE as PAIRS_FILE, pairs_of};
pub(crate) use teacher_cache::record_bytes;
pub(crate) use teacher_cache_writer::{Stretch, TeacherCacheWriter, record};
pub(crate) use token_scores::TokenScoresWriter;
pub(crate) use tokenizer::{
    FILE as TOKENIZER_FILE, LARGEST as LARGEST_TOKENIZER, parse_tokenizer, read_json, vocab_size,
};
pub(crate) use tokens::{
    BLOCKS as BLOCKS_FILE, PROMPTS as PROMPTS_FILE, SEGMENTS as SEGMENTS_FILE, TOKENS as TOKENS_FILE,
};
