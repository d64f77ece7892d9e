// The linear scan h_t = A_t h_{t-1} + b_t, forward and backward, of P slots, each unit a number or
// a pair of numbers and each coefficient a number or a 2 x 2 matrix.
//
// K = 1 or 2; b and its gradients (P, T, B, K, N), states (P, T + 1, B, K, N), A (P, T or 1, B or 1,
// K, K, N), where 1 stands for one coefficient that is the same for all of them.

#include "rows.hpp"

namespace {

template <class R, int K> struct Linear {
  int64_t steps, batch, size;
  int64_t by_step, by_row;  // how far the coefficients of two steps or rows are apart, 0: the same

  // Step 0 of states is given.
  void forward(int64_t first, int64_t last, const R* A, const R* inputs, R* states) const {
    const Rows<R> rows(size, A, inputs, states);
    const int64_t width = rows.width, unit = K * size, step = batch * unit;
    Buffer<R> matrix(rows.spare(K * K)), input(rows.spare(K)), before(rows.spare(K)),
        after(rows.spare(K));
    for (int64_t t = 0; t < steps; ++t)
      for (int64_t b = first; b < last; ++b) {
        const int64_t at = t * step + b * unit;
        R* const next = rows.place(states + at + step, after.get());
        advance(width, rows.read(A + t * by_step + b * by_row, matrix.get(), K * K),
                rows.read(states + at, before.get(), K), rows.read(inputs + at, input.get(), K),
                next);
        rows.finish(next, states + at + step, K);
      }
  }

  // by_outputs (P, T, B, K, N): the loss's gradients by h of each step. by_inputs and by_initial
  // (P, B, K, N) are filled, and, unless it is null, by_A: (P, T, B, K, K, N) where A differs from
  // step to step, else (P, B, K, K, N), each row's share.
  void backward(int64_t first, int64_t last, const R* A, const R* states, const R* by_outputs,
                R* by_inputs, R* by_initial, R* by_A) const {
    const Rows<R> rows(size, A, states, by_outputs, by_inputs, by_A);
    const int64_t width = rows.width, unit = K * size, step = batch * unit, count = last - first;
    const int64_t square = K * unit;
    const bool sums = by_A != nullptr && by_step == 0, each_one = by_A != nullptr && by_step != 0;
    Buffer<R> matrix(rows.spare(K * K)), output(rows.spare(K)), before(rows.spare(K)),
        input(rows.spare(K)), outer(rows.spare(K * K)), carried(count * K * width),
        shares(sums ? count * K * K * width : 0);
    for (int64_t t = steps; t-- > 0;)
      for (int64_t b = first; b < last; ++b) {
        const int64_t at = t * step + b * unit;
        R* const by = rows.place(by_inputs + at, input.get());
        retreat(width, rows.read(A + t * by_step + b * by_row, matrix.get(), K * K),
                rows.read(by_outputs + at, output.get(), K),
                carried.get() + (b - first) * K * width, by);
        rows.finish(by, by_inputs + at, K);
        if (by_A == nullptr) continue;
        const R* const h = rows.read(states + at, before.get(), K);
        if (sums) {
          multiply<true>(width, by, h, shares.get() + (b - first) * K * K * width);
        } else if (each_one) {
          R* const to = by_A + (t * batch + b) * square;
          R* const products = rows.place(to, outer.get());
          multiply<false>(width, by, h, products);
          rows.finish(products, to, K * K);
        }
      }
    gather<R>(count * K, size, width, carried.get(), by_initial + first * unit);
    if (sums) gather<R>(count * K * K, size, width, shares.get(), by_A + first * square);
  }

 private:
  static void advance(int64_t width, const R* __restrict A, const R* __restrict h,
                      const R* __restrict input, R* __restrict next) {
    for (int i = 0; i < K; ++i)
      for (int64_t u = 0; u < width; ++u) {
        R sum = input[i * width + u];
        for (int j = 0; j < K; ++j) sum += A[(i * K + j) * width + u] * h[j * width + u];
        next[i * width + u] = sum;
      }
  }

  // carried: A^T g of the step after on entry, of this one on return.
  static void retreat(int64_t width, const R* __restrict A, const R* __restrict output,
                      R* __restrict carried, R* __restrict by) {
    for (int i = 0; i < K; ++i)
      for (int64_t u = 0; u < width; ++u)
        by[i * width + u] = output[i * width + u] + carried[i * width + u];
    for (int j = 0; j < K; ++j)
      for (int64_t u = 0; u < width; ++u) {
        R sum = 0;
        for (int i = 0; i < K; ++i) sum += A[(i * K + j) * width + u] * by[i * width + u];
        carried[j * width + u] = sum;
      }
  }

  template <bool add>
  static void multiply(int64_t width, const R* __restrict by, const R* __restrict h,
                       R* __restrict products) {
    for (int i = 0; i < K; ++i)
      for (int j = 0; j < K; ++j)
        for (int64_t u = 0; u < width; ++u) {
          R& to = products[(i * K + j) * width + u];
          to = (add ? to : R(0)) + by[i * width + u] * h[j * width + u];
        }
  }
};

// Where the coefficients of a slot lie: (T or 1, B or 1, K, K, N).
struct Layout {
  int64_t steps, rows, square;

