#!/usr/bin/env python3
"""Golden first step of every distiller: losses, gradient norms and gradients of a pair of checkpoints in float64.

The teacher is `models/llama2`, the student `models/gpt2`; both know one tokenizer. Texts that a method would draw are drawn
here and given to it, with what was known when they were drawn: log-likelihoods under an older student, rounded to float32 as
they are kept. Every case holds its parameters in the words of an experiment file; what is expected follows from the papers'
formulas, with PyTorch's operations over whole logits, and shares nothing with the code under test.

Run:  python make_distill.py [output_dir]      (needs what make_models.py needs)
"""
import json
import math
import os
import struct
import sys

import torch
import transformers

import make_models as fixtures

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = sys.argv[1] if len(sys.argv) > 1 else HERE
TEACHER, STUDENT = "llama2", "gpt2"
END = 299
MAX_TOKENS = 12
MIX = 0.2
PAIRS = [
    ("Say where the cat sat.", "", "The cat sat on the mat."),
    ("Add.", "one and one", "two"),
    ("Name a time for tea.", "", "ten"),
    ("Where is the rain?", "north, south", "There is rain in the north."),
    ("Repeat the words.", "sun rat", "sun rat"),
    ("Is the bread done?", "", "Now that the bread is done, there is tea at ten."),
]
# Tokens of drawn responses, the end included; those of the full length have no end.
ROLLOUTS = [12, 1, 4, 7, 12, 3]
RESPONSES = [5, 2, 9, 1, 12, 6]
REJECTED = [3, 8, 2, 12, 4, 6]


def read_model(name):
    folder = os.path.join(HERE, "models", name)
    stored = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return fixtures.in_float64(stored, stored.config)


