"""The metrics: one entry each, and those of a user's own files (`metrics/<name>.py`, see `io/plugins`).

Importing the table imports no torch. Under "standard" each metric looks at what its paper looks at. Under "qomex2023"
it is what the published experiment of 2023 called (piqa 1.2.2 and piq 0.8.0, `metric(distorted, pristine)`): all
look at luma, rounded to 8 bits and given three times, and FSIM, SR_SIM, VSI, VIFp and DSS are losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType

from vcmbench.errors import RequestError
from vcmbench.io.plugins import Plugins
from vcmbench.iqa.metric import PROFILES, Convention, Metric, Needs, Smallest

_ANY = Smallest()
_GRAY = "luma, 8 bits, three times"
_is = partial(Convention, higher_is_better=True)
_loss = partial(Convention, low=0.0, high=1.0, perfect=0.0, higher_is_better=False)


def _metric(
    name: str, source: str, standard: Convention, qomex2023: Convention, needs: Needs | None = None, note: str = ""
) -> Metric:
    return Metric(name, source, {"standard": standard, "qomex2023": qomex2023}, needs, note)


_FLAT = "the pristine picture is flat: it holds no information that could be lost"
_BOTH_FLAT = "both pictures are flat: nothing in them is salient"
_FEW = "fewer than 11 DCT blocks of 8x8 px: 5 % of them are none"
_EQUAL = "both pictures have the same luma: it is infinite"
# its blocks have 4 round(32 sqrt(pixels / (3840 x 2160))) px: below 45x45 none, and what comes out is PSNR of luma
_WEIGHED = Smallest(8, area_px=45 * 45)
_XPSNR = _is("video:open_xpsnr", "FFmpeg's xpsnr, y", "luma, limited range", 0, None, None, _WEIGHED, _EQUAL)
_VMAF = _is("video:open_vmaf", "FFmpeg's libvmaf, vmaf_v0.6.1", "luma, limited range", 0, 100, None, Smallest(32))
_NO_MOTION = "a picture stands still: no motion part"
_FLIPS = _loss("flips:mean", "", "R'G'B', as the network has it", high=0.5, smallest=Smallest(32),
               not_finite="the network cannot take its picture")  # fmt: skip

_ENTRIES = (
    _metric(
        "PSNR",
        "10 log10(1 / mean squared error) of pictures in 0..1",
        _is("library:psnr", "piq.psnr(x, y)", "R'G'B' together", 0, 80, 80),
        _is("library:gray:piqa:PSNR", "piqa.PSNR()", _GRAY, 0, 80, 80),
        note="1e-8 is added to the mean squared error: 80 dB is the end",
    ),
    _metric(
        "SSIM",
        "Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004",
        _is("ssim:ssim_luma", "piq.ssim(Y(x), Y(y), 11, 1.5, downsample=False)", "luma", -1, 1, 1, Smallest(11)),
        _is("ssim:ssim_gray", "piqa.SSIM(window_size=3, sigma=1 / 3)", _GRAY, -1, 1, 1, Smallest(4)),
    ),
    _metric(
        "MS_SSIM",
        "Wang, Simoncelli, Bovik, Asilomar 2003",
        _is("ssim:ms_ssim_luma", "piq.multi_scale_ssim(Y(x), Y(y), 11, 1.5)", "luma", 0, 1, 1, Smallest(161)),
        _is("ssim:ms_ssim_gray", "piqa.MS_SSIM(window_size=3, sigma=1 / 3)", _GRAY, 0, 1, 1, Smallest(64)),
    ),
    _metric(
        "VIFp",
        "Sheikh, Bovik, IEEE TIP 15(2), 2006, in the pixel domain",
        _is("library:vifp_luma", "piq.vif_p(x, y)", "luma", 0, None, 1, Smallest(41), _FLAT),
        _loss("library:gray:piq:VIFLoss", "piq.VIFLoss()", _GRAY, smallest=Smallest(41)),
        note="above 1 where contrast was raised",
    ),
    _metric(
        "FSIM",
        "Zhang, Zhang, Mou, Zhang, IEEE TIP 20(8), 2011: FSIMc",
        _is("phase_congruency:fsim_rgb", "piq.fsim(x, y)", "YIQ", 0, 1, 1, Smallest(2)),
        _loss("phase_congruency:fsim_loss_gray", "piq.FSIMLoss()", _GRAY, smallest=Smallest(2)),
    ),
    _metric(
        "SR_SIM",
        "Zhang, Li, ICIP 2012",
        _is("spectral_residual:sr_sim_luma", "piq.srsim(x, y), one picture", "luma", 0, 1, 1, Smallest(40)),
        _loss(
            "spectral_residual:sr_sim_loss_gray", "piq.SRSIMLoss(scale=1), one picture", _GRAY, smallest=Smallest(16)
        ),
        note="piq's value of a picture depends on the others of the call; here each is alone",
    ),
    _metric(
        "GMSD",
        "Xue, Zhang, Mou, Bovik, IEEE TIP 23(2), 2014",
        _loss("library:rgb:gmsd", "piq.gmsd(x, y)", "luma"),
        _loss("library:gray:piqa:GMSD", "piqa.GMSD()", _GRAY, smallest=Smallest(longer_px=3)),
    ),
    _metric(
        "MS_GMSD",
        "Zhang, Sander, Bermak, ICASSP 2017",
        _loss("library:rgb:multi_scale_gmsd", "piq.multi_scale_gmsd(x, y)", "luma", smallest=Smallest(17)),
        _loss("library:gray:piqa:MS_GMSD", "piqa.MS_GMSD()", _GRAY, smallest=Smallest(longer_px=16)),
    ),
    _metric(
        "VSI",
        "Zhang, Shen, Li, IEEE TIP 23(10), 2014",
        _is("saliency:vsi_rgb", "piq.vsi(x, y)", "R'G'B', LMN, CIELAB", 0, 1, 1, _ANY, _BOTH_FLAT),
        _loss("saliency:vsi_loss_gray", "piq.VSILoss()", _GRAY),
    ),
    _metric(
        "DSS",
        "Balanov, Schwartz, Moshe, Peleg, ICIP 2015",
        _is("library:rgb:dss", "piq.dss(x, y)", "luma", 0, 1, 1, Smallest(8, area_px=1024), _FEW),
        _loss("library:gray:piq:DSSLoss", "piq.DSSLoss()", _GRAY, smallest=Smallest(8, area_px=1024), not_finite=_FEW),
        note="rounding errors are enlarged where a band of the DCT is flat: up to 1e-3",
    ),
    _metric(
        "HaarPSI",
        "Reisenhofer, Bosse, Kutyniok, Wiegand, Signal Processing: Image Communication 61, 2018",
        _is("library:rgb:haarpsi", "piq.haarpsi(x, y)", "YIQ", 0, 1, 1, Smallest(16)),
        _is("library:gray:piqa:HaarPSI", "piqa.HaarPSI()", _GRAY, 0, 1, 1),
    ),
    _metric(
        "MDSI",
        "Ziaei Nafchi, Shahkolaei, Hedjam, Cheriet, IEEE Access 4, 2016",
        _loss("library:rgb:mdsi", "piq.mdsi(x, y)", "R'G'B', LHM", high=None),
        _loss("library:mdsi_gray", "piqa.MDSI() of piqa 1.2.2", _GRAY, high=None),
        note="piqa 1.3.2 gives other numbers, which depend on the other pictures of the call",
    ),
    _metric(
        "LPIPS",
        "Zhang, Isola, Efros, Shechtman, Wang, CVPR 2018, VGG16",
        _loss("learned:lpips_rgb", "piq.LPIPS()", "R'G'B'", high=None, smallest=Smallest(32)),
        _loss("learned:lpips_gray", "piqa.LPIPS(network='vgg')", _GRAY, high=None, smallest=Smallest(16)),
        needs="weights",
    ),
    _metric(
        "PieAPP",
        "Prashnani, Cai, Mostofi, Sen, CVPR 2018",
        _loss("learned:pieapp:rgb", "piq.PieAPP()", "R'G'B'", smallest=Smallest(64), low=None, high=None, perfect=None),
        _loss("learned:pieapp:gray3", "piq.PieAPP()", _GRAY, smallest=Smallest(64), low=None, high=None, perfect=None),
        needs="weights",
    ),
    _metric(
        "DISTS",
        "Ding, Ma, Wang, Simoncelli, IEEE TPAMI 44(5), 2022",
        _loss("learned:dists:rgb", "piq.DISTS()", "R'G'B'", high=None),
        _loss("learned:dists:gray3", "piq.DISTS()", _GRAY, high=None),
        needs="weights",
    ),
    _metric("XPSNR", "Helmrich et al., ICASSP 2020", _XPSNR, _XPSNR, needs="ffmpeg", note=_NO_MOTION),
    _metric("VMAF", "Li et al., 2016", _VMAF, _VMAF, needs="ffmpeg", note=f"{_NO_MOTION}; identical: about 97"),
    _metric(
        "Flips",
        "share of answers that a network is expected to change, by its margins and gradients on the pristine "
        "picture (ours; docs/quality.md)",
        _FLIPS,
        _FLIPS,
        needs="network",
    ),
)

_OURS = {metric.name: metric for metric in _ENTRIES}


def _metric_of(module: ModuleType, name: str) -> Metric:
    found = getattr(module, "METRIC", None)
    if not isinstance(found, Metric):
        raise RequestError("must set METRIC, as `vcmbench.iqa.metric(..)` makes it")
    if found.name in _OURS:
        raise RequestError(f"METRIC.name {found.name!r} is one of ours; give it another name")
    return replace(found, file=Path(str(module.__file__)))


_PLUGINS = Plugins("metrics", lambda: Path(__file__).parent / "none", "vcmbench_metrics", _metric_of)


class _Metrics(Mapping[str, Metric]):
    """All of them by name, ours first."""

    def _all(self) -> dict[str, Metric]:
        return _OURS | {metric.name: metric for metric in _PLUGINS.found().values()}

    def __getitem__(self, name: str) -> Metric:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


METRICS: Mapping[str, Metric] = _Metrics()


def check(names: Sequence[str], profile: str = "standard") -> None:
    """Raise RequestError where a metric or the profile is unknown, or a metric is named twice."""
    if profile not in PROFILES:
        raise RequestError(f"profile {profile!r}: is unknown; known: {', '.join(PROFILES)}")
    if not names:
        raise RequestError(f"iqa: no metric is named; known: {', '.join(METRICS)}")
    for name in names:
        if name not in METRICS:
            faults = "".join(f"; {fault}" for fault in _PLUGINS.faults().values())
            raise RequestError(f"iqa: metric {name!r} is unknown; known: {', '.join(METRICS)}{faults}")
    files = [metric.name for metric in _PLUGINS.found().values()]
    if several := sorted({name for name in names if files.count(name) > 1}):
        raise RequestError(f"iqa: {', '.join(several)}: several files set METRIC to that name; give each its own")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RequestError(f"iqa: {', '.join(twice)} is named twice")
