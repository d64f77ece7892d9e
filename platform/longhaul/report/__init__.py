"""The report of a search: one HTML file that needs nothing else."""

from longhaul.report.page import render as render
from longhaul.report.page import write_report as write_report
