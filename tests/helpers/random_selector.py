"""A selector of random weights, in which every weight counts."""

import atexit
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import torch

from data.selection.learned import selector
from data.selection.learned.network import SelectorNet, tensors_of


def random_net(seed=0):
    torch.manual_seed(seed)
    network = SelectorNet().eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return network


@lru_cache(maxsize=1)
def random_selector():
    """A folder with all parts."""
    folder = Path(tempfile.mkdtemp(prefix="selector-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    selector.write(folder, tensors_of(random_net()), {part: {} for part in selector.PARTS}, {})
    return str(folder)


def needs(policy):
    """The keys without which a policy that needs no encoder is refused."""
    return {"selector": random_selector()} if policy == "learned" else {}
