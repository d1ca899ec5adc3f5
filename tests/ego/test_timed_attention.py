"""Attention in time against loops over what each query sees."""

import numpy as np
import pytest
import torch

from vgen.ego.timed_attention import TimedAttention, not_later, rotation_at

HEAD = 6


def turned(vector, time):
    """The rotary embedding by its definition: neighbouring channels as a complex number, turned by time · frequency."""
    pairs = vector[0::2] + 1j * vector[1::2]
    pairs = pairs * np.exp(1j * time * 10000.0 ** (-np.arange(0, len(vector), 2) / len(vector)))
    return np.stack([pairs.real, pairs.imag], axis=1).ravel()


def by_loops(attention, queries, when, context, times, sees, slopes=(0.0, 0.0), gain=1.0):
    """One query and one head at a time, over the context that it sees."""
    heads = attention.to_q.weight.shape[0] // HEAD
    project = [w.weight.detach().double().numpy() for w in (attention.to_q, attention.to_k, attention.to_v)]
    gains = [norm.weight.detach().double().numpy() for norm in (attention.norm_q, attention.norm_k)]
    out = np.zeros((len(queries), heads * HEAD))
    for i, query in enumerate(queries.double().numpy()):
        for h in range(heads):
            part = slice(h * HEAD, (h + 1) * HEAD)
            q = turned(normed(project[0][part] @ query) * gains[0], when[i])
            logits, values = [], []
            for j, known in enumerate(context.double().numpy()):
                if sees[i][j]:
                    logit = q @ turned(normed(project[1][part] @ known) * gains[1], times[j]) / HEAD**0.5
                    logits.append(logit - slopes[h] * (when[i] - times[j]))
                    values.append(project[2][part] @ known)
            weights = np.exp(logits) / np.exp(logits).sum()
            out[i, part] = weights @ np.stack(values)
    return (out * gain) @ attention.to_out.weight.detach().double().numpy().T


def normed(vector):
    return vector / np.sqrt((vector**2).mean() + torch.finfo(torch.float32).eps)


@pytest.mark.parametrize("recent", [False, True])
def test_it_is_the_loops(recent):
    attention = TimedAttention(5, 7, 2 * HEAD, 2, recent)
    for norm in (attention.norm_q, attention.norm_k):
        torch.nn.init.normal_(norm.weight, mean=1.5, std=0.3)
    queries, context = torch.randn(1, 4, 5), torch.randn(1, 6, 7)
    when = torch.tensor([[0.0, 2.5, 4.0, 40.0]]).double()
    times = torch.tensor([[1.0, 2.0, 2.5, 3.0, 9.0, -3.0]]).double()
    sees = not_later(times, when)
    assert sees[0].sum(1).tolist() == [1, 4, 5, 6]
    heads = attention.keys_values(context, rotation_at(times, HEAD))
    age = when.unsqueeze(2) - times.unsqueeze(1)
    got = attention(queries, rotation_at(when, HEAD), heads, sees, age)
    slopes = (1.0, 0.5) if recent else (0.0, 0.0)
    expected = by_loops(attention, queries[0], when[0].numpy(), context[0], times[0].numpy(), sees[0], slopes)
    np.testing.assert_allclose(got[0].detach(), expected, atol=1e-5)

    gain = torch.randn(4, 2 * HEAD)
    got = attention(queries, rotation_at(when, HEAD), heads, sees, age, gain)
    expected = by_loops(
        attention, queries[0], when[0].numpy(), context[0], times[0].numpy(), sees[0], slopes, gain.double().numpy()
    )
    np.testing.assert_allclose(got[0].detach(), expected, atol=1e-5)


def test_only_differences_of_time_count():
    attention = TimedAttention(5, 7, 2 * HEAD, 2)
    queries, context = torch.randn(2, 4, 5), torch.randn(2, 6, 7)
    when, times = 8 * torch.rand(2, 4).double(), 8 * torch.rand(2, 6).double()

    def run(shift):
        heads = attention.keys_values(context, rotation_at(times + shift, HEAD))
        return attention(queries, rotation_at(when + shift, HEAD), heads, not_later(times, when))

    torch.testing.assert_close(run(1000.0), run(0.0), atol=1e-5, rtol=1e-5)
    assert (
        run(0.0) - attention(queries, None, attention.keys_values(context, None), not_later(times, when))
    ).abs().max() > 1e-3


def test_a_query_that_sees_nothing_gets_zero_and_finite_gradients():
    attention = TimedAttention(5, 7, 2 * HEAD, 2)
    queries, context = torch.randn(1, 2, 5, requires_grad=True), torch.randn(1, 3, 7, requires_grad=True)
    visible = torch.tensor([[[False] * 3, [True, False, True]]])
    got = attention(queries, None, attention.keys_values(context, None), visible)
    got.square().sum().backward()
    assert not got[0, 0].any() and got[0, 1].abs().max() > 0
    assert queries.grad.isfinite().all() and context.grad.isfinite().all()
    assert not queries.grad[0, 0].any() and not context.grad[0, 1].any()


def test_the_same_time_is_seen_though_rounding_stands_between():
    stride = 3
    frames = torch.arange(1, 200).double()
    assert not_later(frames[:, None], stride * (frames[:, None] / stride)).all()
    assert not not_later(frames[:, None] + 0.001, frames[:, None]).any()
