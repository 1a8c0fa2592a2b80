"""Figures of rouge-score for the texts of minillm_rouge.json, and stems of words that strain the stemmer.

    pip install rouge-score==0.1.2 nltk
    python make_rouge.py

Writes rouge_n.json: by pair and stemmer setting [precision, recall, F] of ROUGE-1 and ROUGE-2; a word → its stem.
"""

import itertools
import json
from pathlib import Path

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

HERE = Path(__file__).parent
KINDS = ["rouge1", "rouge2"]
BEGINNINGS = ["a", "by", "tr", "yy", "say", "ski", "sky", "hop", "will", "agre", "tann", "abyy", "ration", "9l", "oba"]
ENDINGS = (
    "s es ies sses ss ed ied eed ing y ational tional enci anci izer bli alli entli eli ousli ization ation ator alism "
    "iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able "
    "ible ant ement ment ent ion sion tion ou ism ate iti ous ive ize e ll lle"
).split()
EXCEPTIONS = "sky skies dying lying tying news innings inning outings outing cannings canning howe proceed exceed succeed".split()


def main():
    pairs = json.loads((HERE / "minillm_rouge.json").read_text())["pairs"]
    scorers = {name: RougeScorer(KINDS, use_stemmer=name == "stem") for name in ["plain", "stem"]}
    rows = []
    for pair in pairs:
        row = {}
        for name, scorer in scorers.items():
            scores = scorer.score(pair["reference"], pair["prediction"])
            row[name] = {kind: list(scores[kind]) for kind in KINDS}
        rows.append(row)
    stemmer = PorterStemmer()
    words = {a + b for a, b in itertools.product(BEGINNINGS, ENDINGS)} | set(EXCEPTIONS)
    stems = {word: stemmer.stem(word) for word in sorted(words) if len(word) > 3 or word in EXCEPTIONS}
    about = "rouge-score 0.1.2, rouge1 and rouge2 of the pairs of minillm_rouge.json; its stemmer on made-up words"
    text = json.dumps({"about": about, "pairs": rows, "stems": stems}, indent=None, separators=(",", ":"))
    (HERE / "rouge_n.json").write_text(text + "\n")


main()
