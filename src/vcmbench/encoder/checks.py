"""What an encoder refuses before anything starts: choices that it lacks, and maps and rates that would do nothing."""

from __future__ import annotations

import re

from vcmbench.data import resampling
from vcmbench.encoder.base import Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.structure import Structure
from vcmbench.errors import RequestError
from vcmbench.importance.qp_map import QpMap
from vcmbench.io.documents import short

# nothing that could end a parameter and begin another one
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_VALUE = re.compile(r"[A-Za-z0-9_.,+-]{1,60}")


def check(encoder: Encoder, coding: CodingConfiguration) -> None:
    """Refuse what the tool cannot do. Raises RequestError with the key, the value and what is allowed."""
    scale, quality = encoder.quality, coding.quality
    if coding.target_bpp is not None:
        check_target(encoder, coding)
    if scale is None and quality is not None:
        raise RequestError(f"quality {quality}: {encoder.name} has no quality scale; leave `quality` out")
    if scale is not None and coding.target_bpp is None and not encoder.is_in_range(quality):
        asked = "is missing" if quality is None else f"{quality} is out of range"
        raise RequestError(
            f"quality {asked}: {encoder.name} takes {scale.name} {scale.minimum}..{scale.maximum} "
            f"({scale.better} is better)"
        )
    _check_choice(encoder, "color_subsampling", coding.color_subsampling, encoder.chroma)
    if coding.preset is not None:
        _check_choice(encoder, "preset", coding.preset, encoder.presets)
    if coding.compat is not None:
        _check_choice(encoder, "compat", coding.compat, encoder.compat)
        if coding.preset is not None:
            raise RequestError(f"preset: compat {coding.compat!r} fixes the parameters of {encoder.name}")
    if coding.structure is not None:
        check_structure(encoder, coding, coding.structure)
    if coding.stacked and not encoder.stackable:
        raise RequestError(f"stacked: {encoder.name} codes single images only")

    check_resampler(encoder, coding)
    if coding.parameters:
        check_parameters(encoder, coding)
    check_switches(encoder, coding)
    if coding.qp_map is not None:
        check_map(encoder, coding, coding.qp_map)
    elif coding.match_rate:
        raise RequestError('match "rate": is between a uniform and a mapped encode; give a qp_map, too')


def check_structure(encoder: Encoder, coding: CodingConfiguration, structure: Structure) -> None:
    """Refuse a structure that the tool lacks, or in which something else would not be what it says."""
    offered = encoder.structures if encoder.stackable else ()
    if structure.kind not in offered:
        what = f"codes sequences as {', '.join(offered)}" if offered else "codes every picture by itself; leave it out"
        raise RequestError(f"structure {structure.kind!r}: {encoder.name} {what}")
    if coding.compat is not None:
        raise RequestError("structure: a published parameter set (compat) has its own; leave one of them out")
    if structure.intra_period is not None and structure.intra_period < 2:
        raise RequestError(
            f'intra_period {structure.intra_period}: is a number of pictures from 2; structure "intra" has no others'
        )
    if structure.kind == "randomaccess" and structure.gop < 2:
        raise RequestError(f"gop {structure.gop}: a pyramid has 2 pictures or more")
    if structure.kind != "intra" and coding.qp_map is not None and coding.qp_map.mode == "frame":
        raise RequestError(
            f'qp_map with structure {structure.kind!r}: mode "frame" needs structure "intra", or take mode "block"'
        )
    encoder.check_structure(structure)


def check_resampler(encoder: Encoder, coding: CodingConfiguration) -> None:
    """Refuse a resampler that is not there, or that would have nothing to do or come after a published one."""
    if coding.resampler == resampling.DEFAULT:
        return
    resampling.get(coding.resampler)
    if coding.subsampling_factor == 1:
        raise RequestError(f"resampler {coding.resampler!r}: has nothing to do at subsampling_factor 1")
    if coding.compat is not None:
        raise RequestError(f"resampler {coding.resampler!r}: compat {coding.compat!r} is with {resampling.DEFAULT}")


