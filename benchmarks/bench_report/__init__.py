"""Results of a canvas bench as a page to look at: one file that holds its pictures and videos."""
