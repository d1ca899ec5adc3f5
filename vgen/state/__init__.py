"""Stage I, consecutive state modelling (CoSMo): from the last states to the next actions and their text."""
