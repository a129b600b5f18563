"""What the report explains, in one place, so that its words can be read and changed together."""

from __future__ import annotations

AGAINST = {
    "pseudo": (
        "Pseudo ground truth is what the same network sees in the pristine picture: what is missing is lost to coding."
    ),
    "labels": (
        "Labels were made by people, or are known because the scene was drawn: what is missing is lost to coding "
        "and to the network itself."
    ),
    "pristine": (
        "Quality metrics hold the decoded picture against the pristine one. Which of them follows a machine is another "
        "question; a [task] in the experiment asks it."
    ),
}

BANDS = (
    "Each point is one quality setting of a codec, over all pictures. Bands are 95 % intervals by a jackknife over "
    "source pictures, of videos over sequences or runs of frames: how far others of the same kind could move the line."
)

BD = (
    "BD-rate is the mean difference in rate at equal accuracy or quality: \u221230 % means that three tenths of the "
    "bits are saved. BD-accuracy is the mean difference in accuracy or quality at equal rate. Both are taken over the "
    "range that both curves share, and only where both rise with rate. An encoder\u2019s figures are those of its "
    "preset: with more time it would need fewer bits. Seconds are those of a picture on the "
    "machine that coded it."
)

HEADROOM = (
    "Each codec with its bits moved by a map, against itself without one: a point left of the line saves bits at equal "
    "accuracy, and an interval that holds 0 proves neither a saving nor a loss. "
)

CORRELATION = (
    "How well does a metric, which has never seen the network, follow what the network loses? SROCC, "
    "Spearman\u2019s correlation of ranks, is 1 or \u22121 where the order is the same; metrics for which less is "
    "better have negative ones. PLCC and RMSE \u201cfitted\u201d are taken after the monotone logistic fit of "
    "VQEG."
)

NOT_DIFFERENT = (
    "\u201cNot different\u201d: a paired test against the best metric has p \u2265 0.05 after Holm\u2019s "
    "correction over all metrics that are held against it, so their order may be chance. The test decides, not the two "
    "intervals: it is paired, so it may find a difference where they overlap, and it is corrected, so it may "
    "find none where they are apart."
)

BASELINES = (
    "Baselines stand below the metrics: all metrics together, and for blocks where they lie in their picture, without "
    "a look at it. Both are ridge regressions on ranks, whose slopes have not seen the picture that they speak of. "
    "They have no intervals, and are not tested against."
)

SCATTER = (
    "Each dot is a block or a picture. At most {most} dots a chart are drawn, taken at random from each codec by "
    "its share; a curve, where there is one, is the logistic fit to all samples, and SROCC is that of all. The "
    "tables of scores have them all."
)

DAMAGE = (
    "Loss is the value on pristine pictures minus that on decoded ones; more is worse. Against the pseudo ground "
    "truth the pristine value is 1 by definition. Cells of stronger colour lose more."
)

MAPS = (
    "The same pictures, coded once uniformly and once with their importance maps, in as many bytes. A point to the "
    "right of the line is a gain by the map; an interval that holds 0 proves neither gain nor loss. Differences "
    "are paired, picture by picture."
)

OVERLAYS = (
    "Heat maps over the gray picture; where a map knows nothing, the gray shows. The colours of each key are those "
    "over a middle gray. A block under the mouse says its row of the block ledger (vcmbench blocks)."
)

WORST = (
    "The pictures that lost most, each in the worst of the configurations near a rate in the middle. The frame marks "
    "the detail below, where the predictions differ most: its pixels are shown as they are, without loss. The large "
    "pictures are sized to fit and stored as JPEG of quality 90, so judge damage by the details."
)

INTERVALS = (
    "Figures in square brackets are 95 % intervals by a jackknife over source pictures, because pixels and "
    "blocks of one picture are no independent samples; of videos over sequences or runs of frames. A dash is a figure "
    "that could not be computed; the letter beside it says why."
)

OVER_TIME = (
    "One sequence, frame by frame, of each codec and structure at its quality nearest to the middle of all rates; "
    "lines across the panels are intra pictures. Pixels that change class are those whose class differs from the one "
    "in the frame before, followed along the motion of the pristine video. The dashed line is what changes in the "
    "pristine video, too, so the distance between both is flicker that coding adds; below 0 the answers are steadier "
    "than on the pristine video, as blur makes them."
)
