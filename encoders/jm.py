"""H.264 by JM, the reference software (lencod, ldecod 19.0)."""

import re

from vcmbench.encoder import (
    DECODED,
    SOURCE,
    Clip,
    CodedFrame,
    CodingConfiguration,
    Command,
    Encoder,
    QualityScale,
    Structure,
    Tool,
    by_picture_order,
)

# lencod wants a configuration file before anything else. This one holds what an all-intra High profile stream needs,
# with the coding tools on that JM's own encoder_JM_Intra_HE.cfg has on, so no file of JM's has to be found on the
# machine. lencod stops at a leaky bucket file without a name, hence those lines.
_CONFIGURATION = """\
ProfileIDC            = 100  # High
IntraProfile          = 0
IntraPeriod           = 1
IDRPeriod             = 1
NumberBFrames         = 0
NumberReferenceFrames = 1
Log2MaxFNumMinus4     = 0
Log2MaxPOCLsbMinus4   = -1   # as many bits as the number of frames needs
FrameRate             = 25.0
YUVFormat             = 1    # 4:2:0
SymbolMode            = 1    # CABAC
Transform8x8Mode      = 1    # 4x4 and 8x8
RDOptimization        = 1    # high complexity
SubMBCodingState      = 2
EnableIPCM            = 1
UseRDOQuant           = 1
RDOQ_DC               = 1
RDOQ_CR               = 1
RDOQ_DC_CR            = 1
RDOQ_QP_Num           = 1
RDOQ_Fast             = 1
NumberofLeakyBuckets  = 8
LeakyBucketRateFile   = "leakybucketrate.cfg"
LeakyBucketParamFile  = "leakybucketparam.cfg"
"""
# P pictures that refer to the four before them, in groups that IDR pictures close. Nothing decides about intra pictures
# but the period.
_LOW_DELAY = (
    _CONFIGURATION.replace("IntraPeriod           = 1", "IntraPeriod           = {period}")
    .replace("IDRPeriod             = 1", "IDRPeriod             = {period}")
    .replace("NumberReferenceFrames = 1", "NumberReferenceFrames = 4")
    .replace("Log2MaxFNumMinus4     = 0", "Log2MaxFNumMinus4     = -1   # as many bits as the number of frames needs")
    + "AdaptiveIntraPeriod   = 0\nAdaptiveIDRPeriod     = 0\n"
)
_LEVELS = {None: 51, "qomex2023": 42}


class Jm(Encoder):
    label = "JM"
    extension = ".264"
    quality = QualityScale("QP", 0, 51, "low")
    chroma = ("420",)
    min_side_px = 16
    max_area_px = 36_864 * 16 * 16  # what level 5.1 holds
    side_multiple_px = 16
    encode_tools = (Tool("lencod", ("lencod.exe", "lencod_static")),)
    decode_tools = (Tool("ldecod", ("ldecod.exe", "ldecod_static")),)
    compat = ("qomex2023",)
    published_stacked = True
    structures = ("intra", "lowdelay")
    # By analogy, since no lencod was at hand: rates are x264's. One picture of 2048x1024 took 6.7 s at full
    # rate-distortion optimisation; how that follows the QP is taken from HM, which searches as exhaustively, and so is
    # the memory.
    search_rates = ((0, 4.21), (6, 3.81), (12, 2.15), (22, 0.647), (32, 0.191), (42, 0.057), (51, 0.0218))
    rough_s_per_mpx = (("", 3.4),)

    def encode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        settings: dict[str, object] = {
            "InputFile": SOURCE["yuv"],
            "OutputFile": self.bitstream,
            "ReconFile": "reconstruction.yuv",
            "SourceWidth": clip.width,
            "SourceHeight": clip.height,
            "FramesToBeEncoded": clip.frames,
            "QPISlice": coding.quality,
            "LevelIDC": _LEVELS[coding.compat],
        }
        configuration = _CONFIGURATION
        if coding.structure and coding.structure.kind != "intra":
            configuration = _LOW_DELAY.format(period=coding.structure.intra_period or 0)
            settings["QPPSlice"] = coding.quality
        words = [word for name, value in settings.items() for word in ("-p", f"{name}={value}")]
        return Command((program, "-d", "../in/jm.cfg", *words), files={"jm.cfg": configuration})

    def decode(self, program: str, coding: CodingConfiguration, clip: Clip) -> Command:
        return Command((program, "-i", self.bitstream, "-o", DECODED["yuv"]))

    def coded_frames(self, log: str, frame_log: str) -> list[CodedFrame] | None:
        rows = re.findall(r"^ *(\d{1,9})\( *(I|P|B)(?:DR)? *\) *\d+ +(\d{1,9})\b", log, re.MULTILINE)
        return by_picture_order(rows)

    def layer_offsets(self, structure: Structure, quality: int) -> dict[str, float]:
        return {"I": 0.0} if structure.kind == "intra" else {"I": 0.0, "P": 0.0}

    def coded_qp(self, log: str) -> float | None:
        qps = [float(qp) for qp in re.findall(r"^ *\d+\( *(?:IDR|I) *\) *\d+ +(\d{1,9})\b", log, re.MULTILINE)]
        return sum(qps) / len(qps) if qps else None

    def reported_bytes(self, log: str) -> int | None:
        found = re.search(r"^ *Total bits +: (\d{1,18})\b", log, re.MULTILINE)
        return int(found[1]) // 8 if found else None
