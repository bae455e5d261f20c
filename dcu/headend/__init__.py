"""The head-end side: keys, signing, sending, listening, and the proof of completeness."""
