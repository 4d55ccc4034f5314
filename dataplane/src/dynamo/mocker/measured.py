"""Reads measured engine timings: an NPZ file of the mocker's own keys, or a profiler's results folder.

Called once at start; the result is pure data (`timing.Profile`). Raises ProfileError naming the file and key.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from dynamo.mocker.timing import Floats, Profile

GRID_POINTS = 100


class ProfileError(Exception):
    """The profile cannot be used; the message names file and key."""


def read_profile(path: Path) -> Profile:
    """`path` is a .npz file with the keys of `_from_grid`, or a folder with prefill and decode results."""
    if path.is_dir():
        prefill = _load_first(
            path, ("selected_prefill_interpolation/raw_data.npz", "prefill_raw_data.npz", "prefill_raw_data.json")
        )
        decode = _load_first(
            path, ("selected_decode_interpolation/raw_data.npz", "decode_raw_data.npz", "decode_raw_data.json")
        )
        return _from_sweeps(prefill, decode, path)
    return _from_grid(_load(path), path)


def _from_grid(raw: Mapping[str, Any], path: Path) -> Profile:
    isl, ttft = _curve(raw, "prefill_isl", "prefill_ttft_ms", path)
    kv_tokens = _array(raw, "decode_active_kv_tokens", path)
    context = _array(raw, "decode_context_length", path)
    itl = _array(raw, "decode_itl", path)
    if itl.shape != (len(kv_tokens), len(context)):
        raise ProfileError(f"{path}: decode_itl has shape {itl.shape}; expected {(len(kv_tokens), len(context))}")
    rows, columns = np.argsort(kv_tokens), np.argsort(context)
    return Profile(isl, ttft, kv_tokens[rows], context[columns], itl[rows][:, columns])


def _from_sweeps(prefill: Mapping[str, Any], decode: Mapping[str, Any], path: Path) -> Profile:
    """Scattered decode measurements become a grid: inverse-distance weights over the nearest four points."""
    isl, ttft = _curve(prefill, "prefill_isl", "prefill_ttft", path)
    usage = _array(decode, "x_kv_usage", path)
    context = _array(decode, "y_context_length", path)
    itl = _array(decode, "z_itl", path)
    if not len(usage) == len(context) == len(itl):
        raise ProfileError(f"{path}: x_kv_usage, y_context_length and z_itl differ in length")
    max_tokens = float(_array(decode, "max_kv_tokens", path)[0])
    grid_usage = np.linspace(0, 1, GRID_POINTS)
    grid_context = np.linspace(0, float(context.max()), GRID_POINTS)
    scale = max(float(context.max()), 1.0)
    grid = np.empty((GRID_POINTS, GRID_POINTS))
    for row, share in enumerate(grid_usage):
        distance = (usage[None, :] - share) ** 2 + ((context[None, :] - grid_context[:, None]) / scale) ** 2
        nearest = np.argsort(distance, axis=1)[:, : min(4, len(usage))]
        weights = 1 / (np.take_along_axis(distance, nearest, axis=1) + 1e-12)
        grid[row] = (itl[nearest] * weights).sum(axis=1) / weights.sum(axis=1)
    return Profile(isl, ttft, grid_usage * max_tokens, grid_context, grid)


def _curve(raw: Mapping[str, Any], x_key: str, y_key: str, path: Path) -> tuple[Floats, Floats]:
    x, y = _array(raw, x_key, path), _array(raw, y_key, path)
    if len(x) != len(y):
        raise ProfileError(f"{path}: {x_key} has {len(x)} values, {y_key} has {len(y)}")
    order = np.argsort(x)
    return x[order], y[order]


def _array(raw: Mapping[str, Any], key: str, path: Path) -> Floats:
    if key not in raw:
        raise ProfileError(f"{path}: key {key} is missing; found {', '.join(sorted(raw)) or 'nothing'}")
    try:
        values = np.atleast_1d(np.asarray(raw[key], dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ProfileError(f"{path}: {key}: expected numbers: {error}") from error
    if values.size == 0 or not np.isfinite(values).all():
        raise ProfileError(f"{path}: {key}: expected finite numbers, at least one")
    return values


def _load_first(folder: Path, names: tuple[str, ...]) -> Mapping[str, Any]:
    for name in names:
        if (folder / name).exists():
            return _load(folder / name)
    raise ProfileError(f"{folder} has none of {', '.join(names)}")


def _load(path: Path) -> Mapping[str, Any]:
    try:
        if path.suffix == ".json":
            document = msgspec.json.decode(path.read_bytes())
            if not isinstance(document, dict):
                raise ProfileError(f"{path}: expected a JSON object")
            return document
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile, msgspec.DecodeError, AttributeError) as error:
        raise ProfileError(f"{path}: {error}") from error
