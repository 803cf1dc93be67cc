"""The parts of smdebug.core that rules import."""
