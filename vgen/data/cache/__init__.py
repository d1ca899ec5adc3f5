"""What is made once and kept: frames, latents and text embeddings. Read `store.py` first, on which all three stand."""
