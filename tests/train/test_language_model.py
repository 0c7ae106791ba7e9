"""The bench's checkpoint is the language model it was made of, with eyes."""

import pytest
import torch
from transformers import LlamaForCausalLM

from data.config import load
from data.errors import UserError
from train.bench import language_model
from train.bench.config_trained import BenchStagesConfig
from train.config import TrainConfig
from train.model import tiny
from train.model.load import load_processor
from train.sections import ModelKeys


def test_it_says_what_its_language_model_says(tmp_path):
    words = tiny.tiny_tokenizer()
    torch.manual_seed(1)
    shape = tiny.tiny_config(words).text_config
    shape.tie_word_embeddings = True
    language = LlamaForCausalLM(shape).eval()
    folder = language_model.build(language, words, tmp_path / "base", prewarm_steps=20, seed=0)

    from transformers import SmolVLMForConditionalGeneration

    model = SmolVLMForConditionalGeneration.from_pretrained(folder).eval()
    processor = load_processor(ModelKeys(name=str(folder)))
    ids = torch.tensor([processor.tokenizer("a red circle spins")["input_ids"]])
    marks = processor.tokenizer.convert_tokens_to_ids(["<end_of_utterance>", "<|im_end|>"])
    with torch.no_grad():
        ours, theirs = model(input_ids=ids).logits, language(input_ids=ids).logits
    others = [i for i in range(len(words)) if i not in marks]
    torch.testing.assert_close(ours[..., others], theirs[..., others])
    torch.testing.assert_close(
        ours[..., marks[0]], theirs[..., marks[1]]
    )  # it ends as a turn ended
    assert model.generation_config.eos_token_id == marks[0]


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        language_model.read(tmp_path / "none.gguf")


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("lr", [None, 2e-4])
@pytest.mark.parametrize("connector_alone", [True, False])
def test_a_stage_of_the_bench_has_keys_that_training_takes(method, lr, connector_alone):
    stages = BenchStagesConfig(method=method, lr=lr, batch=3)
    keys = stages.keys_of(connector_alone=connector_alone)
    config = load(TrainConfig, ["recipe=demo", *keys])
    assert config.train.batch == 3
    trains = config.optim.rates()
    if connector_alone:
        assert trains == {"vision": 0, "connector": stages.lr_connector, "llm": 0}
    else:
        assert trains["llm"] > 0 and trains["connector"] > 0 and config.train.method == method
