"""The report of an experiment: one HTML file that needs nothing else, and vector figures for a paper.

`content` says what can be shown, `write_report` shows it, `write_figures` draws it for print.
"""

from vcmbench.report.content import ReportContent
from vcmbench.report.figures import write_figures
from vcmbench.report.html.page import write_report

__all__ = ["ReportContent", "write_figures", "write_report"]
