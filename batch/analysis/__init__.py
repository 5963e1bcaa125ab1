"""What the runs of an output came to, in figures and charts, for a person who has to answer for them."""

from batch.analysis.comparison import Comparison, compare, comparison_lines
from batch.analysis.figures import Figures
from batch.analysis.gathering import read_figures
from batch.analysis.markdown import report_markdown
from batch.analysis.page import report_page

__all__ = ["Comparison", "Figures", "compare", "comparison_lines", "read_figures", "report_markdown", "report_page"]
