import pytest
import torch

from vgen.errors import InputError
from vgen.state.action_heads import HEADS, make_head, masked_error

LAYOUTS = {"one": 1, "two": 2}


def fit(head, actions, layout, steps=300):
    """Trains a head on actions [N, K, D] that all follow from the same hidden state."""
    hidden = torch.zeros(1, actions.shape[1], 8)
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(steps):
        chosen = actions[torch.randint(len(actions), (64,))]
        loss = head.loss(hidden.expand(64, -1, -1), chosen, torch.ones(chosen.shape[:2], dtype=torch.bool), layout)
        optimizer.zero_grad()
        loss.mean().backward()
        optimizer.step()
    return hidden.expand(200, -1, -1)


# Two futures: three steps to the left, or three to the right, equally often.
BIMODAL = torch.tensor([[-1.0] * 3, [1.0] * 3]).unsqueeze(-1)


def test_flow_draws_both_futures_and_each_as_a_whole():
    head = make_head("flow", LAYOUTS, 8, 32)
    hidden = fit(head, BIMODAL, "one")
    with torch.no_grad():
        drawn = head.sample(hidden, "one", torch.Generator().manual_seed(0))
    near = (drawn.abs() - 1).abs().amax((1, 2)) < 0.5  # all three steps lie at -1 or 1 ...
    whole = drawn.sign().sum(1).abs().squeeze(-1) == 3  # ... and on the same side
    left = (drawn.mean((1, 2)) < 0).float().mean()
    assert (near & whole).float().mean() > 0.8
    assert 0.25 < left < 0.75


def test_regression_answers_with_the_mean():
    head = make_head("regression", LAYOUTS, 8, 32)
    hidden = fit(head, BIMODAL, "one", steps=150)
    with torch.no_grad():
        assert head.sample(hidden, "one").abs().max() < 0.4


@pytest.mark.parametrize("name", HEADS)
def test_the_interface(name):
    head = make_head(name, LAYOUTS, 8, 32).eval()
    hidden = torch.randn(3, 4, 8)
    actions, valid = torch.randn(3, 4, 2), torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    actions[~valid] = float("nan")
    torch.manual_seed(1)
    loss = head.loss(hidden, actions, valid, "two")
    assert loss.shape == (3,) and loss[2] == 0 and (loss[:2] > 0).all()
    loss.sum().backward()
    assert all(p.grad.isfinite().all() for p in head.parameters() if p.grad is not None)
    draw = [head.sample(hidden, "two", torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert draw[0].shape == (3, 4, 2)
    assert torch.equal(draw[0], draw[1])
    assert torch.equal(draw[0], draw[2]) == (name == "regression")


@pytest.mark.parametrize("name", HEADS)
def test_what_is_past_the_end_of_an_episode_does_not_count(name):
    head = make_head(name, LAYOUTS, 8, 32).eval()
    hidden, actions, valid = torch.randn(1, 3, 8), torch.randn(1, 3, 2), torch.tensor([[True, True, False]])
    losses = []
    for value in (0.0, 100.0):
        actions[0, 2] = value
        torch.manual_seed(1)
        losses.append(head.loss(hidden, actions, valid, "two"))
    assert torch.equal(*losses)


def test_masked_error_is_a_mean_over_valid_actions():
    error, valid = torch.tensor([[[1.0, 3.0], [2.0, 2.0], [9.0, 9.0]]]), torch.tensor([[True, True, False]])
    assert masked_error(error, valid).tolist() == [(1 + 9 + 4 + 4) / 4]


def test_an_unknown_head_names_the_nearest():
    with pytest.raises(InputError, match="nearest: 'flow'"):
        make_head("flows", LAYOUTS, 8, 32)
