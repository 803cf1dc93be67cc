"""The parts of AWS's container packages that users' scripts import, under AWS's names, on top of what the images have anyway.

The toolkits put this folder last on the module search path: whoever installs AWS's own packages gets those.
"""
