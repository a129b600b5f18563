"""The report of an experiment: one HTML file that needs nothing else, and vector figures for a paper.

`content` says what can be shown, `page.write_report` shows it, `figures.write_figures` draws it for print.
"""

from vcmbench.report.content import ReportContent

__all__ = ["ReportContent"]