  Layout(int64_t steps, int64_t rows, int64_t size, int64_t k)
      : steps(steps), rows(rows), square(k * k * size) {}
  int64_t by_row() const { return rows > 1 ? square : 0; }
  int64_t by_step() const { return steps > 1 ? rows * square : 0; }
  int64_t whole() const { return steps * rows * square; }
};

template <class R, int K>
void linear_forward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                    Layout layout, const R* A, const R* inputs, R* states) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * K * size, all = steps * step;
    Linear<R, K>{steps, batch, size, layout.by_step(), layout.by_row()}.forward(
        first, last, A + p * layout.whole(), inputs + p * all, states + p * (all + step));
  });
}

template <class R, int K>
void linear_backward(int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads,
                     Layout layout, const R* A, const R* states, const R* by_outputs, R* by_inputs,
                     R* by_initial, R* by_A) {
  each_share(slots, batch, threads, [=](int64_t p, int64_t first, int64_t last) {
    const int64_t step = batch * K * size, all = steps * step;
    const int64_t share = (layout.steps > 1 ? steps : 1) * batch * layout.square;
    Linear<R, K>{steps, batch, size, layout.by_step(), layout.by_row()}.backward(
        first, last, A + p * layout.whole(), states + p * (all + step), by_outputs + p * all,
        by_inputs + p * all, by_initial + p * step, by_A == nullptr ? by_A : by_A + p * share);
  });
}

}  // namespace

// `size` is K N; A has the given numbers of steps and rows.
#define LONGHAUL_LINEAR(R, suffix)                                                                \
  extern "C" void linear_forward_##suffix(int64_t slots, int64_t steps, int64_t batch,            \
                                          int64_t size, int64_t threads, int64_t k,               \
                                          int64_t A_steps, int64_t A_rows, const R* A,            \
                                          const R* inputs, R* states) {                           \
    const Layout layout(A_steps, A_rows, size / k, k);                                            \
    if (k == 1)                                                                                   \
      linear_forward<R, 1>(slots, steps, batch, size, threads, layout, A, inputs, states);        \
    else                                                                                          \
      linear_forward<R, 2>(slots, steps, batch, size / 2, threads, layout, A, inputs, states);    \
  }                                                                                               \
  extern "C" void linear_backward_##suffix(                                                       \
      int64_t slots, int64_t steps, int64_t batch, int64_t size, int64_t threads, int64_t k,      \
      int64_t A_steps, int64_t A_rows, int64_t wants_A, const R* A, const R* states,              \
      const R* by_outputs, R* by_inputs, R* by_initial, R* by_A) {                                \
    const Layout layout(A_steps, A_rows, size / k, k);                                            \
    R* const wanted = wants_A ? by_A : nullptr;                                                   \
    if (k == 1)                                                                                   \
      linear_backward<R, 1>(slots, steps, batch, size, threads, layout, A, states, by_outputs,    \
                            by_inputs, by_initial, wanted);                                       \
    else                                                                                          \
      linear_backward<R, 2>(slots, steps, batch, size / 2, threads, layout, A, states, by_outputs, \
                            by_inputs, by_initial, wanted);                                       \
  }

LONGHAUL_LINEAR(float, float32)
LONGHAUL_LINEAR(double, float64)
