"""The one way that all sources are converted: takes in several processes, splits, places, the report."""
