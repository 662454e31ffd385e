"""Where a gradient is checked: points, of arguments and a cotangent of the output, made from an example."""
