"""The field's own files, read and written: MMSA pickles, label.csv, utterance-level tables."""
