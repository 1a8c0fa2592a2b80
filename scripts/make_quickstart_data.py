#!/usr/bin/env python3
"""Makes experiments/data/ from a labelled pool of documents.

    python3 scripts/make_quickstart_data.py PATH/TO/train.jsonl.gz [experiments/data]

The source has one JSON object a line: id, source, domain, quality, text. `quality` is "good" or a kind of noise.
Only documents whose licence is public domain, MIT, Apache-2.0 or CC BY are taken; see LICENCES below. Nothing is drawn
from a random generator: documents are ordered by a hash of their id, so equal sources give equal files.
Needs nothing but Python 3.9.
"""

import collections
import gzip
import hashlib
import json
import pathlib
import re
import sys

POOL_GOOD = 5600
POOL_BAD = 1400
CLEAN = 2650
# First match wins: (pattern of `source`, licence). What matches nothing is left out.
LICENCES = [
    (r"gsm8k-train", "MIT (a)"),
    (r"rustbook-.*", "MIT or Apache-2.0 (b)"),
    (r"sms-spam-collection", "CC BY 4.0 (c)"),
    (r"pep-\d+", "public domain or CC0 1.0"),
    (r"(inaugural|state_union)-.*", "public domain (works of the United States government)"),
    (r"udhr-.*", "public domain (Universal Declaration of Human Rights)"),
    (
        r"pg-\d+|(austen|blake|bryant|burgess|carroll|chesterton|edgeworth|melville|milton|shakespeare|whitman)-.*",
        "public domain (books of Project Gutenberg, without its header and licence)",
    ),
]
# The clean set again in two halves: what a selection aims at, and what it is judged by. Every domain is in both, by other
# sources; mathematics has one source only, which is dealt out by document.
TARGET = r"pg-(1342|1661|3261|35|84|17474|52834)|inaugural-.*|rustbook-.*|whitman-.*"
DEALT = r"gsm8k-train"
# Not taken at all: sources whose texts are not clearly theirs to give (journal abstracts), texts under a licence of
# their own (Project Gutenberg's), and documents made of two sources of which only one is named.
LEFT_OUT = {"boilerplate", "interleaved"}


def licence(document):
    for pattern, name in LICENCES:
        if re.fullmatch(pattern, document["source"]):
            return name
    return None


def order(document):
    return hashlib.sha256(("quickstart 1 " + document["id"]).encode()).hexdigest()


def is_target(document):
    if re.fullmatch(DEALT, document["source"]):
        return int(order(document), 16) % 2 == 0
    return bool(re.fullmatch(TARGET, document["source"]))


def read(path):
    """Documents we may pass on, in hashed order, each text once."""
    seen, documents = set(), []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        everything = sorted((json.loads(line) for line in lines), key=order)
    for document in everything:
        wanted = licence(document) and document["quality"] not in LEFT_OUT
        if wanted and document["text"] not in seen:
            seen.add(document["text"])
            documents.append(document)
    return documents


def write(path, documents):
    with open(path, "wb") as file:
        # No name and no time inside, so that equal documents give equal bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=9, mtime=0) as packed:
            for document in documents:
                row = {key: document[key] for key in ("id", "source", "domain", "quality", "text")}
                packed.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def about(folder, name, rows, digest):
    characters = sum(len(row["text"]) for row in rows)
    size = (folder / name).stat().st_size
    return [f"`{name}`", f"{len(rows):,}", f"{characters:,}", f"{size:,}", f"`{digest}`"]


def main():
    source = pathlib.Path(sys.argv[1])
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "experiments/data")
    folder.mkdir(parents=True, exist_ok=True)
    documents = read(source)
    good = [d for d in documents if d["quality"] == "good"]
    bad = [d for d in documents if d["quality"] != "good"]
    if len(good) < POOL_GOOD + CLEAN or len(bad) < POOL_BAD:
        sys.exit(f"{source}: {len(good)} good and {len(bad)} bad documents are too few")
    files = {
        "pool.jsonl.gz": sorted(good[:POOL_GOOD] + bad[:POOL_BAD], key=order),
        "clean.jsonl.gz": good[POOL_GOOD : POOL_GOOD + CLEAN],
    }
    files["target.jsonl.gz"] = [row for row in files["clean.jsonl.gz"] if is_target(row)]
    files["test.jsonl.gz"] = [row for row in files["clean.jsonl.gz"] if not is_target(row)]
    sums = []
    for name, rows in files.items():
        write(folder / name, rows)
        sums.append((hashlib.sha256((folder / name).read_bytes()).hexdigest(), name))
    (folder / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for digest, name in sums))

    pool, clean = files["pool.jsonl.gz"], files["clean.jsonl.gz"]
    quality = collections.Counter(row["quality"] for row in pool)
    domains = collections.Counter(row["domain"] for row in clean)
    pool_domains = collections.Counter(row["domain"] for row in pool if row["quality"] == "good")
    licences = collections.Counter(licence(row) for row in pool + clean)
    (folder / "README.md").write_text(
        README.format(
            files=table(
                ["file", "documents", "characters", "bytes", "sha256"],
                [about(folder, name, files[name], digest) for digest, name in sums],
            ),
            quality=table(["quality", "documents of the pool"], quality.most_common()),
            domains=table(
                ["domain", "good documents of the pool", "clean documents"],
                [[name, pool_domains[name], count] for name, count in domains.most_common()],
            ),
            licences=table(["licence", "documents"], licences.most_common()),
        )
    )


README = """# Data of the quickstart

Real documents, cut into pieces of about a kilobyte. Made by `scripts/make_quickstart_data.py`; do not edit.

{files}

Each line is a JSON object: `id`, `source`, `domain`, `quality`, `text`. `quality` is what a measurement may look at and
no method may see. No text occurs twice, in one file or across both.

- **The pool** is what a selection chooses from. One fifth of it is bad. `chat_spam` and `non_english` are real but
  unwanted; the other kinds were made from good documents that are nowhere else in these files: words shuffled
  (`word_shuffle`), characters damaged (`char_noise`), sentences looped (`repetition`), scraps in table form (`fragments`).
- **The clean set** is good throughout: for a teacher that stands for a strong public model, and for measuring loss.
- **Target and test** are the clean set again, in two parts for methods that select towards a target: every domain is in
  both, from other books, speakers and documents. Only mathematics has a single source, dealt out by document.

{quality}

{domains}

## Origins and licences

{licences}

Books come from Project Gutenberg by way of `teropa/nlp` and the `GITenberg` repositories, speeches from the `inaugural`
and `state_union` corpora of `nltk/nltk_data`, the Universal Declaration of Human Rights in many languages from its `udhr`
corpus, Python's enhancement proposals from `python/peps`. They were cut; headers and code blocks were dropped.

(a) GSM8K, training items, from `openai/grade-school-math`. Copyright (c) 2021 OpenAI. MIT licence, below.

(b) The Rust Programming Language, from `rust-lang/book`. Copyright (c) 2010 The Rust Project Developers. Used under the
MIT licence, below.

(c) SMS Spam Collection by Tiago A. Almeida and José María Gómez Hidalgo, CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/), by way of `justmarkham/DAT8`. Messages were joined into documents.

> Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
> documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
> rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
> persons to whom the Software is furnished to do so, subject to the following conditions:
>
> The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
> Software.
>
> THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
> WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
> COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
> OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


if __name__ == "__main__":
    main()
