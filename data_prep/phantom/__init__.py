"""The embedded default: made-up patients, in CT-RATE's layout and in every other source's."""
