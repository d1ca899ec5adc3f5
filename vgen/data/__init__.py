"""From recorded videos to what a batch is made of.

Read `opening.py` first: it turns the data of a recipe into clips. `footage.py` says where frames come from, `clips.py`
cuts clips out of it by number, `encoded.py` puts their latents beside them, `schedule.py` deals them in batches. Rooms:
`lerobot/` reads and writes LeRobot folders, `videos/` reads plain folders of videos, `cache/` keeps what is made once,
`pack/` carries data sets to another machine.
"""
