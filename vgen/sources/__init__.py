"""Data sets of others, to LeRobot v3: a converter for each, and the one way that all of them are converted."""

SOURCES = {
    "folder": "vgen.sources.folder:FolderSource",
    "lerobot21": "vgen.sources.lerobot21:LeRobot21Source",
    "bridge": "vgen.sources.bridge:BridgeSource",
    "bridge_rlds": "vgen.sources.bridge_rlds:BridgeRldsSource",
    "rlbench": "vgen.sources.rlbench:RLBenchSource",
    "ego4d": "vgen.sources.ego4d:Ego4DSource",
    "egodex": "vgen.sources.egodex:EgoDexSource",
    "hot3d": "vgen.sources.hot3d:Hot3DSource",
    "arctic": "vgen.sources.arctic:ArcticSource",
    "robosuite": "vgen.sources.robosuite:RobosuiteSource",
    "libero": "vgen.sources.libero:LiberoSource",
}
"""Where the converter of each source is: module:class. They are imported when they are asked for."""
