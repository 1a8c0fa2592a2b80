#!/usr/bin/env python3
"""Golden numbers of divergences between a teacher's and a student's distributions (float64, deterministic).

Needs: numpy, torch (CPU).  Writes divergences_*.json next to this file.
"""
import json, math, os
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


# ---------------------------------------------------------------- divergences
def family(kind, par, zs, zt, tau):
    """Per-token value [.., T] and gradient of that value w.r.t. raw student logits [.., T, V]."""
    s, t = torch.log_softmax(zs / tau, -1), torch.log_softmax(zt / tau, -1)
    q, p = s.exp(), t.exp()
    mix = lambda a: torch.logsumexp(torch.stack([t + math.log(a), s + math.log1p(-a)]), 0)  # a*p+(1-a)*q
    if kind == "soft_ce":
        d, g = -p * s, None
        grad = q - p
    elif kind == "forward_kl":
        d, grad = p * (t - s), q - p
    elif kind == "reverse_kl":
        d, g = q * (s - t), s - t
        grad = q * (g - (q * g).sum(-1, keepdim=True))
    elif kind == "jsd":
        m = mix(par)
        d, g = par * p * (t - m) + (1 - par) * q * (s - m), (1 - par) * (s - m)
        grad = q * (g - (q * g).sum(-1, keepdim=True))
    elif kind == "skew_forward_kl":
        m = mix(par) if par > 0 else s
        d, g = p * (t - m), -(1 - par) * (t - m).exp()
        grad = q * (g - (q * g).sum(-1, keepdim=True))
    elif kind == "skew_reverse_kl":  # m = (1-a) p + a q
        m = mix(1 - par) if par > 0 else t
        d, g = q * (s - m), (s - m) + 1 - par * (s - m).exp()
        grad = q * (g - (q * g).sum(-1, keepdim=True))
    elif kind == "tv":
        d, g = 0.5 * (q - p).abs(), 0.5 * torch.sign(q - p)
        grad = q * (g - (q * g).sum(-1, keepdim=True))
    else:
        raise ValueError(kind)
    return d.sum(-1), (grad / tau).detach()


KINDS = [("soft_ce", None), ("forward_kl", None), ("reverse_kl", None), ("jsd", 0.1), ("jsd", 0.5),
         ("jsd", 0.9), ("skew_forward_kl", 0.1), ("skew_forward_kl", 0.5), ("skew_reverse_kl", 0.1),
         ("skew_reverse_kl", 0.5), ("tv", None)]


def div_cases(zs, zt, mask, taus=(1.0, 2.0)):
    out = []
    for kind, par in KINDS:
        for tau in taus:
            x = torch.tensor(zs, requires_grad=True)
            val, closed = family(kind, par, x, torch.tensor(zt), tau)
            mk = torch.tensor(mask)
            loss = (val * mk).sum() / mk.sum()
            (auto,) = torch.autograd.grad(loss, x)
            closed = closed * mk.unsqueeze(-1) / mk.sum()
            err = (auto - closed).abs().max().item()
            assert err < 1e-12, (kind, par, err)
            assert auto.sum(-1).abs().max() < 1e-12
            out.append(dict(kind=kind, param=par, temperature=tau, per_token=L(val), loss=loss.item(),
                            grad_student_logits=L(auto)))
    return out


