"""Programs in place of encoders, each of which hands the coding over to a real one."""

from __future__ import annotations

import textwrap
from pathlib import Path

import imageio_ffmpeg


def faulty_ffmpeg(folder: Path, encode: str) -> Path:
    """A folder with an `ffmpeg` that is the real one, but for what it does when it is to encode."""
    folder.mkdir(exist_ok=True)
    script = folder / "ffmpeg"
    script.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/bash
            real={imageio_ffmpeg.get_ffmpeg_exe()}
            case " $* " in *" rawvideo -hide_banner "*) ;; *) exec "$real" "$@" ;; esac
            out="${{@: -1}}"
            {encode}
            """
        )
    )
    script.chmod(0o755)
    return folder


def scripted_jm(folder: Path, cut_bytes: int = 0) -> Path:
    """Programs that are called like JM's, check where and how, and hand the coding over to x264 and FFmpeg; `cut_bytes`
    are lost at the end of what is coded, after it was counted."""
    folder.mkdir()
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    (folder / "lencod").write_text(
        textwrap.dedent(
            f"""\
            #!/bin/bash -e
            [ "$1" = -v ] && {{ echo "JM-19 (FRExt)"; exit 0; }}
            [ "$1 $2" = "-d ../in/jm.cfg" ] && grep -q "^ProfileIDC *= 100" "$2"
            shift 2
            while [ $# -gt 0 ]; do [ "$1" = -p ]; declare "$2"; shift 2; done
            touch log.dat stats.dat data.txt leakybucketparam.cfg
            {ffmpeg} -v error -f rawvideo -pix_fmt yuv420p -s ${{SourceWidth}}x$SourceHeight -i $InputFile \
              -frames:v $FramesToBeEncoded -c:v libx264 -qp $QPISlice -g 1 -f h264 -y $OutputFile
            bits=$(( 8 * $(stat -c %s $OutputFile) ))
            truncate -s -{cut_bytes} $OutputFile
            printf "00000(IDR)%8d   %2d  37.1 40.2 41.3 6702 0 FRM 1\\n" 12582912 $QPISlice
            echo " Total bits                        : $bits (I $bits, P 0, NVB 176)"
            """
        )
    )
    (folder / "ldecod").write_text(
        f'#!/bin/bash -e\n[ "$1" = -v ] && exit 0\n[ "$1 $3" = "-i -o" ]\ntouch log.dec dataDec.txt\n'
        f"{ffmpeg} -v error -f h264 -i $2 -f rawvideo -pix_fmt yuv420p -y $4\n"
    )
    for name in ("lencod", "ldecod"):
        (folder / name).chmod(0o755)
    return folder
