"""Load processor and model: precision for the device, quantisation, and which weights train."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from transformers import (
    AutoProcessor,
    BitsAndBytesConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMProcessor,
)

from data.errors import UserError, first_line
from train.model.adapter import with_adapter
from train.model.connector import widen
from train.model.library_checks import set_known
from train.model.lora_targets import CONNECTOR, LORA_TARGETS
from train.model.sharding import sharding, weights_are_sharded
from train.run.saved import SavedRun
from train.sections import LoraKeys, Method, ModelKeys, OptimKeys

NOT_QUANTISED = ["model.vision_model", "model.connector", "lm_head"]
"""Modules kept out of 4-bit quantisation. Full names: transformers 5 anchors them at the start, so that
short ones would match nothing."""
PARTS = {"vision": "model.vision_model.", "connector": "model.connector.", "llm": ""}


DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
"""By their names in `model.dtype`."""


@dataclass(frozen=True)
class Precision:
    """A device and its compute precision."""

    device: str
    compute: torch.dtype
    """Precision of activations and frozen weights."""

    @property
    def name(self) -> str:
        """The name of `compute` in `model.dtype`."""
        return next(name for name, dtype in DTYPES.items() if dtype is self.compute)


def device_name() -> str:
    """Name of this process's GPU, or `cpu`."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def pick_precision(dtype: str) -> Precision:
    """bf16 where it is native, fp16 on older GPUs (a T4 only emulates bf16), fp32 on a CPU."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if dtype == "auto" and device == "cpu":
        return Precision(device, torch.float32)
    native = device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
    if dtype == "auto":
        return Precision(device, torch.bfloat16 if native else torch.float16)
    if dtype == "bf16" and not native:
        raise UserError(
            f"model.dtype=bf16: a {torch.cuda.get_device_name()} only emulates it, slowly; "
            "leave model.dtype=auto (recipe=t4)"
        )
    if dtype == "fp16" and device == "cpu":
        raise UserError("model.dtype=fp16: a CPU trains in fp32 or bf16; leave model.dtype=auto")
    return Precision(device, DTYPES[dtype])


def load_processor(keys: ModelKeys) -> SmolVLMProcessor:
    try:
        processor = AutoProcessor.from_pretrained(keys.name, revision=keys.revision)
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.name={keys.name}: no processor can be loaded: {first_line(error)}"
        ) from None
    if not isinstance(processor, SmolVLMProcessor):
        raise UserError(
            f"model.name={keys.name}: not a SmolVLM2 checkpoint ({type(processor).__name__})"
        )
    if keys.tokens_a_frame is not None:
        processor.image_seq_len = keys.tokens_a_frame
    return processor


def load_model(
    keys: ModelKeys, method: Method, precision: Precision
) -> SmolVLMForConditionalGeneration:
    """The base model, all weights loaded from safetensors, with `keys.tokens_a_frame`.

    Raises:
        UserError: it cannot be loaded, or not in 4 bits here, or cannot have so many tokens a frame.
    """
    quantisation = None
    if method == "qlora":
        if sharding() == "ZeRO-3":
            raise UserError(
                "train.method=qlora: DeepSpeed's ZeRO-3 cannot share out 4-bit weights; use "
                "recipes/accelerate/ddp.yaml or fsdp2.yaml"
            )
        quantisation = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=precision.compute,
            # FSDP shards only floats: the same bits are stored under a float dtype
            bnb_4bit_quant_storage=precision.compute if weights_are_sharded() else torch.uint8,
            llm_int8_skip_modules=NOT_QUANTISED,
        )
    try:
        model = SmolVLMForConditionalGeneration.from_pretrained(
            keys.name,
            revision=keys.revision or "main",
            dtype=weights_dtype(keys, method, precision.compute),
            attn_implementation=keys.attention,
            quantization_config=quantisation,
            use_safetensors=True,
            device_map={"": torch.cuda.current_device()}
            if quantisation and precision.device == "cuda"
            else None,
        )
    except ImportError as error:
        raise UserError(
            f"model.attention={keys.attention}: {first_line(error)}; use model.attention=sdpa"
        ) from None
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"model.name={keys.name}: no weights can be loaded: {first_line(error)}"
        ) from None
    if method == "qlora" and precision.device == "cpu":
        for module in model.modules():
            if isinstance(module, Linear4bit):
                # On CPUs with AVX512-BF16, an evaluation would repack the weights for a fast kernel
                # that has no backward. Training would continue with it and get wrong gradients.
                set_known(module, "support_avx512bf16_for_cpu", False, "bitsandbytes")
    check_position_ids(model)
    widen(model, keys.tokens_a_frame)
    return model


def weights_dtype(keys: ModelKeys, method: Method, compute: torch.dtype) -> torch.dtype:
    """Dtype of the weights that are not in 4 bits.

    Full fine-tuning holds them in fp32 and computes in `compute` under autocast (bf16 weights lose
    small updates), unless model.dtype asks for bf16 weights outright.
    """
    return torch.float32 if method == "full" and keys.dtype != "bf16" else compute


def check_position_ids(model: SmolVLMForConditionalGeneration) -> None:
    """Check that each vision patch gets its own position; some transformers versions shift them.

    Raises:
        UserError: positions are wrong; the message names the version to install.
    """
    embeddings = model.model.vision_model.embeddings
    side = embeddings.num_patches_per_side
    weight = embeddings.patch_embedding.weight
    seen: list[torch.Tensor] = []
    hook = embeddings.position_embedding.register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    picture = torch.zeros(
        1, 3, embeddings.image_size, embeddings.image_size, dtype=weight.dtype, device=weight.device
    )
    whole = torch.ones(1, side, side, dtype=torch.bool, device=weight.device)
    try:
        with torch.no_grad():
            embeddings(picture, whole)
    finally:
        hook.remove()
    if not torch.equal(seen[0].flatten().cpu(), torch.arange(side * side)):
        import transformers

        raise UserError(
            f"transformers {transformers.__version__} gives vision patches wrong positions in "
            f"{weight.dtype}; pip install 'transformers>=5.21.1'"
        )


def set_trainable(
    model: SmolVLMForConditionalGeneration,
    method: Method,
    lora: LoraKeys,
    optim: OptimKeys,
    revision: str | None = None,
    went_on: SavedRun | None = None,
) -> SmolVLMForConditionalGeneration | PeftModel:
    """Freeze what does not train and attach the adapter, which remembers the base's `revision`: a new one, or that of
    the run `went_on`.

    Raises:
        UserError: the run's adapter does not fit the model.
    """
    if method == "full":
        rates = optim.rates()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(rates[part_of(name)] > 0)
    else:
        config = LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=LORA_TARGETS[lora.targets],
            use_dora=lora.dora,
            use_rslora=lora.rslora,
            task_type="CAUSAL_LM",
            modules_to_save=[CONNECTOR] if lora.connector else None,
        )
        model.requires_grad_(False)
    if method == "full":
        return model
    if went_on is None:
        adapted: PeftModel = get_peft_model(model, config, revision=revision)
    else:
        config.base_model_name_or_path = model.name_or_path
        config.revision = revision
        adapted = with_adapter(model, went_on, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # half precision would lose small updates of a whole connector
            parameter.data = parameter.data.float()
    return adapted


def disable_lora_input_cast(model: torch.nn.Module) -> None:
    """Stop peft from casting an adapter's input to 32 bits. Under autocast the adapter computes in half
    precision anyway, and the 32-bit copy costs more memory than the layer itself."""
    for module in model.modules():
        if isinstance(module, LoraLayer):
            set_known(module, "cast_input_dtype_enabled", False, "peft")


def trainable_by_part(model: torch.nn.Module) -> dict[str, int]:
    """How many parameters train in the vision tower, the connector and the language model."""
    counts = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts[part_of(name)] += parameter.numel()
    return counts


def part_of(name: str) -> str:
    """Parameter name → vision, connector or llm."""
    return next(part for part, prefix in PARTS.items() if prefix in name)


def count_parameters(model: torch.nn.Module) -> int:
    """Number of all weights; a byte of 4-bit weights counts as two."""
    total = 0
    for parameter in model.parameters():
        packed = isinstance(parameter, Params4bit) and parameter.bnb_quantized
        total += parameter.numel() * (2 * parameter.itemsize if packed else 1)
    return total


def describe_trainable(model: torch.nn.Module) -> str:
    """`31.7 M of 2.2 B parameters train (llm: 31.7 M, …)`"""
    parts = trainable_by_part(model)
    shown = ", ".join(f"{part}: {human(n)}" for part, n in parts.items() if n)
    return f"{human(sum(parts.values()))} of {human(count_parameters(model))} parameters train ({shown})"


def human(count: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return str(count)
