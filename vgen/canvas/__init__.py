"""Front-end 1: the user puts patches on a video, the model completes the rest."""
