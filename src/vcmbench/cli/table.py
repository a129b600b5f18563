"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence

from vcmbench.compress.equal_rate import EqualRateRow
from vcmbench.compress.summary import CompressSummary
from vcmbench.encoder.plugins import get
from vcmbench.io.text import visible


def render(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side; those whose cells look like numbers are set to the right."""
    cells = [[visible(cell).replace("\n", "\\n") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    right = [all(not row[i] or row[i][0].isdigit() or row[i][0] == "-" for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def comparison(rows: list[EqualRateRow]) -> str:
    """Mapped against uniform at equal rate: PSNR-Y gained where it matters and lost elsewhere, with 95 % intervals."""
    header = (
        "encoder", "quality", "chroma", "factor", "options", "by", "n", "bytes diff", "important PSNR-Y dB",
        "n important", "elsewhere dB",
    )  # fmt: skip
    cells = [
        (
            get(row.encoder).label,
            str(row.quality),
            row.color_subsampling,
            str(row.subsampling_factor),
            row.options.removesuffix(" match=rate"),
            row.method,
            str(row.equal) if row.equal == row.pictures else f"{row.equal} of {row.pictures}",
            f"{row.size_error:+.2%}",
            f"{row.inside:+.2f}",
            str(row.inside.n),
            f"{row.outside:+.2f}",
        )
        for row in rows
    ]
    return render(header, cells)


def summary(results: CompressSummary) -> str:
    """One row a coding configuration: rate, quality and time per picture."""
    header = ("encoder", "quality", "chroma", "factor", "options", "n", "bpp", "PSNR-Y dB", "QP", "enc s", "dec s")
    rows = []
    for coding, sums in results.rows.items():
        if sums.pictures == 0:
            continue
        psnr = f"{sums.psnr_sum_db / sums.psnr_pictures:.2f}" if sums.psnr_pictures else "-identical-"
        rows.append(
            (
                get(coding.encoder).label,
                "-" if coding.quality is None else str(coding.quality),
                coding.color_subsampling,
                str(coding.subsampling_factor),
                " ".join(coding.extras),
                str(sums.pictures),
                f"{sums.bits / sums.pixels:.4f}",
                psnr,
                f"{sums.qp_sum / sums.qp_pictures:.2f}" if sums.qp_pictures else "-",
                f"{sums.encode_s / sums.pictures:.3f}",
                f"{sums.decode_s / sums.pictures:.3f}",
            )
        )
    return render(header, rows)
