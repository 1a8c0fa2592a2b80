#!/usr/bin/env python3
"""Makes experiments/data/pairs/ from published instruction sets.

    python3 scripts/make_pairs_data.py FOLDER [experiments/data/pairs]

FOLDER holds `instruction-induction.jsonl.gz` (orhonovich/instruction-induction, Apache-2.0: its tasks, one JSON object a
line with `task`, `input`, `output`) and `seed-tasks-175.jsonl` (yizhongw/self-instruct, Apache-2.0). Of the first only tasks
are taken whose items its authors made themselves or took from word lists; the instructions are ours. Nothing is drawn from a
random generator: records are ordered by a hash, so equal sources give equal files. Needs nothing but Python 3.9.
"""

import gzip
import hashlib
import json
import pathlib
import sys

MOST = 1200  # of a task
INSTRUCTIONS = {
    "active_to_passive": "Write the sentence in the passive voice.",
    "diff": "Subtract the second number from the first.",
    "first_word_letter": "Write the first letter of the word.",
    "larger_animal": "Write the larger of the two animals.",
    "letters_list": "Write the letters of the word one by one.",
    "num_to_verbal": "Write the number in words.",
    "second_word_letter": "Write the second letter of the word.",
    "singular_to_plural": "Write the plural of the word.",
    "sum": "Add the two numbers.",
    "taxonomy_animal": "Write those of the words that are animals.",
}


def order(record):
    text = json.dumps([record["instruction"], record["input"]])
    return hashlib.sha256(("pairs 1 " + text).encode()).hexdigest()


def induction(folder):
    by_task, seen = {task: [] for task in INSTRUCTIONS}, set()
    with gzip.open(folder / "instruction-induction.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            task = item["task"]
            key = (task, item.get("input"))
            if task not in INSTRUCTIONS or key in seen:
                continue
            seen.add(key)
            record = {"instruction": INSTRUCTIONS[task], "input": item["input"], "output": item["output"], "task": task}
            by_task[task].append(record)
    taken = [record for task in by_task.values() for record in sorted(task, key=order)[:MOST]]
    return sorted(taken, key=order)


def seeds(folder):
    records = []
    with open(folder / "seed-tasks-175.jsonl", encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            first = item["instances"][0]
            records.append(
                {"instruction": item["instruction"], "input": first["input"], "output": first["output"], "task": item["name"]}
            )
    return sorted(records, key=order)


def write(path, records):
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as packed:
        packed.write(text.encode())
    data = path.read_bytes()
    print(f"| `pairs/{path.name}` | {len(records)} | {len(data)} | `{hashlib.sha256(data).hexdigest()}` |")


def main():
    folder = pathlib.Path(sys.argv[1])
    to = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "experiments/data/pairs")
    to.mkdir(parents=True, exist_ok=True)
    write(to / "induction.jsonl.gz", induction(folder))
    write(to / "seed-tasks.jsonl.gz", seeds(folder))


if __name__ == "__main__":
    main()
