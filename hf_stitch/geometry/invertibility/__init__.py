"""Where a map folds or crushes: Jacobians, condition numbers, folds."""
