"""The most spikes that the bounded link can expect in a bin; apart from `link.py`, so that it can be read without torch."""

# Five in a bin are 500 Hz at bins of 10 ms and 1000 Hz at the usual 5 ms, where refractoriness ends every burst.
SIGMOID_CEILING = 5.0
# Units whose mean lies closer to the ceiling than this have nowhere to go when they are excited.
HIGHEST_MEAN_SHARE = 0.5
