"""nano made anew by one command: data, codec, canvas, hand, Stage I, benchmarks, and a model folder with its card."""
