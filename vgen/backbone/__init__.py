"""The video transformer, its codec and its text, shared by both front-ends."""
