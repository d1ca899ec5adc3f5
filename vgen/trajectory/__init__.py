"""What a hand did, over time: layouts, conversions, edits, files. Nothing here needs torch."""