def encoded():
    """Prompts by the template `plain`, and answers with an end behind them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(os.path.join(HERE, "models", STUDENT))
    rows = []
    for instruction, given, response in PAIRS:
        text = instruction + "\n" + (given + "\n" if given else "")
        prompt, whole = tokenizer(text)["input_ids"], tokenizer(text + response)["input_ids"]
        assert whole[:len(prompt)] == prompt
        rows.append((prompt, whole[len(prompt):] + [END]))
    return rows


def log_probs(model, row):
    """At the places that predict the response, [t, v]."""
    prompt, response = row
    logits = fixtures.run(model, torch.tensor([prompt + response[:-1]]))[0][0]
    return torch.log_softmax(logits[len(prompt) - 1:], -1)


def picked(log_q, row):
    return log_q.gather(-1, torch.tensor(row[1])[:, None])[:, 0]


def write(model, prompts, lengths, drawn, others=()):
    """Responses of the given lengths, drawn from a model, or from a mixture of it and another."""
    rows = []
    for prompt, length in zip(prompts, lengths, strict=True):
        response = []
        while len(response) < length:
            if len(response) == length - 1 and length < MAX_TOKENS:
                response.append(END)
                break
            asked = (prompt, response + [END])
            p = (1.0 - MIX * len(others)) * log_probs(model, asked)[-1].exp()
            p = p + sum(MIX * log_probs(other, asked)[-1].exp() for other in others)
            p[END] = 0.0
            response.append(torch.multinomial(p, 1, generator=drawn).item())
        rows.append((prompt, response))
    return rows


def rounded(values):
    """To float32, without a tensor of that type."""
    return torch.tensor([struct.unpack("f", struct.pack("f", value))[0] for value in values.tolist()])


def mean(parts):
    """Over the tokens of all rows."""
    return torch.cat(list(parts)).mean()


class Cases:
    def __init__(self, teacher, student):
        self.teacher, self.student = teacher, student
        for parameter in self.teacher.parameters():
            parameter.requires_grad_(False)
        drawn = torch.Generator().manual_seed(5)
        self.gold = encoded()
        prompts = [prompt for prompt, _ in self.gold]
        with torch.no_grad():
            self.rollouts = write(self.student, prompts, ROLLOUTS, drawn, [self.teacher])
            self.responses = write(self.teacher, prompts, RESPONSES, drawn)
            self.rejected = write(self.student, prompts, REJECTED, drawn)
            self.noted = [self.when_drawn(row, drawn) for row in self.rollouts]
        assert all(a != b for a, b in zip(self.responses, self.rejected, strict=True))
        self.cases = []

    def when_drawn(self, row, drawn):
        """Log-likelihoods of a rollout under the student as it was, and under the teacher."""
        now = picked(log_probs(self.student, row), row)
        before = now + 0.3 * torch.randn(now.shape, generator=drawn)
        return [rounded(before), rounded(picked(log_probs(self.teacher, row), row))]

    def add(self, name, component, params, loss, **notes):
        student = self.student
        student.zero_grad(set_to_none=True)
        loss.backward()
        named = dict(student.named_parameters())
        norm = torch.sqrt(sum((p.grad**2).sum() for p in named.values())).item()
        pick = torch.Generator().manual_seed(len(self.cases))
        gradients = {}
        for key, parameter in sorted(named.items()):
            at = torch.randint(0, parameter.numel(), (3,), generator=pick).tolist()
            flat = parameter.grad.flatten()
            # The largest is always among them.
            at.append(flat.abs().argmax().item())
            gradients[key] = {"at": at, "gradient": flat[at].tolist()}
        self.cases.append({
            "name": name, "use": component, "params": params, "loss": loss.item(), "grad_norm": norm,
            "notes": {key: float(torch.as_tensor(value).detach()) for key, value in notes.items()},
            "gradients": gradients,
        })
        print(f"{name}: loss {loss.item():.9f}, gradient norm {norm:.6f}")

    def cross_entropy(self, rows):
        return mean(-picked(log_probs(self.student, row), row) for row in rows)

    def divergence(self, rows, of):
        def part(row):
            with torch.no_grad():
                log_p = log_probs(self.teacher, row)
            return of(log_p, log_probs(self.student, row))
        return mean(part(row) for row in rows)


# ---------------------------------------------------------------- divergences of a row's places

def kl(log_a, log_b):
    return (log_a.exp() * (log_a - log_b)).sum(-1)


def mixed(log_a, log_b, share):
    return torch.logaddexp(log_a + math.log(share), log_b + math.log(1.0 - share))


def jsd(beta):
    def of(log_p, log_q):
        log_m = mixed(log_p, log_q, beta)
        return beta * kl(log_p, log_m) + (1.0 - beta) * kl(log_q, log_m)
    return of


DIVERGENCES = [
    ({"kind": "soft_ce"}, lambda log_p, log_q: -(log_p.exp() * log_q).sum(-1)),
    ({"kind": "forward_kl"}, kl),
    ({"kind": "reverse_kl"}, lambda log_p, log_q: kl(log_q, log_p)),
    ({"kind": "jsd", "beta": 0.3}, jsd(0.3)),
    ({"kind": "skew_forward_kl", "skew": 0.1}, lambda log_p, log_q: kl(log_p, mixed(log_p, log_q, 0.1))),
    ({"kind": "skew_reverse_kl", "skew": 0.2}, lambda log_p, log_q: kl(log_q, mixed(log_p, log_q, 0.8))),
    ({"kind": "tv"}, lambda log_p, log_q: 0.5 * (log_p.exp() - log_q.exp()).abs().sum(-1)),
]
SOFT_CE, REVERSE_KL = DIVERGENCES[0][1], DIVERGENCES[2][1]


def given_texts(cases):
    entropy = cases.cross_entropy(cases.gold)
    cases.add("sft", "distill.sft", {}, entropy)
    for divergence, of in DIVERGENCES:
        entropy, found = cases.cross_entropy(cases.gold), cases.divergence(cases.gold, of)
        kind = divergence["kind"]
        cases.add(f"word_kd, {kind}", "distill.word_kd", {"teacher": "@teacher", "divergence": divergence, "kd_ratio": 0.25},
                  0.75 * entropy + 0.25 * found, cross_entropy=entropy, **{kind: found})
    for ratio in (0.0, 0.5):
        entropy, found = cases.cross_entropy(cases.responses), cases.divergence(cases.responses, SOFT_CE)
        notes = {"cross_entropy": entropy, "soft_ce": found} if ratio else {}
        cases.add(f"seq_kd, {ratio} of word_kd", "distill.seq_kd", {"teacher": "@teacher", "kd_ratio": ratio},
                  (1.0 - ratio) * entropy + ratio * found, **notes)


def own_texts(cases):
    found = cases.divergence(cases.rollouts, jsd(0.5))
    cases.add("gkd", "distill.gkd", {"teacher": "@teacher"}, found)
    entropy, found = cases.cross_entropy(cases.rollouts), cases.divergence(cases.rollouts, REVERSE_KL)
    cases.add("gkd, reverse KL beside the rows as they are", "distill.gkd",
              {"teacher": "@teacher", "kd_ratio": 0.75, "divergence": {"kind": "reverse_kl"}},
              0.25 * entropy + 0.75 * found, cross_entropy=entropy, reverse_kl=found)


# ---------------------------------------------------------------- MiniLLM

def advantages(cases, paper, whiten):
    """[rows, MAX_TOKENS]: the return of every token, by the number of its summands, whitened."""
    rewards = torch.zeros((len(ROLLOUTS), MAX_TOKENS))
    for row, (old, teacher) in enumerate(cases.noted):
        rewards[row, :len(old)] = ((teacher - old) / 0.5).clamp(-100.0, 100.0)
    gamma = 1.0 if paper else 0.95
    found = torch.zeros_like(rewards)
    for row, length in enumerate(ROLLOUTS):
        for t in range(length):
            first = t + 1 if paper else t
            summed = sum(gamma ** (s - first) * rewards[row, s] for s in range(first, length))
            found[row, t] = summed / max(length - first, 1)
    if whiten:
        found = (found - found.mean()) / torch.sqrt(found.var(correction=0) + 1e-8)
    return found, rewards


def minillm(cases, name, paper, corpus):
    advantage, rewards = advantages(cases, paper, whiten=not paper)
    policy, single, clipped, weights, k3 = [], [], [], [], []
    for row, (drawn, (old, teacher)) in enumerate(zip(cases.rollouts, cases.noted, strict=True)):
        log_q = log_probs(cases.student, drawn)
        with torch.no_grad():
            log_p = log_probs(cases.teacher, drawn)
        w = old.exp() / (MIX * teacher.exp() + (1.0 - MIX) * old.exp())
        ratio = (picked(log_q, drawn) - old).exp() * w
        a, near = advantage[row, :len(old)], ratio.clamp(0.8, 1.2)
        if paper:
            policy.append(-a * torch.minimum(ratio, near))
            clipped.append((near < ratio).double())
        else:
            policy.append(torch.maximum(-a * ratio, -a * near))
            clipped.append((-a * near > -a * ratio).double())
        distance = kl(log_q, log_p)
        single.append(w * distance if paper else distance)
        weights.append(w)
        u = teacher - old
        k3.append((u.exp() - 1.0 - u).mean())
    policy, single = mean(policy), mean(single)
    loss, params = policy + single, {"teacher": "@teacher", "rollouts": 6, "inner_epochs": 1,
                                     "sampling": {"max_tokens": MAX_TOKENS},
                                     "policy_gradient": {"mode": "paper" if paper else "reference"}}
    notes = {}
    if corpus:
        entropy, soft = cases.cross_entropy(cases.gold), cases.divergence(cases.gold, SOFT_CE)
        beside = entropy if paper else 0.5 * entropy + 0.5 * soft
        params["corpus"] = {"data": "@pairs"}
        loss, notes = loss + beside, {"other_data": beside}
    share = mean(clipped)
    assert 0.05 < share < 0.95, share
    lengths = torch.tensor(ROLLOUTS, dtype=torch.float64)
    cases.add(name, "distill.minillm", params, loss, policy_gradient=policy, reverse_kl=single, clip_fraction=share,
              reward_mean=rewards.sum() / lengths.sum(), w_mean=mean(weights), rev_kl_k3=torch.stack(k3).mean(),
              length=lengths.mean(), **notes)


# ---------------------------------------------------------------- DPKD

def summed(model, rows):
    return torch.stack([picked(log_probs(model, row), row).sum() for row in rows])


def whole_answers(cases):
    with torch.no_grad():
        teacher = [summed(cases.teacher, rows) for rows in (cases.responses, cases.rejected)]
    lengths = [torch.tensor([float(len(response)) for _, response in rows]) for rows in (cases.responses, cases.rejected)]
    for name, settings, beside in (
        ("dpkd, whole answers", {"beta": 0.7}, 0.0),
        ("dpkd, whole answers not normed, beside their likelihood", {"beta": 0.1, "length_norm": False}, 0.3),
    ):
        student = [summed(cases.student, rows) for rows in (cases.responses, cases.rejected)]
        by = [torch.ones(6), torch.ones(6)] if settings.get("length_norm") is False else lengths
        h = [settings["beta"] * (q - p) / n for q, p, n in zip(student, teacher, by, strict=True)]
        margin = h[0] - h[1]
        preference = -torch.nn.functional.logsigmoid(margin).mean()
        params = {"teacher": "@teacher", "preference": settings, "sampling": {"max_tokens": MAX_TOKENS}}
        loss = preference
        if beside:
            params["response_ce"] = beside
            loss = loss + beside * cases.cross_entropy(cases.responses)
        cases.add(name, "distill.dpkd", params, loss, preference=preference, win_rate=(margin > 0).double().mean(),
                  margin_mean=margin.mean(), logq_chosen=student[0].mean(), logq_rejected=student[1].mean(),
                  reward_chosen=h[0].mean(), reward_rejected=h[1].mean(), dropped_equal_pairs=0.0)
    return teacher


def likeliest_tokens(cases):
    agree, margins, losses = [], [], []
    for row in cases.gold:
        log_q = log_probs(cases.student, row)
        with torch.no_grad():
            log_p = log_probs(cases.teacher, row)
        t, s = log_p.argmax(-1)[:, None], log_q.argmax(-1)[:, None]
        lead = [(x.gather(-1, t) - x.gather(-1, s))[:, 0] for x in (log_q, log_p)]
        margins.append(lead[0] - lead[1])
        losses.append(-torch.nn.functional.logsigmoid(0.3 * margins[-1]))
        agree.append((t == s)[:, 0].double())
    preference, entropy = mean(losses), cases.cross_entropy(cases.gold)
    cases.add("dpkd, likeliest tokens", "distill.dpkd",
              {"teacher": "@teacher", "chosen": "gold", "preference": {"mode": "token", "beta": 0.3}},
              0.5 * entropy + 0.5 * preference, cross_entropy=entropy, preference=preference, margin_mean=mean(margins),
              agree_fraction=mean(agree))


def answer(rows, teacher):
    return [{"ids": prompt + response, "teacher": logp} for (prompt, response), logp in zip(rows, teacher.tolist(), strict=True)]


if __name__ == "__main__":
    models = read_model(TEACHER), read_model(STUDENT)
    with fixtures.float64_throughout(), torch.enable_grad():
        cases = Cases(*models)
        given_texts(cases)
        own_texts(cases)
        minillm(cases, "minillm, the released code", paper=False, corpus=False)
        minillm(cases, "minillm, the paper", paper=True, corpus=False)
        minillm(cases, "minillm, the released code beside text", paper=False, corpus=True)
        minillm(cases, "minillm, the paper beside text", paper=True, corpus=True)
        chosen, rejected = whole_answers(cases)
        likeliest_tokens(cases)
    fixture = {
        "made_with": ", ".join(f"{package} {version}" for package, version in fixtures.PINNED.items()),
        "teacher": TEACHER,
        "student": STUDENT,
        "pairs": [{"prompt": p, "input": i, "response": r} for p, i, r in PAIRS],
        "prompts": [len(prompt) for prompt, _ in cases.gold],
        "rollouts": [
            {"ids": prompt + response, "student": old.tolist(), "teacher": teacher.tolist()}
            for (prompt, response), (old, teacher) in zip(cases.rollouts, cases.noted, strict=True)
        ],
        "responses": [prompt + response for prompt, response in cases.responses],
        "chosen": answer(cases.responses, chosen),
        "rejected": answer(cases.rejected, rejected),
        "cases": cases.cases,
    }
    path = os.path.join(OUT, "distill_first_step.json")
    with open(path, "w") as f:
        json.dump(fixture, f, separators=(",", ":"), allow_nan=False)
        f.write("\n")
    print(f"wrote {path}: {os.path.getsize(path)} bytes")
