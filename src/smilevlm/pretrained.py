"""CLIP as transformers writes it, from a local folder or the hub: quietly, and with one clear error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from smilevlm.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import (
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionModelWithProjection,
        PreTrainedConfig,
        PreTrainedModel,
    )

_Loaded = TypeVar("_Loaded")
_Model = TypeVar("_Model", bound="PreTrainedModel")
# A byte-pair tokenizer of CLIP knows every byte, alone and at the end of a word.
_FEWEST_TOKENS = 512
SAFETENSORS_REVISIONS = {"openai/clip-vit-base-patch32": "refs/pr/15"}
"""Where the hub keeps the safetensors of CLIPs whose main branch has pickles alone: without a revision transformers
would ask a service to convert them."""


def load_clip_vision(name: str, *, projected: bool = True) -> CLIPVisionModelWithProjection:
    """The image half of a CLIP with its projection; see `load_clip_text`.

    Args:
        name: As `load_clip_text` takes it.
        projected: Whether the weights of the projection must be there.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    optional = () if projected else ("visual_projection.weight",)
    return _load(CLIPVisionModelWithProjection, name, _config(name, "vision", CLIPVisionConfig), optional)


def clip_width(name: str) -> int:
    """Width of a CLIP's joint space of image and text, from its configuration alone.

    Args:
        name: As `load_clip_text` takes it.

    Raises:
        CheckpointError: Nothing is there, it cannot be fetched, or it is no CLIP.
    """
    from transformers import CLIPVisionConfig

    width = getattr(_config(name, "vision", CLIPVisionConfig), "projection_dim", None)
    if not isinstance(width, int) or width < 1:
        raise CheckpointError(f"{name}: the configuration says no width of the joint space: {width!r}")
    return width


def load_clip_text(name: str) -> CLIPTextModelWithProjection:
    """The text half of a CLIP with its projection, in float32, in evaluation mode.

    A hub id is downloaded once and then read from the hub's cache; nothing is printed meanwhile. Torch's global random
    state stays as it was. Only safetensors are read.

    Args:
        name: Local folder or hub id, of a whole CLIP or of this half with its projection. `owner/name@revision` takes
            that branch, tag, commit or pull request (`refs/pr/N`); without one, see `SAFETENSORS_REVISIONS`.

    Raises:
        CheckpointError: Nothing is there, it cannot be fetched, it is no CLIP, or its weights are damaged or
            incomplete.
    """
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return _load(CLIPTextModelWithProjection, name, _config(name, "text", CLIPTextConfig))


def load_clip_tokenizer(name: str, vocabulary_size: int) -> CLIPTokenizer:
    """The tokenizer that lies beside a CLIP's weights.

    Args:
        name: As `load_clip_text` takes it.
        vocabulary_size: Rows of the text model's token table.

    Raises:
        CheckpointError: There is none, or it belongs to another model.
    """
    from transformers import CLIPTokenizer

    where, revision = _place(name)
    tokenizer = _fetch(name, lambda: CLIPTokenizer.from_pretrained(where, revision=revision))
    # Without tokenizer files transformers makes one that knows no word at all.
    if not _FEWEST_TOKENS <= len(tokenizer) <= vocabulary_size:
        raise CheckpointError(
            f"{name}: no tokenizer for this model of {vocabulary_size} tokens: found one of {len(tokenizer)}"
        )
    return tokenizer


def _config(name: str, half: Literal["vision", "text"], kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    from transformers import CLIPConfig, PreTrainedConfig

    where, revision = _place(name)
    values = _fetch(name, lambda: PreTrainedConfig.get_config_dict(where, revision=revision)[0])
    given = values.get("model_type")
    if given == "clip":
        whole = _fetch(name, lambda: CLIPConfig.from_dict(values))
        config = getattr(whole, f"{half}_config")
        # The halves of a saved CLIP may disagree with it on the width of the joint space; its weights follow the whole.
        config.projection_dim = whole.projection_dim
        return config
    if given == kind.model_type:
        return _fetch(name, lambda: kind.from_dict(values))
    raise CheckpointError(f"{name}: expected a CLIP or its {half} model, got a model of type {given!r}")


def _load(kind: type[_Model], name: str, config: PreTrainedConfig, optional: Sequence[str] = ()) -> _Model:
    import torch

    where, revision = _place(name)
    options: dict[str, Any] = {
        "revision": revision,
        "config": config,
        "dtype": torch.float32,
        "attn_implementation": "sdpa",
        "output_loading_info": True,
        # No pickles, also where a model that somebody else trained names its text tower.
        "use_safetensors": True,
    }
    with torch.random.fork_rng(devices=[]):
        loaded: Any = _fetch(name, lambda: kind.from_pretrained(where, **options))
    model, report = loaded
    if missing := sorted(set(report["missing_keys"]) - set(optional)):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CheckpointError(f"{name}: the weights lack {', '.join(missing[:3])}{more}")
    return model.eval()


def _place(name: str) -> tuple[str, str]:
    """Folder or hub id, and the revision; a folder goes before an id of the same name."""
    if Path(name).is_dir():
        return name, "main"
    repository, _, revision = name.partition("@")
    return repository, revision or SAFETENSORS_REVISIONS.get(repository, "main")


def _fetch(name: str, load: Callable[[], _Loaded]) -> _Loaded:
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    if not name or (not Path(name).is_dir() and (name.partition("@")[0].count("/") != 1 or name[0] in "./~")):
        raise CheckpointError(f"{name}: no such folder, and not a hub id such as openai/clip-vit-base-patch32")
    try:
        with _quiet():
            return load()
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{name}: CLIP cannot be loaded from this folder or hub id: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    if bars:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
