"""Is a data set what it says? Its trajectory drawn over its frames, what its columns hold, and the delay between them."""
