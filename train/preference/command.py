"""What train/prefer.py does: training on pairs, with all that training on a dataset has."""

from __future__ import annotations

from functools import partial

from data.errors import UserError, this_python
from data.prepared.dataset import Prepared
from train.preference.config import PreferConfig
from train.preference.pairs import Pairs, read_pairs, read_record
from train.training import Learning, train_run


def prefer(config: PreferConfig) -> dict[str, float]:
    """Pairs + a run or checkpoint → run folder with adapter (or model), policy and records.

    Raises:
        UserError: the pairs cannot be read or answer another dataset, or as `train_run`.
    """
    if not config.train.resume and config.prefer.method != "grpo":
        if config.pairs is None:
            raise UserError(
                f"pairs: missing; {this_python()} scripts/sample.py run=… data.path=…  makes them"
            )
        record = read_record(config.pairs)
        known = {"path": record["dataset"]["path"], **record["asked"]}
        given = config.data.model_fields_set
        data = config.data.model_copy(update={k: v for k, v in known.items() if k not in given})
        config = config.model_copy(update={"data": data})
    return train_run(config, _answers)


def _answers(config: PreferConfig, dataset: Prepared) -> Learning:
    """What is learned by the method that is asked for."""
    return _groups(config) if config.prefer.method == "grpo" else _pairs(config, dataset)


def _groups(config: PreferConfig) -> Learning:
    """Answers are sampled and compared with each other."""
    from train.preference.groups import make_group_trainer
    from train.preference.samples import load_prompts

    keys = config.prefer
    about = {
        **keys.model_dump(),
        "reward": config.reward.model_dump(),
        "soda_text": config.soda_text,
    }
    return Learning(
        partial(load_prompts, answers=keys.answers, longest=keys.max_new_tokens),
        make_group_trainer,
        {"prefer": about},
    )


def _pairs(config: PreferConfig, dataset: Prepared) -> Learning:
    """Pairs are learned: the better answer over the worse, or the better one."""
    from train.loop.trainer import make_trainer
    from train.preference.samples import load_pairs
    from train.preference.trainer import make_pair_trainer

    assert config.pairs is not None
    pairs = read_pairs(config.pairs)
    _check_same(config, pairs, dataset)
    best_only = config.prefer.method == "rft"
    watched = None
    if config.eval.generate_every is not None:
        watched = f"eval.generate_every={config.eval.generate_every}"
    elif config.eval.best != "none":
        watched = f"eval.best={config.eval.best}"
    return Learning(
        partial(load_pairs, pairs=pairs, best_only=best_only, watched=watched),
        make_trainer if best_only else make_pair_trainer,
        {
            "prefer": {
                **config.prefer.model_dump(),
                "pairs": config.pairs,
                "made": {
                    key: pairs.record[key]
                    for key in ("run", "samples", "reward", "makers", "margin", "pairs")
                },
            }
        },
    )


def _check_same(config: PreferConfig, pairs: Pairs, dataset: Prepared) -> None:
    """Check that the pairs answer this dataset, and the question that is asked now.

    Raises:
        UserError: they do not.
    """
    if config.train.force:
        return
    told = pairs.record["dataset"]
    if told["sha256"] != dataset.sha256:
        raise UserError(
            f"pairs={config.pairs}: they answer {told['path']}, which is not data.path={dataset.path} (or was prepared "
            "anew); sample again (train.force=true: those whose ids are there)"
        )
    for key, was in pairs.record["asked"].items():
        now = getattr(config.data, key)
        if now != was:
            raise UserError(
                f"pairs={config.pairs}: answers to data.{key}={was}, and data.{key}={now} is asked now; leave data.{key} "
                "out, or sample again (train.force=true learns them all the same)"
            )
