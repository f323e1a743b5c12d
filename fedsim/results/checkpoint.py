"""A run's newest state on disk: tensors and numbers only, so that reading one executes nothing."""

from __future__ import annotations

from pathlib import Path

from fedsim.domain import Mistake, ServerState

FORMAT = "1"


def dumps(state: ServerState) -> bytes:
    """A state as the bytes of a safetensors file."""
    from safetensors.torch import save

    tensors = {"params": state.params, "momentum": state.momentum}
    if state.kept is not None:
        tensors["kept"] = state.kept
    tensors |= {f"memory/{name}": tensor for name, tensor in state.memory.items()}
    metadata = {"format": FORMAT, "round": str(state.round), "skipped": str(state.skipped)}
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, metadata)


def load(path: Path, like: ServerState) -> ServerState:
    """The state in a file, for a run that starts like ``like``; raises Mistake for anything but its checkpoint."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise Mistake(f"--resume: {path} is no checkpoint: {error}") from error
    if metadata.get("format") != FORMAT:
        raise Mistake(f"--resume: {path} has format {metadata.get('format')}; this version reads format {FORMAT}")
    own = {"params": like.params, "momentum": like.momentum, **({} if like.kept is None else {"kept": like.kept})}
    counts = [metadata.get(name, "") for name in ("round", "skipped")]
    # A rule's memory may grow; all else has the sizes it started with.
    memory = {name: tensor for name, tensor in tensors.items() if name.startswith("memory/")}
    fits = tensors.keys() - memory.keys() == own.keys() and all(tensors[name].shape == own[name].shape for name in own)
    if not fits or not all(count.isdecimal() for count in counts):
        raise Mistake(f"--resume: {path} is a checkpoint of another run")
    device = like.params.device
    return ServerState(
        round=int(metadata["round"]),
        params=tensors["params"].to(device),
        memory={name.removeprefix("memory/"): tensor.to(device) for name, tensor in memory.items()},
        momentum=tensors["momentum"].to(device),
        skipped=int(metadata["skipped"]),
        kept=None if like.kept is None else tensors["kept"].to(device),
    )
