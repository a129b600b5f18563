"""Videos: the right frames in the right order and colours, or one line that says why not."""

from __future__ import annotations

import gc
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from tests.helpers.pictures import save
from tests.helpers.videos import FRAMES, SIDE, cut, number_of, numbered, write
from vcmbench.data import video, video_frames, video_pixels
from vcmbench.data.dataset import Found, find_sources, look, open_root
from vcmbench.data.selection import Selection
from vcmbench.data.video import RawGeometry
from vcmbench.errors import JobError, RequestError

U8 = NDArray[np.uint8]
B_FRAMES = {"bf": "3", "g": "8"}
UNEVEN = [int(tick) for tick in np.cumsum([1 + number * 7 % 5 for number in range(FRAMES)])]


@pytest.mark.parametrize(
    ("name", "codec", "options", "ticks"),
    [
        ("a.mp4", "libx264", B_FRAMES, None),
        ("open.mkv", "libx264", {"bf": "3", "x264-params": "open-gop=1:keyint=8"}, None),
        ("a.avi", "mpeg4", {"bf": "2", "g": "8"}, None),
        ("hevc.mp4", "libx265", {"x265-params": "bframes=3:keyint=8:log-level=none"}, None),
        ("uneven.mp4", "libx264", B_FRAMES, UNEVEN),
        ("a.ts", "libx264", B_FRAMES, None),
        ("a.webm", "libvpx-vp9", {"lag-in-frames": "8"}, None),
        ("a.mov", "libx264", B_FRAMES, None),
        ("a.y4m", "rawvideo", {}, None),
    ],
)
def test_frames_are_exact(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], ticks: list[int] | None
) -> None:
    path = write(tmp_path / name, codec, options, ticks=ticks)
    assert [number_of(rgb) for rgb in video_frames.read_all(path)] == list(range(FRAMES))
    found = video.index(path)
    times = np.array(ticks or range(FRAMES))
    np.testing.assert_allclose(found.times_s, (times - times[0]) / 25, atol=0.001)
    assert found.size == (SIDE, SIDE)
    assert found.fps == pytest.approx(23 * 25 / (UNEVEN[-1] - UNEVEN[0]) if ticks else 25, rel=0.01)
    assert any("variable frame rate" in note for note in found.notes) is (ticks is not None)
    wanted = [5, 6, 6, 23, 2, 3]  # forward, the same, a leap, back
    assert [number_of(video_frames.read(path, number)[0]) for number in wanted] == wanted
    with pytest.raises(JobError, match="holds 24 frames, asked for was frame 24"):
        video_frames.read(path, FRAMES)


@pytest.mark.parametrize(("name", "first", "shown"), [
    ("key.mp4", 8, 8), ("key.mkv", 8, 8), ("key.ts", 8, 8), ("between.mp4", 11, 16), ("between.ts", 11, 16),
])  # fmt: skip
def test_frames_of_a_copied_cut(tmp_path: Path, name: str, first: int, shown: int) -> None:
    """What cannot be decoded without what was cut off is not shown, and not counted."""
    path = cut(write(tmp_path / "a.mp4", options=B_FRAMES), tmp_path / name, first)
    wanted = list(range(shown, FRAMES))
    assert [number_of(rgb) for rgb in video_frames.read_all(path)] == wanted
    assert len(video.index(path).times_s) == len(wanted)


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.y4m", "front.mp4"])
def test_of_a_cut_off_file_all_that_is_read_is_right(tmp_path: Path, name: str) -> None:
    codec, options = ("rawvideo", {}) if name.endswith("y4m") else ("libx264", {"bf": "0", "g": "4"})
    path = write(tmp_path / name, codec, options)
    if name == "front.mp4":
        with av.open(str(path)) as read, av.open(str(tmp_path / "b.mp4"), "w", options={"movflags": "faststart"}) as to:
            copy = to.add_stream_from_template(read.streams.video[0])
            for packet in read.demux(video=0):
                if packet.dts is not None:
                    packet.stream = copy
                    to.mux(packet)
        path = tmp_path / "b.mp4"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 4 // 5])
    try:
        found = [number_of(rgb) for rgb in video_frames.read_all(path)]
    except JobError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    else:
        assert 0 < len(found) < FRAMES
        assert found == list(range(len(found)))
        if name == "a.mkv":
            assert any("its header says 0.96 s" in note for note in video.index(path).notes)


