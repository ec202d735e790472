"""Controls: answers of those that know less than a stitched model should, one a file.

A file has `ORDER`, its place among the rows of a report, and `answers(context)`: answers by the name of their row, as
the target's kind of answers reads them; none where the control does not apply.
"""
