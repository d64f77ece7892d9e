// The scan of the long expressive memory, forward and backward, of P slots; gates in the order d1,
// d2, z, y.
//
// U (P, 3H, H) for the first three, inner (P, H, H), dt (P), gates (P, T, B, 4H), outputs and
// inners (P, T + 1, B, H).

#include "scan.hpp"

namespace {

template <class R> struct LEM {
  int64_t steps, batch, size;
  R dt;

  // gates: the input products on entry; step sizes and candidates on return. Step 0 of outputs and
  // inners is given.
  void forward(const R* U, const R* inner, R* gates, R* outputs, R* inners) const {
    const int64_t width = padded<R>(size), step = batch * size;
    Panels<R> of_output(size, 3 * width, [=](int64_t k, int64_t j) {
      return j % width < size ? U[(j / width * size + j % width) * size + k] : R(0);
    });
    Panels<R> of_inner(size, size, [=](int64_t k, int64_t j) { return inner[j * size + k]; });
    Buffer<R> output(batch * width), hidden(batch * width), gate(batch * 4 * width);
    R *y = output.get(), *z = hidden.get(), *g = gate.get();
    spread<R>(batch, size, width, outputs, y);
    spread<R>(batch, size, width, inners, z);
    for (int64_t t = 0; t < steps; ++t) {
      R* const now = gates + t * 4 * step;
      spread<R>(4 * batch, size, width, now, g);
      of_output.multiply_add(batch, y, width, g, 4 * width);
      for (int64_t b = 0; b < batch; ++b) move_inner(width, g + b * 4 * width, z + b * width);
      of_inner.multiply_add(batch, z, width, g + 3 * width, 4 * width);
      for (int64_t b = 0; b < batch; ++b) move_output(width, g + b * 4 * width, y + b * width);
      gather<R>(4 * batch, size, width, g, now);
      gather<R>(batch, size, width, y, outputs + (t + 1) * step);
      gather<R>(batch, size, width, z, inners + (t + 1) * step);
    }
  }

  // by_outputs: the loss's gradients by the outputs of each step on entry, 0 at step 0, which
  // becomes that by the first output; by_inner (B, H): that by the last inner state, which becomes
  // that by the first.
  void backward(const R* U, const R* inner, const R* gates, const R* outputs, const R* inners,
                R* by_outputs, R* by_inner, R* by_gates) const {
    const int64_t width = padded<R>(size), step = batch * size;
    Panels<R> to_output(3 * width, size, [=](int64_t k, int64_t j) {
      return k % width < size ? U[(k / width * size + k % width) * size + j] : R(0);
    });
    Panels<R> to_inner(width, size, [=](int64_t k, int64_t j) {
      return k < size ? inner[k * size + j] : R(0);
    });
    Buffer<R> output(batch * width), hidden(batch * width), given(batch * width),
        y_before(batch * width), z_before(batch * width), gate(batch * 4 * width),
        slope(batch * 4 * width);
    R *dy = output.get(), *dz = hidden.get(), *g = gate.get(), *s = slope.get();
    spread<R>(batch, size, width, by_outputs + steps * step, dy);
    spread<R>(batch, size, width, by_inner, dz);
    for (int64_t t = steps; t > 0; --t) {
      spread<R>(4 * batch, size, width, gates + (t - 1) * 4 * step, g);
      spread<R>(batch, size, width, outputs + (t - 1) * step, y_before.get());
      spread<R>(batch, size, width, inners + (t - 1) * step, z_before.get());
      spread<R>(batch, size, width, by_outputs + (t - 1) * step, given.get());
      for (int64_t b = 0; b < batch; ++b)
        move_output_back(width, g + b * 4 * width, y_before.get() + b * width,
                         given.get() + b * width, dy + b * width, s + b * 4 * width);
      to_inner.multiply_add(batch, s + 3 * width, 4 * width, dz, width);
      for (int64_t b = 0; b < batch; ++b)
        move_inner_back(width, g + b * 4 * width, z_before.get() + b * width, dz + b * width,
                        s + b * 4 * width);
      gather<R>(4 * batch, size, width, s, by_gates + (t - 1) * 4 * step);
      to_output.multiply_add(batch, s, 4 * width, dy, width);
    }
    gather<R>(batch, size, width, dy, by_outputs);
    gather<R>(batch, size, width, dz, by_inner);
  }

 private:
  void move_inner(int64_t width, R* __restrict gate, R* __restrict z) const {
    R *d1 = gate, *d2 = d1 + width, *candidate = d2 + width;
    for (int64_t u = 0; u < width; ++u) {
      d1[u] = dt * sigmoid_of(d1[u]);
      d2[u] = dt * sigmoid_of(d2[u]);
      candidate[u] = tanh_of(candidate[u]);
      z[u] += d2[u] * (candidate[u] - z[u]);
    }
  }

  void move_output(int64_t width, R* __restrict gate, R* __restrict y) const {
    R *d1 = gate, *candidate = gate + 3 * width;
    for (int64_t u = 0; u < width; ++u) {
      candidate[u] = tanh_of(candidate[u]);
      y[u] += d1[u] * (candidate[u] - y[u]);
    }
  }

  void move_output_back(int64_t width, const R* __restrict gate, const R* __restrict before,
                        const R* __restrict given, R* __restrict dy, R* __restrict slope) const {
    const R *d1 = gate, *candidate = gate + 3 * width;
    R *by_d1 = slope, *by_candidate = slope + 3 * width;
    for (int64_t u = 0; u < width; ++u) {
      by_d1[u] = dy[u] * (candidate[u] - before[u]) * d1[u] * (1 - d1[u] / dt);
      by_candidate[u] = dy[u] * d1[u] * (1 - candidate[u] * candidate[u]);
      dy[u] = given[u] + dy[u] * (1 - d1[u]);
    }
  }

  void move_inner_back(int64_t width, const R* __restrict gate, const R* __restrict before,
                       R* __restrict dz, R* __restrict slope) const {
    const R *d2 = gate + width, *candidate = gate + 2 * width;
    R *by_d2 = slope + width, *by_candidate = slope + 2 * width;
    for (int64_t u = 0; u < width; ++u) {
      by_d2[u] = dz[u] * (candidate[u] - before[u]) * d2[u] * (1 - d2[u] / dt);
      by_candidate[u] = dz[u] * d2[u] * (1 - candidate[u] * candidate[u]);
      dz[u] *= 1 - d2[u];
    }
  }
};

}  // namespace