def _flat_yuv(rgb: tuple[int, int, int], kr: float, kb: float, is_full: bool) -> av.VideoFrame:
    """By the formulas of ITU-R BT.601, 709 and 2020 (non-constant luminance)."""
    r, g, b = (value / 255 for value in rgb)
    y = kr * r + (1 - kr - kb) * g + kb * b
    chroma = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    scale, offset, chroma_scale = (255, 0, 255) if is_full else (219, 16, 224)
    values = [round(y * scale + offset), *(round(one * chroma_scale + 128) for one in chroma)]
    planes = [np.full((rows, SIDE), value, np.uint8) for rows, value in zip((64, 16, 16), values, strict=True)]
    return av.VideoFrame.from_ndarray(np.concatenate(planes), "yuv420p")


@pytest.mark.parametrize(("matrix", "kr", "kb"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114), (5, 0.299, 0.114),
                                                  (9, 0.2627, 0.0593), (2, 0.299, 0.114)])  # fmt: skip
@pytest.mark.parametrize("is_full", [False, True])
def test_matrix_and_range_of_the_stream_are_honoured(
    tmp_path: Path, matrix: int, kr: float, kb: float, is_full: bool
) -> None:
    def tag(stream: Any) -> None:
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if is_full else 1

    colours = [(200, 60, 30), (20, 180, 90), (40, 50, 220), (255, 255, 255), (0, 0, 0)]
    frames = [_flat_yuv(rgb, kr, kb, is_full) for rgb in colours]
    for frame in frames:
        frame.colorspace, frame.color_range = matrix, 2 if is_full else 1
    path = write(tmp_path / "a.mkv", "libx264", {"qp": "0"}, pictures=frames, prepare=tag)
    for rgb, wanted in zip(video_frames.read_all(path), colours, strict=True):
        np.testing.assert_allclose(rgb.reshape(-1, 3).astype(int), np.tile(wanted, (SIDE * SIDE, 1)), atol=2)
    assert any("no colour matrix named; BT.601" in note for note in video.index(path).notes) is (matrix == 2)