def make_divergences():
    r = np.random.default_rng(20230614)
    B, T, V = 2, 4, 6
    zs, zt = r.normal(0, 1.5, (B, T, V)), r.normal(0, 2.0, (B, T, V))
    mask = np.array([[0, 1, 1, 1], [1, 1, 0, 0]], float)
    dump("divergences_token.json", dict(
        about="loss = sum(mask*per_token)/sum(mask); p=teacher,q=student; jsd(b)=b*KL(p|m)+(1-b)*KL(q|m), m=b*p+(1-b)*q; "
              "skew_forward_kl(a)=KL(p|a*p+(1-a)*q); skew_reverse_kl(a)=KL(q|(1-a)*p+a*q); tv=0.5*L1; no tau^2 factor",
        student_logits=L(zs), teacher_logits=L(zt), mask=L(mask), cases=div_cases(zs, zt, mask)))
    # hard inputs: identical, far apart, ties, peaked, constant shift
    zs = np.array([[[0, 0, 0, 0], [40, 0, 0, 0], [1, 1, -30, 2], [700, 699, 698, 697], [5, 4, 3, 2]]], float)
    zt = np.array([[[0, 0, 0, 0], [0, 40, 0, 0], [1, 1, -30, 2], [-700, -699, -698, -697], [1005, 1004, 1003, 1002]]], float)
    mask = np.ones((1, 5))
    dump("divergences_extreme.json", dict(
        about="rows: equal uniform; disjoint peaks; equal with a far tail; huge magnitude, opposite order; equal up to a constant shift",
        student_logits=L(zs), teacher_logits=L(zt), mask=L(mask), cases=div_cases(zs, zt, mask, (1.0,))))
    # small-beta limit of JSD and the special-cased end points used in practice
    r = np.random.default_rng(5)
    zs, zt = torch.tensor(r.normal(0, 1, (3, 5))), torch.tensor(r.normal(0, 1, (3, 5)))
    lim = []
    for b in (1e-1, 1e-2, 1e-3, 1e-4, 1 - 1e-4, 1 - 1e-3, 1 - 1e-2):
        v, _ = family("jsd", b, zs, zt, 1.0)
        lim.append(dict(beta=b, jsd=L(v), jsd_over_beta=L(v / b), jsd_over_one_minus_beta=L(v / (1 - b))))
    f, _ = family("forward_kl", None, zs, zt, 1.0)
    k, _ = family("reverse_kl", None, zs, zt, 1.0)
    dump("divergences_limits.json", dict(
        about="jsd(b)/b -> forward KL as b->0; jsd(b)/(1-b) -> reverse KL as b->1; jsd itself -> 0 at both ends",
        student_logits=L(zs), teacher_logits=L(zt), forward_kl=L(f), reverse_kl=L(k), limits=lim))
    # vocabulary-size case by formula: no arrays in the file
    V = 50257
    i = np.arange(V, dtype=np.uint64)
    lo = lambda a, c, s: (((i * np.uint64(a) + np.uint64(c)) % np.uint64(65521)).astype(float) / 65521.0 - 0.5) * s
    zs, zt = torch.tensor(lo(2654435, 17, 12.0))[None], torch.tensor(lo(40503, 911, 16.0))[None]
    rows = []
    for kind, par in KINDS:
        x = zs.clone().requires_grad_()
        v, closed = family(kind, par, x, zt, 1.0)
        (auto,) = torch.autograd.grad(v.sum(), x)
        assert (auto - closed).abs().max() < 1e-12
        pick = [0, 1, 2, 1000, 25128, 50255, 50256]
        rows.append(dict(kind=kind, param=par, value=v.item(), grad_l1=auto.abs().sum().item(),
                         grad_l2=auto.norm().item(), grad_at={str(j): auto[0, j].item() for j in pick}))
    # offline top-k cache: two ways to handle the missing tail
    t = torch.log_softmax(zt, -1)[0]; s = torch.log_softmax(zs, -1)[0]
    topk = []
    for kk in (8, 64, 512):
        val, idx = torch.topk(t, kk)
        p = val.exp(); mass = p.sum()
        renorm = ((p / mass) * (val - mass.log() - s[idx])).sum().item()
        qm = s[idx].exp().sum()
        bucket = ((p * (val - s[idx])).sum() + (1 - mass) * (torch.log1p(-mass) - torch.log1p(-qm))).item()
        plain = (p * (val - s[idx])).sum().item()
        topk.append(dict(k=kk, teacher_mass=mass.item(), student_mass=qm.item(), fkl_renormalised_full_student=renorm,
                         fkl_tail_bucket=bucket, fkl_truncated_sum=plain, first_ids=idx[:8].tolist()))
    dump("divergences_bigvocab.json", dict(
        about="V=50257. u(i;a,c)=((i*a+c) mod 65521)/65521-0.5 ; student z=12*u(i;2654435,17), teacher z=16*u(i;40503,911); one token, tau=1",
        student_logsumexp=torch.logsumexp(zs, -1).item(), teacher_logsumexp=torch.logsumexp(zt, -1).item(),
        full=rows, teacher_topk=topk))


if __name__ == "__main__":
    make_divergences()
