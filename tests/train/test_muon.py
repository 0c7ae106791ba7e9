"""Muon: matrices of layers by orthogonal momentum, all else by AdamW."""

import copy

import pytest
import torch

from data.config import load
from data.errors import UserError
from tests.helpers.runs import train
from train.config import TrainConfig
from train.loop.arguments import parameter_groups
from train.model.muon import Muon, orthogonal
from train.sections import OptimKeys


class Layered(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = torch.nn.Embedding(10, 8)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 16), torch.nn.Linear(16, 8)])

    def forward(self, ids):
        x = self.embed(ids)
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x.square().sum()


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = Layered()


def stepped(model, optimizer, steps):
    for step in range(steps):
        optimizer.zero_grad()
        model.model(torch.arange(10).roll(step)[: 10 - step]).backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(8, 8), (40, 6), (6, 40)])
def test_a_matrix_becomes_orthogonal(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonal(matrix))
    assert orthogonal(matrix).shape == shape and values.min() > 0.3 and values.max() < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(
        orthogonal(matrix).flatten(), (u @ v).flatten(), dim=0
    ) > 0.95  # fmt: skip


def test_matrices_of_layers_are_trained_by_it_and_the_rest_as_ever():
    ours, plain = Model(), Model()
    groups = parameter_groups(ours, OptimKeys(name="muon", lr=0.01))
    by_muon = [p for g in groups if g["muon"] for p in g["params"]]
    assert {p.shape for p in by_muon} == {(16, 8), (8, 16)}
    stepped(ours, Muon(groups, lr=0.01, weight_decay=0.0), 1)
    stepped(plain, torch.optim.AdamW(plain.parameters(), lr=0.01, weight_decay=0.0), 1)
    before = dict(Model().named_parameters())
    for name, weight in ours.named_parameters():
        other = plain.get_parameter(name)
        if any(weight is p for p in by_muon):
            step = (weight - before[name]).square().mean().sqrt().item()
            assert step == pytest.approx(0.2 * 0.01, rel=0.4)  # as large as AdamW's usual one
        else:
            torch.testing.assert_close(weight, other)


def test_its_state_is_saved_and_read():
    ours = Model()
    optimizer = Muon(parameter_groups(ours, OptimKeys(name="muon", lr=0.01)), lr=0.01)
    stepped(ours, optimizer, 2)
    again = Model()
    again.load_state_dict(ours.state_dict())
    second = Muon(parameter_groups(again, OptimKeys(name="muon", lr=0.01)), lr=0.01)
    second.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    stepped(ours, optimizer, 3)
    stepped(again, second, 3)
    for one, other in zip(ours.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_run_trains_with_it(world, tmp_path):
    keys = ("train.method=full", "optim.name=muon", "train.steps=3", "optim.lr=5e-3")
    results = train(world, tmp_path / "run", *keys)
    assert results["eval_loss_after"] < results["eval_loss_before"] - 0.1


def test_an_adapter_has_no_use_for_it():
    with pytest.raises(UserError, match=r"muon: needs train\.method=full"):
        load(TrainConfig, ["recipe=lora", "optim.name=muon"])
