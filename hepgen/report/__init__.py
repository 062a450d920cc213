"""Pages that a person would show: one HTML file each, with everything in it, and plots beside."""

from hepgen.report.comparison import of_comparison
from hepgen.report.evaluation import of_evaluation
from hepgen.report.folder import check_output, write_folder
from hepgen.report.shower_comparison import of_shower_comparison
from hepgen.report.showers import of_showers

__all__ = [
    "check_output",
    "of_comparison",
    "of_evaluation",
    "of_shower_comparison",
    "of_showers",
    "write_folder",
]
