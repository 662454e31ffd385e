"""Where the gradient is checked: arguments and cotangents made from one example."""
