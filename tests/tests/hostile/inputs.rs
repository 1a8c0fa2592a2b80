//! Files of the user's.

use super::refused;
use flate2::{Compression, write::GzEncoder};
use std::io::Write;

const PARQUET: &str = "use = \"corpus.parquet\"\nfiles = [\"a.parquet\"]";
const JSONL: &str = "use = \"corpus.jsonl\"\nfiles = [\"a.jsonl.gz\"]";
const TOKENIZER: &str = "use = \"tokenizer.load\"\nfile = \"tokenizer.json\"";

#[test]
fn seven_bytes_that_ask_for_a_hundred_gigabytes() {
    let footer = [0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07];
    let greedy = [&b"PAR1"[..], &footer, &7_u32.to_le_bytes(), b"PAR1"].concat();
    refused(
        "a.parquet",
        &greedy,
        PARQUET,
        &["error[corrupt_parquet]", "byte "],
    );
}

#[test]
fn lines_that_unpack_to_a_thousand_times_their_size() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    let blank = vec![b'\n'; 1 << 20];
    (0..200).for_each(|_| packed.write_all(&blank).expect("packs"));
    let packed = packed.finish().expect("packs");
    refused("a.jsonl.gz", &packed, JSONL, &["error[decompression_bomb]"]);
}

#[test]
fn a_tokenizer_that_multiplies_text() {
    let step = r#"{"type":"Replace","pattern":{"String":"a"},"content":"aa"}"#;
    let text = format!(
        r#"{{"version":"1.0","normalizer":{{"type":"Sequence","normalizers":[{}]}},"model":{{"type":"WordLevel","vocab":{{"a":0}},"unk_token":"a"}}}}"#,
        [step; 40].join(",")
    );
    refused(
        "tokenizer.json",
        text.as_bytes(),
        TOKENIZER,
        &["error[bad_tokenizer]", "without end"],
    );
}

#[test]
fn a_tokenizer_nested_without_end() {
    let text = format!("{{\"normalizer\":{}", "[".repeat(100_000));
    refused(
        "tokenizer.json",
        text.as_bytes(),
        TOKENIZER,
        &["error[bad_tokenizer]"],
    );
}
