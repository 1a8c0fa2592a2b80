#!/usr/bin/env python3
"""Golden numbers for MiniLLM: estimators on an enumerable space, one rollout and step, mixes with labels (float64,
deterministic).

Needs: numpy, torch (CPU).  Writes minillm_{enum,step,kd}.json next to this file.  Every gradient is autograd AND closed form,
asserted equal.
"""
import json, os
import numpy as np
import torch

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))


def dump(name, obj):
    path = os.path.join(HERE, name)
    with open(path, "w", encoding="utf-8") as f:
        json.dump(obj, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")
    size = os.path.getsize(path)
    assert size < 200_000, (name, size)
    print(f"wrote {name} {size} bytes")


def L(x):
    return x.detach().numpy().tolist() if torch.is_tensor(x) else np.asarray(x).tolist()

# ---------------------------------------------------------------- enumerable space
def make_enum():
    V, EOS, TM = 3, 0, 3
    prefixes = [()] + [(a,) for a in (1, 2)] + [(a, b) for a in (1, 2) for b in (1, 2)]
    index = {p: k for k, p in enumerate(prefixes)}
    seqs = []

    def grow(pre):
        for v in range(V):
            y = pre + (v,)
            if v == EOS or len(y) == TM:
                seqs.append(y)
            else:
                grow(y)
    grow(())
    r = np.random.default_rng(7)
    zq, zp = r.normal(0, 1, (7, 3)), r.normal(0, 1.3, (7, 3))
    alpha = 0.2
    th = torch.tensor(zq, requires_grad=True)
    lq = lambda: torch.log_softmax(th, -1)
    lp = torch.log_softmax(torch.tensor(zp), -1)
    lq0 = lq().detach()
    lm = torch.log((1 - alpha) * lq0.exp() + alpha * lp.exp())
    steps = lambda y: [(index[y[:t]], y[t]) for t in range(len(y))]
    G = lambda f: torch.autograd.grad(f, th)[0]
    # exact objective
    cur = lq()
    logq = torch.stack([sum(cur[n, v] for n, v in steps(y)) for y in seqs])
    logp = torch.stack([sum(lp[n, v] for n, v in steps(y)) for y in seqs])
    logm = torch.stack([sum(lm[n, v] for n, v in steps(y)) for y in seqs])
    kl = (logq.exp() * (logq - logp)).sum()
    exact = G(kl)

    def estimator(kind, sample):  # expectation over all sequences, gradient as a surrogate's gradient
        cur = lq()
        total = 0.0
        for k, y in enumerate(seqs):
            st = steps(y)
            rew = [(lp[n, v] - lq0[n, v]) for n, v in st]
            ratio = [(lq0[n, v] - lm[n, v]).exp() for n, v in st]
            prob = (logq if sample == "student" else logm)[k].exp().detach()
            T = len(st)
            for t, (n, v) in enumerate(st):
                pre = torch.stack(ratio[: t + 1]).prod()
                full = torch.stack(ratio).prod()
                Rt, Rn = sum(rew[t:]), sum(rew[t + 1:], torch.tensor(0.0))
                qn = cur[n].exp()
                single = (qn * (lp[n] - cur[n])).sum()
                if kind == "pg_R_minus_1":
                    s = (Rt - 1) * cur[n, v]
                elif kind == "pg_R":
                    s = Rt * cur[n, v]
                elif kind == "single_only":
                    s = single
                elif kind == "decomposed":
                    s = single + Rn * cur[n, v]
                elif kind == "pg_R_plus_single":      # the released training loop adds both
                    s = single + Rt * cur[n, v]
                elif kind == "mixed_full_product":
                    s = full * (single + Rn * cur[n, v])
                elif kind == "mixed_prefix_product":  # weight written in the paper
                    s = pre * (single + Rn * cur[n, v])
                elif kind == "mixed_per_token":       # approximation used in practice
                    s = ratio[t] * (single + Rn * cur[n, v])
                elif kind == "mixed_single_prefix_product":
                    s = pre * single
                elif kind == "lennorm_remaining":     # long term divided by its number of summands
                    s = single + (Rn / max(T - t - 1, 1)) * cur[n, v]
                total = total - prob * s
        return G(total)

    est = {}
    for kind in ("pg_R_minus_1", "pg_R", "single_only", "decomposed", "pg_R_plus_single", "lennorm_remaining"):
        est[kind] = estimator(kind, "student")
    for kind in ("mixed_full_product", "mixed_prefix_product", "mixed_per_token", "mixed_single_prefix_product"):
        est[kind] = estimator(kind, "mixed")
    dist = {k: (g - exact).abs().max().item() for k, g in est.items()}
    for k in ("pg_R_minus_1", "pg_R", "decomposed", "mixed_full_product"):
        assert dist[k] < 1e-13, (k, dist[k])
    assert (est["mixed_single_prefix_product"] - est["single_only"]).abs().max() < 1e-13
    assert (est["pg_R_plus_single"] - exact - est["single_only"]).abs().max() < 1e-13
    for k in ("mixed_prefix_product", "mixed_per_token", "pg_R_plus_single"):
        assert dist[k] > 1e-3, (k, dist[k])
    dump("minillm_enum.json", dict(
        about="vocab 3, id 0 ends a sequence, at most 3 tokens; one independent logit row per prefix; 15 sequences; alpha=teacher share",
        alpha=alpha, prefixes=[list(p) for p in prefixes], sequences=[list(y) for y in seqs],
        student_logits=L(zq), teacher_logits=L(zp), student_seq_prob=L(logq.exp()), teacher_seq_prob=L(logp.exp()),
        mixed_seq_prob=L(logm.exp()), reverse_kl=kl.item(), forward_kl=(logp.exp() * (logp - logq)).sum().item(),
        exact_gradient=L(exact), expected_estimates={k: L(v) for k, v in est.items()}, max_abs_diff_to_exact=dist,
        reverse_kl_chain_rule="sum over nodes of reach_probability(student)*KL_node equals reverse_kl",
        node_reach_student=[float(sum(torch.exp(logq[k]).item() for k, y in enumerate(seqs) if y[: len(p)] == p)) for p in prefixes],
        node_reverse_kl=L((lq0.exp() * (lq0 - lp)).sum(-1))))


# ---------------------------------------------------------------- one rollout + one inner step
def gather(lp, ids):
    return torch.gather(lp, -1, ids.unsqueeze(-1)).squeeze(-1)


def rollout(z_old, z_t, ids, mask, allowed, alpha, scale, clip_r):
    neg = torch.tensor(float("-inf"))
    zo, zt = torch.where(allowed, z_old, neg), torch.where(allowed, z_t, neg)
    lq = gather(torch.log_softmax(zo, -1), ids) * mask
    lpm = gather(torch.log_softmax(zt, -1), ids) * mask            # teacher under the same support
    lp = gather(torch.log_softmax(z_t, -1), ids) * mask            # reward: teacher over the full vocabulary
    w = torch.ones_like(lq) if alpha is None else torch.exp(lq - torch.log((1 - alpha) * lq.exp() + alpha * lpm.exp()))
    rew = (lp - lq) / scale
    if clip_r:
        rew = rew.clamp(-clip_r, clip_r)
    x = (lp - lq) * mask
    return dict(old_logprob=lq, teacher_logprob=lp, w=w, reward=rew, rev_kl_k3=(x.exp() - 1 - x))


def advantages(rew, mask, gamma):
    T = rew.shape[1]
    acc, out = torch.zeros(rew.shape[0]), [None] * T
    for t in reversed(range(T)):
        acc = rew[:, t] + gamma * acc
        out[t] = acc
    ret = torch.stack(out, 1)
    left = mask.flip(1).cumsum(1).flip(1)
    left = torch.where(mask == 0, torch.ones_like(left), left)
    raw = ret / left
    mean = raw.mean()
    var = ((raw - mean) ** 2).mean()                                # population variance, padding included
    white = (raw - mean) * torch.rsqrt(var + 1e-8)
    wm = (raw * mask).sum() / mask.sum()
    wv = (((raw - wm) ** 2) * mask).sum() / mask.sum()
    return ret, left, raw, white, ((raw - wm) * torch.rsqrt(wv + 1e-8)) * mask


def inner(z_new, z_t, ids, mask, allowed, old, w, adv, eps):
    neg = torch.tensor(float("-inf"))
    x = z_new.clone().requires_grad_()
    s = torch.log_softmax(torch.where(allowed, x, neg), -1)
    t = torch.log_softmax(torch.where(allowed, z_t, neg), -1)
    ratio = torch.exp((gather(s, ids) - old) * mask) * w
    pg = (torch.maximum(-adv * ratio, -adv * ratio.clamp(1 - eps, 1 + eps)) * mask).sum() / mask.sum()
    z = torch.zeros(())
    node = torch.where(allowed, s.exp() * (torch.where(allowed, s, z) - torch.where(allowed, t, z)), z).sum(-1)
    reg = (node * mask).sum() / mask.sum()
    g_pg, g_reg = torch.autograd.grad(pg, x, retain_graph=True)[0], torch.autograd.grad(reg, x)[0]
    # closed form: softmax score-function gradient where the clip does not bind, and the reverse-KL gradient
    q = s.exp().detach()
    onehot = torch.nn.functional.one_hot(ids, q.shape[-1]).to(q)
    live = torch.where(adv >= 0, (ratio <= 1 + eps), (ratio >= 1 - eps)).to(q)
    c_pg = (-(adv * ratio.detach() * live * mask) / mask.sum()).unsqueeze(-1) * (onehot - q)
    d = torch.where(allowed, s - t, z).detach()
    c_reg = torch.where(allowed, q * (d - (q * d).sum(-1, keepdim=True)), z) * (mask / mask.sum()).unsqueeze(-1)
    assert (c_pg - g_pg).abs().max() < 1e-12 and (c_reg - g_reg).abs().max() < 1e-12
    return dict(ratio=ratio, clip_live=live * mask, pg_loss=pg, reg_loss=reg, reg_per_token=node * mask, grad_pg=g_pg, grad_reg=g_reg)


def make_step():
    B, T, V = 3, 5, 7
    r = np.random.default_rng(11)
    z_old, z_t = torch.tensor(r.normal(0, 1, (B, T, V))), torch.tensor(r.normal(0, 1.4, (B, T, V)))
    z_new = z_old + torch.tensor(r.normal(0, 0.35, (B, T, V)))
    lens = [5, 3, 1]
    mask = torch.tensor([[1.0 if t < n else 0.0 for t in range(T)] for n in lens])
    full = torch.ones(B, T, V, dtype=torch.bool)
    keep = z_old.argsort(-1, descending=True).argsort(-1) < 4       # top-4 support
    ids = torch.tensor(r.integers(0, V, (B, T)))
    ids_k = z_old.argsort(-1, descending=True)[..., 1]              # second best: inside the support
    cases = []
    for name, allowed, y, alpha, scale, clip_r, gamma, eps, same in [
        ("on_policy_first_step", full, ids, 0.2, 0.5, 100.0, 0.95, 0.2, True),
        ("on_policy_later_step", full, ids, 0.2, 0.5, 100.0, 0.95, 0.2, False),
        ("no_teacher_mix", full, ids, None, 0.5, 100.0, 0.95, 0.2, False),
        ("reward_clip_binds", full, ids, 0.2, 0.5, 1.0, 1.0, 0.2, False),
        ("top4_support", keep, ids_k, 0.2, 0.5, 100.0, 0.95, 0.2, False),
    ]:
        ro = rollout(z_old, z_t, y, mask, allowed, alpha, scale, clip_r)
        ret, left, raw, white, white_m = advantages(ro["reward"], mask, gamma)
        st = inner(z_old if same else z_new, z_t, y, mask, allowed, ro["old_logprob"], ro["w"], white, eps)
        if alpha is not None:
            assert (ro["w"] <= 1 / (1 - alpha) + 1e-12).all() and (ro["w"] > 0).all()
        c = dict(name=name, alpha=alpha, reward_scaling=scale, reward_clip=clip_r, gamma=gamma, cliprange=eps,
                 student_logits_used="old" if same else "new", support="top4_of_old" if allowed is keep else "full",
                 response_ids=y.tolist())
        c.update({k: L(v) for k, v in ro.items()})
        c.update(discounted_return=L(ret), tokens_left=L(left), advantage_raw=L(raw), advantage_whitened=L(white),
                 advantage_whitened_masked=L(white_m))
        c.update({k: (v.item() if v.dim() == 0 else L(v)) for k, v in st.items()})
        c["rl_loss"] = (st["pg_loss"] + st["reg_loss"]).item()
        cases.append(c)
    dump("minillm_step.json", dict(
        about="logits are those that predict each response token; mask marks real targets (final end token included)",
        student_logits_old=L(z_old), student_logits_new=L(z_new), teacher_logits=L(z_t), mask=L(mask), lengths=lens,
        top4_support=keep.int().tolist(), cases=cases))


def make_kd():
    r = np.random.default_rng(3)
    B, T, V = 2, 4, 6
    z, zt = torch.tensor(r.normal(0, 1, (B, T, V))), torch.tensor(r.normal(0, 2, (B, T, V)))
    lab = torch.tensor([[-100, 2, 5, 0], [1, 3, -100, -100]])
    out = []
    for ratio in (0.0, 0.5, 1.0):
        x = z.clone().requires_grad_()
        s = torch.log_softmax(x, -1)
        mk = (lab != -100).double()
        lm = (-gather(s, lab.clamp_min(0)) * mk).sum() / mk.sum()
        kd = (-(torch.softmax(zt, -1) * s).sum(-1) * mk).sum() / mk.sum()
        loss = (1 - ratio) * lm + ratio * kd
        g = torch.autograd.grad(loss, x)[0]
        tgt = (1 - ratio) * torch.nn.functional.one_hot(lab.clamp_min(0), V) + ratio * torch.softmax(zt, -1)
        assert (g - (torch.softmax(z, -1) - tgt) * (mk / mk.sum()).unsqueeze(-1)).abs().max() < 1e-13
        out.append(dict(kd_ratio=ratio, lm_loss=lm.item(), kd_soft_ce=kd.item(), loss=loss.item(), grad=L(g)))
    ent = (-(torch.softmax(zt, -1) * torch.log_softmax(zt, -1)).sum(-1) * mk).sum() / mk.sum()
    dump("minillm_kd.json", dict(about="word-level KD: (1-r)*CE(labels)+r*softCE(teacher); labels -100 ignored; softCE-entropy=forward KL",
                                 student_logits=L(z), teacher_logits=L(zt), labels=lab.tolist(), teacher_entropy=ent.item(), cases=out))

if __name__ == "__main__":
    make_enum(); make_step(); make_kd()
