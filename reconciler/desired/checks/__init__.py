"""Every check of the desired state that needs no AWS: of single values, and of how entries fit together.

``values`` checks one entry at a time and folds the names inside it; ``together`` checks all of them.
"""

from reconciler.desired.checks.together import check_all
from reconciler.desired.checks.values import check_values

__all__ = ["check_all", "check_values"]
