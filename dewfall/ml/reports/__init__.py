"""Reports: headings, sentences, tables and charts, written as one HTML page, a PDF and a notebook.

document   what a report consists of
html       one self-contained page for light and dark, without scripts
pdf        the same on paper
notebook   the same as .ipynb, charts as Vega-Lite and PNG
"""
