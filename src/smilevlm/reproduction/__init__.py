"""`smilevlm reproduce`: what a study needs, made or resumed, and the file that says what belongs to it."""
