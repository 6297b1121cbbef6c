"""What real customers did, in figures a calibrated scenario is made of; `blockenv` must never import this."""
