"""What a hand, an end effector or a camera did over time, without torch.

Read `trajectory` first (the type, its three forms, and which frame an action belongs to), then `layouts` (what each
column means, and how to add a layout), then `convert` (between forms, to other times, mirrored). `files` reads and
writes, `edits` makes counterfactuals, `network` and `statistics` are how models read and normalise, and `units` refuses
what cannot be meant.
`vgen.ego.actions` makes a model's tensors of all this.
"""
