"""Is a data set what it says? What its columns hold, the delay between picture and trajectory, and both drawn."""
