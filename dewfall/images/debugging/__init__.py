"""Debugger's side of the container contract: tensors saved while a job trains, and the rules that look at them from a job of their own.

training job: hook ─ /opt/ml/output/tensors ─ (platform) ─ S3 debug-output ─ rule job: evaluate ─ exit message ─ rule status
"""
