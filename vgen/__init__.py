"""vgen: one latent video diffusion backbone, two conditioning front-ends: canvas and ego."""
