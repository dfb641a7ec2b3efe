"""Reports: one HTML file that shows a data set, its labels and its runs, from files only."""
