"""Between the options of a command and a folder of results."""
