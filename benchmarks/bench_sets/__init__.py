"""Benches of video completion: folders of clips, patches and masks, and of the canvases that are to be completed."""