def _check_choice(encoder: Encoder, key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise RequestError(f"{key} {short(value)}: {encoder.name} takes {' '.join(allowed) or 'none'}")


def check_parameters(encoder: Encoder, coding: CodingConfiguration) -> None:
    """Refuse parameters that would undo what is promised: that the QP asked for is coded, and a QP map obeyed."""
    if encoder.fixed_parameters is None:
        raise RequestError(f"parameters: {encoder.name} takes none")
    if coding.compat is not None:
        raise RequestError(f"parameters: compat {coding.compat!r} fixes the parameters of {encoder.name}")
    for name, value in coding.parameters:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise RequestError(f"parameters {name!r} = {value!r}: names match {_NAME.pattern}, values {_VALUE.pattern}")
        fixed = encoder.fixed_parameters | (encoder.fixed_with_map if coding.qp_map else frozenset())
        if coding.structure is not None:
            fixed |= encoder.fixed_with_structure
        if name.removeprefix("no-") in fixed:
            why = "every QP is coded as asked"
            if name.removeprefix("no-") in encoder.fixed_with_structure:
                why = "the structure is the one that is asked for"
            if coding.qp_map is not None:
                why = "the map is obeyed (a constant QP or an aq-strength of 0 would make it deaf)"
            raise RequestError(
                f"parameters {name!r} = {value!r}: vcmbench sets it for {encoder.name}, so that {why}; leave it out"
            )


_SAME = {"deblocking": frozenset({"filter"})}
"""Other names that tools have for what is switched off."""


def check_switches(encoder: Encoder, coding: CodingConfiguration) -> None:
    """Refuse to switch off what the tool cannot, or what is published with it."""
    if coding.off and coding.compat is not None:
        raise RequestError(f"off: compat {coding.compat!r} fixes the parameters of {encoder.name}")
    given = {name.removeprefix("no-") for name, _ in coding.parameters}
    for name in coding.off:
        own = {one.removeprefix("no-") for one in encoder.switches.get(name, ())} | _SAME.get(name, frozenset())
        if same := sorted(own & given):
            raise RequestError(f"off {name!r}: parameters name {', '.join(same)}, too; leave one of them out")
        if name not in encoder.switches:
            raise RequestError(
                f"off {name!r}: {encoder.name} can switch off {', '.join(encoder.switches) or 'nothing'}"
            )


def check_target(encoder: Encoder, coding: CodingConfiguration) -> None:
    """Refuse a rate that nothing is left to reach with."""
    if encoder.quality is None:
        raise RequestError(f"target: {encoder.name} has no quality scale to search")
    if coding.quality is not None:
        raise RequestError("target: decides the quality; leave `quality` out")
    if coding.match_rate:
        raise RequestError('target and match "rate" each say how large a file may be; give one of them')


def check_map(encoder: Encoder, coding: CodingConfiguration, wanted: QpMap) -> None:
    """Refuse a map that would be ignored, in part or as a whole."""
    if encoder.quality is None:
        raise RequestError(f"qp_map: {encoder.name} has no quality scale, hence none to vary")
    if coding.quality is not None:
        check_delta(encoder, coding.quality, wanted.delta)
    else:  # a target finds the quality; in the middle of the scale the map must at least have room
        check_delta(encoder, (encoder.scale.minimum + encoder.scale.maximum) // 2, wanted.delta)
    if wanted.mode == "frame":
        check_frame_map(encoder, coding, wanted)
        return
    if coding.stacked and coding.structure is None:
        raise RequestError(
            'qp_map.mode "block" with stacked: a map belongs to one picture; give a structure instead of stacked, '
            'code pictures singly, or mode "frame"'
        )
    takes_native = coding.structure is None or coding.structure.kind in encoder.map_structures
    methods = dict.fromkeys((encoder.map_method if takes_native else "prefilter", "prefilter"))
    if wanted.method is not None and wanted.method not in methods:
        raise RequestError(f"qp_map.method {wanted.method!r}: {encoder.name} takes {' or '.join(methods)}")
    if encoder.method(coding) != "prefilter" and coding.compat is not None and not encoder.map_compat:
        raise RequestError(
            f"qp_map with compat {coding.compat!r}: those parameters fix one QP, with which {encoder.name} ignores "
            'every map without a word; leave compat out, or ask for method = "prefilter"'
        )


def check_asked(encoder: Encoder, coding: CodingConfiguration) -> None:
    """Refuse what cannot ask a task for its map, pass by pass (source "task")."""
    wanted = coding.qp_map
    if wanted is None:
        return
    if not wanted.refine:
        raise RequestError('qp_map.refine 0: source "task" asks once at least')
    if coding.stacked:
        raise RequestError('source "task": asks about single pictures; leave structure and stacked out')
    if wanted.mode != "block" or not coding.match_rate:
        raise RequestError('source "task": passes are compared at equal rate; say mode = "block" and match = "rate"')


def check_frame_map(encoder: Encoder, coding: CodingConfiguration, wanted: QpMap) -> None:
    if wanted.method is not None:
        raise RequestError(f'qp_map.method {wanted.method!r}: mode "frame" sets the quality itself')
    if coding.stacked and not encoder.zones:
        raise RequestError(f'qp_map.mode "frame" with stacked: {encoder.name} takes no QP per picture of a stack')
    if coding.stacked and coding.compat is not None:
        raise RequestError(f"qp_map with compat {coding.compat!r}: those parameters fix one QP for all pictures")
    if not coding.stacked and wanted.scaling == "minmax":
        raise RequestError('qp_map.scaling "minmax": a single picture has one mean; mode "frame" takes "absolute"')
    if not coding.stacked and (coding.match_rate or coding.target_bpp is not None):
        asked = 'match "rate"' if coding.match_rate else "target"
        raise RequestError(f'{asked} with mode "frame": every picture would get its uniform quality back')


def check_delta(encoder: Encoder, quality: int, delta: float) -> None:
    ends = encoder.quality_at(quality, -delta), encoder.quality_at(quality, delta)
    if not all(encoder.is_in_range(end) for end in ends):
        scale = encoder.scale
        raise RequestError(
            f"qp_map.delta {delta:g} around {scale.name} {quality}: needs {min(ends):.4g}..{max(ends):.4g}, "
            f"{encoder.name} has {scale.minimum}..{scale.maximum}"
        )
