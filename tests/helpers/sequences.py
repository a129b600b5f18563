"""A moving picture, coded with a structure by the real tools, and what its bitstream says of every picture's QP."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

import imageio_ffmpeg
import numpy as np

from vcmbench.data.colour import CHROMA_FORMATS
from vcmbench.encoder.base import DECODED, FRAME_LOG, Clip, CodedFrame, Encoder
from vcmbench.encoder.configuration import CodingConfiguration
from vcmbench.encoder.structure import Structure
from vcmbench.execution.runner.local import LocalRunner

CLIP = Clip(96, 64, 9, CHROMA_FORMATS["420"])


def moving(clip: Clip = CLIP) -> bytes:
    """Planar frames of a texture that is panned, with a block that moves over it: 2 px down and 1 px right a frame."""
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(clip.height // 8 + 10, clip.width // 8 + 10))
    texture = (np.kron(rough, np.ones((8, 8))) * 40 + 128).clip(16, 235).astype(np.uint8)
    chroma = np.full((clip.height // 2, clip.width // 2), 128, np.uint8).tobytes() * 2
    frames = []
    for number in range(clip.frames):
        luma = texture[2 * number : 2 * number + clip.height, number : number + clip.width].copy()
        luma[8 + number : 32 + number, 8 + 3 * number : 40 + 3 * number] = 200
        frames.append(luma.tobytes() + chroma)
    return b"".join(frames)


@dataclass(frozen=True)
class CodedSequence:
    """What came of it: the bitstream, the decoded frames, and the pictures as the encoder reports them."""

    stream: bytes
    decoded: bytes
    frames: list[CodedFrame] | None

    def squared_error(self) -> float:
        found, wanted = (np.frombuffer(one, np.uint8).astype(float) for one in (self.decoded, moving()))
        return float(np.mean((found - wanted) ** 2))


def code(one: Encoder, structure: Structure | None, quality: int | None) -> CodedSequence:
    """Encode and decode `moving()` with the tools found here."""
    runner = LocalRunner()
    encode, decode = runner.find(one, one.encode_tools), runner.find(one, one.decode_tools)
    assert encode and decode
    coding = CodingConfiguration(one.name, quality, one.chroma[0], stacked=True, structure=structure)
    worker = runner.worker()
    try:
        (worker.scratch.inputs / "source.yuv").write_bytes(moving())
        folder = worker.scratch.outputs
        log = worker.run(encode, one.encode(encode.program, coding, CLIP), 120).log
        written = folder / FRAME_LOG
        frames = one.coded_frames(log, written.read_text() if written.exists() else "")
        stream = (folder / one.bitstream).read_bytes()
        worker.run(decode, one.decode(decode.program, coding, CLIP), 120)
        return CodedSequence(stream, (folder / DECODED["yuv"]).read_bytes(), frames)
    finally:
        worker.close()


def stream_qps(stream: bytes, demuxer: str) -> list[float]:
    """The QP of every picture as it is coded, read from its headers by FFmpeg: of H.264 and HEVC, and of AV1, whose
    index / 4 it is."""
    words = [imageio_ffmpeg.get_ffmpeg_exe(), "-f", demuxer, "-i", "-", "-c", "copy"]
    done = subprocess.run([*words, "-bsf:v", "trace_headers", "-f", "null", "-"], input=stream, capture_output=True)
    named = re.findall(r"\b(\w*init_qp_minus26|slice_qp_delta|base_q_idx)\s.*= (-?\d+)$", done.stderr.decode(), re.M)
    first = next((int(value) + 26 for name, value in named if name.endswith("init_qp_minus26")), 0)
    return [first + int(value) if name == "slice_qp_delta" else int(value) / 4 for name, value in named
            if not name.endswith("init_qp_minus26")]  # fmt: skip