#define LONGHAUL_LEM(R, suffix)                                                                   \
  extern "C" void lem_forward_##suffix(int64_t slots, int64_t steps, int64_t batch, int64_t size,  \
                                       int64_t threads, const R* U, const R* inner, const R* dt,  \
                                       R* gates, R* outputs, R* inners) {                         \
    each(slots, threads, [=](int64_t p) {                                                         \
      const int64_t step = batch * size, whole = (steps + 1) * step, square = size * size;        \
      LEM<R>{steps, batch, size, dt[p]}.forward(U + p * 3 * square, inner + p * square,           \
                                                gates + p * steps * 4 * step,                     \
                                                outputs + p * whole, inners + p * whole);         \
    });                                                                                           \
  }                                                                                               \
  extern "C" void lem_backward_##suffix(                                                          \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, const R* U,     \
      const R* inner, const R* dt, const R* gates, const R* outputs, const R* inners,             \
      R* by_outputs, R* by_inner, R* by_gates) {                                                  \
    each(slots, threads, [=](int64_t p) {                                                         \
      const int64_t step = batch * size, whole = (steps + 1) * step, square = size * size;        \
      const int64_t four = steps * 4 * step;                                                      \
      LEM<R>{steps, batch, size, dt[p]}.backward(                                                 \
          U + p * 3 * square, inner + p * square, gates + p * four, outputs + p * whole,          \
          inners + p * whole, by_outputs + p * whole, by_inner + p * step, by_gates + p * four);  \
    });                                                                                           \
  }

LONGHAUL_LEM(float, float32)
LONGHAUL_LEM(double, float64)
