"""Keeps secrets out of contexts.

A scan for many words at once finds the places where a rule can match; regular expressions run only there. Only the
value is replaced, so that names, calls and lines around it stay.
"""

from cco_sidecar.repository.masking.clean import CleanFiles
from cco_sidecar.repository.masking.scan import MASK, Finding, mask, mask_beginning, mask_file
from cco_sidecar.repository.masking.secret_files import is_secret_file

__all__ = ["MASK", "CleanFiles", "Finding", "is_secret_file", "mask", "mask_beginning", "mask_file"]
