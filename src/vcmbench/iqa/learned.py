"""LPIPS, DISTS and PieAPP: distances in the features of trained networks.

R. Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018; K. Ding et al.,
"Image quality assessment: unifying structure and texture similarity", IEEE TPAMI 44(5), 2022; E. Prashnani et al.,
"PieAPP: perceptual image-error assessment through pairwise preference", CVPR 2018.

piq's and piqa's own code computes them. Their constructors fetch weights by themselves, unchecked, so the parts are put
together here from files that were checked.
"""

from __future__ import annotations

import piq
import torch
import torchvision
from piq.functional import crop_patches
from piq.perceptual import ContentLoss
from piq.pieapp import PieAPPModel
from piqa.lpips import Perceptual
from piqa.utils.color import ImageNetNorm
from piqa.utils.functional import l2_norm

from vcmbench.errors import RequestError
from vcmbench.iqa.batch import Batch
from vcmbench.iqa.metric import Opened
from vcmbench.iqa.weights import DISTS, LPIPS, PIEAPP, VGG16, WeightFile, Weights

_TAPS = (3, 8, 15, 22, 29)
"""relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3 among VGG16's layers."""
_CHANNELS = (64, 128, 256, 512, 512)
_PATCH_PX, _STRIDE_PX, _PATCHES_AT_ONCE = 64, 27, 64


def _fill(module: torch.nn.Module, state: dict[str, torch.Tensor], file: WeightFile) -> None:
    """Give a network without weights (on the device "meta") its own, on the CPU.

    Raises RequestError where they are another network's, or not finite.
    """
    module.to_empty(device="cpu")
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise RequestError(
            f"{file.name}: holds another network's weights: {' '.join(str(error).split())[:160]}"
        ) from None
    if not all(bool(torch.isfinite(tensor).all()) for tensor in module.state_dict().values()):
        raise RequestError(f"{file.name}: holds weights that are not finite")
    module.eval().requires_grad_(False)


def _vgg16(weights: Weights) -> torch.nn.Sequential:
    state = weights.load(VGG16)
    with torch.device("meta"):  # to draw 138 million random weights first takes seconds
        features: torch.nn.Sequential = torchvision.models.vgg16(weights=None).features
    prefix = "features."
    _fill(features, {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}, VGG16)
    return features


def _shaped(tensor: torch.Tensor, shape: tuple[int, ...], file: WeightFile) -> torch.Tensor:
    if tensor.numel() != torch.Size(shape).numel() or not bool(torch.isfinite(tensor).all()):
        raise RequestError(f"{file.name}: holds another network's weights: {tuple(tensor.shape)}, not {shape}")
    return tensor.float().reshape(shape)


def _linear(weights: Weights) -> list[torch.Tensor]:
    """LPIPS's weight of each channel of each layer, (1, channels, 1, 1)."""
    state = list(weights.load(LPIPS).values())
    if len(state) != len(_CHANNELS):
        raise RequestError(f"{LPIPS.name}: holds {len(state)} tensors, not {len(_CHANNELS)}: another network's weights")
    return [_shaped(tensor, (1, n, 1, 1), LPIPS) for tensor, n in zip(state, _CHANNELS, strict=True)]


def lpips_rgb(weights: Weights, device: torch.device) -> Opened:
    """piq's LPIPS on VGG16, of R'G'B'."""
    files = weights.find(LPIPS, VGG16)
    distance = ContentLoss(
        _vgg16(weights).to(device), [str(tap) for tap in _TAPS], _linear(weights), reduction="none",
        normalize_features=True,
    )  # fmt: skip
    return Opened(lambda batch: distance(*batch.split(batch.rgb)), {"weights": files})


def lpips_gray(weights: Weights, device: torch.device) -> Opened:
    """piqa's LPIPS on VGG16, of 8-bit luma three times."""
    files = weights.find(LPIPS, VGG16)
    normalize = ImageNetNorm().to(device)
    network = Perceptual(list(_vgg16(weights)), list(_TAPS)).to(device)
    linear = [tensor.flatten().to(device) for tensor in _linear(weights)]

    def unit(features: torch.Tensor) -> torch.Tensor:
        length: torch.Tensor = l2_norm(features, dim=1, keepdim=True)
        return features / (length + 1e-10)

    def score(batch: Batch) -> torch.Tensor:
        first, second = (network(normalize(pictures)) for pictures in batch.split(batch.gray3))
        total = torch.zeros(batch.size, device=device)
        for weight, x, y in zip(linear, first, second, strict=True):
            total = total + (unit(x) - unit(y)).square().mean((-1, -2)) @ weight
        return total

    return Opened(score, {"weights": files})


class _Dists(piq.DISTS):  # type: ignore[misc]
    """piq's DISTS with weights that are given."""

    def __init__(self, features: torch.nn.Module, parts: list[torch.Tensor]) -> None:
        ContentLoss.__init__(
            self, features, [str(tap) for tap in _TAPS], parts, replace_pooling=True, reduction="none",
            allow_layers_weights_mismatch=True,
        )  # fmt: skip


def dists(pixels: str, weights: Weights, device: torch.device) -> Opened:
    """piq's DISTS of what `Batch` calls `pixels`."""
    files = weights.find(DISTS, VGG16)
    state = weights.load(DISTS)
    if set(state) != {"alpha", "beta"}:
        raise RequestError(f"{DISTS.name}: holds {', '.join(sorted(state)[:4])}, not alpha and beta")
    channels = [3, *_CHANNELS]
    parts: list[torch.Tensor] = []
    for name in ("alpha", "beta"):
        parts += torch.split(_shaped(state[name], (1, sum(channels), 1, 1), DISTS), channels, dim=1)
    distance = _Dists(_vgg16(weights).to(device), parts)
    return Opened(lambda batch: distance(*batch.split(getattr(batch, pixels))), {"weights": files})


def pieapp(pixels: str, weights: Weights, device: torch.device) -> Opened:
    """piq's PieAPP of what `Batch` calls `pixels`."""
    files = weights.find(PIEAPP)
    state = weights.load(PIEAPP)
    if (subtract := state.get("ref_score_subtract.weight")) is not None:
        state["ref_score_subtract.weight"] = subtract.reshape(1, -1)  # the file has one dimension less
    with torch.device("meta"):
        model = PieAPPModel()
    _fill(model, state, PIEAPP)
    model.to(device)

    def of_patches(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (features_x, coarse_x), (features_y, coarse_y) = model(x), model(y)
        found: tuple[torch.Tensor, torch.Tensor] = model.compute_difference(
            features_y - features_x, coarse_y - coarse_x
        )
        return found

    def of_picture(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        patches = [crop_patches(p[None] * 255, size=_PATCH_PX, stride=_STRIDE_PX) for p in (x, y)]
        # thousands of patches of a large picture do not fit at once
        pieces = zip(*(p.split(_PATCHES_AT_ONCE) for p in patches), strict=True)
        distances, shares = (torch.cat(parts) for parts in zip(*(of_patches(*piece) for piece in pieces), strict=True))
        return (distances * shares).sum() / shares.sum()

    def score(batch: Batch) -> torch.Tensor:
        pairs = zip(*batch.split(getattr(batch, pixels)), strict=True)
        return torch.stack([of_picture(*pair) for pair in pairs])

    return Opened(score, {"weights": files})
