"""Coverage-guided fuzzing of the codecs: ``make fuzz``; every default run takes the corpus through the same laws."""
