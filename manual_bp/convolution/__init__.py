r"""A convolution's output and its two gradients, as the machine has them fastest.   Letters as in `ops.conv`.

Each form has three functions of arrays with one leading axis B, results in at least float32:

    output(w, x)              y_bpo  = sum_ki x_bqi w_kio,    q = s p + d k - lo        (1)
    kernel_gradient(w, x, dy) dw_kio = sum_bp x_bqi dy_bpo                              (2)
    input_gradient(w, x, dy)  dx_bqi = sum_pko dy_bpo w_kio                             (3)

`by_xla` is XLA's convolution, `by_shifts` is for depthwise kernels, and `by_groups` does one group after the
other. On a CPU XLA's own takes long with groups: the gradient of a kernel with 8 of them a hundred times as
long as one group after the other. Other machines have libraries for it: `choice` says which is where.
"""
