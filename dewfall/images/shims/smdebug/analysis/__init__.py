"""The parts of smdebug.analysis that rules import."""
