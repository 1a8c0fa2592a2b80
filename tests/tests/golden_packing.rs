//! `miniplm_packing.json`: blocks cut at sentence ends, one buffer a domain, with and without bos.

use lyceum_components::artifact::Boundary;
use lyceum_components::tokens::{Ends, Packer, Rules};
use lyceum_tests::Golden;
use std::collections::BTreeMap;

#[test]
fn packing_agrees_with_the_fixture() {
    let golden = Golden::open("miniplm_packing");
    let root = golden.root();
    root.prose(&["notes"]);
    let texts: Vec<String> = root.get("token_strings").read();
    let ends = Ends::of(&texts);
    let listed: Vec<u32> = root.get("end_sentence_tokens").read();
    let found: Vec<u32> = (0..texts.len() as u32).filter(|&id| ends.may_end(id)).collect();
    assert_eq!(found, listed, "the tokens that may end a sentence");
    let eos: u32 = root.get("eos_id").read();
    let length: usize = root.get("chunk_len").read();
    let documents: BTreeMap<String, Vec<Vec<u32>>> = root.get("documents").read();
    let stream: Vec<(String, usize)> = root.get("stream").read();
    assert_eq!(stream.len(), 6);

    let cases = root.get("cases").items();
    assert_eq!(cases.len(), 2);
    for case in cases {
        let rules = Rules {
            boundary: Boundary::Sentence,
            length,
            eos,
            bos: case.get("bos_id").read(),
            ends: &ends,
        };
        let mut packers: BTreeMap<&str, Packer> = BTreeMap::new();
        let mut blocks = Vec::new();
        for (domain, number) in &stream {
            let packer = packers.entry(domain).or_insert_with(|| Packer::new(rules));
            let cut = packer.add(*number as u64, &documents[domain][*number]);
            for block in cut {
                let tokens: u32 = block.segments.iter().map(|segment| segment.tokens).sum();
                let bos = usize::from(rules.bos.is_some());
                assert_eq!(
                    tokens as usize + bos,
                    block.ids.len(),
                    "every token has a document"
                );
                blocks.push((domain.clone(), *number, block.ids));
            }
        }
        let expected = case.get("chunks").items();
        assert_eq!(blocks.len(), expected.len());
        for (block, chunk) in blocks.into_iter().zip(expected) {
            let chunk = (
                chunk.get("domain").read(),
                chunk.get("after_doc").read(),
                chunk.get("tokens").read(),
            );
            assert_eq!(block, chunk);
        }
        for (domain, packer) in packers {
            let rest: Vec<u32> = packer.rest().collect();
            assert_eq!(rest, case.get("dropped_tail").get(domain).read::<Vec<u32>>());
            let pushed_back: u64 = case.get("pushed_back_tokens").get(domain).read();
            assert_eq!(packer.pushed_back(), pushed_back);
        }
    }
    golden.finish();
}