@pytest.mark.parametrize(("degrees", "size"), [(90, (48, SIDE)), (180, (SIDE, 48)), (-90, (48, SIDE))])
def test_a_turned_video_is_shown_turned(tmp_path: Path, degrees: int, size: tuple[int, int]) -> None:
    """By degrees against the clock."""
    picture = np.zeros((48, SIDE, 3), np.uint8)
    picture[:16, :16] = 255
    path = write(tmp_path / "a.mp4", pictures=[picture] * 2, prepare=lambda one: one.set_display_rotation(degrees))
    rgb, notes = video_frames.read(path, 1)
    assert rgb.shape[1::-1] == size == video.size_of(path) == video.index(path).size
    np.testing.assert_allclose(rgb.astype(int), np.rot90(picture, degrees // 90).astype(int), atol=40)
    assert any("display matrix" in note for note in notes)


def _tagged(**values: int) -> Callable[[Any], None]:
    def tag(stream: Any) -> None:
        for name, value in values.items():
            setattr(stream.codec_context, name, value)

    return tag


@pytest.mark.parametrize(("codec", "pixels", "options", "prepare", "note"), [
    ("ffv1", "yuv420p10le", {}, _tagged(), "10 bits a sample rounded to 8"),
    ("ffv1", "yuv422p", {}, _tagged(), "chroma is 4:2:2"),
    ("ffv1", "gray", {}, _tagged(), "gray"),
    ("ffv1", "yuva420p", {}, _tagged(), "alpha channel without transparency dropped"),
    ("libx264", "yuv420p", {"x264-params": "tff=1"}, _tagged(), "interlaced"),
    ("libx264", "yuv420p", {"x264-params": "sar=4/3"}, _tagged(), "pixels are 4:3"),
])  # fmt: skip
def test_what_became_of_unusual_pixels_is_said(
    tmp_path: Path, codec: str, pixels: str, options: dict[str, str], prepare: Callable[[Any], None], note: str
) -> None:
    path = write(tmp_path / "a.mkv", codec, options, pixels=pixels, prepare=prepare)
    assert [number_of(rgb) for rgb in video_frames.read_all(path)] == list(range(FRAMES))
    assert any(note in one for one in video.index(path).notes), video.index(path).notes


def _audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _two_sizes(path: Path) -> None:
    parts = [write(path.with_name(f"{rows}.mkv"), "mjpeg", pixels="yuvj420p", pictures=[numbered(0)[:rows]] * 8)
             for rows in (64, 32)]  # fmt: skip
    with av.open(str(parts[0])) as first, av.open(str(parts[1])) as second, av.open(str(path), "w") as written:
        copy = written.add_stream_from_template(first.streams.video[0])
        packets = [packet for part in (first, second) for packet in part.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            packet.stream, packet.pts, packet.dts = copy, number * 40, number * 40
            written.mux(packet)


def _see_through(path: Path) -> None:
    rgba = np.concatenate([numbered(1), np.full((SIDE, SIDE, 1), 200, np.uint8)], axis=2)
    write(path, "qtrle", pixels="argb", pictures=[av.VideoFrame.from_ndarray(rgba, "rgba")])


BAD: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "empty": ("a.mp4", lambda path: path.write_bytes(b""), "no video that can be read"),
    "a picture": ("a.mp4", lambda path: save(path.with_suffix(".png"), numbered(1)).rename(path),
                  "is no video but a picture (PNG); name it so"),
    "a list": ("a.mp4", lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hosts\n"), "no video"),
    "another list": ("a.mp4", lambda path: path.write_text("ffconcat version 1.0\nfile b.mp4\n"), "no video"),
    "audio": ("a.mp4", _audio, "holds no video (but audio)"),
    "no frames": ("a.y4m", lambda path: path.write_bytes(b"YUV4MPEG2 W64 H64 F25:1 C420jpeg\n"), "holds no frame"),
    "far too large": ("a.y4m", lambda path: path.write_bytes(b"YUV4MPEG2 W65000 H65000 F25:1 C420jpeg\nFRAME\n"), ""),
    "two sizes": ("a.mkv", _two_sizes, "frame 8 is 64x32 px, those before are 64x64 px; cut it there"),
    "see-through": ("a.mov", _see_through, "partly transparent"),
    "askew": ("a.mp4", lambda path: write(path, prepare=lambda one: one.set_display_rotation(45)), "is no turn by 90"),
    "PQ": ("a.mkv", lambda path: write(path, prepare=_tagged(color_trc=16)), "its transfer is PQ"),
    "HLG": ("a.mkv", lambda path: write(path, prepare=_tagged(color_trc=18)), "its transfer is HLG"),
    "YCgCo": ("a.mkv", lambda path: write(path, prepare=_tagged(colorspace=8)), "its colour matrix is YCgCo"),
    "raw": ("a.yuv", lambda path: path.write_bytes(b"0" * 100), "does not say its size; give [dataset] yuv"),
    "a folder": ("a.mp4", lambda path: path.mkdir(), "is no regular file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_videos_are_one_line(tmp_path: Path, kind: str) -> None:
    name, make, complaint = BAD[kind]
    make(tmp_path / name)
    with pytest.raises(JobError) as caught:
        list(video_frames.read_all(tmp_path / name))
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frames_are_let_go_as_they_are_read(tmp_path: Path) -> None:
    """Not when Python looks for circles: then hundreds of them may lie in memory."""
    path = write(tmp_path / "a.mp4")
    gc.collect()
    gc.disable()
    try:
        assert sum(1 for _ in video_frames.read_all(path)) == FRAMES
        assert gc.collect() < FRAMES
    finally:
        gc.enable()


def test_several_threads_read_one_video(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", options=B_FRAMES)
    found: dict[int, int] = {}

    def read(first: int) -> None:
        for number in range(first, FRAMES, 3):
            found[number] = number_of(video_frames.read(path, number)[0])

    threads = [threading.Thread(target=read, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number for number in range(FRAMES)}


def names(found: Found) -> list[str]:
    return [str(source.name) for source in found.sources]


def test_a_video_is_a_data_root(tmp_path: Path) -> None:
    path = write(tmp_path / "drive.mp4", options=B_FRAMES, ticks=UNEVEN)
    data = open_root(path)
    assert data == open_root(tmp_path / "drive.mp4.vcmbench")
    found = look(data, Selection(start=2, frames=3, step=5))
    assert names(found) == ["drive/000002", "drive/000007", "drive/000012"]
    assert [str(source.group) for source in found.sources] == ["drive"] * 3
    assert [source.time_s for source in found.sources] == pytest.approx(
        [(UNEVEN[n] - UNEVEN[0]) / 25 for n in (2, 7, 12)]
    )
    assert found.sources[0].fps == pytest.approx(video.index(path).fps / 5)
    picture = found.sources[1].read()
    assert number_of(picture.rgb) == 7
    assert picture.sha256 == found.sources[1].sha256() != found.sources[2].sha256()
    assert found.sources[0].size() == (SIDE, SIDE)
    assert any("variable frame rate" in note for note in found.notes)
    with pytest.raises(RequestError, match=r"dataset.start = 24: drive has 24 frames, 0 to 23"):
        look(data, Selection(start=FRAMES))
    assert not any("dataset.frames" in note for note in look(data, Selection(start=4, frames=20)).notes)
    assert look(data, Selection(start=4, frames=21)).notes[-1] == (
        "dataset.frames = 21: 1 of 1 sequences have fewer, which are all taken: drive"
    )


def test_a_frame_is_another_one_where_pixels_are_converted_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "drive.mp4")
    by_hand = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  3 1"
    before = video.frame_sha256(path, 3)
    assert before == hashlib.sha256(by_hand.encode()).hexdigest(), "results of before hold with the PyAV that is pinned"
    monkeypatch.setattr(video_pixels, "_EXACT", Interpolation.FAST_BILINEAR)  # stands for another swscale
    video_pixels.conversion.cache_clear()
    assert video.frame_sha256(path, 3) != before
    video_pixels.conversion.cache_clear()


def test_what_is_known_of_a_video_holds_as_long_as_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is believed only while its seal holds."""
    path = write(tmp_path / "drive.mp4")
    data = open_root(path)
    wanted = find_sources(data, Selection())
    assert not data.root.exists()  # to look leaves nothing
    (data.root / "results").mkdir(parents=True)
    assert find_sources(data, Selection()) == wanted
    (kept,) = (data.root / "results" / ".videos").iterdir()
    passes = []
    monkeypatch.setattr(video, "index", lambda path, raw, index=video.index: passes.append(path) or index(path, raw))
    again = find_sources(data, Selection())
    assert [(one.name, one.time_s, one.fps) for one in again] == [(one.name, one.time_s, one.fps) for one in wanted]
    assert not passes
    kept.write_text(kept.read_text().replace("25.0", "26.0"))
    assert find_sources(data, Selection())[0].fps == 25
    write(path, pictures=[numbered(0)] * 3)
    assert len(find_sources(data, Selection())) == 3
    assert len(passes) == 2


def test_videos_lie_beside_pictures_and_folders_of_frames(photos: Path, astronaut: U8) -> None:
    for number in range(3):
        save(photos / "clip" / f"{number}.png", astronaut)
    for folder in ("cam", "drive.mp4.vcmbench"):
        (photos / folder).mkdir()
    write(photos / "cam" / "drive.mkv", pictures=[numbered(0)] * 2)
    write(photos / "drive.mp4.vcmbench" / "other.mp4")
    data = open_root(photos)
    flat = look(data, Selection(images="leftImg8bit_sequence")).sources  # which is of Cityscapes alone
    assert [(one.name, str(one.group)) for one in flat] == [(one.name, str(one.name.parent)) for one in flat]
    assert {one.sequence_title for one in flat if one.group.name == ""} == {photos.name}
    assert names(look(data, Selection())) == [
        "a", "b", "cam/drive/000000", "cam/drive/000001", "clip/0", "clip/1", "clip/2",
    ]  # fmt: skip
    found = look(data, Selection(clips=["dri*", "clip"], frames=1, start=1, fps=10))
    assert names(found) == ["cam/drive/000001", "clip/1"]
    assert [(source.time_s, source.fps) for source in found.sources] == [(0.04, 25.0), (0.1, 10.0)]
    with pytest.raises(RequestError, match=r"no sequence is named dive; there are: \., cam/drive, clip"):
        look(data, Selection(clips=["dive"]))
    save(photos / "cam" / "drive" / "x.png", astronaut)
    with pytest.raises(RequestError, match=r"rename one of each: \S+drive.mkv and \S+drive/x.png$"):
        look(data, Selection())
    write(photos / "cam" / "drive.mp4")
    with pytest.raises(RequestError, match=r"drive.mkv and \S+drive.mp4"):
        look(data, Selection(exclude=["*.png"]))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "gray"])
def test_raw_video(tmp_path: Path, pixel_format: Any) -> None:
    """Of an odd size; planes of 4:2:0 are rounded up."""
    one = 33 * 47 + (2 * 17 * 24 if pixel_format == "yuv420p" else 0)
    planes = [bytes([16 + 20 * number]) * (33 * 47) + bytes([128]) * (one - 33 * 47) for number in range(3)]
    (tmp_path / "a.yuv").write_bytes(b"".join(planes))
    geometry = RawGeometry(width=33, height=47, pixel_format=pixel_format, fps=50)
    sources = find_sources(open_root(tmp_path), Selection(yuv=geometry))
    assert [source.time_s for source in sources] == [0.0, 0.02, 0.04]
    assert sources[0].fps == 50
    for number, source in enumerate(sources):
        rgb = source.read().rgb
        assert rgb.shape == (47, 33, 3)
        assert abs(rgb.astype(int) - 20 * number * 255 / 219).max() <= 1
    wrong = Selection(yuv=RawGeometry(width=33, height=48, pixel_format=pixel_format))
    with pytest.raises(RequestError, match=r"no whole number of frames of 33x48 px"):
        find_sources(open_root(tmp_path), wrong)
    assert names(look(open_root(tmp_path / "a.yuv"), Selection(yuv=geometry)))[0] == "a/000000"


def test_recordings_of_cityscapes_are_sequences(streets: Path, astronaut: U8) -> None:
    folder = streets / "cityscapes/leftImg8bit_sequence/val"
    for city, numbers in (("frankfurt_000000", [*range(18, 21), *range(50, 52)]), ("lindau_000001", [19])):
        for number in numbers:
            save(folder / city.split("_")[0] / f"{city}_{number:06}_leftImg8bit.png", astronaut[:32, :32])
    found = look(open_root(streets), Selection(images="leftImg8bit_sequence"))
    assert [str(source.group)[len("leftImg8bit_sequence/val/") :] for source in found.sources] == [
        *["frankfurt/frankfurt_000000_000018"] * 3, *["frankfurt/frankfurt_000000_000050"] * 2, "lindau/lindau_000001",
    ]  # fmt: skip
    assert names(look(open_root(streets), Selection(images="leftImg8bit_sequence", clips=["lindau_*"]))) == [
        "leftImg8bit_sequence/val/lindau/lindau_000001_000019_leftImg8bit"
    ]
