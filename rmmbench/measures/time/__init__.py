"""Time of whole training steps, and the conditions they were taken under."""
