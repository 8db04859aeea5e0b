"""Every plot of the course, one function each: arrays in, a Picture with its alt text out.

One look, colour-blind safe, for the back row. Must not know checks, models or lessons.
"""

from dropout_course.figures.bars import layer_differences, measured
from dropout_course.figures.depth import WAYS, ScaleByDepth, activation_sizes, scale_by_depth
from dropout_course.figures.ensembles import ensemble_gaps, ensemble_predictions
from dropout_course.figures.masks import mask_grid, output_distribution, running_mean, subnetworks
from dropout_course.figures.picture import Picture

__all__ = [
    "WAYS",
    "Picture",
    "ScaleByDepth",
    "activation_sizes",
    "ensemble_gaps",
    "ensemble_predictions",
    "layer_differences",
    "mask_grid",
    "measured",
    "output_distribution",
    "running_mean",
    "scale_by_depth",
    "subnetworks",
]
