// The diagonal scan h_t = phi(u * h_{t-1} + z_t), forward and backward, of P slots.
//
// u and parameter (P, H), z and its gradients (P, T, B, H), states (P, T + 1, B, H).

#include "phi.hpp"
#include "rows.hpp"

namespace {

template <class R> struct Diagonal {
  int64_t steps, batch, size;
  int64_t phi;
  const R* parameter;

  // Step 0 of states is given.
  void forward(int64_t first, int64_t last, const R* u, const R* z, R* states) const {
    const Rows<R> rows(size, z, states);
    const int64_t width = rows.width, step = batch * size;
    Buffer<R> weights(width), parameters(width), input(width), before(width), after(width);
    spread<R>(1, size, width, u, weights.get());
    spread<R>(1, size, width, parameter, parameters.get());
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t b = first; b < last; ++b) {
        const int64_t at = t * step + b * size;
        R* const next = rows.place(states + at + step, after.get());
        advance(width, weights.get(), rows.read(states + at, before.get()),
                rows.read(z + at, input.get()), next);
        apply<R>(phi, width, parameters.get(), next);
        rows.finish(next, states + at + step);
      }
  }

  // by_outputs (P, T, B, H): the loss's gradients by h of each step. by_inputs, by_initial
  // (P, B, H) and by_weight (P, B, H), each row's share of the gradient by u, are filled.
  void backward(int64_t first, int64_t last, const R* u, const R* states, const R* by_outputs,
                R* by_inputs, R* by_initial, R* by_weight) const {
    const Rows<R> rows(size, states, by_outputs, by_inputs);
    const int64_t width = rows.width, step = batch * size, count = last - first;
    Buffer<R> weights(width), parameters(width), after(width), before(width), output(width),
        input(width), carried(count * width), sums(count * width);
    spread<R>(1, size, width, u, weights.get());
    spread<R>(1, size, width, parameter, parameters.get());
    for (int64_t t = steps; t-- > 0;)
      for (int64_t b = first; b < last; ++b) {
        const int64_t at = t * step + b * size, row = (b - first) * width;
        R* const by = rows.place(by_inputs + at, input.get());
        add(width, rows.read(by_outputs + at, output.get()), carried.get() + row, by);
        pull_back<R>(phi, width, parameters.get(), rows.read(states + at + step, after.get()), by);
        retreat(width, weights.get(), rows.read(states + at, before.get()), by,
                carried.get() + row, sums.get() + row);
        rows.finish(by, by_inputs + at);
      }
    gather<R>(count, size, width, carried.get(), by_initial + first * size);
    gather<R>(count, size, width, sums.get(), by_weight + first * size);
  }

 private:
  static void advance(int64_t width, const R* __restrict u, const R* __restrict h,
                      const R* __restrict z, R* __restrict next) {
    for (int64_t i = 0; i < width; ++i) next[i] = u[i] * h[i] + z[i];
  }

  static void add(int64_t width, const R* __restrict one, const R* __restrict other,
                  R* __restrict sum) {
    for (int64_t i = 0; i < width; ++i) sum[i] = one[i] + other[i];
  }

  static void retreat(int64_t width, const R* __restrict u, const R* __restrict h,
                      const R* __restrict by, R* __restrict carried, R* __restrict sum) {
    for (int64_t i = 0; i < width; ++i) {
      sum[i] += by[i] * h[i];
      carried[i] = by[i] * u[i];
    }
  }
};

template <class R>
void diagonal_forward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                      int64_t phi, const R* parameter, const R* u, const R* z, R* states) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * size, all = steps * step;
    Diagonal<R>{steps, batch, size, phi, parameter + p * size}.forward(
        first, last, u + p * size, z + p * all, states + p * (all + step));
  });
}

template <class R>
void diagonal_backward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                       int64_t phi, const R* parameter, const R* u, const R* states,
                       const R* by_outputs, R* by_inputs, R* by_initial, R* by_weight) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * size, all = steps * step;
    Diagonal<R>{steps, batch, size, phi, parameter + p * size}.backward(
        first, last, u + p * size, states + p * (all + step), by_outputs + p * all,
        by_inputs + p * all, by_initial + p * step, by_weight + p * step);
  });
}

}  // namespace

#define LONGHAUL_DIAGONAL(R, suffix)                                                              \
  extern "C" void diagonal_forward_##suffix(int64_t slots, int64_t steps, int64_t batch,          \
                                            int64_t size, int64_t threads, int64_t phi,           \
                                            const R* parameter, const R* u, const R* z,           \
                                            R* states) {                                          \
    diagonal_forward<R>(slots, steps, batch, size, threads, phi, parameter, u, z, states);        \
  }                                                                                               \
  extern "C" void diagonal_backward_##suffix(                                                     \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t phi,    \
      const R* parameter, const R* u, const R* states, const R* by_outputs, R* by_inputs,         \
      R* by_initial, R* by_weight) {                                                              \
    diagonal_backward<R>(slots, steps, batch, size, threads, phi, parameter, u, states,           \
                         by_outputs, by_inputs, by_initial, by_weight);                           \
  }

LONGHAUL_DIAGONAL(float, float32)
LONGHAUL_DIAGONAL(double, float64)
