"""What programs under `dewfall exec` read at their start; this folder is put on their PYTHONPATH."""
